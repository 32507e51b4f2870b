"""What the chart of a large quality map takes beside its scores, and how good places on it are."""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch

import latentkit as lk
from benchmarks.clocks import interleaved, timed
from latentkit.projection import sample_features
from latentkit.protocols import Critic, Generator
from latentkit.quality import Chart, QualityMap, calibrate_against, score_latents
from latentkit.quality.blocks import ScoreWork, block_rows
from latentkit.quality.charting import chart_first
from latentkit.quality.stored import Frame
from latentkit.sampling.batches import planned_batch
from latentkit.sampling.prepared import prepared

__all__ = ["LARGE", "bare_loop", "judged_generator", "placing"]

#: A map that is worth the fixed costs.
LARGE = 1_000_000


def judged_generator() -> tuple[Generator, Critic, torch.Tensor]:
    """Return the bundled generator with its critic and held-out images."""
    checkpoint = lk.marginal(lk.load("fashion-mnist"))
    if checkpoint.critic is None:
        raise SystemExit("the bundled checkpoint has no critic")
    return checkpoint.generator, checkpoint.critic, checkpoint.holdout


def bare_loop(generator: Generator, critic: Critic, count: int, size: int) -> Callable[[], None]:
    """Return the loop that draws, makes and scores at least `count` latents, `size` at a time, and no more."""
    quick = prepared(generator)
    judge = prepared(critic, probe=lk.generate(generator, generator.prior.sample(4, seed=0)))
    noise = torch.Generator().manual_seed(0)

    def run() -> None:
        with torch.inference_mode():
            for _ in range(0, count, size):
                judge(quick(torch.randn(size, generator.prior.dim, generator=noise)))

    return run


def placing(size: int, count: int, rounds: int) -> dict[str, float]:
    """Return what the chart of a map of a million takes, and how good places on it are.

    Processor seconds of this process, which what else runs on the machine moves little.

    Args:
        size: points of the chart.
        count: latents that are placed, none of them charted.
        rounds: of the race.
    """
    generator, critic, real = judged_generator()
    batch = planned_batch(None, LARGE, generator, critic=critic)
    clock = time.process_time
    start = clock()
    calibration = calibrate_against(generator, critic, real, seed=0, start=LARGE, batch_size=batch)
    frame = Frame(generator.prior, 0, calibration, lk.score(critic, real[:10_000], batch_size=batch))
    calibrating = clock() - start
    # As in a map of a million, or fewer in a smoke run.
    block = min(block_rows(LARGE, batch, generator.prior.dim), -(-2 * size // batch) * batch)
    plain = ScoreWork(generator, critic, calibration, 0, batch)
    bare = bare_loop(generator, critic, block, batch)
    plain(0, block)
    start = clock()
    frame = chart_first(plain, LARGE, size, real[0].numel(), block, frame)
    charting = clock() - start
    seen = sum(stop - start for start, stop in plain.kept)
    if frame.chart is None:
        raise SystemExit("there is no chart")
    exact = replace(frame.chart, exact=True)
    chart = replace(exact, exact=False)
    start = clock()
    short = chart.placing
    building = clock() - start
    starts = iter(range(LARGE, 10**12, block))

    def scored(work: ScoreWork) -> Callable[[], object]:
        def run() -> object:
            first = next(starts)
            return work(first, first + block)

        return run

    runs = {
        "bare": bare,
        "plain": scored(replace(plain, kept={})),
        "charted": scored(replace(plain, kept={}).on(frame)),
    }
    found = interleaved({name: timed(run, clock) for name, run in runs.items()}, rounds, warm_up=1)
    # Those that the chart was chosen among are scored once in all, and were it before.
    once = calibrating + building + charting - seen / block * found.median("plain")
    latents = generator.prior.sample(count, seed=1)
    logits = score_latents(generator, critic, latents, batch_size=batch)
    others = QualityMap.of(generator.prior, latents, logits, calibration, 1, real_logits=frame.real_logits)
    samples = sample_features(generator, latents, "samples", batch_size=batch)
    taken: dict[str, torch.Tensor] = {}

    def placed(name: str, chart: Chart) -> Callable[[], None]:
        def run() -> None:
            taken[name] = chart.nearest(samples)

        return run

    by = {name: timed(placed(name, chart), clock) for name, chart in (("exact", exact), ("short", chart))}
    placings = interleaved(by, 1, warm_up=0)
    features, points = exact.features, {name: places.long() for name, places in taken.items()}
    away = {name: (samples - features[rows]).norm(dim=1) for name, rows in points.items()}
    maps = [replace(others, chart=exact, places=taken[name]) for name in ("exact", "short")]
    levels = [others.threshold, *others.probability.quantile(torch.tensor([0.5, 0.75, 0.9], dtype=torch.float64))]
    islands = [[one.islands(float(level)) for level in levels] for one in maps]
    moved = max(
        float((a.labels != b.labels).double().mean()) if len(a) == len(b) else 1.0
        for a, b in zip(*islands, strict=True)
    )
    counted = max(
        float(((a.count - b.count).abs() / a.count).max()) if len(a) == len(b) > 0 else float(len(a) != len(b))
        for a, b in zip(*islands, strict=True)
    )
    best = int(others.probability.argmax())
    ways = [one.bottleneck(torch.arange(count), best).nan_to_num(0.0) for one in maps]
    return {
        "charted": len(exact),
        "looked through": seen,
        "placed": count,
        "islands": len(islands[0][0]),
        "once, processor seconds": once,
        "a latent of a map without a chart / a bare one": found.ratio("plain", "bare"),
        "a latent of a map with a chart / a bare one": found.ratio("charted", "bare"),
        "charted map of a million / bare loop": statistics.median(
            (once + LARGE / block * a) / (LARGE / block * b)
            for a, b in zip(found.seconds["charted"], found.seconds["bare"], strict=True)
        ),
        "placing exactly, microseconds a latent": placings.median("exact") / count * 1e6,
        "placing, microseconds a latent": placings.median("short") / count * 1e6,
        "share at the exact place": float((points["exact"] == points["short"]).double().mean()),
        "distance / exact distance": float((away["short"] / away["exact"].clamp(min=1e-12)).mean()),
        "share on another island": moved,
        "change of an island's count, largest": counted,
        "change of a bottleneck, mean": float((ways[0] - ways[1]).abs().mean()),
        "memory of cells and coordinates, MiB": sum(
            part.numel() * part.element_size()
            for part in (short.basis, short.coordinates, short.weights, short.members)
        ) / 2**20,
    }  # fmt: skip
