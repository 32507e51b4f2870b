"""Claims at the limits: few data, a ratio without a bound, and what happens when a mode is missing.

    python -m benchmarks.toy_limits --cache DIR [--seeds 0 1 2] [--json FILE]

1. 25 Gaussians from 1,000 training and 500 held-out points, generator and all: refined samples stay at least 99 % good,
   with a width within 15 %.
2. A fresh critic against the plain, unsmoothed generator has no bounded ratio: exact rejection is refused by its pilot,
   in seconds, with the predicted cost. `refine(mend=False)` on a generator that misses modes names what is missing.
"""

import sys
import time
from pathlib import Path
from typing import Any

import torch

import latentkit as lk
from benchmarks.claims import at_least, at_most, concluded, parsed, parser
from benchmarks.toy_generators import checkpoint, data_of, split_of
from trainers import GANConfig, grid25, train_gan

#: Of a mode of the 25 Gaussians.
SD = 0.05


def few(seed: int) -> dict[str, Any]:
    """Return the figures of few data: of plain samples, of refined ones, evaluations and seconds to fit."""
    data = grid25(1_500, seed=seed)
    config = GANConfig(
        steps=4000, width=256, latent_dim=2, r1=0.0, ema=0.0, beta1=0.5, beta2=0.999, threads=1, holdout=500, seed=seed
    )
    generator = train_gan(data, config, progress=False).generator
    train, held_out = (part.samples for part in data.split(500, seed=seed))
    start = time.process_time()
    found = lk.refine(generator, train, held_out, seed=7)
    fit = time.process_time() - start
    drawn = {
        "plain": lk.generate(generator, generator.prior.sample(10_000, seed=5)),
        "refined": found.sample(10_000, seed=5).samples,
    }
    row: dict[str, Any] = {"seed": seed, "evaluations": found.cost, "fit_seconds": fit}
    for name, samples in drawn.items():
        truth = lk.toy_truth(samples, lk.grid25_mixture(), seed=99)
        row[name] = {
            "good": 100 * truth.high_quality,
            "modes": truth.strict_modes,
            "sd": truth.sd,
            "js": truth.js,
            "copy": lk.copy_ratio(train, held_out, samples[:2000]).ratio,
        }
    return row


def shown(row: dict[str, Any]) -> str:
    """Return a row of the table of few data."""
    cells = [
        f"{one['good']:.2f} | {one['modes']} | {one['sd']:.4f} | {one['js']:.4f} | {one['copy']:.2f}"
        for one in (row["plain"], row["refined"])
    ]
    return f"| {row['seed']} | {' | '.join(cells)} | {row['evaluations']:.2f} | {row['fit_seconds']:.0f} |"


def refused(cache: Path) -> None:
    """Print what is said where following the ratio would cost too much."""
    made = checkpoint("grid25", "briefly trained", 2, cache)
    train, held_out = split_of(data_of("grid25"))
    opinion = lk.second_opinion(made.generator, train, seed=1)
    start = time.process_time()
    try:
        lk.rejection(made.generator, opinion.calibration.applied(opinion.critic), 1000, seed=1, cap=None)
    except lk.CostError as error:
        print(f"exact rejection, after {time.process_time() - start:.1f} s: {error}\n")
    start = time.process_time()
    try:
        found = lk.refine(made.generator, train, held_out, seed=7, mend=False, most_evaluations=3.0)
        print(f"refined without mending: {found.cost:.1f} evaluations; {found.remaining.verdict}")
    except lk.CostError as error:
        print(f"refine without mending, after {time.process_time() - start:.1f} s: {error}")


def main(argv: list[str] | None = None) -> int:
    """Print both."""
    options = parser(__doc__)
    options.add_argument("--cache", type=Path, required=True)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parsed(options, argv)
    torch.set_num_threads(1)
    columns = "good % | modes | sd | JS | copy"
    print(f"| seed | plain: {columns} | refined: {columns} | evaluations | fit s |")
    print("|---|" + "---|" * 12)
    rows = []
    for seed in arguments.seeds:
        rows.append(few(seed))
        print(shown(rows[-1]), flush=True)
    print()
    refused(arguments.cache)
    good = min(row["refined"]["good"] for row in rows)
    off = max(abs(row["refined"]["sd"] / SD - 1.0) for row in rows)
    limit = "500 held-out points say no more of where the data end"
    ratios = [
        at_least("few data: good samples, the worst seed", good, 99.0, unit="%", limit=limit),
        at_most("few data: width of a mode off the right one, the worst seed", 100 * off, 15.0, unit="%", limit=limit),
    ]
    return concluded(arguments, ratios, rows=rows)


if __name__ == "__main__":
    sys.exit(main())
