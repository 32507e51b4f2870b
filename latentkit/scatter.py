"""Points of the plane: a scatter over fixed axes, and a point that moves over one."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.checks import as_count, floating, require_finite
from latentkit.errors import ShapeError
from latentkit.style import ACCENT, COLOURS, MUTED, SCALE, drawing, figure_rgb, new_axes

__all__ = ["POINTS_SIDE", "Stage", "as_points", "moving_point", "plane_limits", "points_rgb"]

Pixels = NDArray[np.uint8]

#: The side of a frame of points, in pixels.
POINTS_SIDE = 320

#: Places that a moving point leaves behind it.
TRAIL = 14


def as_points(points: Any, name: str) -> Tensor:
    """Return finite points (N, 2) as float32 on the CPU, at least one, or raise `ShapeError`."""
    points = floating(points, name)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise ShapeError(f"{name} must be (N, 2), at least one, got {tuple(points.shape)}")
    return require_finite(points.cpu().float(), name)


def plane_limits(*groups: Tensor) -> tuple[float, float, float, float]:
    """Return (left, right, bottom, top) of a square that holds points (N, 2), with some room around them."""
    points = torch.cat([group.detach().double().cpu() for group in groups])
    low, high = points.min(0).values, points.max(0).values
    middle = (low + high) / 2
    # Points that are all equal still need a square, one that floats can tell apart.
    half = max(float((high - low).max()) * 0.55, float(middle.abs().max()) * 1e-3, 1e-6)
    x, y = middle.tolist()
    return x - half, x + half, y - half, y + half


class Stage:
    """Axes of the plane that are drawn once, and artists that are drawn over them anew for each frame.

    Made and used within `drawing()`.

    Args:
        limits: (left, right, bottom, top) of the axes.
        size: pixels a side.
        backdrop: (M, 2) points drawn pale for good, or None.
        title: what is shown.
    """

    def __init__(
        self, limits: tuple[float, float, float, float], size: int, backdrop: Tensor | None = None, *, title: str = ""
    ) -> None:
        self.figure, self.axes = new_axes(size, size, title=title, x="x", y="y", equal=True)
        self.axes.set(xlim=limits[:2], ylim=limits[2:])
        if backdrop is not None:
            self.axes.plot(*backdrop.numpy().T, ".", color=MUTED, markersize=3.0, alpha=0.6, markeredgewidth=0)

    def keep(self, artists: Sequence[Any]) -> None:
        """Draw all but these artists for good."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        self._canvas, self._artists = FigureCanvasAgg(self.figure), artists
        for artist in artists:
            artist.set_visible(False)
        self._canvas.draw()
        for artist in artists:
            artist.set_visible(True)
        self._still = self._canvas.copy_from_bbox(self.figure.bbox)

    def frame(self) -> Pixels:
        """Return the pixels (size, size, 3) with the artists as they are now."""
        self._canvas.restore_region(self._still)
        for artist in self._artists:
            self.axes.draw_artist(artist)
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()


def points_rgb(
    points: Tensor,
    *,
    values: Tensor | None = None,
    label: str = "",
    title: str = "",
    backdrop: Tensor | None = None,
    limits: tuple[float, float, float, float] | None = None,
    size: int = POINTS_SIDE,
) -> Pixels:
    """Draw points (N, 2) as a scatter over fixed axes and return it: (size, size, 3).

    Args:
        points: at least one.
        values: (N,) to colour them by, or None.
        label: what the values are.
        title: what is shown.
        backdrop: (M, 2) points drawn pale beneath them, or None.
        limits: (left, right, bottom, top) of the axes; by default a square around everything.
        size: pixels a side.

    Raises:
        ShapeError: if the points are not (N, 2), or the values not (N,).
        NonFiniteError: if a point is not finite.
    """
    points, backdrop = as_points(points, "points"), None if backdrop is None else as_points(backdrop, "backdrop")
    if values is not None and tuple(values.shape) != (len(points),):
        raise ShapeError(f"values must be ({len(points)},), got {tuple(values.shape)}")
    groups = (points,) if backdrop is None else (points, backdrop)
    with drawing():
        stage = Stage(limits or plane_limits(*groups), as_count(size, "size", least=64), backdrop, title=title)
        x, y = points.numpy().T
        area = float(np.clip(4000 / len(points), 3, 24))
        if values is None:
            stage.axes.scatter(x, y, s=area, color=COLOURS[0], alpha=0.6, linewidths=0)
        else:
            shown = stage.axes.scatter(x, y, s=area, c=values.numpy(), cmap=SCALE, alpha=0.9, linewidths=0)
            stage.figure.colorbar(shown, ax=stage.axes, label=label, shrink=0.8)
        return figure_rgb(stage.figure)


def moving_point(points: Tensor, size: int, backdrop: Tensor | None, closed: bool) -> Iterator[Pixels]:
    """Yield frames of a point with its fading trail; axes and backdrop are drawn once."""
    with drawing():
        from matplotlib.colors import to_rgb as rgb_of

        stage = Stage(plane_limits(points, *(() if backdrop is None else (backdrop,))), size, backdrop)
        fade = np.linspace(0.0, 0.9, TRAIL + 2)[1:-1]
        trail: Any = stage.axes.scatter([], [], s=14 * (size / POINTS_SIDE), linewidths=0)
        (head,) = stage.axes.plot([], [], "o", color=ACCENT, markersize=9 * size / POINTS_SIDE, markeredgecolor="white")
        stage.keep([trail, head])
    path = points.numpy()
    for i in range(len(path)):
        last = np.arange(i - TRAIL, i)
        last = last % len(path) if closed else last[last >= 0]
        # The style's block is entered anew for each frame: between frames a caller's settings are in force.
        with drawing():
            trail.set_offsets(path[last])
            trail.set_facecolors([(*rgb_of(ACCENT), alpha) for alpha in fade[len(fade) - len(last) :]])
            head.set_data(path[i : i + 1].T)
            frame = stage.frame()
        yield frame
