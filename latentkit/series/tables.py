"""Rows of a table as one picture of heat."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from latentkit.checks import as_count
from latentkit.errors import ShapeError
from latentkit.series.scales import limits_of_channels
from latentkit.style import SCALE, drawing, figure_rgb, new_axes

__all__ = ["table"]

Pixels = NDArray[np.uint8]


def table(rows: Tensor, *, names: Sequence[str] | None = None, scale: int = 1) -> Pixels:
    """Draw rows (N, F) as one table of heat, each column from its least to its largest value, as (H, W, 3).

    Args:
        rows: at least one; only the first 200 are drawn.
        names: of the F columns; by default their numbers.
        scale: how many times as large.

    Raises:
        ShapeError: if they are no rows, none, or there are not as many names as columns.
        NonFiniteError: if one holds NaN or infinity.
    """
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ShapeError(f"a table's rows are (N, F), got {tuple(rows.shape)}")
    rows, scale = rows.detach().double().cpu(), as_count(scale, "scale")
    limits, count, columns = limits_of_channels(rows[:, :, None]), min(len(rows), 200), rows.shape[1]
    if names is not None and len(names) != columns:
        raise ShapeError(f"{columns} columns need as many names, got {len(names)}")
    low, high = limits.unbind(1)
    shares = (rows[:count] - low) / (high - low)
    with drawing():
        wide, high_ = (min(160 + 36 * columns, 1400) * scale, min(120 + 12 * count, 1400) * scale)
        figure, axes = new_axes(wide, high_, x="column", y="sample")
        shown = axes.imshow(shares.numpy(), aspect="auto", cmap=SCALE, vmin=0.0, vmax=1.0, interpolation="nearest")
        axes.set_xticks(range(columns), list(map(str, range(columns))) if names is None else list(names))
        axes.grid(visible=False)
        figure.colorbar(shown, ax=axes, label="share of the column's range")
        return figure_rgb(figure)
