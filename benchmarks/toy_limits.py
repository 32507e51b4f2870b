"""Claims at the limits: few data, a ratio without a bound, and what happens when a mode is missing.

    python -m benchmarks.toy_limits --cache DIR

1. 25 Gaussians from 1,000 training and 500 held-out points, generator and all: refined samples stay at least 99 % good,
   with a width within 15 %.
2. A fresh critic against the plain, unsmoothed generator has no bounded ratio: exact rejection is refused by its pilot,
   in seconds, with the predicted cost. `refine(mend=False)` on a generator that misses modes names what is missing.
"""

import argparse
import time
from pathlib import Path

import torch

import latentkit as lk
from benchmarks.toy_generators import checkpoint, data_of, split_of
from trainers import GANConfig, grid25, train_gan


def few(seed: int) -> str:
    """Return a row of the table of few data."""
    data = grid25(1_500, seed=seed)
    config = GANConfig(
        steps=4000, width=256, latent_dim=2, r1=0.0, ema=0.0, beta1=0.5, beta2=0.999, threads=1, holdout=500, seed=seed
    )
    generator = train_gan(data, config, progress=False).generator
    train, held_out = (part.samples for part in data.split(500, seed=seed))
    start = time.process_time()
    found = lk.refine(generator, train, held_out, seed=7)
    fit = time.process_time() - start
    cells = []
    for drawn in (lk.generate(generator, generator.prior.sample(10_000, seed=5)), found.sample(10_000, seed=5).samples):
        truth, copies = lk.toy_truth(drawn, lk.grid25_mixture(), seed=99), lk.copy_ratio(train, held_out, drawn[:2000])
        good = f"{100 * truth.high_quality:.2f} | {truth.strict_modes}"
        cells.append(f"{good} | {truth.sd:.4f} | {truth.js:.4f} | {copies.ratio:.2f}")
    return f"| {seed} | {' | '.join(cells)} | {found.cost:.2f} | {fit:.0f} |"


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


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    columns = "good % | modes | sd | JS | copy"
    print(f"| seed | plain: {columns} | refined: {columns} | evaluations | fit s |")
    print("|---|" + "---|" * 12)
    for seed in arguments.seeds:
        print(few(seed), flush=True)
    print()
    refused(arguments.cache)


if __name__ == "__main__":
    main()
