"""What moving pictures of several curves are put together from: windows on their samples, and lines along them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentkit.checks import as_number
from latentkit.plots import distinct_colours
from latentkit.scatter import Stage, plane_limits
from latentkit.style import COLOURS, GROUND, INK, MUTED

__all__ = ["held", "inks_of", "lines", "now_line", "point_windows", "sized_stage", "spoken", "windows"]

#: What each curve is drawn in; others take what is left.
INKS = {
    "route": COLOURS[1],
    "prior-matched": COLOURS[0],
    "lerp": INK,
    "slerp": COLOURS[2],
    "geodesic": COLOURS[3],
}

#: Room between windows, and above each for its name, in sides of an image.
GAP, NAME = 0.08, 0.18


def inks_of(names: Sequence[str]) -> dict[str, str]:
    """Return a colour for each curve, the same for one of the usual curves wherever it is drawn."""
    others = [name for name in names if name not in INKS]
    left = [ink for ink in distinct_colours(10) if ink not in INKS.values()]
    inks = left[: len(others)] if len(others) <= len(left) else distinct_colours(len(others))
    return INKS | dict(zip(others, inks, strict=True))


def sized_stage(points: Sequence[Any], size: tuple[int, int]) -> Stage:
    """Return a stage whose axes hold groups of points (N, 2), in a figure of (W, H) pixels; call it in `drawing()`."""
    stage = Stage(plane_limits(*points), size[1])
    stage.figure.set_size_inches(size[0] / stage.figure.dpi, size[1] / stage.figure.dpi)
    return stage


def lines(
    axes: Any,
    values: NDArray[np.float64],
    names: Sequence[str],
    *,
    label: str,
    threshold: float | None = None,
    columns: int | None = None,
) -> None:
    """Draw values (C, T) in [0, 1] along C curves, each from its start to its end.

    Args:
        axes: to draw on.
        values: at even times.
        names: of the curves.
        label: what the values are.
        threshold: of the values, drawn as a dashed line, or None.
        columns: names a row above the lines; by default all.
    """
    inks, times = inks_of(names), np.linspace(0.0, 1.0, values.shape[1])
    for some, name in zip(values, names, strict=True):
        axes.plot(times, some, color=inks[name], label=name)
    if threshold is not None:
        axes.axhline(threshold, color=MUTED, linestyle="--", linewidth=1.0)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="way from one latent to the other", ylabel=label)
    axes.legend(loc="lower center", ncols=columns or len(names), bbox_to_anchor=(0.5, 1.0))


def now_line(axes: Any) -> Any:
    """Return the line that says when it is, for `set_xdata([t, t])`."""
    return axes.axvline(0.0, color=MUTED, linewidth=1.2)


def spoken(values: NDArray[np.float64], names: Sequence[str], label: str) -> list[str]:
    """Return a caption for each of T frames of values (C, T) along C curves."""
    return [
        f"{label}: " + " · ".join(f"{name} {value:.2f}" for name, value in zip(names, column, strict=True))
        for column in values.T.tolist()
    ]


def held(frames: int, fps: float) -> list[float]:
    """Return how long each frame is shown, in ms: the first and the last for half a second more."""
    durations = [1000.0 / as_number(fps, "fps", least=0.0, open_least=True)] * frames
    durations[0] += 500.0
    durations[-1] += 500.0
    return durations


def windows(axes: Any, names: Sequence[str], sides: tuple[int, int], *, columns: int | None = None) -> list[Any]:
    """Return an image artist for each of C curves, side by side under their names, to be given the present sample.

    Args:
        axes: to draw on; what they show is all this.
        names: of the curves.
        sides: height and width of a sample.
        columns: how many a row; by default all.
    """
    height, width = sides
    columns = min(columns or len(names), len(names))
    rows = -(-len(names) // columns)
    wide, high = (1.0 + GAP) * width, height + NAME * height
    inks, found = inks_of(names), []
    blank = np.full((height, width, 3), 255, dtype=np.uint8)
    for k, name in enumerate(names):
        row, column = divmod(k, columns)
        left, top = column * wide, row * high
        shown = axes.imshow(blank, extent=(left, left + width, top + height, top), interpolation="nearest")
        found.append(shown)
        axes.text(left + width / 2, top - 0.05 * height, name, ha="center", color=inks[name])
    axes.set(xlim=(0, columns * wide - GAP * width), ylim=(rows * high - NAME * height, -NAME * height), aspect="equal")
    axes.set_axis_off()
    return found


def point_windows(axes: Any, points: NDArray[np.float32], names: Sequence[str]) -> list[Any]:
    """Draw the ways (C, T, 2) of C curves as dots, and return an artist for where each is now."""
    inks, found = inks_of(names), []
    # Where curves meet each can still be seen: later ones are smaller, on top.
    for way, name, size in zip(points, names, np.linspace(10.0, 6.0, len(names)), strict=True):
        axes.plot(*way.T, ".", color=inks[name], markersize=1.5, alpha=0.6)
        found += axes.plot([], [], "o", color=inks[name], markersize=size, markeredgecolor=GROUND)
    return found
