"""Claim: what sampling, scoring, training, inversion, projection and films cost stands beside the least they could.

    python -m benchmarks.floors [--threads 2] [--json FILE]

The machine's rates are measured in the same run, before and after the work, and the better ones count: products of
matrices in float32 and bfloat16, memory (copy and triad, as in STREAM) and disk. Work is counted: torch's counter of
floating-point operations runs along for networks, formulas serve for the rest; bytes are those that no program can
avoid: weights and inputs read once, outputs written once. The floor is the longest of operations over their rate, bytes
over the memory's and written bytes over the disk's, as if everything else were free and all overlapped. The distance is
the measured time over it.

What fills the gap is found by a profiler in a further run. For networks it is in shares of the gap: what convolutions
and products take above the floor, and all that a floor does not count. For the rest it is in shares of the time.

References:
    Williams, Waterman, Patterson (2009), "Roofline: an insightful visual performance model".
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import latentkit as lk
from benchmarks.claims import concluded, number, parsed, parser
from benchmarks.clips import clips
from benchmarks.clocks import timed
from benchmarks.profiles import ARITHMETIC, Operations, function_shares, operation_shares, operations_of, spoken
from benchmarks.rates import Rates, measured_rates
from latentkit.animation import from_frames
from latentkit.nets import DCGANGenerator
from latentkit.nets.fitting import initialised
from latentkit.projection import nearest_rows
from latentkit.projection.descent import REPELLED, descend
from latentkit.tables import aligned
from trainers import GANConfig, digits, train_gan
from trainers.loop import native_bfloat16

FLOAT, NEIGHBOURS = 4, 15

#: Operations of one attraction and of one repulsion of the descent in two dimensions: differences, the squared length,
#: the place in a table, two products, two limits, and sums.
ATTRACTION, REPULSION = 20, 21

#: Seconds after which no further run is timed.
LONG_ENOUGH = 10.0

#: Steps of training in which everything happens once that does not happen in each: the penalty comes every 16th.
ROUND = 16


@dataclass(frozen=True)
class Work:
    """Something that is counted and timed.

    Attributes: `name`; `operations`; `read_written`, bytes in memory; `stored`, bytes on the disk; `run`, which does
    it; `network`, whether torch's operations are what is profiled; `precision` of the operations; `seconds`, what it
    takes, or None to time `run`.
    """

    name: str
    operations: float
    read_written: float
    run: Callable[[], object]
    network: bool = True
    stored: float = 0.0
    precision: str = "float32"
    seconds: float | None = None

    def floor(self, rates: Rates) -> float:
        """Return the seconds that no program can beat at these rates."""
        counted = self.operations / getattr(rates, self.precision)
        return max(counted, self.read_written / rates.memory, self.stored / rates.disk)


def tensor_bytes(*tensors: torch.Tensor) -> int:
    """Return the bytes of tensors."""
    return sum(one.numel() * one.element_size() for one in tensors)


def weight_bytes(model: Any) -> int:
    """Return the bytes of the parameters and buffers of the networks that a model is made of."""
    seen: dict[int, torch.nn.Module] = {}
    todo = [model]
    while todo:
        one = todo.pop()
        if isinstance(one, torch.nn.Module):
            seen[id(one)] = one
        else:
            todo += [part for name in ("module", "critic", "inner") if (part := getattr(one, name, None)) is not None]
    return sum(tensor_bytes(*one.parameters(), *one.buffers()) for one in seen.values())


def sampling(name: str, generator: lk.Generator, count: int) -> Work:
    """Return the work of samples of latents."""
    latents = generator.prior.sample(count, seed=0)
    with torch.no_grad():
        few = generator(latents[:8])
        each = operations_of(lambda: generator(latents[:8])) / 8
    moved = weight_bytes(generator) + tensor_bytes(latents) + tensor_bytes(few) / 8 * count
    return Work(f"sampling, {name}, {count:,}", each * count, moved, lambda: lk.generate(generator, latents))


def scoring(checkpoint: lk.Checkpoint, count: int) -> Work:
    """Return the work of a critic's scores of samples that are there."""
    critic: Any = checkpoint.critic
    samples = lk.generate(checkpoint.generator, checkpoint.generator.prior.sample(count, seed=0))
    with torch.no_grad():
        each = operations_of(lambda: critic(samples[:8])) / 8
    moved = weight_bytes(critic) + tensor_bytes(samples) + FLOAT * count
    return Work(f"scoring, bundled critic, {count:,}", each * count, moved, lambda: lk.score(critic, samples))


def training(settings: Any, threads: int, rounds: int) -> Work:
    """Return the work of one training step of the bundled recipe on images of 32x32, in batches of 128."""
    data, known = digits(), {one.name for one in fields(GANConfig)}
    changes = {"batch_size": 128, "threads": threads, "check_every": 10**6, "holdout": 200}
    kept: Any = {name: value for name, value in settings.items() if name in known}
    config = GANConfig(**{**kept, **changes})

    def run(steps: int, on_step: Any = None) -> Any:
        return train_gan(data, replace(config, steps=steps), on_step=on_step, progress=False)

    counts: list[float] = []
    with Operations() as counter:
        run(ROUND + 3, lambda _: counts.append(counter.count))
    times: list[float] = []
    steps = rounds * ROUND
    # The first step lays out memory, and the last one is followed by a look at the samples.
    made = run(steps + 3, lambda _: times.append(time.perf_counter()))
    weights = tensor_bytes(*made.generator.module.parameters(), *made.critic.parameters())
    return Work(
        "training step, bundled recipe, batch 128",
        (counts[ROUND + 1] - counts[1]) / ROUND,
        # Weights, gradients and the two moments of Adam are read and written, and so are the averaged weights.
        10 * weights + 128 * 32 * 32,
        lambda: run(ROUND),
        precision="bfloat16" if native_bfloat16("cpu") else "float32",
        seconds=(times[steps + 1] - times[1]) / steps,
    )


def inverting(checkpoint: lk.Checkpoint, count: int) -> Work:
    """Return the work of finding the latents of held-out images in one batch."""
    generator, samples = checkpoint.generator, checkpoint.holdout[:count]
    run = lambda: lk.invert(generator, samples)  # noqa: E731 - counted and timed alike
    return Work(
        f"inversion, bundled, batch of {count}",
        operations_of(run),
        weight_bytes(generator) + tensor_bytes(samples),
        run,
    )


def searching(rows: int, width: int) -> Work:
    """Return the work of the nearest neighbours of each row, all distances computed."""
    given = lk.Normal(width).sample(rows, seed=0)
    moved = tensor_bytes(given) + rows * NEIGHBOURS * (FLOAT + 8)
    count = 2.0 * rows * rows * width
    return Work(f"neighbours, {rows:,} x {width}", count, moved, lambda: nearest_rows(given, NEIGHBOURS))


def descending(rows: int, epochs: int) -> Work:
    """Return the work of UMAP's descent over a graph of random edges, whose strengths fall as neighbours' do."""
    from scipy.sparse import coo_array

    rng = np.random.default_rng(0)
    strength = np.tile(np.exp(-np.arange(NEIGHBOURS) / 4.0), rows)
    edges = rng.integers(0, rows, (2, rows * NEIGHBOURS))
    graph = coo_array((strength, (edges[0], edges[1])), shape=(rows, rows)).tocsr()
    start = rng.normal(0.0, 5.0, (rows, 2)).astype(np.float32)
    moves = float(np.floor(epochs * graph.data / graph.data.max()).sum())

    def run(length: int = epochs) -> object:
        return descend(start, graph, epochs=length, a=1.577, b=0.895, seed=0, progress=False)

    run(1)  # compiled, or found on the disk
    return Work(
        f"UMAP's descent, {rows:,} rows, {epochs} epochs",
        moves * (ATTRACTION + REPELLED * REPULSION),
        # When each edge is due is read in every epoch; its ends, and what is moved, when it is.
        float(epochs) * graph.nnz * FLOAT + moves * 6 * FLOAT,
        run,
        network=False,
    )


def encoding(frames: int, folder: Path) -> Work:
    """Return the work of a GIF of frames of 256x256: colours read, indices written, the file on the disk."""
    name, clip = next(iter(clips(frames).items()))
    path = folder / "floor.gif"
    run = lambda: from_frames(clip, fps=25).save(path)  # noqa: E731 - sized and timed alike
    run()
    pixels = sum(frame.shape[0] * frame.shape[1] for frame in clip)
    return Work(f"GIF, {name}", 0.0, 4.0 * pixels, run, network=False, stored=float(path.stat().st_size))


def timed_work(work: Work, tries: int) -> float:
    """Return the median seconds of several runs, fewer where they are long, after one that is not counted."""
    if work.seconds is not None:
        return work.seconds
    run, seconds = timed(work.run), []
    run()
    while len(seconds) < tries and sum(seconds) < LONG_ENOUGH:
        seconds.append(run())
    return statistics.median(seconds)


def gap(work: Work, floor: float, seconds: float) -> str:
    """Return what the time above the floor consists of, by a profiler."""
    if not work.network:
        return f"of the time: {spoken(function_shares(work.run))}"
    parts = {kind: share * seconds for kind, share in operation_shares(work.run).items()}
    counted = sum(parts.pop(kind, 0.0) for kind in ARITHMETIC)
    parts["convolutions and products slower than the rate"] = max(counted - floor, 0.0)
    whole = sum(parts.values()) or 1.0
    return f"of the gap: {spoken({kind: value / whole for kind, value in parts.items()})}"


def main(argv: list[str] | None = None) -> int:
    """Print the rates and the floors."""
    options = parser(__doc__)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--samples", type=int, default=1024, help="of sampling and scoring (default 1024)")
    options.add_argument("--rows", type=int, default=10_000, help="of projection (default 10000)")
    options.add_argument("--epochs", type=int, default=200, help="of the descent (default 200)")
    options.add_argument("--rounds", type=int, default=3, help="of 16 steps of training (default 3)")
    options.add_argument("--batch", type=int, default=64, help="of inversion (default 64)")
    options.add_argument("--frames", type=int, default=120, help="of the GIF (default 120)")
    options.add_argument("--tries", type=int, default=5)
    options.add_argument("--size", type=int, default=1024, help="rows of the matrices of the rates (default 1024)")
    options.add_argument("--mebibytes", type=int, default=256, help="of each array of the rates (default 256)")
    quick = {"threads": 1, "samples": 32, "rows": 500, "epochs": 5, "rounds": 1, "batch": 4, "frames": 2, "tries": 1}
    arguments = parsed(options, argv, quick=quick | {"size": 256, "mebibytes": 8})
    torch.set_num_threads(arguments.threads)
    checkpoint = lk.load("fashion-mnist")
    whole, shoes = lk.marginal(checkpoint), lk.condition(checkpoint, "sneaker")
    dcgan = lk.wrap(initialised(lambda: DCGANGenerator(100, 3, 64, 64), 0).eval().requires_grad_(False), lk.Normal(100))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known = {"size": arguments.size, "mebibytes": arguments.mebibytes, "tries": 4 * arguments.tries}
        counts = sorted({1, arguments.threads})
        rates = [measured_rates(count, folder=folder, **known) for count in counts]
        makers: list[Callable[[], Work]] = [
            lambda: sampling("DCGAN 64x64", dcgan, arguments.samples),
            lambda: sampling("bundled 32x32", whole.generator, arguments.samples),
            lambda: scoring(whole, arguments.samples),
            lambda: training(checkpoint.settings, arguments.threads, arguments.rounds),
            lambda: inverting(shoes, arguments.batch),
            lambda: searching(arguments.rows, 128),
            lambda: descending(arguments.rows, arguments.epochs),
            lambda: encoding(arguments.frames, folder),
        ]
        works: list[tuple[Work, float]] = []
        for make in makers:
            work = make()
            works.append((work, timed_work(work, arguments.tries)))
            print(f"{work.name}: {number(1000 * works[-1][1])} ms", flush=True)
        # Once more, as a slow spell of the machine would make a floor of what is none.
        again = [measured_rates(count, folder=folder, **known) for count in counts]
        rates = [one.better(other) for one, other in zip(rates, again, strict=True)]
        head = ["threads", "float32 GFLOP/s", "bfloat16 GFLOP/s", "copy GB/s", "triad GB/s", "disk GB/s"]
        shown = [
            [str(one.threads), *(number(value / 1e9) for value in list(asdict(one).values())[1:])] for one in rates
        ]
        print("\n" + aligned([head, *shown]) + "\n", flush=True)
        rows, found = [["work", "operations", "bytes", "floor", "measured", "distance", "what fills the gap"]], []
        for work, seconds in works:
            # The descent is a chain on one thread; a GIF's coder too.
            floor = work.floor(rates[-1] if work.network else rates[0])
            text = gap(work, floor, seconds)
            sizes = [f"{value:.2g}" for value in (work.operations, work.read_written + work.stored)]
            figures = [f"{number(1000 * value)} ms" for value in (floor, seconds)]
            rows.append([work.name, *sizes, *figures, number(seconds / floor), text])
            print(aligned([rows[0][:-1], rows[-1][:-1]]) + f"\n    {text}\n", flush=True)
            found.append({"work": work.name, "operations": work.operations, "floor": floor, "seconds": seconds})
    tables = {"rates": [head, *shown], "floors": rows}
    return concluded(arguments, [], tables=tables, rates=[asdict(one) for one in rates], works=found)


if __name__ == "__main__":
    sys.exit(main())
