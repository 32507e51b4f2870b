"""Claims: a batch of 64 is inverted at least 10 times faster than its samples one by one, and what was made is found.

    python -m benchmarks.inversion [--label sneaker] [--singles 64] [--repeats 2] [--truth 100] [--json FILE]

1. Speed: 64 samples of the bundled generator, and 64 held-out images, of one class, inverted in one call and in one
   call each with the same settings, in one process, in turn, in CPU seconds of one thread. With fewer `--singles` their
   time is scaled up to 64. The medians of the errors stand beside the times: equal means within 5 %. Where a sample
   can be made the errors are rounding away from 0, so shares of the variance below 0.1 % count as equal.
2. Truth: of samples that the generator made, how many are found to under 1 % of the data's variance (target 95 of 100).
"""

import statistics
import sys
import time

import torch
from torch import Tensor

import latentkit as lk
from benchmarks.claims import at_least, concluded, parsed, parser
from latentkit.inversion import invert

SEED = 11
ENOUGH = 0.01  # of the data's variance
NEGLIGIBLE = 0.001


def timed(generator: lk.Generator, samples: Tensor, singles: int) -> dict[str, float]:
    """Return CPU seconds and the median errors of a batch, and of its first samples one by one."""
    start = time.process_time()
    whole = invert(generator, samples)
    batch = time.process_time() - start
    start = time.process_time()
    alone = torch.cat([invert(generator, samples[k : k + 1]).error for k in range(singles)])
    each = (time.process_time() - start) / singles
    return {
        "batch": batch,
        "singles": each * len(samples),
        "ratio": each * len(samples) / batch,
        "batch_error": float(whole.error[:singles].median()),
        "singles_error": float(alone.median()),
    }


def main(argv: list[str] | None = None) -> int:
    """Print both."""
    options = parser(__doc__)
    options.add_argument("--label", default="sneaker")
    options.add_argument("--size", type=int, default=64, help="samples of a batch (default 64)")
    options.add_argument("--singles", type=int, default=64)
    options.add_argument("--repeats", type=int, default=2)
    options.add_argument("--truth", type=int, default=100)
    arguments = parsed(options, argv, quick={"size": 4, "singles": 1, "repeats": 1, "truth": 4})
    torch.set_num_threads(1)
    size = arguments.size
    checkpoint = lk.condition(lk.load("fashion-mnist"), arguments.label)
    generator = checkpoint.generator
    variance = float(checkpoint.holdout.flatten(1).var(0, correction=0).mean())
    made = lk.generate(generator, generator.prior.sample(max(size, arguments.truth), seed=SEED))
    rows = []
    print("| samples | batch s | one by one s | times faster | median error / variance: batch | one by one | equal |")
    print("|---|---|---|---|---|---|---|")
    for _ in range(arguments.repeats):
        for name, samples in (("generated", made[:size]), ("held out", checkpoint.holdout[:size])):
            row = timed(generator, samples, min(arguments.singles, size))
            first, second = row["batch_error"] / variance, row["singles_error"] / variance
            equal = abs(first / second - 1.0) < 0.05 or max(first, second) < NEGLIGIBLE
            rows.append({"samples": name, **row, "equal": equal})
            print(
                f"| {name} | {row['batch']:.1f} | {row['singles']:.1f} | {row['ratio']:.1f} | {first:.5f} | "
                f"{second:.5f} | {'yes' if equal else 'no'} |",
                flush=True,
            )
    found = invert(generator, made[: arguments.truth])
    count = int((found.error < ENOUGH * variance).sum())
    print(f"\n{count} of {arguments.truth} generated samples found to under {ENOUGH:.0%} of the data's variance")
    ratios = [
        at_least(
            f"one by one / in a batch of {size}, {name}",
            statistics.median(row["ratio"] for row in rows if row["samples"] == name),
            10.0,
            limit="a step of the batch costs its samples' operations; one alone costs mostly torch's calls",
        )
        for name in ("generated", "held out")
    ]
    share = 100.0 * count / arguments.truth
    limit = "a search from few starts may end in a local minimum"
    ratios.append(at_least("generated samples found again", share, 95.0, unit="%", limit=limit))
    return concluded(arguments, ratios, speed=rows, found=count, of=arguments.truth)


if __name__ == "__main__":
    sys.exit(main())
