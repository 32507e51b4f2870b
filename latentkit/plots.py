"""The charts and maps of reports and commands, drawn as RGB arrays in one house style."""

import colorsys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from latentkit.calibration import Calibration
from latentkit.style import ACCENT, COLOURS, GROUND, MUTED, SCALE, drawing, figure_rgb, new_axes

__all__ = [
    "MapStage",
    "distinct_colours",
    "histogram_picture",
    "lines_picture",
    "plane_picture",
    "reliability_picture",
    "thumbnail_picture",
]

Image = NDArray[np.uint8]
Array = NDArray[np.float64]

#: Standard errors to either side of a 95% interval.
WILSON = 1.96

#: Characters of a name in a legend, at most.
NAMED = 40

#: Places that a marker leaves behind it.
TRAIL = 12

#: Of up to ten groups. The house's colours and three more; a name beside each, as no ten differ for every eye.
GROUPS = (*COLOURS, "#8c564b", "#7f3c8d", "#9a9a00")


def distinct_colours(count: int) -> list[str]:
    """Return colours for so many groups: chosen ones, or more hues than anybody can tell apart."""
    if count <= len(GROUPS):
        return list(GROUPS[:count])
    # By the golden ratio neighbouring numbers get hues far from each other, however many there are.
    rgb = [colorsys.hls_to_rgb(k * 0.618034 % 1.0, 0.35 + 0.2 * (k % 2), 0.65) for k in range(count)]
    return ["#" + "".join(f"{round(255 * part):02x}" for part in colour) for colour in rgb]


def lines_picture(
    x: Array,
    lines: Mapping[str, Array],
    *,
    x_label: str,
    y_label: str,
    top: float | None = None,
    inks: Mapping[str, str] | None = None,
) -> Image:
    """Draw lines (T,) over x (T,) as (H, W, 3).

    Args:
        x: (T,).
        lines: (T,) each, by name.
        x_label: what the horizontal axis is.
        y_label: what the vertical axis is.
        top: fixes the vertical axis to [0, top].
        inks: the colour of each line, by name, where it has one elsewhere; by default the house's in turn.
    """
    inks = dict(zip(lines, distinct_colours(len(lines)), strict=True)) if inks is None else inks
    with drawing():
        figure, axes = new_axes(640, 400, x=x_label, y=y_label)
        for name, y in lines.items():
            axes.plot(x, y, color=inks[name], label=_entry(name))
        if top is not None:
            axes.set_ylim(0.0, top)
        axes.legend()
        return figure_rgb(figure)


def _entry(name: str) -> str:
    """Return a name as an entry of a legend: one line, which leaves room for the plot."""
    line = " ".join(name[: 2 * NAMED].split())
    line = line if len(line) <= NAMED else f"{line[:NAMED]}..."
    # Matplotlib leaves out those that are empty or begin with an underscore.
    return line if line[:1].strip("_") else f" {line}"


def histogram_picture(groups: Mapping[str, Array], *, x_label: str, bins: int = 40) -> Image:
    """Draw the distributions of values in [0, 1] of several groups as (H, W, 3)."""
    edges = np.linspace(0.0, 1.0, bins + 1).tolist()
    with drawing():
        figure, axes = new_axes(640, 400, x=x_label, y="share of samples")
        for (name, values), colour in zip(groups.items(), COLOURS, strict=False):
            weights = np.full(len(values), 1.0 / max(len(values), 1))
            axes.hist(values, edges, weights=weights, color=colour, alpha=0.25)
            axes.hist(values, edges, weights=weights, color=colour, histtype="step", linewidth=1.6, label=name)
        axes.set_xlim(0.0, 1.0)
        axes.legend()
        return figure_rgb(figure)


def reliability_picture(calibration: Calibration) -> Image:
    """Draw how far calibrated probabilities come true, over a histogram of them, as (H, W, 3).

    Of the samples in each tenth of the predictions, the share that was real, with its 95% interval.

    References:
        Wilson (1927), "Probable inference, the law of succession, and statistical inference": the interval.
    """
    predicted, share, count = calibration.reliability.numpy().T
    middle = (share + WILSON**2 / (2.0 * count)) / (1.0 + WILSON**2 / count)
    half = np.sqrt(share * (1.0 - share) / count + (WILSON / (2.0 * count)) ** 2) * WILSON / (1.0 + WILSON**2 / count)
    figures = f"Z {round(calibration.z, 2) + 0.0:.2f}, ECE {calibration.ece:.4f} (chance {calibration.ece_floor:.4f})"
    title = f"{calibration.verdict}: AUC {calibration.auc:.3f}\n{calibration.method} calibration, {figures}"
    with drawing():
        figure, axes = new_axes(440, 520, y="share that was real", title=title)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.0, linestyle="--")
        axes.plot(predicted, share, color=COLOURS[0])
        axes.vlines(predicted, middle - half, middle + half, color=COLOURS[0], linewidth=1.2)
        axes.scatter(predicted, share, s=18.0, color=COLOURS[0], zorder=3)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.04, 1.04))
        rows = figure.add_gridspec(2, 1, height_ratios=(3.0, 1.0))
        axes.set_subplotspec(rows[0])
        axes.tick_params(labelbottom=False)
        below = figure.add_subplot(rows[1], sharex=axes)
        below.bar(np.minimum(np.floor(predicted * 10.0), 9.0) / 10.0 + 0.05, count, width=0.096, color=COLOURS[0])
        below.set(xlabel="predicted probability of being real", ylabel="samples")
        return figure_rgb(figure)


def plane_picture(
    points: Tensor,
    values: Tensor | None = None,
    *,
    title: str = "",
    label: str = "",
    axes_labels: tuple[str, str] | None = None,
) -> Image:
    """Draw points (N, 2), coloured by values (N,) in [0, 1] where given, as (H, W, 3).

    Without labels of the axes these have no numbers either: those of a UMAP mean nothing.
    """
    size = float(np.clip(20_000.0 / max(len(points), 1), 1.5, 14.0))
    x_label, y_label = axes_labels or ("", "")
    with drawing():
        figure, axes = new_axes(620, 540, x=x_label, y=y_label, title=title)
        x, y = points.numpy().T
        if values is None:
            axes.scatter(x, y, s=size, color=COLOURS[0], linewidths=0)
        else:
            dots = axes.scatter(x, y, s=size, c=values.numpy(), cmap=SCALE, vmin=0.0, vmax=1.0, linewidths=0)
            figure.colorbar(dots, ax=axes, label=label, shrink=0.8)
        axes.set_aspect("equal", adjustable="datalim")
        if axes_labels is None:
            axes.set_axis_off()
        return figure_rgb(figure)


def thumbnail_picture(points: Array, thumbnails: Image, *, side: int = 1100, gap: int = 2) -> Image:
    """Draw thumbnails (N, S, S, 3) at their places (N, 2) wherever there is room: (side, side, 3)."""
    size = thumbnails.shape[1]
    canvas = np.full((side, side, 3), 255, dtype=np.uint8)
    low, extent = points.min(0), max(float(np.ptp(points, axis=0).max()), 1e-9)
    offset = (extent - np.ptp(points, axis=0)) / 2.0
    corners = ((points - low + offset) / extent * (side - size)).round().astype(int)
    corners[:, 1] = side - size - corners[:, 1]
    taken = np.zeros((side, side), dtype=bool)
    for (left, top), picture in zip(corners, thumbnails, strict=True):
        if taken[top : top + size, left : left + size].any():
            continue
        canvas[top : top + size, left : left + size] = picture
        taken[max(top - gap, 0) : top + size + gap, max(left - gap, 0) : left + size + gap] = True
    return canvas


class MapStage:
    """A map drawn once, over which a marker walks with a fading trail, beside the sample itself.

    Args:
        points: (N, 2), the map.
        values: (N,) in [0, 1] to colour it by, or None.
        side: height of a frame in pixels.
    """

    def __init__(self, points: Tensor, values: Tensor | None = None, *, side: int = 320) -> None:
        with drawing():
            figure, axes = new_axes(side, side)
            figure.set_layout_engine("none")
            axes.set_position((0.02, 0.02, 0.96, 0.96))
            axes.set_axis_off()
            x, y = points.numpy().T
            if values is None:
                axes.scatter(x, y, s=4, color=MUTED, alpha=0.7, linewidths=0)
            else:
                axes.scatter(x, y, s=4, c=values.numpy(), cmap=SCALE, vmin=0.0, vmax=1.0, alpha=0.6, linewidths=0)
            axes.set_aspect("equal", adjustable="datalim")
            self._background = figure_rgb(figure)
            self._to_pixels: Any = axes.transData.frozen()
        self._side = side

    def frames(self, samples: Image, places: Array) -> Iterator[Image]:
        """Yield a frame (side, 2 side, 3) for each sample (T, S, S, 3) and its place (T, 2)."""
        from PIL import Image as Pictures
        from PIL import ImageDraw

        side = self._side
        pixels = self._to_pixels.transform(places)
        pixels[:, 1] = side - pixels[:, 1]
        for t, sample in enumerate(samples):
            stage = Pictures.fromarray(self._background)
            pen = ImageDraw.Draw(stage)
            for back in range(min(TRAIL, t), 0, -1):
                x, y = pixels[t - back]
                r = 6.0 * (1.0 - back / (TRAIL + 1))
                pen.ellipse((x - r, y - r, x + r, y + r), fill=ACCENT)
            x, y = pixels[t]
            pen.ellipse((x - 9, y - 9, x + 9, y + 9), fill=ACCENT, outline=GROUND, width=2)
            picture = Pictures.fromarray(sample).resize((side, side), Pictures.Resampling.NEAREST)
            yield np.concatenate([np.asarray(picture), np.asarray(stage)], axis=1)
