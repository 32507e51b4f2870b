"""Samples streamed into a store: as many as the disk takes, with the memory of one block."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.checks import as_count, as_seed, one_of
from latentkit.conditional import Marginal
from latentkit.engines import check_engine, run_blocks
from latentkit.errors import ArgumentError, NonFiniteError
from latentkit.protocols import Generator, moved
from latentkit.sampling.batches import planned_batch
from latentkit.sampling.estimates import Estimate, sample_memory
from latentkit.sampling.fingerprints import fingerprint
from latentkit.sampling.generate import stream
from latentkit.sampling.prepared import PRECISIONS, prepared
from latentkit.stores import Column, Store, Table, begun, create_store, kind_asked

__all__ = ["SampleWork", "block_rows", "estimate_samples", "sample_to", "to_bytes"]

DTYPES = ("uint8", "float32")

#: Bytes that a block has, about: small enough for many to share the work, large enough to be worth a file.
BLOCK_BYTES = 2**24
#: Rows of a block, at most: of narrow rows.
MOST_ROWS = 2**16
#: Numbers of latents that are drawn at once.
_DRAWN = 2**20


def to_bytes(images: Tensor) -> Tensor:
    """Return floats (...) in [-1, 1] as uint8 (...): round(127.5 (x + 1)); what lies beyond becomes 0 or 255."""
    return images.float().add(1.0).mul_(127.5).round_().clamp_(0.0, 255.0).to(torch.uint8)


@dataclass(frozen=True, eq=False)
class SampleWork:
    """Makes samples [start, stop) of a seed: the work of `sample_to`, for `latentkit.engines.run_blocks`.

    Attributes: `generator`; `seed` of the latents; `batch_size`, latents a call, counted from `start`; `dtype`,
    "uint8" for bytes of images or "float32"; `latents`, whether these are wanted too; `precision` that the generator
    computes in, as in `prepared`.
    """

    generator: Generator
    seed: int
    batch_size: int
    dtype: str
    latents: bool = False
    precision: str = "float32"

    @cached_property
    def ready(self) -> Generator:
        """The generator as it is run, made ready once."""
        return prepared(self.generator, precision=self.precision)

    def columns(self, sample: Tensor) -> dict[str, Column]:
        """Return what it makes, of which `sample` (1, *S) is one."""
        found = {"samples": Column(self.dtype, tuple(sample.shape[1:]))}
        if self.latents:
            found["latents"] = Column("float32", (self.generator.prior.dim,))
        if isinstance(self.generator, Marginal):
            found["labels"] = Column("int64")
        return found

    def __call__(self, start: int, stop: int) -> Mapping[str, NDArray[Any]]:
        """Return the samples (M, *S), and labels (M,) int64 where latents have them, and latents (M, D) if wanted.

        Raises:
            NonFiniteError: if a sample is not finite; the text names its latent.
        """
        found: dict[str, NDArray[Any]] = {}
        each = self.batch_size * max(1, _DRAWN // (self.batch_size * self.generator.prior.dim))
        at = 0
        for first in range(start, stop, each):
            drawn = self.generator.prior.sample(min(each, stop - first), seed=self.seed, start=first)
            extra = {"latents": drawn} if self.latents else {}
            if isinstance(self.generator, Marginal):
                extra["labels"] = self.generator.labels(drawn)
            for name, part in extra.items():
                _room(found, name, part, stop - start)[first - start : first - start + len(part)] = part.numpy()
            for batch in stream(self.ready, drawn, batch_size=self.batch_size):
                _check_finite(batch, start + at)
                part = to_bytes(batch) if self.dtype == "uint8" else batch.float()
                _room(found, "samples", part, stop - start)[at : at + len(part)] = part.numpy()
                at += len(part)
        return found

    def placed(self, device: str) -> "SampleWork":
        """Put the model on a device, for a worker that has one of its own, and return the work."""
        moved(device, self.generator)
        return replace(self)


def _room(found: dict[str, NDArray[Any]], name: str, part: Tensor, rows: int) -> NDArray[Any]:
    """Return the array (rows, *S) that collects parts of a column, made when its first part is there."""
    if name not in found:
        found[name] = np.empty((rows, *part.shape[1:]), str(part.dtype).removeprefix("torch."))
    return found[name]


def _check_finite(samples: Tensor, first: int) -> None:
    if bool(torch.isfinite(samples).all()):
        return
    bad = first + int((~torch.isfinite(samples).flatten(1).all(1)).nonzero()[0])
    raise NonFiniteError(f"the sample of latent {bad} holds NaN or infinite values; the generator's weights are broken")


def block_rows(row_bytes: int, batch_size: int) -> int:
    """Return how many rows a block has by default: whole batches, of some 16 MiB, and at most 2**16."""
    batches = max(1, min(BLOCK_BYTES // max(row_bytes, 1), MOST_ROWS) // batch_size)
    return batches * batch_size


def estimate_samples(
    generator: Generator,
    n: int,
    *,
    block: int | None = None,
    batch_size: int | None = None,
    dtype: str | None = None,
    latents: bool = False,
    precision: str = "float32",
) -> Estimate:
    """Return what `sample_to` with the same arguments needs of disk and memory; it makes one sample.

    Examples:
        >>> import latentkit as lk
        >>> estimate_samples(lk.wrap(lambda z: z, lk.Normal(2)), 10**6, batch_size=64).disk
        8000000
    """
    return _plan(generator, n, 0, block, batch_size, dtype, latents, precision)[1]


def _plan(
    generator: Generator,
    n: int,
    seed: int,
    block: int | None,
    size: int | None,
    dtype: str | None,
    latents: bool,
    precision: str,
) -> tuple[SampleWork, Estimate]:
    """Return the work with what was not said filled in, and what it needs."""
    n = as_count(n, "n")
    one_of(precision, "precision", PRECISIONS)
    sample, each, once = sample_memory(generator)
    size = as_count(planned_batch(size, n, generator, precision=precision), "batch_size")
    image = sample.ndim == 4
    if dtype is None:
        dtype = "uint8" if image else "float32"
    if one_of(dtype, "dtype", DTYPES) == "uint8" and not image:
        raise ArgumentError(
            f"bytes are for images (C, H, W) in [-1, 1], and these samples are {tuple(sample.shape[1:])}; take "
            'dtype="float32"'
        )
    work = SampleWork(generator, seed, size, dtype, latents, precision)
    columns = work.columns(sample)
    rows = block_rows(sum(column.nbytes for column in columns.values()), size) if block is None else block
    return work, Estimate.of(Table(n, as_count(rows, "block"), columns), size, each * size + once)


def sample_to(
    path: str | os.PathLike[str],
    generator: Generator,
    n: int,
    *,
    seed: int = 0,
    block: int | None = None,
    batch_size: int | None = None,
    dtype: str | None = None,
    latents: bool = False,
    precision: str = "float32",
    engine: str = "local",
    address: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    gpus: float = 0.0,
    resume: bool = False,
    progress: bool = False,
) -> Store:
    """Write the samples of latents 0 to n - 1 of a seed into a store, with no more memory than one block needs.

    The store has the columns `samples` (n, *S), `labels` (n,) where a generator's latents hold their class, and
    `latents` (n, D) if wanted. What ends the call before, Ctrl-C or a lost machine, costs the blocks in work; the same
    call with `resume=True` goes on, and the result is the same bit for bit.

    Args:
        path: of the store's folder; "x.zarr" becomes a Zarr group, "x.parquet" a folder of Parquet files, and a name
            without a suffix memory-mappable `.npy` files.
        generator: the model.
        n: how many samples.
        seed: of the latents, 0 to 2**64 - 1.
        block: samples a block; by default whole batches of some 16 MiB.
        batch_size: latents a call; by default that of the store that is gone on with, 64 for few latents and what is
            fastest for many.
        dtype: "uint8", round(127.5 (x + 1)), which is the default for images, or "float32".
        latents: write them as well.
        precision: "float32", or "bfloat16" on machines that have it; see `latentkit.sampling.prepared`.
        engine: "local" or "ray"; see `latentkit.engines.run_blocks`, also for the next four.
        address: of a Ray cluster.
        workers: how many of them, for "ray".
        threads: of torch, in this process or in each worker.
        gpus: that each worker needs, for "ray".
        resume: go on with a store that was begun by the same call; without one, begin.
        progress: show a progress bar on standard error.

    Raises:
        ArgumentError: if the path names no store, an argument is out of range, or a batch needs more memory than there
            is.
        OutputError: if the store does not fit on the disk, other things are in the way, or the one that is to be gone
            on with was begun by another call.
        NonFiniteError: if a sample is not finite.

    Examples:
        >>> import latentkit as lk, tempfile
        >>> double = lk.wrap(lambda z: 2 * z, lk.Normal(2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = sample_to(f"{folder}/points", double, 1000, seed=1)
        ...     bool((store["samples"][10:12] == 2 * double.prior.sample(2, seed=1, start=10).numpy()).all())
        True
    """
    kind = kind_asked(path)
    seed = as_seed(seed)
    check_engine(engine, address=address, workers=workers, threads=threads, gpus=gpus)
    there = begun(path, resume)
    if there is not None:  # what was not said is what it was begun with
        block = there.block if block is None else block
        batch_size = there.plan.get("batch_size") if batch_size is None else batch_size
    work, needed = _plan(generator, n, seed, block, batch_size, dtype, latents, precision)
    needed.check_memory()
    plan = {
        "of": "samples",
        "generator": fingerprint(generator),
        "seed": seed,
        "batch_size": work.batch_size,
        "precision": precision,
    }
    table = needed.table
    store = create_store(
        path, kind=kind, rows=table.rows, block=table.block, columns=table.columns, plan=plan, resume=resume
    )
    return run_blocks(
        store, work, engine=engine, address=address, workers=workers, threads=threads, gpus=gpus, progress=progress
    )
