"""Which guided sampling helps a generator of images, and which does not.

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

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import latentkit as lk
from benchmarks.fashion_features import NAME, Classifier, Features, train_features, unseen_images
from benchmarks.quality import COLUMNS, compare
from latentkit.calibration import CalibratedCritic, score
from latentkit.errors import CostError
from latentkit.files import write_json
from latentkit.neighbours import nearest
from latentkit.sampling.guided import Cost, GuidedSample, drift
from latentkit.support import Support, fit_support
from trainers import Data, GANConfig, fashion_mnist, train_gan
from trainers.loop import lay_out

SAMPLES, DRAWS, SEED = 3_000, 2, 1
STEPS = 6_800  # of the generator without classes: about 330 CPU seconds
MATCHED, POOL, CHOICES = 6_000, 40_000, 10
COMPONENTS = 100  # of the pixels
PAIRS = 2_000  # a side, for calibration and copy ratios
BUDGET = 5.0  # evaluations a kept sample, where a cap is chosen for them
FIGURES = (*COLUMNS, "copy_ratio", "acceptance", "evaluations", "typicality", "fit_seconds", "seconds")

#: A draw: the number of the first candidate to a sample.
Draw = Callable[[int], GuidedSample]


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


@dataclass(frozen=True)
class Case:
    """A generator and what its samplers may use: its critic, training images, and images held out of its training."""

    name: str
    generator: Any
    critic: Any
    train: Tensor
    held_out: Tensor
    parts: tuple[tuple[Any, Any, Tensor], ...] = ()

    def critic_features(self, x: Tensor) -> Tensor:
        """Return what the critic's score is a linear function of, (N, F)."""
        with torch.no_grad():
            return torch.cat([self.critic.features(part) for part in x.split(64)])


@dataclass(frozen=True)
class Components:
    """The principal components of pixels: images to (N, 100)."""

    middle: Tensor
    axes: Tensor

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return the components (N, 100) of images (N, 1, 32, 32)."""
        return (x.flatten(1) - self.middle) @ self.axes


def components(images: Tensor) -> Components:
    """Return the components of images (N, 1, 32, 32) that vary most."""
    flat = images.flatten(1)
    middle = flat.mean(0)
    _, axes = torch.linalg.eigh((flat - middle).T @ (flat - middle))
    return Components(middle, axes[:, -COMPONENTS:].contiguous())


@dataclass(frozen=True)
class Both:
    """Two feature spaces side by side, each scaled to the same mean square."""

    first: Callable[[Tensor], Tensor]
    second: Callable[[Tensor], Tensor]
    scales: tuple[float, float]

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return features (N, F) of images."""
        return torch.cat([self.first(x) / self.scales[0], self.second(x) / self.scales[1]], dim=1)


def both(first: Callable[[Tensor], Tensor], second: Callable[[Tensor], Tensor], images: Tensor) -> Both:
    """Return both feature spaces, scaled on images."""
    one, other = (float(f(images).square().sum(1).mean().sqrt()) for f in (first, second))
    return Both(first, second, (one, other))


def plain(case: Case) -> Draw:
    """Return the generator's own draws, counted like those of a sampler."""

    def draw(start: int) -> GuidedSample:
        latents = case.generator.prior.sample(SAMPLES, seed=SEED, start=start)
        return drawn(case, latents, start)

    return draw


def drawn(case: Case, latents: Tensor, start: int) -> GuidedSample:
    """Return the samples of latents, one evaluation each."""
    return GuidedSample(
        latents=latents,
        samples=lk.generate(case.generator, latents),
        log_ratio=torch.zeros(len(latents)),
        method="plain",
        target="the candidates' law",
        seed=SEED,
        start=start,
        next=start + len(latents),
        acceptance=1.0,
        ess=float(len(latents)),
        cost=Cost(1.0, 0.0),
        drift=drift(case.generator.prior, latents),
    )


def gate(case: Case, critic: Any, threshold: float, proposal: Any = None) -> Draw:
    """Return draws that pass a gate."""
    return lambda start: lk.gated(
        case.generator, critic, SAMPLES, threshold=threshold, seed=SEED, start=start, proposal=proposal
    )


def gate_by_class(case: Case, quantile: float) -> Draw:
    """Return draws with a gate and an equal share for each class, as in the data."""
    each = SAMPLES // len(case.parts)
    thresholds = [lk.gate_threshold(critic, real, quantile) for _, critic, real in case.parts]

    def draw(start: int) -> GuidedSample:
        parts = [
            lk.gated(generator, critic, each, threshold=least, seed=SEED + k, start=start)
            for k, ((generator, critic, _), least) in enumerate(zip(case.parts, thresholds, strict=True))
        ]
        whole = lk.joined(parts, case.parts[0][0].prior)
        return replace(whole, next=max(part.next for part in parts))

    return draw


def budgeted_cap(case: Case, critic: CalibratedCritic) -> float:
    """Return the cap of the log ratio at which rejection takes `BUDGET` evaluations a kept sample (Verine et al.)."""
    latents = case.generator.prior.sample(PAIRS, seed=SEED + 1)
    logits = score(critic, lk.generate(case.generator, latents)).double()
    low, high = float(logits.min()), float(logits.max())
    for _ in range(50):
        cap = 0.5 * (low + high)
        cheap = float((logits.clamp(max=cap) - cap).exp().mean()) * BUDGET > 1.0
        low, high = (cap, high) if cheap else (low, cap)
    return 0.5 * (low + high)


def refused(reason: CostError) -> Draw:
    """Return draws that end in an error."""

    def draw(start: int) -> GuidedSample:
        raise reason

    return draw


def rows(case: Case) -> Iterator[tuple[str, Callable[[], Draw]]]:
    """Yield each row's name, and what fits its sampler."""
    own, generator = case.critic, case.generator

    def ratio() -> CalibratedCritic:
        fakes = lk.generate(generator, generator.prior.sample(PAIRS, seed=SEED + 2))
        return lk.calibrate(own, case.held_out, fakes).applied(own)

    def candidates(method: Callable[..., GuidedSample], critic: Any, **options: Any) -> Draw:
        return lambda start: method(generator, critic, SAMPLES, seed=SEED, start=start, **options)

    yield "plain", lambda: plain(case)
    for share in (0.01, 0.05, 0.2):
        yield (
            f"gate, own critic at {share:.0%}",
            lambda share=share: gate(case, own, lk.gate_threshold(own, case.held_out, share)),
        )
    if case.parts:
        yield "gate at 5%, by class", lambda: gate_by_class(case, 0.05)
    pixels = components(case.train)
    together = both(case.critic_features, pixels, case.held_out)
    spaces = {"critic's features": case.critic_features, "pixels": pixels, "both": together}
    supports: dict[str, Support] = {}

    def support(space: str) -> Support:
        if space not in supports:
            supports[space] = fit_support(case.train[:MATCHED], case.held_out, features=spaces[space])
        return supports[space]

    for space in ("critic's features", "pixels"):
        yield f"gate by support, {space}", lambda space=space: gate(case, support(space), 0.0)

    yield "own critic, rejection", lambda: candidates(lk.rejection, ratio())
    yield "own critic, resampling", lambda: candidates(lk.resampling, ratio())

    def amortised() -> Draw:
        critic = ratio()
        return candidates(lk.amortised, critic, weights=lk.fit_latent_weights(generator, critic, seed=SEED))

    yield "own critic, amortised", amortised

    def opinion() -> CalibratedCritic:
        fresh = lk.second_opinion(generator, case.train, seed=SEED, start=own, steps=400)
        # It knows its training images, so that others say what its logits are worth.
        fakes = lk.generate(generator, generator.prior.sample(PAIRS, seed=SEED + 2))
        calibration = lk.calibrate(fresh.critic, case.held_out, fakes)
        mine = lk.calibrate(own, case.held_out, fakes)
        print(f"  second opinion, {fresh.seconds:.0f} s: log loss {calibration.log_loss:.3f}, ", end="")
        print(f"own critic's {mine.log_loss:.3f}; {calibration.explanation}", flush=True)
        return calibration.applied(fresh.critic)

    kept: list[CalibratedCritic] = []

    def unbounded() -> Draw:
        kept.append(opinion())
        return candidates(lk.rejection, kept[0])

    yield "second opinion, rejection", unbounded
    yield (
        f"second opinion, {BUDGET:.0f} evaluations",
        lambda: candidates(lk.rejection, kept[0], cap=budgeted_cap(case, kept[0])),
    )

    matchings: dict[str, lk.Matching] = {}

    def matched(space: str, choices: int = CHOICES, again: bool = False, spread: float = 0.0) -> Draw:
        train = case.train[MATCHED : 2 * MATCHED] if again else case.train[:MATCHED]
        given = fit_support(train, case.held_out, features=spaces[space]) if again else support(space)
        matching = lk.match_latents(
            generator,
            train,
            case.held_out,
            pool=POOL,
            choices=choices,
            spread=0.0,
            support=given,
            seed=SEED + again,
            batch_size=64,
        )
        matchings.setdefault(space, matching)
        share = len(matching.latents) / len(matching.match)
        print(f"  matched: {share:.1%} distinct, holes {float(matching.holes.double().mean()):.1%}", flush=True)
        return moves(matching, spread)

    def moves(matching: lk.Matching, spread: float) -> Draw:
        moved = matching.with_spread(spread)
        return lambda start: drawn(case, moved.sample(SAMPLES, seed=SEED, start=start), start)

    yield "matched to the nearest, critic's features", lambda: matched("critic's features", choices=1)
    yield "matched one to one, critic's features", lambda: matched("critic's features")
    yield "matched one to one, pixels", lambda: matched("pixels")
    yield "matched one to one, both", lambda: matched("both")
    yield "the same, other images and pool", lambda: matched("both", again=True)
    yield "matched, both, moved a quarter as far", lambda: moves(matchings["both"], 0.25)
    for share in (0.01, 0.05):
        yield (
            f"matched, both, gate at {share:.0%}",
            lambda share=share: gate(case, own, lk.gate_threshold(own, case.held_out, share), matchings["both"]),
        )


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


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, help="folder that keeps the classifier and the trained generator")
    parser.add_argument("--only", choices=("conditional", "unconditional"))
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
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
        if arguments.json:
            write_json(arguments.json, {"features": NAME, "accuracy": features.accuracy, "samples": SAMPLES, **tables})


if __name__ == "__main__":
    main()
