"""Claim: data-matched, mended and refined sampling follow the data where published samplers do not.

    python -m benchmarks.toy_truth --cache DIR [--data grid25 ...] [--seeds 0 1 2] [--heavy 2000] [--json FILE]

On generators of three kinds and three seeds (`benchmarks.toy_generators` trains those that DIR lacks) it runs every
sampler, real data and a copying control, and prints for each the mean and the worst seed. What was measured is kept in
DIR/results, a file a generator, and not measured again. Samplers see training and held-out samples alone; the truth
judges. 10,000 samples a row, but `--heavy` for those that take hundreds of evaluations a sample; one thread.

Columns: high quality (within 4 sd) and within 3 sd in %; modes with at least a fifth of their share; sd within modes
(or across the roll); Jensen-Shannon divergence of the weights; sliced Wasserstein distance; copy ratio (1 is right);
evaluations of the generator a kept sample; CPU seconds for 10,000 samples, and to fit.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import latentkit as lk
from benchmarks.claims import Ratio, at_least, at_most, concluded, parsed, parser
from benchmarks.toy_generators import KINDS, NAMES, SEEDS, checkpoint, data_of, split_of
from benchmarks.toy_samplers import BATCH, Drawn, Setting, controls, ours, published

TOYS = {
    "grid25": lk.grid25_mixture,
    "imbalanced-ring": lambda: lk.ring_mixture(tuple(range(1, 9))),
    "swiss-roll": lk.SwissRoll,
}
POINTS = ("good %", "3 sd %", "modes", "sd", "JS", "SW", "copy", "evaluations", "s/10k", "fit s")
NOTES = ("AUC", "Z raw", "Z", "ECE", "ECE floor", "repairs", "holes", "noise")
IMAGES = ("precision", "recall", "density", "coverage", "copy", "evaluations", "s/10k", "fit s")


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


def refined_ratios(whose: str, found: list[dict[str, Any]]) -> list[Ratio]:
    """Return what was claimed of refined samples of points, of the worst seed; nothing where there are none."""
    rows = [each["refined"] for each in found if "refined" in each and "refused" not in each["refined"]]
    if not rows:
        return []
    good, evaluations = min(row["good %"] for row in rows), max(row["evaluations"] for row in rows)
    return [
        at_least(f"{whose}: refined, good samples", good, 99.9, unit="%", limit="the gate's own error at the edge"),
        at_most(f"{whose}: refined, evaluations a sample", evaluations, 3.0, limit="the largest density ratio kept"),
    ]


def main(argv: list[str] | None = None) -> int:
    """Measure what is not measured, and print the tables."""
    options = parser(__doc__)
    options.add_argument("--cache", type=Path, required=True)
    options.add_argument("--data", nargs="+", choices=NAMES, default=NAMES)
    options.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    options.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    options.add_argument("--heavy", type=int, default=2000, help="samples of the samplers with hundreds of evaluations")
    arguments = parsed(options, argv)
    torch.set_num_threads(1)
    results = arguments.cache / "results"
    results.mkdir(parents=True, exist_ok=True)
    ratios, whole = [], {}
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
            whole[f"{name}, {kind}"] = found
            ratios += refined_ratios(f"{name}, {kind}", found)
    return concluded(arguments, ratios, generators=whole)


if __name__ == "__main__":
    sys.exit(main())
