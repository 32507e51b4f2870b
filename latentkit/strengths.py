"""Strength sweeps as pictures: a sheet, a row a latent and a column a strength, and a film that goes there and back."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from latentkit.animation import Animation, from_frames
from latentkit.captions import captioned
from latentkit.checks import as_count, as_number
from latentkit.edits import Sweep
from latentkit.errors import ArgumentError, ShapeError
from latentkit.render import LEAST_CELL, enlargement, samples_sheet
from latentkit.scatter import POINTS_SIDE, Stage, plane_limits
from latentkit.series import as_images, sample_kind
from latentkit.strips import Line, strips
from latentkit.style import ACCENT, GROUND, MUTED, SCALE, drawing, figure_rgb

__all__ = ["sweep_film", "sweep_sheet"]

Image = NDArray[np.uint8]

#: Least width of a film, in pixels: a caption takes about as much.
LEAST_WIDTH = 270

#: The side of a picture of points, in pixels.
SIDE = 460


def sweep_sheet(sweep: Sweep, *, scale: int | None = None) -> Image:
    """Draw a sweep as one picture (H, W, 3): a row of images a latent, under their strengths.

    Below the images are the median typicality of each column's latents and, if there was a critic, the mean probability
    of its samples. Points of the plane are drawn as the ways that they take, dark at the lowest strength and light at
    the highest, over what they come from.

    Args:
        sweep: of images (C, H, W) with 1 or 3 channels, or of points (2,).
        scale: images are this many times as large; by default their longer side has at least 64 pixels.

    Raises:
        ShapeError: if the samples are neither images nor points.
    """
    if _are_points(sweep):
        return _ways(sweep)
    below = [Line("typicality", [f"{t:.2f}" for t in sweep.typicality.median(0).values.tolist()])]
    if sweep.probability is not None:
        below.append(Line("probability", [f"{p:.2f}" for p in sweep.probability.mean(0).tolist()]))
    above = Line("strength", [_signed(s) for s in sweep.strengths.tolist()], strong=True)
    return strips(sweep.samples, above=[above], below=below, title=sweep.name, scale=scale)


def sweep_film(sweep: Sweep, *, fps: float = 16.0, columns: int | None = None, scale: int | None = None) -> Animation:
    """Film a sweep: all latents side by side, while the strength goes from its lowest to its highest and back.

    The strength is in the caption, with the mean probability if there was a critic. Neither end is shown twice, so that
    the film goes on into its start. A smooth film needs a few dozen strengths: `safe_strengths(direction, prior, 41)`.

    Args:
        sweep: of images (C, H, W) with 1 or 3 channels, or of points (2,), with at least 2 strengths.
        fps: frames a second, above 0 and at most 50.
        columns: images a row; by default all latents, up to 8.
        scale: images are this many times as large; by default their longer side has at least 64 pixels, and the film
            room for its captions.

    Raises:
        ShapeError: if the samples are neither images nor points.
        ArgumentError: if there is one strength only, or a number is out of range.
    """
    fps = as_number(fps, "fps", least=0.0, open_least=True)
    points, count, samples = _are_points(sweep), len(sweep.strengths), sweep.samples
    if count < 2:
        raise ArgumentError(f"a film needs at least 2 strengths, got {count}; give sweep more of them")
    if not points:
        columns = min(len(sweep.samples), 8) if columns is None else as_count(columns, "columns")
        samples = as_images(sweep.samples.flatten(0, 1)).unflatten(0, sweep.samples.shape[:2])
        sides = samples.shape[-2:]
        if scale is None:
            across = sides[1] * min(columns, len(sweep.samples))
            scale = max(enlargement(sides, LEAST_CELL), -(-LEAST_WIDTH // across))
    rising = sweep.strengths.argsort()
    order = torch.cat([rising, rising.flip(0)[1:-1]]).tolist()
    means = None if sweep.probability is None else sweep.probability.mean(0).tolist()
    captions = [
        f"{sweep.name} {_signed(float(sweep.strengths[a]))}" + (f" · probability {means[a]:.2f}" if means else "")
        for a in order
    ]

    def frames() -> Iterator[Image]:
        if points:
            yield from _moving(sweep, order)
            return
        for a in order:
            yield samples_sheet(samples[:, a], columns=columns, scale=scale)

    return from_frames(frames, count=len(order), fps=fps, captions=captions)


def _are_points(sweep: Sweep) -> bool:
    kind = sample_kind(sweep.samples.shape[2:])
    if kind is None:
        raise ShapeError(
            f"a sweep is drawn of images (1 or 3, H, W), points (2,), series or rows, got samples "
            f"{tuple(sweep.samples.shape[2:])}"
        )
    return kind == "point"


def _signed(strength: float) -> str:
    return "0" if abs(strength) < 5e-3 else f"{strength:+.2g}"


def _title(sweep: Sweep, width: int) -> Image:
    """Draw the direction's name, in whatever language it is, as a strip (CAPTION_HEIGHT, width, 3)."""
    return captioned(np.empty((0, width, 3), dtype=np.uint8), sweep.name)


def _ways(sweep: Sweep) -> Image:
    """Draw the ways of points (N, A, 2) over the plane: from dark, the lowest strength, to light."""
    with drawing():
        stage = Stage(plane_limits(sweep.samples.flatten(0, 1)), SIDE)
        for way in sweep.samples.double().numpy():
            stage.axes.plot(*way.T, "-", color=MUTED, linewidth=0.8, zorder=1)
        values = sweep.strengths.expand(len(sweep.samples), -1).flatten().numpy()
        x, y = sweep.samples.flatten(0, 1).double().numpy().T
        dots = stage.axes.scatter(x, y, s=16, c=values, cmap=SCALE, linewidths=0, zorder=2)
        stage.figure.colorbar(dots, ax=stage.axes, label="strength", shrink=0.8)
        drawn = figure_rgb(stage.figure)
    return np.concatenate([_title(sweep, drawn.shape[1]), drawn])


def _moving(sweep: Sweep, order: list[int]) -> Iterator[Image]:
    """Yield a frame for each strength of an order: where the points are, on their ways."""
    places = sweep.samples.double().numpy()
    with drawing():
        stage = Stage(plane_limits(sweep.samples.flatten(0, 1)), POINTS_SIDE)
        for way in places:
            stage.axes.plot(*way.T, "-", color=MUTED, linewidth=0.8)
        (dots,) = stage.axes.plot([], [], "o", color=ACCENT, markersize=5, markeredgecolor=GROUND, markeredgewidth=0.6)
        stage.keep([dots])
    for a in order:
        with drawing():
            dots.set_data(*places[:, a].T)
            frame = stage.frame()
        yield frame
