"""Two-dimensional grids of latents between three or four anchors."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.checks import as_count, as_latents
from latentkit.curves.between import refuse_cancelling
from latentkit.curves.blends import blended
from latentkit.curves.tours import refuse_equal
from latentkit.errors import ArgumentError, CurveError
from latentkit.priors import Normal, Prior, normal_scores

__all__ = ["AnchorGrid", "anchor_grid"]


@dataclass(frozen=True, eq=False)
class AnchorGrid:
    """Latents on a triangle or a rectangle between anchors, row by row.

    Attributes:
        latents: (N, D).
        weights: (N, K), the share of each anchor in each latent, adding up to 1.
        row: (N,) int64, from 0 at the top.
        column: (N,) int64, from 0 at the left.
        rows: how many rows there are.
        columns: how many columns the widest row has.
    """

    latents: Tensor
    weights: Tensor
    row: Tensor
    column: Tensor
    rows: int
    columns: int


def anchor_grid(anchors: Tensor, size: int | Sequence[int], *, prior: Prior | None = None) -> AnchorGrid:
    """Return a prior-matched grid between three or four latents, which are its corners exactly.

    Four anchors (top left, top right, bottom left, bottom right) are mixed bilinearly. Three (top, bottom left,
    bottom right) are mixed by barycentric coordinates into a triangle whose row i has i + 1 latents. The mix is done
    in normal scores and divided by the root of sum w_k^2, so that every latent is distributed as the prior for
    independent anchors.

    Args:
        anchors: (3, D) or (4, D).
        size: rows of the grid, at least 2: s gives s x s latents for four anchors and s (s + 1) / 2 for three;
            (rows, columns) for four anchors only.
        prior: the generator's prior; by default the standard normal one of that dimension. A mixture of several
            components keeps its mean and covariance only.

    Raises:
        ShapeError: if the anchors are not (3, D) or (4, D) with the prior's D.
        NonFiniteError: if one holds NaN or infinity.
        ArgumentError: if the size is no such number.
        CurveError: if two anchors that share a side are equal or opposite.

    Examples:
        >>> import latentkit as lk
        >>> from latentkit.curves import anchor_grid
        >>> grid = anchor_grid(lk.Normal(16).sample(3, seed=0), 4)
        >>> grid.latents.shape, grid.row.tolist()
        (torch.Size([10, 16]), [0, 1, 1, 2, 2, 2, 3, 3, 3, 3])
    """
    anchors = as_latents(anchors, None if prior is None else prior.dim, "anchors")
    if len(anchors) not in (3, 4):
        raise CurveError(f"a grid needs 3 or 4 anchors, got {len(anchors)}; a curve through more is a tour")
    prior = Normal(anchors.shape[1]) if prior is None else prior
    triangle = len(anchors) == 3
    rows, columns = _size(size, triangle)
    sides = [(0, 1), (0, 2), (1, 2)] if triangle else [(0, 1), (0, 2), (1, 3), (2, 3)]
    first, second = (anchors[list(ends)] for ends in zip(*sides, strict=True))
    refuse_equal(first, second, sides, "anchors", "so the side between them would stand still; use other anchors")
    for a, b, (k, j) in zip(normal_scores(prior, first), normal_scores(prior, second), sides, strict=True):
        try:
            refuse_cancelling(a, b)
        except CurveError as error:
            raise CurveError(
                f"anchors {k} and {j} are opposite, so the side between them goes through the prior's centre; "
                "use another anchor"
            ) from error
    widths = [i + 1 if triangle else columns for i in range(rows)]
    row = torch.repeat_interleave(torch.arange(rows), torch.tensor(widths))
    column = torch.cat([torch.arange(width) for width in widths])
    down = row.double() / (rows - 1)
    if triangle:
        right = column.double() / (rows - 1)
        weights = torch.stack([1.0 - down, down - right, right], dim=1)
    else:
        right = column.double() / (columns - 1)
        weights = torch.stack([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right], dim=1)
    return AnchorGrid(blended(anchors, prior)(weights), weights, row, column, rows, columns)


def _size(size: int | Sequence[int], triangle: bool) -> tuple[int, int]:
    if isinstance(size, Sequence) and not isinstance(size, str):
        if triangle:
            raise ArgumentError(f"a triangle has as many rows as columns, so its size is one number, got {size!r}")
        if len(size) != 2:
            raise ArgumentError(f"size must be a number or (rows, columns), got {size!r}")
        return as_count(size[0], "rows", least=2), as_count(size[1], "columns", least=2)
    side = as_count(size, "size", least=2)
    return side, side
