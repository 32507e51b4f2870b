"""Rows of samples in one picture, with what each row and column is beside and above it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from latentkit.captions import captioned
from latentkit.errors import ShapeError
from latentkit.render import sheet, tiles
from latentkit.series import sample_kind
from latentkit.style import DPI, GROUND, INK, drawing, figure_rgb

__all__ = ["Line", "strips"]

Image = NDArray[np.uint8]

#: White pixels between images.
GAP = 2

#: Pixels of a line of texts above or below the images.
LINE = 18

#: Pixels of the margin that holds names: at least, at most, and about so many a letter.
MARGIN, WIDEST, LETTER = 12, 220, 6.4


@dataclass(frozen=True)
class Line:
    """A line of texts, one a column: `name` is what they are, `texts` (C,), `strong` whether they are bold."""

    name: str
    texts: Sequence[str]
    strong: bool = False


def strips(
    samples: Tensor,
    *,
    rows: Sequence[str] = (),
    above: Sequence[Line] = (),
    below: Sequence[Line] = (),
    title: str = "",
    scale: int | None = None,
) -> Image:
    """Draw rows of samples as one picture (H, W, 3), each beside its name, under and above lines of texts.

    Args:
        samples: (R, C, *S), images (1 or 3, H, W) as floats in [-1, 1], series or rows; NaN where a place stays empty.
        rows: names of the R rows, or none.
        above: lines above the images, one text a column each.
        below: lines below them.
        title: of the whole picture, in whatever language it is.
        scale: images are this many times as large; by default their longer side has at least 64 pixels.

    Raises:
        ShapeError: if the samples are no rows of images, or there are more or fewer names than rows or texts than
            columns.
    """
    shape = tuple(samples.shape)
    if len(shape) < 3 or sample_kind(shape[2:]) in (None, "point") or not samples.numel():
        raise ShapeError(f"rows of samples are (R, C, *S), of images, series or rows of a table, got {shape}")
    if rows and len(rows) != shape[0]:
        raise ShapeError(f"{shape[0]} rows need as many names or none, got {len(rows)}")
    for line in (*above, *below):
        if len(line.texts) != shape[1]:
            raise ShapeError(f"{shape[1]} columns need as many texts, got {len(line.texts)} of {line.name!r}")
    cells = tiles(samples.flatten(0, 1).nan_to_num(), scale)
    cells[samples.flatten(0, 1).flatten(1).isnan().all(1).numpy()] = 255
    images = sheet(cells, shape[1], gap=GAP)
    names = [*rows, *(line.name for line in (*above, *below))]
    margin = round(min(MARGIN + LETTER * max(map(len, names)), WIDEST)) if names else 0
    height, width = cells.shape[1:3]
    centres = [r * (height + GAP) + height / 2 for r in range(len(rows))]
    left = _written([(margin - 8, y, name, False) for y, name in zip(centres, rows, strict=True)], margin, len(images))
    parts = [np.concatenate([left, images], 1)]
    for group, place in ((above, 0), (below, 1)):
        drawn = [_line(line, width, margin) for line in group]
        parts = [*parts, *drawn] if place else [*drawn, *parts]
    if title:
        parts.insert(0, captioned(np.empty((0, parts[0].shape[1], 3), dtype=np.uint8), title))
    return np.concatenate(parts)


def _line(line: Line, width: int, margin: int) -> Image:
    """Draw a line of texts, each in the middle of a column of images `width` wide, and its name on the left."""
    whole = margin + len(line.texts) * (width + GAP) - GAP
    middles = [margin + k * (width + GAP) + width / 2 for k in range(len(line.texts))]
    texts: list[tuple[float, float, str, bool]] = [(margin - 8, LINE / 2, line.name, line.strong)]
    return _written(
        [*texts, *((x, LINE / 2, text, line.strong) for x, text in zip(middles, line.texts, strict=True))],
        whole,
        LINE,
        first_right=True,
    )


def _written(
    texts: Sequence[tuple[float, float, str, bool]], width: int, height: int, *, first_right: bool = False
) -> Image:
    """Draw texts (x, y, text, bold) in pixels on white (height, width, 3).

    They end at x where only names are drawn, and of a line the first does; the others have their middle there.
    """
    if width == 0:
        return np.empty((height, 0, 3), dtype=np.uint8)
    with drawing():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=GROUND)
        FigureCanvasAgg(figure)
        for k, (x, y, text, bold) in enumerate(texts):
            right = k == 0 or not first_right
            style: dict[str, Any] = {"color": INK, "fontweight": "bold" if bold else "normal"}
            figure.text(x / width, 1.0 - y / height, text, va="center", ha="right" if right else "center", **style)
        return figure_rgb(figure)
