"""Claim: data-matched, mended and refined sampling follow the data where published samplers do not.

    python -m benchmarks.toy_truth --cache DIR [--data grid25 ...] [--seeds 0 1 2] [--heavy 2000]

On generators of three kinds and three seeds (`benchmarks.toy_generators` trains those that DIR lacks) it runs every
sampler, real data and a copying control, and prints for each the mean and the worst seed. What was measured is kept in
DIR/results, a file a generator, and not measured again. Samplers see training and held-out samples alone; the truth
judges. 10,000 samples a row, but `--heavy` for those that take hundreds of evaluations a sample; one thread.

Columns: high quality (within 4 sd) and within 3 sd in %; modes with at least a fifth of their share; sd within modes
(or across the roll); Jensen-Shannon divergence of the weights; sliced Wasserstein distance; copy ratio (1 is right);
evaluations of the generator a kept sample; CPU seconds for 10,000 samples, and to fit.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import latentkit as lk
from benchmarks.toy_generators import KINDS, NAMES, SEEDS, checkpoint, data_of, split_of
from latentkit import streams

COUNT, BATCH = 10_000, 4096
TOYS = {
    "grid25": lk.grid25_mixture,
    "imbalanced-ring": lambda: lk.ring_mixture(tuple(range(1, 9))),
    "swiss-roll": lk.SwissRoll,
}
POINTS = ("good %", "3 sd %", "modes", "sd", "JS", "SW", "copy", "evaluations", "s/10k", "fit s")
NOTES = ("AUC", "Z raw", "Z", "ECE", "ECE floor", "repairs", "holes", "noise")
IMAGES = ("precision", "recall", "density", "coverage", "copy", "evaluations", "s/10k", "fit s")


@dataclass(frozen=True)
class Setting:
    """One generator with its critic and real samples; `toy` is the truth, or None for the digits."""

    name: str
    generator: Any
    critic: Any
    train: Tensor
    held_out: Tensor
    toy: Any
    heavy: int


@dataclass(frozen=True)
class Drawn:
    """Samples with what they cost: evaluations each, seconds for 10,000, seconds to fit."""

    samples: Tensor
    evaluations: float
    seconds: float
    fit: float = 0.0
    note: dict[str, float] = field(default_factory=dict)


def judged(setting: Setting, drawn: Drawn) -> dict[str, Any]:
    """Return the row of a table."""
    x = drawn.samples
    cost = {"evaluations": drawn.evaluations, "s/10k": drawn.seconds, "fit s": drawn.fit}
    copy = lk.copy_ratio(setting.train, setting.held_out, x[:2000], resamples=20).ratio
    if setting.toy is None:
        n = len(setting.held_out)
        found = lk.sample_quality(setting.held_out, x[:n])
        figures = {name: getattr(found, name) for name in ("precision", "recall", "density", "coverage")}
        return {**figures, "copy": copy, **cost, "count": len(x)}
    truth = lk.toy_truth(x, setting.toy, seed=99)
    return {
        "good %": 100 * truth.high_quality,
        "3 sd %": 100 * truth.within_3_sd,
        "modes": truth.strict_modes,
        "missing": list(truth.missing),
        "sd": truth.sd,
        "JS": truth.js,
        "SW": truth.sliced_wasserstein,
        "copy": copy,
        **cost,
        "count": len(x),
        **drawn.note,
    }


def timed(make: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a function gives, and the CPU seconds that it took."""
    start = time.process_time()
    made = make()
    return made, time.process_time() - start


def taken(sample: Any, seconds: float, fit: float = 0.0) -> Drawn:
    """Return a sampler's result as a row."""
    return Drawn(sample.samples, sample.cost.generator, seconds * COUNT / len(sample), fit)


def controls(setting: Setting) -> Iterator[tuple[str, Callable[[], Drawn]]]:
    """Yield fresh real data, where there are more, and copies of the training data."""
    train = setting.train
    rows = torch.arange(COUNT) % len(train)
    jitter = 0.0005 * torch.from_numpy(streams.normal(COUNT, train.shape[1], seed=1)).float()
    if setting.toy is not None:
        yield "real data", lambda: Drawn(setting.toy.sample(COUNT, 12345), 0.0, 0.0)
    yield "copies of the training data", lambda: Drawn(train[rows] + jitter, 0.0, 0.0)


def published(setting: Setting) -> Iterator[tuple[str, Callable[[], Drawn]]]:
    """Yield the plain generator and the published samplers, with the GAN's own critic.

    Those that weigh by the density ratio get it calibrated on held-out samples, those that follow its gradient as it
    is, as their papers do.
    """
    generator, heavy = setting.generator, setting.heavy
    half = len(setting.held_out) // 2
    fakes = lk.generate(generator, generator.prior.sample(half, seed=21), batch_size=BATCH)

    def critic(method: str | None = None) -> Any:
        return lk.calibrate(setting.critic, setting.held_out[:half], fakes, method=method).applied(setting.critic)

    def run(method: Any, n: int, *, raw: bool = False, **options: Any) -> Drawn:
        judge, fit = timed(lambda: setting.critic if raw else critic())
        return taken(*timed(lambda: method(generator, judge, n, seed=5, batch_size=BATCH, **options)), fit)

    def plain(latents: Tensor) -> Drawn:
        samples, seconds = timed(lambda: lk.generate(generator, latents, batch_size=BATCH))
        return Drawn(samples, 1.0, seconds)

    def learned() -> Drawn:
        judge = critic("logistic")
        weights, fit = timed(lambda: lk.fit_latent_weights(generator, judge, seed=3))
        return taken(*timed(lambda: lk.amortised(generator, judge, COUNT, weights=weights, seed=5)), fit)

    def gate() -> Drawn:
        threshold = lk.gate_threshold(setting.critic, setting.held_out)
        return taken(
            *timed(lambda: lk.gated(generator, setting.critic, COUNT, threshold=threshold, seed=5, batch_size=BATCH))
        )

    logits = lk.score(critic(), setting.held_out[half:])
    yield "plain", lambda: plain(generator.prior.sample(COUNT, seed=5))
    yield "truncation at 1.5", lambda: plain(lk.truncated_sample(generator.prior, COUNT, threshold=1.5, seed=5))
    yield "rejection, 80th percentile", lambda: run(lk.rejection, COUNT, percentile=80.0)
    yield "Metropolis-Hastings, 640", lambda: run(lk.metropolis, heavy, real_logits=logits)
    yield "Langevin (MALA), 100", lambda: run(lk.langevin, heavy, raw=True)
    yield "gradient flow, 25", lambda: run(lk.gradient_flow, heavy, raw=True)
    yield "optimal transport, 100", lambda: run(lk.transport, heavy, raw=True)
    yield "importance resampling", lambda: run(lk.resampling, COUNT)
    yield "amortised weights", learned
    yield "gate of the own critic", gate


def ours(setting: Setting) -> Iterator[tuple[str, Callable[[], Drawn]]]:
    """Yield the samplers that follow the data."""
    generator, train, held_out = setting.generator, setting.train, setting.held_out
    shared: dict[str, Any] = {"seed": 7, "batch_size": BATCH}
    matching, fit = timed(lambda: lk.match_latents(generator, train, held_out, **shared))

    def gated(model: Any, found: Any, spent: float) -> Drawn:
        support = found.support if isinstance(found, lk.Matching) else found
        proposal = found if isinstance(found, lk.Matching) else None
        return taken(
            *timed(lambda: lk.gated(model, support, COUNT, threshold=0.0, proposal=proposal, seed=5, batch_size=BATCH)),
            spent,
        )

    def ungated(model: Any, found: Any, spent: float) -> Drawn:
        samples, seconds = timed(lambda: lk.generate(model, found.sample(COUNT, seed=5), batch_size=BATCH))
        return Drawn(samples, 1.0, seconds, spent)

    coarse = matching.distance > matching.support.apart

    def mend() -> tuple[Any, Any]:
        model = lk.repair(generator, train, coarse, seed=11)
        return model, lk.match_latents(model, train, held_out, **shared)

    (model, mended), spent = timed(mend)
    yield "gate of the support", lambda: gated(generator, matching.support, 0.0)
    yield "matched", lambda: ungated(generator, matching, fit)
    yield "matched, gated", lambda: gated(generator, matching, fit)
    yield "mended, plain", lambda: ungated(model, model.prior, spent)
    yield "mended, matched", lambda: ungated(model, mended, fit + spent)
    yield "mended, matched, gated", lambda: gated(model, mended, fit + spent)
    if setting.toy is None:
        return
    found, time_to_fit = timed(lambda: lk.refine(generator, train, held_out, seed=7, batch_size=BATCH))

    def refined() -> Drawn:
        drawn = taken(*timed(lambda: found.sample(COUNT, seed=5)), time_to_fit)
        # Judged on more fresh pairs than the held-out samples are: the fewer, the more the error is chance.
        fakes = found.proposal.sample(COUNT, seed=41)
        sides = setting.toy.sample(COUNT, 4242), lk.generate(found.generator, fakes, batch_size=BATCH)
        after = found.opinion.calibration.measured(*(lk.score(found.opinion.critic, side) for side in sides))
        note = {"Z": after.z, "ECE": after.ece, "ECE floor": after.ece_floor, "repairs": found.repairs}
        return replace(drawn, note={**note, "holes": len(found.holes), "noise": found.generator.tau})

    yield "refined", refined


def calibration_of(setting: Setting) -> dict[str, float]:
    """Return how far the GAN's own critic is from calibrated, before and after, on samples that fitted neither."""
    half = len(setting.held_out) // 2
    fakes = lk.generate(setting.generator, setting.generator.prior.sample(2 * half, seed=31), batch_size=BATCH)
    found = lk.calibrate(setting.critic, setting.held_out[:half], fakes[:half])
    logits = lk.score(setting.critic, setting.held_out[half : 2 * half]), lk.score(setting.critic, fakes[half:])
    after = found.measured(*logits)
    return {"AUC": found.auc, "Z raw": found.z_raw, "Z": after.z, "ECE": after.ece, "ECE floor": after.ece_floor}


def measured(setting: Setting) -> dict[str, Any]:
    """Return all rows of one generator."""
    rows: dict[str, Any] = {}
    for group in (controls, published, ours):
        for name, draw in group(setting):
            try:
                drawn = draw()
            except lk.CostError as error:
                rows[name] = {"refused": str(error)}
            else:
                rows[name] = judged(setting, drawn)
            print(f"  {name}: " + line(rows[name], POINTS if setting.toy else IMAGES), flush=True)
    rows["calibration"] = calibration_of(setting)
    return rows


def setting_of(name: str, kind: str, seed: int, cache: Path, heavy: int) -> Setting:
    """Return one generator, trained if the cache lacks it."""
    made = checkpoint(name, kind, seed, cache)
    train, held_out = split_of(data_of(name))
    return Setting(name, made.generator, made.critic, train, held_out, TOYS[name]() if name in TOYS else None, heavy)


def line(row: dict[str, Any], columns: tuple[str, ...]) -> str:
    """Return a row as text."""
    if "refused" in row:
        return f"refused: {row['refused'][:150]}"
    return " | ".join(f"{name} {row[name]:.4g}" for name in columns)


#: Of two values of a column, which is worse: the smaller one, the larger one, or the one farther from a value.
WORSE: dict[str, Callable[[float], float]] = {
    **dict.fromkeys(("good %", "modes", "precision", "recall", "coverage", "density"), lambda v: -v),
    **dict.fromkeys(("JS", "SW", "evaluations", "s/10k", "fit s"), lambda v: v),
    "3 sd %": lambda v: abs(v - 98.89),
    "sd": lambda v: abs(v - 0.05),
    "copy": lambda v: abs(v - 1.0),
}


def short(value: float) -> str:
    """Return a number with as many digits as mean something."""
    return "0" if abs(value) < 1e-4 else f"{value:.4g}" if abs(value) >= 10 else f"{value:.3g}"


def table(found: list[dict[str, Any]], columns: tuple[str, ...], sd: float) -> str:
    """Return Markdown: the mean of each figure over seeds, and the worst in brackets."""
    worse = {**WORSE, "sd": lambda v: abs(v - sd)}
    out = [f"| | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for name in [key for key in found[0] if key != "calibration"]:
        rows = [each[name] for each in found if "refused" not in each[name]]
        if not rows:
            out.append(f"| {name} | refused: {found[0][name]['refused'].split(':')[0]} |" + " |" * (len(columns) - 1))
            continue
        cells = []
        for column in columns:
            values = [row[column] for row in rows]
            worst = max(values, key=worse[column])
            mean = sum(values) / len(values)
            cells.append(f"{short(mean)} ({short(worst)})" if len(values) > 1 else short(mean))
        refused = "" if len(rows) == len(found) else f", refused in {len(found) - len(rows)}"
        out.append(f"| {name}{refused} | {' | '.join(cells)} |")
    return "\n".join(out)


def main() -> None:
    """Measure what is not measured, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--data", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--heavy", type=int, default=2000, help="samples of the samplers with hundreds of evaluations")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = arguments.cache / "results"
    results.mkdir(parents=True, exist_ok=True)
    for name in arguments.data:
        for kind in arguments.kinds:
            found = []
            for seed in arguments.seeds:
                file = results / f"{name}-{kind.replace(' ', '-')}-{seed}.json"
                if not file.exists():
                    print(file.stem, flush=True)
                    rows = measured(setting_of(name, kind, seed, arguments.cache, arguments.heavy))
                    file.write_text(json.dumps(rows, indent=1), encoding="utf-8")
                found.append(json.loads(file.read_text(encoding="utf-8")))
            toy = TOYS[name]() if name in TOYS else None
            print(f"\n### {name}, {kind}, {len(found)} seeds: mean (worst)\n")
            print(table(found, POINTS if toy else IMAGES, 0.0 if toy is None else toy.sd))
            for seed, rows in zip(arguments.seeds, found, strict=True):
                for whose, figures in (("own", rows["calibration"]), ("refined", rows.get("refined", {}))):
                    shown = [f"{key} {figures[key]:.3g}" for key in NOTES if key in figures]
                    print(f"\nseed {seed}, {whose} critic: " + ", ".join(shown))


if __name__ == "__main__":
    main()
