"""Claim: 100,000 samples and a map of ten million are made in flat memory, and a map costs little beyond its scores.

    python -m benchmarks.stores [--samples 100000] [--mapped 10000] [--points 10000000] [--rounds 9] \
        [--charted 20000] [--placed 20000] [--json FILE]

Four parts, each in a process of its own. *Streaming*: samples of 64x64x3 of a narrow DCGAN go to disk as bytes, and
the resident memory is read as they go. *Mapping*: `quality_map` of the bundled generator, into a store, against the
bare loop of drawing, generating and scoring with the same batches, in turns; what a map takes once, such as its
calibration, is measured by itself, and the ratio is that of a map of a million. *Placing*: the same with a chart, as a
map of a million has it by default; and how good its latents' places on the chart are, against the exact ones. *Points*:
a map of ten million points
of the plane, whose generator and critic cost next to nothing, and what is chosen of it.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

import latentkit as lk
from benchmarks.claims import at_least, at_most, concluded, parsed, parser
from benchmarks.clocks import interleaved, peak, process, python, resident, restart_peak, timed
from benchmarks.placings import LARGE, bare_loop, judged_generator, placing
from latentkit.nets import DCGANGenerator
from latentkit.nets.fitting import initialised
from latentkit.quality import calibrate_against
from latentkit.sampling.batches import planned_batch
from latentkit.sampling.stored import estimate_samples, sample_to
from latentkit.stores import open_store

#: Width of the DCGAN, seconds between two readings of the memory, and the share of the rows that is the warm-up.
WIDTH, EVERY, WARM_UP = 16, 0.05, 0.2


@contextmanager
def memory_by_rows(folder: Path, block: int) -> Iterator[list[tuple[int, float]]]:
    """Give a list that fills with the rows that are done in a store and the MiB that are resident then."""
    readings: list[tuple[int, float]] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(EVERY):
            markers = folder / "_blocks"
            done = sum(1 for _ in markers.iterdir()) if markers.is_dir() else 0
            readings.append((done * block, resident()))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield readings
    finally:
        ended.set()
        thread.join()


def streaming(count: int, home: Path) -> dict[str, float]:
    """Return what streaming so many samples takes."""
    generator = lk.wrap(initialised(lambda: DCGANGenerator(100, 3, 64, WIDTH), seed=0).eval(), lk.Normal(100))
    estimate_samples(generator, count)  # which looks for the batch size, once a machine
    most = peak()
    restart_peak()
    needed = estimate_samples(generator, count)
    began = time.perf_counter()
    with memory_by_rows(home / "samples", needed.table.block) as readings:
        store = sample_to(home / "samples", generator, count)
    seconds = time.perf_counter() - began
    # Within a block the memory rises and falls; what counts is whether the peaks of later blocks are higher.
    peaks: dict[int, float] = {}
    for row, mebibytes in readings[:-1]:
        if row >= WARM_UP * count:
            peaks[row] = max(mebibytes, peaks.get(row, 0.0))
    return {
        "samples": len(store),
        "seconds": seconds,
        "bytes on disk": store.nbytes,
        "peak MiB": peak(),
        "peak MiB of the search for a batch size": most,
        "estimated MiB": needed.memory / 2**20,
        "MiB in 10,000": float(np.polyfit(np.array(list(peaks)) / 1e4, list(peaks.values()), 1)[0]),
    }


def mapping(count: int, rounds: int, home: Path) -> dict[str, float]:
    """Return what a map in a store takes beside the bare loop."""
    generator, critic, real = judged_generator()
    size = planned_batch(None, LARGE, generator, critic=critic)
    bare = bare_loop(generator, critic, count, size)
    numbers = iter(range(10**9))
    calibration = None

    def made(n: int) -> None:
        store = home / f"map-{next(numbers)}"
        lk.quality_map(
            generator, critic, real, n=n, batch_size=size, calibration=calibration, graph_limit=0,
            allow_uninformative=True, store=store,
        )  # fmt: skip

    start = time.perf_counter()
    calibration = calibrate_against(generator, critic, real, seed=0, start=count, batch_size=size)
    calibrating = time.perf_counter() - start
    count = -(-count // size) * size
    runs = {"bare": timed(bare), "map": timed(lambda: made(count)), "once": timed(lambda: made(size))}
    found = interleaved(runs, rounds, warm_up=1)
    bare_each = [seconds / count for seconds in found.seconds["bare"]]
    each = [(a - b) / (count - size) for a, b in zip(found.seconds["map"], found.seconds["once"], strict=True)]
    once = calibrating + found.median("once")
    return {
        "latents": count,
        "batch size": size,
        "bare, seconds": found.median("bare"),
        "map, seconds": found.median("map"),
        "once, seconds": once,
        "a latent of a map / a bare one": statistics.median(a / b for a, b in zip(each, bare_each, strict=True)),
        "map of a million / bare loop": statistics.median(
            (once + LARGE * a) / (LARGE * b) for a, b in zip(each, bare_each, strict=True)
        ),
    }


def points(count: int, home: Path) -> dict[str, float]:
    """Return what a map of so many points takes, and what is chosen of it."""
    prior = lk.Normal(2)
    real = prior.sample(5000, seed=1) + torch.tensor([1.5, 0.0])
    before = peak()
    start = time.perf_counter()
    found = lk.quality_map(
        lk.wrap(lambda z: z, prior), lambda x: x[:, 0], real, n=count, batch_size=4096, method="logistic",
        graph_limit=0, store=home / "points",
    )  # fmt: skip
    seconds, made = time.perf_counter() - start, peak()
    start = time.perf_counter()
    chosen = len(found.top(0.001)), len(found.above(0.99))
    return {
        "points": count,
        "seconds": seconds,
        "bytes on disk": open_store(home / "points").nbytes,
        "MiB before": before,
        "peak MiB": made,
        "chosen": sum(chosen),
        "seconds of choosing": time.perf_counter() - start,
        "peak MiB with choosing": peak(),
    }


PARTS = ("streaming", "mapping", "placing", "points")


def part(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Return the figures of one part."""
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory(dir=arguments.disk) as folder:
        home = Path(folder)
        if name == "streaming":
            return streaming(arguments.samples, home)
        if name == "mapping":
            return mapping(arguments.mapped, arguments.rounds, home)
        if name == "placing":
            return placing(arguments.charted, arguments.placed, arguments.rounds)
        return points(arguments.points, home)


def main(argv: list[str] | None = None) -> int:
    """Run the parts and print the table."""
    options = parser(__doc__)
    options.add_argument("--samples", type=int, default=100_000)
    options.add_argument("--mapped", type=int, default=10_000, help="latents of a map, in each round")
    options.add_argument("--points", type=int, default=10_000_000)
    options.add_argument("--charted", type=int, default=20_000, help="points of the chart of a map")
    options.add_argument("--placed", type=int, default=20_000, help="latents that are placed exactly as well")
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--disk", type=Path, help="a folder on the disk to write to; by default the temporary one")
    options.add_argument("--part", choices=PARTS, help="run this part alone and print its figures as JSON")
    quick: dict[str, Any] = {
        "samples": 8000,
        "mapped": 256,
        "charted": 400,
        "placed": 500,
        "points": 20_000,
        "rounds": 1,
    }
    arguments = parsed(options, argv, quick=quick)
    if arguments.part:
        print(json.dumps(part(arguments.part, arguments)))
        return 0
    names = ("samples", "mapped", "charted", "placed", "points", "rounds", "threads", "disk")
    values = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    common = [text for name, value in values.items() for text in (f"--{name}", str(value))]
    figures: dict[str, dict[str, float]] = {}
    for name in PARTS:
        done = process(python("-m", "benchmarks.stores", "--part", name, *common), stdout=subprocess.PIPE)
        figures[name] = json.loads(done.output.splitlines()[-1])
        print(name)
        for what, value in figures[name].items():
            print(f"    {what:48}{value:16,.4f}")
    one, other, chart, third = (figures[name] for name in PARTS)
    ratios = [
        at_most(
            f"peak memory of {arguments.samples:,} samples streamed to disk",
            max(one["peak MiB"], one["peak MiB of the search for a batch size"]), 1536, unit="MiB",
            limit="the search for a batch size, which tries large ones too; then torch itself, a batch and one block",
        ),
        at_most(
            "memory that 10,000 more samples take", one["MiB in 10,000"], 1.0, unit="MiB",
            limit="what the allocator keeps of blocks that come and go",
        ),
        at_most(
            "quality_map of 1,000,000 / drawing, generating and scoring them", other["map of a million / bare loop"],
            1.1, limit="latents by number instead of by a plain stream, their typicality, and the writing of scores",
        ),
        at_most(
            "charted quality_map of 1,000,000 / drawing, generating and scoring them",
            chart["charted map of a million / bare loop"], 1.1,
            limit="beside the scores: the chart's samples are made twice, the critic is calibrated, and each sample is "
            "looked for among the charted ones, most of it reading those that are compared",
        ),
        at_least(
            "share of latents at the exact place on the chart", chart["share at the exact place"], 0.85,
            limit="what 64 coordinates say of a sample, and the four charted ones that are compared by all numbers",
        ),
        at_most(
            "distance from a latent's place / from the exact one", chart["distance / exact distance"], 1.01,
            limit="the same",
        ),
        at_most(
            "share of latents on another island than by exact places", chart["share on another island"], 0.01,
            limit="latents between two islands",
        ),
        at_most(
            f"peak memory of a map of {arguments.points:,} points", third["peak MiB"], 1024, unit="MiB",
            limit="torch itself, and one block of latents and scores",
        ),
    ]  # fmt: skip
    return concluded(arguments, ratios, parts=figures)


if __name__ == "__main__":
    sys.exit(main())
