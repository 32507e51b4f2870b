"""The report's bake-off: the same two latents and all curves between them, one table and one film."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from latentkit import plots
from latentkit.curves import Curve, interpolate, lerp, slerp
from latentkit.errors import CurveError
from latentkit.render import save_png
from latentkit.reports.media import save_film
from latentkit.reports.page import Chapter, Figure, Table
from latentkit.reports.study import Study
from latentkit.reports.terrain import STEPS, Rivals
from latentkit.walks.panels import inks_of

__all__ = ["chapter"]

#: Pairs of latents that typicality is averaged over, frames of the film, images a row.
PAIRS, FRAMES, FPS, COLUMNS = 200, 48, 16, 9

#: The curves of the chart, in words.
KINDS = {
    "prior-matched": "a prior-matched curve",
    "lerp": "a straight line",
    "slerp": "a great circle (its length is the mean of two draws' lengths, and means keep to the middle)",
}

#: Worst places that differ by less are equally bad.
ALIKE = 0.005

#: The figures of the table: their heads, and the fields of `CurveQuality` that they are.
HEADS = {
    "mean probability": "mean_probability",
    "least probability": "least_probability",
    "mean typicality": "mean_typicality",
    "least typicality": "least_typicality",
    "length": "length",
    "worst jump": "worst_jump",
}


def chapter(study: Study, folder: Path) -> Chapter:
    """Compare all curves between two latents far apart, and three kinds of curves over many pairs."""
    rivals, size = study.rivals, study.batch_size
    generator = study.checkpoint.generator if rivals.mapped else study.scene.generator
    within = "" if rivals.label is None else f" in class {rivals.label}"
    made = f"latents {rivals.a} and {rivals.b} of seed {study.seed}{within}, {rivals.which}"
    best, gif = save_film(rivals.bake.film(generator, frames=FRAMES, fps=FPS, batch_size=size), folder, "bakeoff")
    save_png(rivals.bake.picture(generator, columns=COLUMNS, batch_size=size), folder / "bakeoff.png")
    chart, halfway, drawn = _typicality(study, folder)
    known = "probability" if rivals.mapped else "typicality"
    figures = (
        Figure(
            best,
            "Film of all curves between the same two latents at once",
            f"All curves at once, from the same start to the same end. Below, the {known} along each.",
            f"{made}; {FRAMES} frames at {FPS} a second",
            wide=True,
            gif=gif,
        ),
        Figure(
            "bakeoff.png",
            "Samples along all curves between the same two latents",
            f"The same curves, a row each, at even times; beside each its least {known}."
            if study.images
            else f"The same curves over the plane, and the {known} along each.",
            made,
        ),
        chart,
    )
    text = [
        "The same two latents, and every curve between them. The straight line (lerp) leaves the prior in the middle, "
        "the great circle (slerp) keeps a length and no more, the prior-matched curve passes through latents as "
        "likely as draws, and the geodesic takes the shortest way in the samples."
        + (" The route keeps to good latents of the map, see Manifold." if rivals.mapped else ""),
        _best(rivals),
        f"Typicality says how usual a latent's distance from the prior's centre is, from 0 (no draw lies so far in or "
        f"out) to 1: over draws it is even, {drawn:.2f} on average here. Halfway between two of {PAIRS} pairs of "
        f"latents of {study.scene.generator.prior.dim} dimensions it averages "
        + ", ".join(f"{value:.2f} on {KINDS[name]}" for name, value in halfway.items())
        + ".",
    ]
    return Chapter("bakeoff", "Bake-off", tuple(text), figures, (_table(rivals, made),))


def _best(rivals: Rivals) -> str:
    """Say which curve is the best by its worst place, if one is better than the others."""
    known, what = ("probability", "sample") if rivals.mapped else ("typicality", "latent")
    leasts = {row.name: getattr(row, f"least_{known}") for row in rivals.bake.rows if not row.missing}
    best = leasts.pop(rivals.bake.best)
    if leasts and best - max(leasts.values()) < ALIKE:
        return f"By its worst {what} no curve is better than all others: the least {known} is at most {best:.2g}."
    return f"By its worst {what} the best of them is the {rivals.bake.best}: its least {known} is {best:.2g}."


def _table(rivals: Rivals, made: str) -> Table:
    """Return the curves' figures, and below what is to be known of each."""
    shown = {head: name for head, name in HEADS.items() if rivals.mapped or "probability" not in name}
    rows = [(row.name, *(_number(getattr(row, name)) for name in shown.values())) for row in rivals.bake.rows]
    notes = " ".join(f"{row.name}: {row.note}." for row in rivals.bake.rows if row.note)
    return Table(
        f"Curves between {made}, at {STEPS} even times. The worst jump is the largest change from one sample to the "
        f"next over the mean one: 1 where samples change evenly. {notes}".strip(),
        ("curve", *shown),
        tuple(rows),
    )


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"


def _typicality(study: Study, folder: Path) -> tuple[Figure, dict[str, float], float]:
    """Draw the mean typicality along three kinds of curves; return it halfway, and that of draws."""
    prior = study.scene.generator.prior
    ways: dict[str, Callable[..., Curve]] = {
        "prior-matched": partial(interpolate, prior=prior),
        "lerp": lerp,
        "slerp": slerp,
    }
    a, b = study.scene.latents[:PAIRS], study.scene.latents[PAIRS : 2 * PAIRS]
    times = torch.linspace(0.0, 1.0, 33)
    lines: dict[str, np.ndarray] = {}
    for name, make in ways.items():
        try:
            z = make(a, b)(times)
        except CurveError:  # in one dimension opposite ends have no great circle
            continue
        lines[name] = prior.typicality(z.flatten(0, 1)).reshape(len(times), -1).mean(1).numpy()
    picture = plots.lines_picture(
        times.numpy(),
        lines,
        x_label="way from one latent to the other",
        y_label="mean typicality",
        top=1.0,
        inks=inks_of(tuple(lines)),
    )
    save_png(picture, folder / "typicality.png")
    figure = Figure(
        "typicality.png",
        "Typicality of the latents along three kinds of curves",
        "How typical the latents on the way are for the prior, over many pairs. Near 0 the generator is asked for "
        "something that it practically never saw in training.",
        f"{PAIRS} pairs of latents, seed {study.seed}, 33 steps each, mean typicality",
    )
    halfway = {name: float(values[len(values) // 2]) for name, values in lines.items()}
    return figure, halfway, float(prior.typicality(study.scene.latents).mean())
