"""What this machine does in a second: floating-point operations, bytes of memory, bytes on the disk."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.clocks import timed

__all__ = ["DTYPES", "Rates", "measured_rates", "product_rate", "threads"]

DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Rates:
    """The best of several tries, at one number of threads.

    Attributes: `threads`; `float32` and `bfloat16`, operations a second of products of square matrices (a product of
    two numbers and its sum are two); `copy` and `triad`, bytes a second that are read and written, as in STREAM: what
    caches read before they write is not counted; `disk`, bytes a second, until they are on the disk.

    References:
        McCalpin (1995), "Memory bandwidth and machine balance in current high performance computers" (STREAM).
    """

    threads: int
    float32: float
    bfloat16: float
    copy: float
    triad: float
    disk: float

    @property
    def memory(self) -> float:
        """The faster of the two ways to move bytes, in bytes a second."""
        return max(self.copy, self.triad)

    def better(self, other: "Rates") -> "Rates":
        """Return the better of each rate of two measurements with as many threads."""
        mine, theirs = asdict(self), asdict(other)
        return Rates(**{name: max(value, theirs[name]) for name, value in mine.items()})


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use so many threads, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measured_rates(count: int, *, folder: Path, size: int, mebibytes: int, tries: int) -> Rates:
    """Measure with so many threads.

    Args:
        count: threads.
        folder: on the disk that is measured.
        size: rows of the matrices.
        mebibytes: of each array and of the file; arrays must be much larger than the caches.
        tries: the best counts.
    """
    numbers = mebibytes * 2**20 // 4
    a, b, c = (torch.full((numbers,), float(k)) for k in range(3))
    with threads(count):
        products = {name: product_rate(getattr(torch, name), size=size, tries=tries) for name in DTYPES}
        copy = _best(lambda: a.copy_(b), tries)
        triad = _best(lambda: torch.add(b, c, alpha=3.0, out=a), tries)
    return Rates(
        threads=count,
        **products,
        copy=2 * 4 * numbers / copy,
        triad=3 * 4 * numbers / triad,
        disk=4 * numbers / _best(lambda: _write(folder / "rate", 4 * numbers), max(tries // 4, 1)),
    )


def product_rate(
    dtype: torch.dtype, *, size: int = 1024, tries: int = 20, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the operations a second of products of square matrices, the best of several tries.

    Args:
        dtype: of the matrices.
        size: their rows.
        tries: the best counts.
        clock: in whose seconds.
    """
    # Small whole numbers: neither denormal nor growing, whatever the dtype.
    left = (torch.arange(size * size) % 7 - 3).reshape(size, size).to(dtype)
    right, out = left.T.contiguous(), torch.empty((size, size), dtype=dtype)
    return 2.0 * size**3 / _best(lambda: torch.mm(left, right, out=out), tries, clock)


def _write(path: Path, count: int) -> None:
    block = os.urandom(2**20)  # a disk that packs what it stores shall find nothing to pack
    with path.open("wb") as file:
        for _ in range(count // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def _best(call: Callable[[], object], tries: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the least seconds of several calls, after one that is not counted."""
    run = timed(call, clock)
    run()
    return min(run() for _ in range(tries))
