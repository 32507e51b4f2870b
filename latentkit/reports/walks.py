"""The report's walks: films of loops through the latent space, and three ways from one latent to another."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latentkit import plots
from latentkit.animation import animate
from latentkit.curves import Curve, interpolate, lerp, loop, slerp
from latentkit.render import samples_sheet, save_png
from latentkit.reports import classes
from latentkit.reports.page import Chapter, Figure
from latentkit.reports.study import Study
from latentkit.sampling.generate import generate

__all__ = ["chapter"]

KEYS = 6
FRAMES = 96
PAIRS = 200


def chapter(study: Study, folder: Path) -> Chapter:
    """Loops through random and through good latents, and the three ways to go from one to another."""
    scene = study.scene
    prior = scene.generator.prior
    marginal = study.marginal
    figures = [*(classes.walked(study, marginal, folder) if marginal and study.images else _films(study, folder))]
    ways, lines, times = _ways(study)
    drawn = float(prior.typicality(scene.latents).mean())
    chart = plots.lines_picture(
        times, lines, x_label="way from one latent to the other", y_label="mean typicality", top=1.0
    )
    save_png(chart, folder / "typicality.png")
    figures.append(
        Figure(
            "typicality.png",
            "Typicality of the latents along three kinds of curves",
            "How typical the latents on the way are for the prior. Near 0 the generator is asked for something that it "
            "practically never saw in training.",
            f"{PAIRS} pairs of latents, seed {study.seed}, 33 steps each, mean typicality",
        )
    )
    if study.images:
        i, j = _far_apart(scene.samples[:12])
        rows = [make(scene.latents[i], scene.latents[j]).steps(9) for make in ways.values()]
        strip = generate(scene.generator, torch.cat(rows), batch_size=study.batch_size)
        save_png(samples_sheet(strip, columns=9), folder / "curves.png")
        figures.append(
            Figure(
                "curves.png",
                f"Samples along three curves between the same two latents{scene.where}",
                f"The same two ends{scene.where}, rows from above: {', '.join(ways)}.",
                f"latents {i} and {j} of seed {study.seed}{scene.where}, of the first 12 those whose samples differ "
                "most; 9 steps",
                pixelated=True,
            )
        )
    halfway = {name: values[len(values) // 2] for name, values in lines.items()}
    text = (
        "Typicality says how usual a latent's distance from the prior's centre is, from 0 (no draw lies so far in or "
        "out) to 1: over draws it is even, so 0.5 on average. A curve that keeps it asks the generator only for "
        "what it was trained on.",
        f"What is filmed here is prior-matched: halfway between two latents of {prior.dim} dimensions the typicality "
        f"averages {halfway['interpolate']:.2f}, that of draws from the prior {drawn:.2f}. On a straight line it is "
        f"{halfway['lerp']:.2f}. On a great circle it is {halfway['slerp']:.2f}: its length is the mean of two draws' "
        "lengths, and means keep to the middle.",
    )
    return Chapter("walks", "Walks", text, tuple(figures))


def _films(study: Study, folder: Path) -> list[Figure]:
    """Film loops through random and through good latents."""
    scene, marginal = study.scene, study.marginal
    label = None if marginal is None or scene.label is None else marginal.classes.index(scene.label)
    tours = [("random", scene.latents[:KEYS], "random latents", f"the first {KEYS} of seed {study.seed}")]
    good = study.good_keys(KEYS, label)
    if good is not None:
        keys = good if marginal is None else marginal.inner(good)
        tours.append(("best", keys, "good latents", f"the first {KEYS} in the critic's better quarter"))
    figures = []
    for name, keys, what, which in tours:
        way = loop(keys, prior=scene.generator.prior)
        film = animate(scene.generator, way, frames=FRAMES, fps=24, batch_size=study.batch_size)
        film.save(folder / f"walk-{name}.gif")
        figures.append(
            Figure(
                f"walk-{name}.gif",
                f"Film of a walk through {what}{scene.where}",
                f"A loop through {what}{scene.where}.",
                f"loop of {KEYS} keyframes ({which}{scene.where}), prior-matched, {FRAMES} frames at 24 a second",
                study.images,
            )
        )
    return figures


def _far_apart(samples: Tensor) -> tuple[int, int]:
    """Return which two of a few samples (N, ...) differ most."""
    rows = samples.flatten(1)
    return divmod(int(torch.cdist(rows, rows).argmax()), len(rows))


def _ways(study: Study) -> tuple[dict[str, Callable[..., Curve]], dict[str, np.ndarray], np.ndarray]:
    """Return three kinds of curves by name, their mean typicality (T,) over pairs of latents, and the times (T,)."""
    prior = study.scene.generator.prior
    ways: dict[str, Callable[..., Curve]] = {
        "interpolate": partial(interpolate, prior=prior),
        "slerp": slerp,
        "lerp": lerp,
    }
    a, b = study.scene.latents[:PAIRS], study.scene.latents[PAIRS : 2 * PAIRS]
    times = torch.linspace(0.0, 1.0, 33)
    lines = {}
    for name, make in ways.items():
        z = make(a, b)(times)
        lines[name] = prior.typicality(z.flatten(0, 1)).reshape(len(times), -1).mean(1).numpy()
    return ways, lines, times.numpy()
