"""Claim: sampling, mapping and projection cost no more than n log n as n grows from a thousand to a million.

    python -m benchmarks.growth [--smallest 1000] [--largest 1000000] [--only NAME ...] [--json FILE]

Each n, ten times the one before, runs in a process of its own, on one thread, after a small run that is not counted, so
that compiling and loading are not either. The generator is a small network of 16 numbers to 16, so that what is seen is
what latentkit adds to a model's own cost, which is in proportion to n.

- sampling: `sample_to` a store of `.npy` files on the disk.
- mapping: `quality_map` without a chart, the scores alone.
- charting: `quality_map` with a chart of 500 latents, among which all others are placed. One of 20,000, the default,
  would have nothing to place below that many, and takes longer for each latent above, in proportion.
- projection: `project` by UMAP, of rows of a mixture of ten normal distributions in 16 dimensions.

The exponent of n is the slope of a line through the logarithms of the seconds over those of n, for the largest three
n; that of n log n over the same n is what is wanted at most. Local exponents are from one n to the next. Memory is the
peak above what the process held before.
"""

import argparse
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

import latentkit as lk
from benchmarks.claims import Ratio, Table, at_most, concluded, number, parsed, parser
from benchmarks.clocks import peak, process, python, resident, restart_peak
from latentkit import streams
from latentkit.nets import MLPCritic, MLPGenerator
from latentkit.nets.fitting import initialised
from latentkit.sampling.stored import sample_to
from latentkit.tables import aligned

WIDTH, MODES, WARM, CHARTED = 16, 10, 500, 500

LIMITS = {
    "sampling": "blocks of one size, one after another: the model's operations and the disk",
    "mapping": "blocks of one size, one after another: the models' operations",
    "charting": "each latent's distances to the chart, whose size does not grow",
    "projection": "neighbours are found among all rows of the layout, n to the power of 1.5 up to 100,000 rows; more "
    "are placed among those, each at the same cost",
}


def networks() -> tuple[lk.Generator, lk.Critic]:
    """Return a small generator and critic whose weights are random."""
    made = initialised(lambda: (MLPGenerator(WIDTH, WIDTH, 64, 2), MLPCritic(WIDTH, 64, 2)), 0)
    generator, critic = (net.eval().requires_grad_(False) for net in made)
    return lk.wrap(generator, lk.Normal(WIDTH)), critic


def sampling(n: int, folder: Path) -> Callable[[], object]:
    """Return what writes n samples."""
    generator, _ = networks()
    return lambda: sample_to(folder / f"samples-{n}-{time.monotonic_ns()}", generator, n)


def mapping(n: int, folder: Path, chart: int = 0) -> Callable[[], object]:
    """Return what scores n latents, and charts so many."""
    generator, critic = networks()
    real = lk.generate(generator, lk.Normal(WIDTH).sample(1_000, seed=1))
    return lambda: lk.quality_map(generator, critic, real, n=n, graph_limit=chart, allow_uninformative=True)


def projection(n: int, folder: Path) -> Callable[[], object]:
    """Return what lays out n rows."""
    rows = streams.normal(n, WIDTH, seed=0, stream=streams.DATA).astype(np.float32)
    rows += 4.0 * streams.normal(MODES, WIDTH, seed=1, stream=streams.MEASURES).astype(np.float32)[np.arange(n) % MODES]
    given = torch.from_numpy(rows)
    return lambda: lk.project(given)


WORKS: dict[str, Callable[[int, Path], Callable[[], object]]] = {
    "sampling": sampling,
    "mapping": mapping,
    "charting": partial(mapping, chart=CHARTED),
    "projection": projection,
}


def measure(name: str, n: int, repeats: int) -> None:
    """In a fresh process: print the least seconds of several runs, and the peak of memory in MiB above before."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        WORKS[name](min(n, WARM), folder)()
        run, seconds = WORKS[name](n, folder), []
        restart_peak()
        before = resident()
        for _ in range(repeats):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        print(min(seconds), peak() - before)


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Return the slope of the logarithm of seconds over that of sizes, by least squares.

    Examples:
        >>> round(exponent([10, 100, 1000], [1.0, 100.0, 10000.0]), 6)
        2.0
    """
    slope, _ = np.polyfit(np.log(sizes), np.log(seconds), 1)
    return float(slope)


def grown(name: str, sizes: Sequence[int], rows: Sequence[tuple[float, float]]) -> tuple[Ratio, list[list[str]]]:
    """Return what is claimed of one work, and its rows of the table.

    Args:
        name: of the work.
        sizes: rising, at least two.
        rows: seconds and MiB for each size.
    """
    seconds = [taken for taken, _ in rows]
    upper = slice(-3, None)
    fitted = exponent(sizes[upper], seconds[upper])
    wanted = exponent(sizes[upper], [n * math.log(n) for n in sizes[upper]])
    local = ["", *(number(exponent(sizes[k : k + 2], seconds[k : k + 2])) for k in range(len(sizes) - 1))]
    table = [
        [name, f"{n:,}", number(taken), number(1e6 * taken / n), slope, f"{memory:,.0f}"]
        for n, (taken, memory), slope in zip(sizes, rows, local, strict=True)
    ]
    claim = f"{name}: exponent of n from {sizes[upper][0]:,} to {sizes[-1]:,}"
    return at_most(claim, fitted, round(wanted, 2), limit=LIMITS[name]), table


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    options = parser(__doc__)
    options.add_argument("--smallest", type=int, default=1_000)
    options.add_argument("--largest", type=int, default=1_000_000)
    options.add_argument("--only", nargs="+", choices=WORKS, default=[*WORKS])
    options.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parsed(options, argv, quick={"smallest": 40, "largest": 400})
    if arguments.measure:
        name, n, repeats = arguments.measure
        measure(name, int(n), int(repeats))
        return 0
    sizes = [arguments.smallest * 10**k for k in range(10) if arguments.smallest * 10**k <= arguments.largest]
    if len(sizes) < 2:
        options.error("--largest must be at least ten times --smallest")
    head = ["work", "n", "seconds", "µs each", "local exponent", "MiB above before"]
    ratios: list[Ratio] = []
    table: list[list[str]] = [head]
    for name in arguments.only:
        rows = []
        for n in sizes:
            repeats = 3 if n <= 10_000 else 1
            spent = process(
                python("-m", "benchmarks.growth", "--measure", name, str(n), str(repeats)), stdout=subprocess.PIPE
            )
            seconds, memory = map(float, spent.output.split())
            rows.append((seconds, memory))
        ratio, shown = grown(name, sizes, rows)
        ratios.append(ratio)
        table += shown
        print(aligned([head, *shown]) + "\n", flush=True)
    tables: dict[str, Table] = {"growth": table}
    return concluded(arguments, ratios, tables=tables)


if __name__ == "__main__":
    sys.exit(main())
