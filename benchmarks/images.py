"""Claim: some guided sampling helps a generator of images, and some does not.

    python -m benchmarks.images [--cache DIR] [--only conditional|unconditional] [--json FILE]

Two generators of Fashion-MNIST: the bundled one, over all its classes, and one without classes, trained here by the
default recipe for 6,800 steps (about 330 CPU seconds; `--cache` keeps it and the classifier for the next time).
Each row draws 3,000 samples twice. Both draws are compared with 3,000 of the 10,000 test images, in the features of
`benchmarks.fashion_features`; a row shows the means. Twice 3,000 other test images are the row of real samples, and
twice 3,000 training images the copying control. The copy ratio compares distances to 12,000 training images in these
features with those of 2,000 test images. No sampler sees the test images or the classifier: samplers have the
generator's own critic, its training images and the 2,000 images that were held out of its training.

Noise is the standard error of such a mean, from the differences of the two draws of all rows. A row wins if precision
and density rise by more than two standard errors of a difference, and coverage does not fall by as much.
"""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import latentkit as lk
from benchmarks.claims import concluded, parsed, parser
from benchmarks.fashion_features import NAME, Classifier, Features, train_features, unseen_images
from benchmarks.image_samplers import MATCHED, PAIRS, SAMPLES, Case, Draw, rows
from benchmarks.quality import COLUMNS, compare
from latentkit.errors import CostError
from latentkit.neighbours import nearest
from trainers import Data, GANConfig, fashion_mnist, train_gan
from trainers.loop import lay_out

DRAWS = 2
STEPS = 6_800  # of the generator without classes: about 330 CPU seconds


@dataclass(frozen=True)
class Judge:
    """What samples are compared with, in the classifier's features: nothing here is shown to a sampler."""

    features: Features
    real: Tensor
    train: Tensor
    apart: float

    def figures(self, samples: Tensor) -> dict[str, float]:
        """Return the figures of samples (N, 1, 32, 32)."""
        made = self.features(samples)
        return {**compare(self.real, made), "copy_ratio": to_nearest(made, self.train) / self.apart}


def to_nearest(rows: Tensor, train: Tensor) -> float:
    """Return the median distance of rows (N, F) to the nearest training row (T, F)."""
    return float(nearest(rows[:PAIRS], train, 1)[0].median())


def measured(name: str, fit: Callable[[], Draw], judge: Judge) -> dict[str, Any] | None:
    """Return a row: the mean figures of the draws, and how much the draws differ; None if the sampler refused."""
    began = time.process_time()
    draw = fit()
    fitted, start, values = time.process_time() - began, 0, []
    for _ in range(DRAWS):
        began = time.process_time()
        try:
            result = draw(start)
        except CostError as error:
            print(f"{name:42} refused: {error}", flush=True)
            return None
        seconds = time.process_time() - began
        start = result.next
        values.append(
            {
                **judge.figures(result.samples),
                "acceptance": result.acceptance,
                "evaluations": result.cost.generator,
                "typicality": result.drift.typicality,
                "fit_seconds": fitted,
                "seconds": seconds,
            }
        )
    return row(name, values)


def row(name: str, values: list[dict[str, float]]) -> dict[str, Any]:
    """Return the mean figures of a row's draws, and the draws' own; and print the row."""
    mean = {key: sum(value[key] for value in values) / len(values) for key in values[0]}
    text = f"{name:42}{mean['frechet_distance']:7.2f}"
    text += "".join(f"{mean[key]:10.3f}" for key in (*COLUMNS[1:], "copy_ratio"))
    if "acceptance" in mean:
        text += f"{mean['acceptance']:8.2f}{mean['evaluations']:8.1f}{mean['typicality']:8.2f}"
        text += f"{mean['fit_seconds']:8.0f}{mean['seconds']:8.1f}"
    print(text, flush=True)
    return {"row": name, **mean, "draws": values}


def noise(table: list[dict[str, Any]]) -> dict[str, float]:
    """Return the standard error of a row's mean, by figure, from the differences of the two draws of all rows."""
    pairs = [entry["draws"] for entry in table]
    return {
        key: math.sqrt(sum((one[key] - other[key]) ** 2 for one, other in pairs) / len(pairs)) / 2.0
        for key in (*COLUMNS, "copy_ratio")
    }


def winners(table: list[dict[str, Any]], error: dict[str, float]) -> list[str]:
    """Return the rows that raise precision and density above the plain row's and do not lower coverage."""
    base = next(entry for entry in table if entry["row"] == "plain")
    slack = {key: 2.0 * math.sqrt(2.0) * value for key, value in error.items()}
    return [
        entry["row"]
        for entry in table
        if "acceptance" in entry
        and all(entry[key] > base[key] + slack[key] for key in ("precision", "density"))
        and entry["coverage"] >= base["coverage"] - slack["coverage"]
    ]


def judged_by(cache: Path | None, train: Data, test: Data) -> Features:
    """Return the classifier, from the cache if it is there."""
    file = cache / "classifier.safetensors" if cache else None
    if file is None or not file.is_file():
        features = train_features(train, test)
        if file is not None:
            figures = {key: torch.tensor(getattr(features, key)) for key in ("accuracy", "seconds")}
            save_file({**features.classifier.state_dict(), **figures}, file)
        return features
    weights = load_file(file)
    figures = {key: float(weights.pop(key)) for key in ("accuracy", "seconds")}
    classifier = Classifier()
    classifier.load_state_dict(weights)
    lay_out(classifier, torch.channels_last)
    return Features(classifier.eval().requires_grad_(False), **figures)


def unconditional(cache: Path | None, data: Data) -> lk.Checkpoint:
    """Return the generator without classes, from the cache if it is there."""
    folder = cache / f"unconditional-{STEPS}" if cache else None
    if folder is not None and folder.is_dir():
        return lk.load(folder)
    checkpoint = train_gan(data, GANConfig(seed=0, steps=STEPS, threads=1), progress=False)
    if folder is not None:
        checkpoint.save(folder)
    return checkpoint


def case_of(name: str, cache: Path | None, data: Data) -> Case:
    """Return a generator with its training images and those held out of its training."""
    kept = lk.load("fashion-mnist") if name == "conditional" else unconditional(cache, data)
    whole = lk.marginal(kept) if kept.conditional else kept
    train, held_out = data.split(len(kept.holdout), seed=int(kept.settings["seed"]))
    if not torch.equal(held_out.floats(), kept.holdout):
        raise ValueError("the checkpoint was trained on another split of the data")
    # The parts are in random order, so that the first rows are a fair sample.
    images = train.floats(torch.arange(2 * MATCHED))
    narrow = [lk.condition(kept, k) for k in range(len(kept.classes))] if kept.conditional else []
    parts = tuple((part.generator, part.critic, part.holdout) for part in narrow)
    return Case(name, whole.generator, whole.critic, images, kept.holdout, parts)


def main(argv: list[str] | None = None) -> int:
    """Print the tables."""
    options = parser(__doc__)
    options.add_argument("--cache", type=Path, help="folder that keeps the classifier and the trained generator")
    options.add_argument("--only", choices=("conditional", "unconditional"))
    arguments = parsed(options, argv)
    torch.set_num_threads(1)
    if arguments.cache:
        arguments.cache.mkdir(parents=True, exist_ok=True)

    data, test = fashion_mnist(), unseen_images()
    features = judged_by(arguments.cache, data, test)
    print(f"{NAME}: accuracy {features.accuracy:.4f}; {SAMPLES:,} a side, means of {DRAWS} draws", flush=True)
    tables: dict[str, Any] = {}
    for name in (arguments.only,) if arguments.only else ("conditional", "unconditional"):
        case = case_of(name, arguments.cache, data)
        tested = features(test.floats())
        known = features(case.train)
        judge = Judge(features, tested[:SAMPLES], known, to_nearest(tested[SAMPLES:], known))
        print(f"\n{name:42}{'FD':>7}" + "".join(f"{word:>10}" for word in (*COLUMNS[1:], "copies")), end="")
        print("".join(f"{word:>8}" for word in ("accept", "evals", "typical", "fit s", "draw s")), flush=True)
        table = [
            row(name, [judge.figures(part) for part in images[: DRAWS * SAMPLES].split(SAMPLES)])
            for name, images in (
                ("other real images", test.floats()[SAMPLES:]),
                ("training images (copying control)", case.train),
            )
        ]
        table += [entry for label, fit in rows(case) if (entry := measured(label, fit, judge)) is not None]
        error = noise(table)
        print("standard error of a row: " + ", ".join(f"{key} {value:.4f}" for key, value in error.items()))
        won = winners(table, error)
        print("precision and density up, coverage not down: " + ("; ".join(won) if won else "none"), flush=True)
        tables[name] = {"rows": table, "standard_error": error, "winners": won}
    return concluded(arguments, [], features=NAME, accuracy=features.accuracy, samples=SAMPLES, generators=tables)


if __name__ == "__main__":
    sys.exit(main())
