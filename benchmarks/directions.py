"""Claims of docs/directions.md: audits of directions, how they are best found, and the pictures there.

    python -m benchmarks.directions [--pictures docs/directions] [--json FILE]

All on the bundled generator, class by class unless it says otherwise.

1. The audit: what a step of one standard deviation along each attribute's direction does to every attribute.
2. How to find them: mean difference, linear SVM and logistic boundary, from all latents and from the extreme 2 % of
   the values: held-out AUC, own effect, leakage and bootstrap cosine, averaged over attributes.
3. Orthogonalised: what is left of the largest side effect.
4. Without labels: sefa, activations and the Jacobian, beside random directions.
"""

import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import latentkit as lk
from benchmarks.claims import concluded, parsed, parser
from latentkit.render import save_png
from latentkit.strips import strips
from latentkit.style import drawing, figure_rgb, new_axes

SEED, LABEL, EXTREME = 0, "sneaker", 0.02
FITS = {"mean difference": lk.mean_difference, "SVM": lk.svm_boundary, "logistic": lk.logistic_boundary}


def learned(
    generator: lk.Generator, fit: Callable[..., lk.Direction], extreme: float | None = None
) -> list[lk.Direction]:
    """Return the direction of each bundled attribute."""
    known = lk.attributes_of(lk.generate(generator, generator.prior.sample(2, seed=SEED)))
    return [
        lk.learn_direction(generator, of, name=name, fit=fit, seed=SEED, extreme=extreme) for name, of in known.items()
    ]


def ways_to_find(generator: lk.Generator) -> dict[str, dict[str, float]]:
    """Return the averages over attributes for each method and both kinds of labels."""
    rows = {}
    for name, fit in FITS.items():
        for label, extreme in (("all, at the median", None), ("extreme 2 %", EXTREME)):
            found = lk.audit(generator, learned(generator, fit, extreme), seed=SEED, refit=fit, extreme=extreme)
            rows[f"{name}, {label}"] = {
                "AUC": statistics.fmean(one.auc for one in found.audits),
                "own effect": statistics.fmean(float(one.effects[one.own]) for one in found.audits),
                "times random": statistics.fmean(abs(one.z_score) for one in found.audits),
                "leakage": statistics.median(one.leakage for one in found.audits),
                "bootstrap cosine": statistics.fmean(one.stability for one in found.audits),
            }
    return rows


def freed(generator: lk.Generator, found: lk.Audited) -> dict[str, tuple[str, float, float, float]]:
    """Return for each direction its largest side effect, that over its own, before and after, and what is left."""
    rows = {}
    for direction, one in zip(found.directions, found.audits, strict=True):
        sizes = one.effects.abs().clone()
        sizes[one.own] = 0.0
        worst = int(sizes.argmax())
        other = found.directions[worst]
        free = replace(lk.orthogonalised(direction, [other]), name=direction.name)
        after = lk.audit(generator, free, seed=SEED).audits[0]
        own_before, own_after = float(one.effects[one.own]), float(after.effects[one.own])
        rows[direction.name] = (
            other.name,
            float(sizes[worst]) / abs(own_before),
            abs(float(after.effects[worst])) / abs(own_after),
            own_after / own_before,
        )
    return rows


def unsupervised(generator: lk.Generator, critic: lk.Critic) -> lk.Audited:
    """Return the audit of the first three directions of each kind."""
    kinds = {"sefa": lk.sefa, "activations": lk.activation_directions, "jacobian": lk.jacobian_directions}
    found = [
        replace(one, name=f"{name} {k + 1}") for name, of in kinds.items() for k, one in enumerate(of(generator, 3))
    ]
    return lk.audit(generator, found, critic=critic, seed=SEED)


def matrix_picture(found: lk.Audited) -> np.ndarray:
    """Draw the cross-effect matrix."""
    names = [one.name.replace("_", " ") for one in found.directions]
    heads = [name.replace("_", " ") for name in found.attributes]
    most = float(found.matrix.abs().max())
    with drawing():
        figure, axes = new_axes(760, 470, title="change of each attribute along each direction, sd a step")
        axes.imshow(found.matrix.numpy(), cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
        axes.set_xticks(range(len(heads)), heads, rotation=35, ha="right")
        axes.set_yticks(range(len(names)), names)
        axes.grid(visible=False)
        for (k, a), value in np.ndenumerate(found.matrix.numpy()):
            axes.text(a, k, f"{value:+.2f}", ha="center", va="center", color="w" if abs(value) > 0.6 * most else "k")
        return figure_rgb(figure)


def pictures(checkpoint: lk.Checkpoint, folder: Path) -> None:
    """Write the pictures of docs/directions.md."""
    folder.mkdir(parents=True, exist_ok=True)
    shoes = lk.condition(checkpoint, LABEL)
    generator, prior = shoes.generator, shoes.generator.prior
    z = prior.sample(8, seed=SEED)
    best = lk.judge(generator, shoes.critic, shoes.holdout, seed=SEED)
    critic = best.calibration.applied(best.critic)
    # With the critic: strengths then end where it stops believing the samples.
    found = lk.audit(generator, learned(generator, lk.mean_difference), critic=critic, seed=SEED)
    save_png(matrix_picture(found), folder / "cross-effects.png")
    by_name = {one.name: one for one in found.directions}
    rows, names = [], []
    for name in ("brightness", "height", "width", "slant"):
        made = lk.sweep(generator, by_name[name], z[2:3], lk.safe_strengths(by_name[name], prior, 9))
        rows.append(made.samples[0])
        names.append(name)
    save_png(strips(torch.stack(rows), rows=names), folder / "attributes.png")
    film = lk.sweep(generator, by_name["height"], z, lk.safe_strengths(by_name["height"], prior, 25))
    lk.sweep_film(film, fps=16).save(folder / "height.gif")

    rows, names = [], []
    free = lk.orthogonalised(by_name["area"], [by_name["height"]])
    for name, one in (("area", by_name["area"]), ("orthogonal to height", free)):
        rows.append(lk.sweep(generator, one, z[2:3], lk.safe_strengths(by_name["area"], prior, 9)).samples[0])
        names.append(name)
    save_png(strips(torch.stack(rows), rows=names), folder / "orthogonal.png")

    rows, names = [], []
    for one in unsupervised(generator, critic).directions:
        if not one.name.endswith("3"):
            rows.append(lk.sweep(generator, one, z[2:3], lk.safe_strengths(one, prior, 9)).samples[0])
            names.append(one.name)
    save_png(strips(torch.stack(rows), rows=names), folder / "unsupervised.png")

    coats = lk.condition(checkpoint, "coat").generator
    latents, rows, names = coats.prior.sample(2, seed=SEED), [], []
    for layer in ("start", "blocks.0", "blocks.2"):
        way = lk.layer_directions(coats, layer, 1)[0]
        strengths = torch.linspace(-3, 3, 9).tolist()
        rows.append(torch.cat([lk.generate(lk.edited_layer(coats, layer, way, s), latents[1:]) for s in strengths]))
        names.append(way.name)
    save_png(strips(torch.stack(rows), rows=names), folder / "layers.png")

    real = shoes.holdout[:10]
    inverted = lk.invert(shoes, real)
    taller = by_name["height"].moved(inverted.latents, 2.5, prior)
    shown = torch.stack([real, inverted.samples, lk.generate(generator, taller)])
    save_png(strips(shown, rows=["real", "inverted", "higher by 2.5"]), folder / "real.png")


def main(argv: list[str] | None = None) -> int:
    """Print the tables and write the pictures."""
    options = parser(__doc__)
    options.add_argument("--pictures", type=Path)
    arguments = parsed(options, argv)
    torch.set_num_threads(1)
    checkpoint = lk.load("fashion-mnist")
    if arguments.pictures:
        pictures(checkpoint, arguments.pictures)
    shoes = lk.condition(checkpoint, LABEL)
    generator = shoes.generator
    best = lk.judge(generator, shoes.critic, shoes.holdout, seed=SEED)
    critic = best.calibration.applied(best.critic)
    fit = lk.mean_difference
    found = lk.audit(generator, learned(generator, fit), critic=critic, seed=SEED, refit=fit)
    print(found.markdown(), "\n", flush=True)
    methods = ways_to_find(generator)
    heads = list(next(iter(methods.values())))
    print("| found by | " + " | ".join(heads) + " |\n|---|" + "---:|" * len(heads))
    for name, row in methods.items():
        print(f"| {name} | " + " | ".join(f"{row[head]:.2f}" for head in heads) + " |", flush=True)
    cleared = freed(generator, found)
    print("\n| direction | orthogonal to | leakage before | after | own effect left |\n|---|---|---:|---:|---:|")
    for name, (other, before, after, left) in cleared.items():
        print(f"| {name} | {other} | {before:.2f} | {after:.2f} | {left:.2f} |")
    without = unsupervised(generator, critic)
    print("\n" + without.markdown())
    return concluded(arguments, [], methods=methods, orthogonalised=cleared, matrix=found.matrix.tolist())


if __name__ == "__main__":
    sys.exit(main())
