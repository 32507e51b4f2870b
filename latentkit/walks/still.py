"""A picture of several curves at once: rows of images, or ways over the plane."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.animation import BACKDROP
from latentkit.checks import as_count
from latentkit.curves import Curve
from latentkit.protocols import Generator
from latentkit.sampling.generate import generate
from latentkit.scatter import as_points
from latentkit.strips import Line, strips
from latentkit.style import MUTED, drawing, figure_rgb
from latentkit.walks.panels import inks_of, lines, sized_stage

__all__ = ["pictured"]

Image = NDArray[np.uint8]

#: Places of a way over the plane, and pixels of its picture.
PLACES, PICTURE = 256, (800, 440)


def pictured(
    generator: Generator,
    curves: Sequence[Curve],
    names: Sequence[str],
    values: Tensor,
    *,
    label: str,
    threshold: float | None = None,
    columns: int = 9,
    batch_size: int = 64,
) -> Image:
    """Draw what a generator makes along several curves: (H, W, 3).

    Args:
        generator: makes images (N, C, H, W) in [-1, 1] or points (N, 2).
        curves: C of them, of single ends.
        names: of the curves.
        values: (C, T) in [0, 1], what is known of each curve at T even times; each row's least is written beside it,
            and for points all are drawn as lines.
        label: what the values are.
        threshold: of the values, drawn as a dashed line for points, or None.
        columns: images a row, at least 2, at even times.
        batch_size: latents a call.

    Raises:
        ArgumentError: if there are fewer than 2 columns.
        ShapeError: if the samples are neither images nor points.
    """
    columns = as_count(columns, "columns", least=2)
    first = generate(generator, curves[0].steps(1), batch_size=1)
    points = first.shape[1:] == (2,)
    latents = torch.stack([curve.steps(PLACES if points else columns, closed=False) for curve in curves])
    made = generate(generator, latents.flatten(0, 1), batch_size=batch_size).unflatten(0, latents.shape[:2])
    if not points:
        least = [f"{name} {row.min():.2g}" for name, row in zip(names, values, strict=True)]
        times = Line(f"least {label}", [f"{t:.2f}" for t in np.linspace(0.0, 1.0, columns)])
        return strips(made, rows=least, above=[times])
    backdrop = as_points(
        generate(generator, generator.prior.sample(BACKDROP, seed=0), batch_size=batch_size), "samples"
    )
    with drawing():
        stage = sized_stage([as_points(made.flatten(0, 1), "samples"), backdrop], PICTURE)
        places = stage.figure.add_gridspec(1, 2)
        stage.axes.set_subplotspec(places[0])
        stage.axes.plot(*backdrop.numpy().T, ".", color=MUTED, markersize=2.0, alpha=0.5, markeredgewidth=0)
        for way, name in zip(made.numpy(), names, strict=True):
            stage.axes.plot(*way.T, "-", color=inks_of(names)[name], linewidth=1.4)
        lines(
            stage.figure.add_subplot(places[1]),
            values.double().numpy(),
            names,
            label=label,
            threshold=threshold,
            columns=3,
        )
        return figure_rgb(stage.figure)
