"""A film of several curves at once: images side by side, or points on one stage."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.animation import BACKDROP, Animation, from_frames
from latentkit.checks import as_count, require_finite
from latentkit.curves import Curve
from latentkit.errors import ShapeError
from latentkit.protocols import Generator
from latentkit.render import to_rgb
from latentkit.sampling.generate import generate, stream
from latentkit.scatter import as_points
from latentkit.series import pictured, sample_kind
from latentkit.style import MUTED, drawing
from latentkit.walks.panels import held, lines, now_line, point_windows, sized_stage, spoken, windows

__all__ = ["side_by_side"]

Frame = NDArray[np.uint8]

#: Images a row, at most, and the pixels that each takes of a frame's width.
COLUMNS, CELL = 6, 150

#: Pixels of a frame's lines, above the others; of a frame of points, and of the least width of one.
LINES, POINTS, LEAST = 190, (800, 440), 460


def side_by_side(
    generator: Generator,
    curves: Sequence[Curve],
    names: Sequence[str],
    values: Tensor,
    *,
    label: str,
    threshold: float | None = None,
    frames: int = 90,
    fps: float = 25.0,
    batch_size: int = 64,
) -> Animation:
    """Film what a generator makes along several curves at once, with their names and what is known along them.

    Args:
        generator: makes images (N, C, H, W) in [-1, 1] or points (N, 2).
        curves: C of them, of single ends.
        names: of the curves.
        values: (C, T) in [0, 1], what is known of each curve at T even times; in between it is read off linearly.
        label: what the values are.
        threshold: of the values, drawn as a dashed line, or None.
        frames: how many, at least 2.
        fps: frames a second, above 0 and at most 50; the first and the last frame stand for half a second more.
        batch_size: latents a call.

    Raises:
        ArgumentError: if a number is out of range.
        ShapeError: if the samples are neither images nor points.
        NonFiniteError: if a sample holds NaN or infinity.
    """
    frames = as_count(frames, "frames", least=2)
    durations = held(frames, fps)
    latents = torch.stack([curve.steps(frames, closed=False) for curve in curves], 1)
    first = require_finite(generate(generator, latents[0], batch_size=batch_size), "a sample of frame 0")
    if sample_kind(first.shape[1:]) in ("series", "row"):
        generator = pictured(generator)
        first = generate(generator, latents[0], batch_size=batch_size)
    when, known = np.linspace(0.0, 1.0, frames), values.double().numpy()
    now = np.stack([np.interp(when, np.linspace(0.0, 1.0, known.shape[1]), some) for some in known])
    about = _About(tuple(names), known, label, threshold)
    if sample_kind(first.shape[1:]) == "image":
        sides = first.shape[2], first.shape[3]

        def film() -> Iterator[Frame]:
            return _images(generator, latents, about, sides, batch_size)
    elif first.shape[1:] == (2,):

        def film() -> Iterator[Frame]:
            return _points(generator, latents, about, batch_size)
    else:
        raise ShapeError(f"a film shows images (C, H, W) or points (2,), got samples {tuple(first.shape[1:])}")
    return from_frames(film, durations=durations, captions=spoken(now, names, label))


@dataclass(frozen=True, eq=False)
class _About:
    """What is drawn of C curves beside their samples."""

    names: tuple[str, ...]
    values: NDArray[np.float64]
    label: str
    threshold: float | None

    def drawn(self, axes: Any, columns: int) -> Any:
        """Draw the values as lines, with so many names a row, and return the line that says when it is."""
        lines(axes, self.values, self.names, label=self.label, threshold=self.threshold, columns=columns)
        return now_line(axes)


def _images(
    generator: Generator, latents: Tensor, about: _About, sides: tuple[int, int], batch_size: int
) -> Iterator[Frame]:
    together, columns = len(about.names), min(len(about.names), COLUMNS)
    tall = -(-together // columns) * (CELL * sides[0] / sides[1] + 30.0)
    with drawing():
        stage = sized_stage([torch.zeros(1, 2)], (max(columns * CELL, LEAST), round(tall + LINES)))
        rows = stage.figure.add_gridspec(2, 1, height_ratios=(tall, LINES))
        stage.axes.set_subplotspec(rows[0])
        shown = windows(stage.axes, about.names, sides, columns=columns)
        bar = about.drawn(stage.figure.add_subplot(rows[1]), 2 * columns)
        stage.keep([*shown, bar])
    done, whole = 0, max(batch_size // together, 1) * together
    for samples in stream(generator, latents.flatten(0, 1), batch_size=whole):
        require_finite(samples, f"the samples of frame {done} and on")
        for pictures in to_rgb(samples).reshape(-1, together, *sides, 3):
            with drawing():
                for window, picture in zip(shown, pictures, strict=True):
                    window.set_data(picture)
                bar.set_xdata([done / (len(latents) - 1)] * 2)
                frame = stage.frame()
            done += 1
            yield frame


def _points(generator: Generator, latents: Tensor, about: _About, batch_size: int) -> Iterator[Frame]:
    # Two numbers a sample: the whole of each way is needed for the axes and the trails.
    ways = as_points(generate(generator, latents.flatten(0, 1), batch_size=batch_size), "samples")
    backdrop = generate(generator, generator.prior.sample(BACKDROP, seed=0), batch_size=batch_size).float()
    points = ways.reshape(*latents.shape[:2], 2).transpose(0, 1).numpy()
    with drawing():
        stage = sized_stage([ways, backdrop], POINTS)
        columns = stage.figure.add_gridspec(1, 2)
        stage.axes.set_subplotspec(columns[0])
        stage.axes.plot(*backdrop.numpy().T, ".", color=MUTED, markersize=2.0, alpha=0.5, markeredgewidth=0)
        shown = point_windows(stage.axes, points, about.names)
        bar = about.drawn(stage.figure.add_subplot(columns[1]), 3)
        stage.keep([*shown, bar])
    for t in range(len(latents)):
        with drawing():
            for k, point in enumerate(shown):
                point.set_data(*points[k, t : t + 1].T)
            bar.set_xdata([t / (len(latents) - 1)] * 2)
            frame = stage.frame()
        yield frame
