"""Claims of docs/walks.md: curves baked off against each other, constant speed, seams; and the pictures there.

    python -m benchmarks.walks [--pairs 6] [--pictures docs/walks] [--json FILE]

All on the bundled generator, one class at a time, so that samples do not jump from class to class.

1. Bake-off: the mean over pairs of latents of three classes. Probabilities are the calibrated critic's, which chose the
   route, so another judge stands beside them: the share of a curve's samples that lie among real ones, in the features
   of a classifier that saw neither the critic nor the generator (precision, k = 5, against 3,000 training images of
   the class). Lengths and jumps are those of pixels; a length is divided by that of the prior-matched curve between
   the same ends.
2. Constant speed: the coefficient of variation of the decoded steps, before and after, of six-key loops, in pixels and
   in the critic's features.
3. Seams: the step from the last frame to the first over the median step.
"""

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import latentkit as lk
from benchmarks.claims import concluded, parsed, parser
from benchmarks.fashion_features import Features, train_features
from latentkit import plots
from latentkit.neighbours import nearest
from latentkit.projection import critic_layer
from latentkit.render import samples_sheet, save_png
from latentkit.strips import Line, strips
from trainers import fashion_mnist

CLASSES, SEED, MAPPED, COMPARED = ("sneaker", "dress", "bag"), 0, 4_000, 3_000
COLUMNS = {
    "mean_probability": "mean probability",
    "least_probability": "least probability",
    "among_real": "among real ones",
    "mean_typicality": "mean typicality",
    "least_typicality": "least typicality",
    "length": "length, prior-matched = 1",
    "worst_jump": "worst jump",
}


@dataclass(frozen=True, eq=False)
class Real:
    """Real samples of a class in a classifier's features, with the radius of each one's ball."""

    features: Features
    points: torch.Tensor
    radius: torch.Tensor

    @classmethod
    def of(cls, features: Features, label: int) -> "Real":
        """Take the first training images of a class."""
        data = fashion_mnist()
        if data.labels is None:
            raise SystemExit("this needs labels")
        points = features(data.floats((data.labels == label).nonzero()[:COMPARED, 0]))
        return cls(features, points, nearest(points, points, 5, same=True)[0][:, -1])

    def share(self, samples: torch.Tensor) -> float:
        """Return the share of samples that lie in the ball of a real one."""
        return float((torch.cdist(self.features(samples), self.points) <= self.radius).any(1).float().mean())


def baked(checkpoint: lk.Checkpoint, pairs: int, real: Real) -> list[dict[str, dict[str, float]]]:
    """Return the figures of each curve for each of so many pairs of latents of a class."""
    generator = checkpoint.generator
    best = lk.judge(generator, checkpoint.critic, checkpoint.holdout, seed=SEED)
    quality = lk.quality_map(generator, best.critic, best.real, n=MAPPED, seed=SEED, calibration=best.calibration)
    z = generator.prior.sample(2 * pairs, seed=SEED + 1)
    found = []
    for k in range(pairs):
        made = lk.bake_off(generator, z[2 * k], z[2 * k + 1], quality=quality, critic=best.critic)
        unit = {row.name: row for row in made.rows}["prior-matched"].length
        rows = {}
        for row, curve in zip(made.rows, made.curves, strict=True):
            if curve is not None:
                values = {name: getattr(row, name) for name in COLUMNS if hasattr(row, name)}
                share = real.share(lk.generate(generator, curve.steps(128)))
                rows[row.name] = values | {"length": row.length / unit, "among_real": share}
        found.append(rows | {"crossing": {"route": float("crosses" in made.rows[0].note)}})
    return found


def averaged(found: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return the mean of each figure for each curve."""
    names = [name for name in found[0] if name != "crossing"]
    return {
        name: {key: statistics.fmean(one[name][key] for one in found if name in one) for key in COLUMNS}
        for name in names
    }


def paced(checkpoint: lk.Checkpoint) -> dict[str, list[tuple[float, float]]]:
    """Return the coefficient of variation before and after for six-key curves, in pixels and in features."""
    generator, features = checkpoint.generator, _features(checkpoint)
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(3):
        keys = generator.prior.sample(6, seed=100 + seed)
        curves = {
            "loop": lk.loop(keys, prior=generator.prior),
            "closed spline": lk.spline(keys, prior=generator.prior, closed=True),
            "random loop": lk.random_loop(generator.prior, seed=seed),
        }
        for name, curve in curves.items():
            for unit, of in (("pixels", None), ("features", features)):
                made = lk.constant_speed(generator, curve, features=of)
                found.setdefault(f"{name}, {unit}", []).append((made.variation_before, made.variation_after))
    return found


def _features(checkpoint: lk.Checkpoint) -> Callable[[torch.Tensor], torch.Tensor]:
    return critic_layer(checkpoint.critic).features


def seams(checkpoint: lk.Checkpoint) -> dict[str, tuple[float, str]]:
    """Return the step over the seam, in median steps, and its verdict, of curves and of one closed by force."""
    generator = checkpoint.generator
    keys = generator.prior.sample(5, seed=7)
    open_spline = lk.spline(keys, prior=generator.prior)
    forced = lk.Curve(open_spline.at, "spline, closed by force", open_spline.dim, closed=True, prior=generator.prior)
    curves = {
        "loop": lk.loop(keys, prior=generator.prior),
        "closed spline": lk.spline(keys, prior=generator.prior, closed=True),
        "random loop": lk.random_loop(generator.prior, seed=3),
        "circle": lk.circle(keys[0], keys[1], generator.prior),
        "orbit": lk.orbit(keys[0], 0.5, seed=0, prior=generator.prior),
        "open spline, repeated": forced,
    }
    found = {name: lk.seam(generator, curve) for name, curve in curves.items()}
    return {name: (one.to_median, one.verdict) for name, one in found.items()}


def pictures(checkpoint: lk.Checkpoint, folder: Path) -> None:
    """Write the pictures of docs/walks.md."""
    folder.mkdir(parents=True, exist_ok=True)
    shoes = lk.condition(checkpoint, "sneaker")
    generator, prior = shoes.generator, shoes.generator.prior
    best = lk.judge(generator, shoes.critic, shoes.holdout, seed=SEED)
    quality = lk.quality_map(generator, best.critic, best.real, n=MAPPED, seed=SEED, calibration=best.calibration)
    z = prior.sample(10, seed=SEED)
    made = lk.bake_off(generator, z[3], z[8], quality=quality, critic=best.critic)
    save_png(made.picture(generator, columns=10), folder / "bake-off.png")
    made.film(generator, frames=60, fps=20).save(folder / "bake-off.gif")

    bags = lk.condition(checkpoint, "bag").generator
    loops = [lk.constant_speed(bags, lk.random_loop(bags.prior, seed=k, detail=5)).curve for k in range(6)]
    lk.animate(bags, loops, frames=80, fps=20, columns=6).save(folder / "random-loops.gif")

    dresses = lk.condition(checkpoint, "dress").generator
    anchors = dresses.prior.sample(4, seed=2)
    grid = lk.anchor_grid(anchors, (8, 8), prior=dresses.prior)
    save_png(samples_sheet(lk.generate(dresses, grid.latents), columns=8), folder / "grid.png")

    whole = checkpoint.generator
    if not isinstance(whole, lk.ConditionalGenerator):
        raise SystemExit("this needs a conditional generator")
    between = lk.blend(whole)
    names = ("sneaker", "ankle boot", "bag", "t-shirt", "dress")
    rows = [lk.class_tour(between, between.module.prior.sample(1, seed=k)[0], names).steps(13) for k in (0, 4)]
    samples = lk.generate(between, torch.cat(rows)).unflatten(0, (2, 13))
    heads = [names[k // 3] if k % 3 == 0 else "" for k in range(13)]
    save_png(strips(samples, rows=["latent 0", "latent 1"], above=[Line("", heads)]), folder / "classes.png")

    walk = lk.interpolate(z[3], z[8], prior)
    even = lk.constant_speed(generator, walk)
    times = np.arange(len(even.speed_before)) / len(even.speed_before)
    lines = {
        f"as it is, variation {even.variation_before:.2f}": even.speed_before.numpy(),
        f"re-timed, variation {even.variation_after:.2f}": even.speed_after.numpy(),
    }
    chart = plots.lines_picture(times, lines, x_label="time", y_label="change of the sample a unit of time")
    save_png(chart, folder / "speed.png")
    rows = [lk.generate(generator, curve.steps(11)) for curve in (walk, even.curve)]
    save_png(strips(torch.stack(rows), rows=["as it is", "re-timed"]), folder / "constant-speed.png")

    coats = lk.condition(checkpoint, "coat").generator
    terms = coats.prior.sample(9, seed=SEED)[[3, 5, 8]]
    total = lk.calculate("a - b + c", dict(zip("abc", terms, strict=True)), coats.prior)
    shown = lk.generate(coats, torch.stack([*terms, total.plain, total.latent]))[None]
    typical = coats.prior.typicality(torch.stack([*terms, total.plain, total.latent])).tolist()
    save_png(
        strips(
            shown,
            above=[Line("", ["a", "b", "c", "a - b + c", "matched"], strong=True)],
            below=[Line("typicality", [f"{t:.2g}" for t in typical])],
        ),
        folder / "sums.png",
    )


def main(argv: list[str] | None = None) -> int:
    """Print the tables and write the pictures."""
    options = parser(__doc__)
    options.add_argument("--pairs", type=int, default=6)
    options.add_argument("--pictures", type=Path)
    arguments = parsed(options, argv)
    torch.set_num_threads(1)
    checkpoint = lk.load("fashion-mnist")
    if arguments.pictures:
        pictures(checkpoint, arguments.pictures)
    features = train_features()
    whole = []
    for label in CLASSES:
        real = Real.of(features, checkpoint.classes.index(label))
        whole += baked(lk.condition(checkpoint, label), arguments.pairs, real)
    table = averaged(whole)
    print("| curve | " + " | ".join(COLUMNS.values()) + " |")
    print("|---|" + "---:|" * len(COLUMNS))
    for name, row in table.items():
        print(f"| {name} | " + " | ".join(f"{row[key]:.3g}" for key in COLUMNS) + " |")
    crossed = sum(int(one["crossing"]["route"]) for one in whole)
    print(f"\n{crossed} of {len(whole)} routes cross what the critic does not believe\n")
    speeds = paced(lk.condition(checkpoint, "sneaker"))
    print("| curve, measured in | variation before | after |\n|---|---:|---:|")
    for name, pairs in speeds.items():
        print(f"| {name} | " + " | ".join(f"{statistics.fmean(side):.3f}" for side in zip(*pairs, strict=True)) + " |")
    joints = seams(lk.condition(checkpoint, "sneaker"))
    print("\n| curve | seam, in median steps | verdict |\n|---|---:|---|")
    for name, (ratio, verdict) in joints.items():
        print(f"| {name} | {ratio:.2f} | {verdict} |")
    return concluded(arguments, [], bake_off=table, speed=speeds, seams=joints)


if __name__ == "__main__":
    sys.exit(main())
