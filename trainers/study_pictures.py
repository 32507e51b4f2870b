"""The pictures of a study of the latent size: its figures against the size, and each size's samples in turn."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from latentkit.animation import Animation, from_frames
from latentkit.render import enlargement, sheet, thumbnails, to_rgb
from latentkit.scatter import Stage, plane_limits
from latentkit.style import ACCENT, COLOURS, MUTED, drawing, figure_rgb, new_axes

__all__ = ["FIGURES", "POINTS", "SHEET", "Pixels", "study_film", "study_picture"]

Pixels = NDArray[np.uint8]

COLUMNS, ROWS = 12, 5  # of the samples of images
#: Images on a frame.
SHEET = COLUMNS * ROWS
CELL = 40  # pixels that the side of an image has at least
THUMBNAIL = 64  # larger images are shown at this size
SIDE = 400  # pixels of a frame of points
#: Samples on a frame of points.
POINTS = 1_000
SHOWN = 1500.0  # ms for each size

# Title, figure, limits of the axis. The panels of one row of the picture stand together.
_PANELS: tuple[tuple[str, str, tuple[float | None, float | None]], ...] = (
    ("coverage", "coverage", (0.0, 1.02)),
    ("recall", "recall", (0.0, 1.02)),
    ("precision", "precision", (0.0, 1.02)),
    ("density", "density", (0.0, None)),
    ("told from real ones (1-NN)", "separability", (0.4, 1.02)),
    ("calibrated probability", "probability", (0.0, 0.6)),
    ("inversion error / variance", "inversion_error", (0.0, None)),
    ("effective rank", "effective_rank", (0.8, None)),
)
#: The figures that are drawn, fields of a study's rows.
FIGURES = tuple(name for _, name, _ in _PANELS)


def study_picture(
    figures: Mapping[str, Sequence[tuple[int, float]]], real: Mapping[str, float], *, believed: Sequence[bool]
) -> Pixels:
    """Draw small multiples of figures against the latent size, and return (H, W, 3).

    Points are trainings, the line goes through the means of each size, and the dashed line is what other real
    samples reach; for the effective rank it is the size itself, which no rank exceeds.

    Args:
        figures: the size and the value of each training, by the figure's name.
        real: the value of other real samples, by the figure's name.
        believed: of each training, whether its critic carries a signal; the calibrated probability of
            one that does not is drawn hollow.
    """
    sizes = np.unique([size for size, _ in figures["coverage"]])
    with drawing():
        figure, whole = new_axes(1040, 500)
        whole.remove()
        axes = figure.subplots(2, 4).ravel()
        for panel, (title, name, limits) in zip(axes, _PANELS, strict=True):
            x, y = np.array(figures[name]).T
            reference = sizes if name == "effective_rank" else np.full(len(sizes), real[name])
            panel.plot(_widened(sizes), _widened(reference), color=MUTED, linestyle="--", linewidth=1.2)
            panel.plot(sizes, [y[x == size].mean() for size in sizes], color=COLOURS[0])
            hollow = np.array(believed) if name == "probability" else np.full(len(x), True)
            panel.plot(x[hollow], y[hollow], "o", color=COLOURS[0], markersize=3.5)
            panel.plot(x[~hollow], y[~hollow], "o", color=COLOURS[0], markerfacecolor="none", markersize=3.5)
            panel.set_title(title)
            _size_axis(panel, sizes)
            if name == "effective_rank":
                _rank_axis(panel)
            panel.set_ylim(*limits)
        figure.supxlabel(
            "latent size; points: trainings, line: their mean, dashed: other real samples (for the rank: the size)",
            fontsize=8.5,
        )
        return figure_rgb(figure)


def _widened(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return one value twice, so that a line through it can be seen."""
    return np.repeat(values, 2).astype(float) if len(values) == 1 else values.astype(float)


def _size_axis(panel: Any, sizes: NDArray[np.int64]) -> None:
    panel.set_xscale("log", base=2)
    panel.set_xlim(sizes[0] / 1.3, sizes[-1] * 1.3)
    panel.set_xticks(sizes, labels=[str(size) for size in sizes])
    panel.minorticks_off()


def _rank_axis(panel: Any) -> None:
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    panel.set_yscale("log", base=2)
    panel.yaxis.set_major_locator(LogLocator(base=2, numticks=20))
    panel.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    panel.yaxis.set_minor_formatter(NullFormatter())


def study_film(samples: Tensor, held_out: Tensor, captions: Sequence[str]) -> Animation | None:
    """Return a film of the samples of each size in turn, or None for what cannot be drawn.

    Args:
        samples: (sizes, n, *S): images of 1 or 3 channels, followed by real ones, or points of the plane, over
            real ones.
        held_out: (m, *S), the real ones.
        captions: a line of text for each size.
    """
    shape = tuple(samples.shape[2:])
    if len(shape) == 3 and shape[0] in (1, 3):
        frames = [_sheet(part) for part in (*samples, held_out)]
        captions = [*captions, "real samples, held out"]
        return from_frames(frames, durations=[SHOWN] * len(frames), captions=captions)
    if shape == (2,):
        return from_frames(
            lambda: _scatters(samples, held_out), durations=[SHOWN] * len(samples), captions=list(captions)
        )
    return None


def _sheet(images: Tensor) -> Pixels:
    """Return the first images on a sheet of one size, however few they are."""
    shown = images[:SHEET]
    pictures = thumbnails(shown, THUMBNAIL) if max(images.shape[2:]) > THUMBNAIL else to_rgb(shown)
    blank = np.full((SHEET - len(pictures), *pictures.shape[1:]), 255, dtype=np.uint8)
    return sheet(np.concatenate([pictures, blank]), COLUMNS, scale=enlargement(pictures.shape[1:3], CELL))


def _scatters(samples: Tensor, held_out: Tensor) -> Iterator[Pixels]:
    with drawing():
        stage = Stage(plane_limits(held_out, samples.flatten(0, 1)), SIDE, held_out)
        (made,) = stage.axes.plot([], [], ".", color=ACCENT, markersize=3, markeredgewidth=0)
        stage.keep([made])
    for points in samples:
        with drawing():
            made.set_data(*points.numpy().T)
            frame = stage.frame()
        yield frame
