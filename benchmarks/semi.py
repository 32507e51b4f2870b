"""Claim: with few labels, a classifier that is also the critic of a GAN is right more often than by itself.

    python -m benchmarks.semi [--data digits fashion-mnist] [--labels 10 20 100] [--seeds 0 1 2] [--json FILE]

For each number of labels a class and each seed both classifiers begin with the same weights, and see the same
labelled samples, moved likewise, in the same order, for the same number of steps. One sees nothing else; the other
also the training data without labels and what the generator makes. The accuracy is measured on the same held-out
samples, after the last step.
"""

import statistics
import sys
import time
import warnings
from dataclasses import replace
from typing import Any

from benchmarks.claims import at_least, concluded, parsed, parser
from trainers import DATA, Data
from trainers.loop import descend
from trainers.semi import SemiConfig, SemiSupervised, accuracy, resolved_semi, train_semi_supervised


def alone(data: Data, config: SemiConfig) -> float:
    """Return the held-out accuracy of the classifier that sees its labelled samples only."""
    settings = resolved_semi(config, data)
    train, held_out = data.split(settings.holdout, settings.seed)
    labels: Any = held_out.labels
    training: Any = SemiSupervised(train, held_out, settings)
    for step in range(1, settings.steps + 1):
        (loss,) = training.further_losses(step).values()
        descend(loss, training.critic_steps, training.plain_critic)
    return accuracy(training.plain_critic, held_out.floats(), labels)


def together(data: Data, config: SemiConfig) -> float:
    """Return the held-out accuracy of the classifier of a semi-supervised GAN."""
    made: Any = train_semi_supervised(data, config, progress=False)
    return accuracy(made.critic, made.holdout, made.holdout_labels)


KINDS = {"labels alone": alone, "and the rest without": together}


def main(argv: list[str] | None = None) -> int:
    """Run, print the table, and write JSON if asked."""
    options = parser(__doc__)
    options.add_argument("--data", nargs="+", choices=DATA, default=["digits", "fashion-mnist"])
    options.add_argument("--labels", type=int, nargs="+", default=[10, 20, 100], help="a class")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--steps", type=int, default=1000)
    options.add_argument("--width", type=int, default=16)
    arguments = parsed(options, argv)
    warnings.simplefilter("ignore", UserWarning)  # such short runs are not about the samples
    rows = []
    print(f"{'data':15}{'labels a class':>15}" + "".join(f"{f'{kind} %':>28}" for kind in KINDS) + f"{'minutes':>9}")
    for name in arguments.data:
        data = DATA[name]()
        for labels in arguments.labels:
            config = SemiConfig(
                labels_per_class=labels, steps=arguments.steps, width=arguments.width, threads=1, check_every=10**9
            )
            row: dict[str, Any] = {"data": name, "labels_per_class": labels}
            began = time.process_time()
            for kind, measure in KINDS.items():
                row[kind] = [100 * measure(data, replace(config, seed=seed)) for seed in arguments.seeds]
            row["cpu_seconds"] = time.process_time() - began
            cells = [
                f"{statistics.mean(row[kind]):.1f} ({min(row[kind]):.1f} to {max(row[kind]):.1f})" for kind in KINDS
            ]
            cells = [f"{cell:>28}" for cell in cells]
            print(f"{name:15}{labels:15}" + "".join(cells) + f"{row['cpu_seconds'] / 60:9.1f}", flush=True)
            rows.append(row)
    ratios = [
        at_least(
            f"{row['data']}, {row['labels_per_class']} labels a class: accuracy that the rest of the data adds",
            statistics.mean(row["and the rest without"]) - statistics.mean(row["labels alone"]),
            0.0,
            unit="points",
            limit="a classifier that moves its labelled images is good already, so that little is left to gain",
        )
        for row in rows
    ]
    return concluded(arguments, ratios, rows=rows, steps=arguments.steps, width=arguments.width, seeds=arguments.seeds)


if __name__ == "__main__":
    sys.exit(main())
