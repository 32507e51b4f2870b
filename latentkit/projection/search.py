"""The nearest neighbours of every row, found once: for the layout, its judgement and whoever else needs them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from latentkit.checks import as_count, as_latents, as_seed
from latentkit.errors import ArgumentError, NonFiniteError, ShapeError
from latentkit.neighbours import Neighbours
from latentkit.projection.cells import part_into_cells

__all__ = ["Nearby", "NearestRows", "as_nearest_rows", "nearest_rows"]

#: Up to so many rows all distances are computed.
EXACT = 20_000

#: Above, so large a part of the neighbours is found.
RECALL = 0.98

_BLOCK = 2048


class NearestRows(NamedTuple):
    """The k nearest other rows of each of N rows.

    Attributes: `indices` (N, k) long, nearest first; `distances` (N, k), Euclidean.
    """

    indices: Tensor
    distances: Tensor


class Nearby:
    """Rows (N, F) that are asked for their nearest k: exactly where they are few, cell by cell otherwise.

    Up to 20,000 rows, and in up to 8 dimensions, answers are exact and do not depend on the seed. Elsewhere rows are
    parted into about the square root of N cells, and a row is compared with those of the cells around its own: of as
    many cells as it takes for 98 neighbours in 100, which is measured on 500 rows.

    Args:
        rows: (N, F), finite.
        k: how many, at most N, or N - 1 where the rows ask for each other.
        seed: of the cells.

    References:
        Jegou, Douze, Schmid (2011), "Product quantization for nearest neighbor search", section IV (the cells; here
        without quantisation).
    """

    def __init__(self, rows: Tensor, k: int, *, seed: int) -> None:
        self.rows, self.k = rows, k
        self._known = Neighbours(rows)
        self._cells = part_into_cells(rows, seed=seed) if self._known.exhaustive and len(rows) > EXACT else None
        self._reach = 0 if self._cells is None else self._cells.reach(k, RECALL, seed=seed)

    def to(self, new: Tensor) -> tuple[Tensor, Tensor]:
        """Return the k nearest rows to each of new rows (M, F): distances (M, k) float32, indices (M, k) long."""
        if self._cells is None:
            return self._known.nearest(new, self.k)
        return self._cells.nearest_to(new, self.k, self._reach)

    def to_each_other(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield rows (M,) long, part by part, and distances (M, k) and indices (M, k) of their nearest other rows."""
        if self._cells is None:
            for part in torch.arange(len(self.rows)).split(_BLOCK):
                yield part, *self._known.nearest(self.rows[part], self.k, same=part)
        else:
            for cell in range(len(self._cells)):
                if len(self._cells.of(cell)):
                    yield self._cells.of(cell), *self._cells.nearest(cell, self.k, self._reach)


def nearest_rows(rows: Tensor, k: int, *, seed: int = 0, progress: bool = False) -> NearestRows:
    """Return the k nearest other rows of each row (N, F), distances float32.

    Exact up to 20,000 rows and in up to 8 dimensions; elsewhere at least about 98 neighbours in 100 are found, which is
    measured on 500 rows, and the time grows as N to the power of 1.5.

    Args:
        rows: (N, F), finite.
        k: how many, 1 to N - 1.
        seed: of the cells that many rows are parted into, 0 to 2**64 - 1.
        progress: show a progress bar on standard error.

    Raises:
        ShapeError: if the rows are not (N, F).
        NonFiniteError: if a row holds NaN or infinity.
        ArgumentError: if there are not so many other rows.
    """
    from tqdm import tqdm

    rows = as_latents(rows, name="rows")
    if as_count(k, "k") >= len(rows):
        raise ArgumentError(f"k must be below the number of rows, {len(rows)}, got {k}")
    near = Nearby(rows, k, seed=as_seed(seed))
    found = NearestRows(torch.empty((len(rows), k), dtype=torch.long), torch.empty((len(rows), k)))
    with tqdm(total=len(rows), desc="neighbours", unit="row", disable=not progress, leave=False) as bar:
        for part, distances, indices in near.to_each_other():
            found.distances[part], found.indices[part] = distances, indices
            bar.update(len(part))
    return found


def as_nearest_rows(knn: Any, rows: int, least: int) -> NearestRows:
    """Return neighbours that a caller gives, (indices (N, k), distances (N, k)), if they fit N rows and are enough.

    Args:
        knn: the two tensors.
        rows: N.
        least: fewest neighbours of a row.

    Raises:
        ShapeError: if they are not two tensors (N, k) with k at least `least`.
        ArgumentError: if an index names no row, or a row itself, or distances fall.
        NonFiniteError: if a distance is not finite.
    """
    try:
        indices, distances = (torch.as_tensor(part).cpu() for part in knn)
    except (TypeError, ValueError) as error:
        raise ShapeError(f"knn must be (indices (N, k), distances (N, k)), got {type(knn).__name__}") from error
    if indices.ndim != 2 or indices.shape != distances.shape or len(indices) != rows or indices.shape[1] < least:
        raise ShapeError(
            f"knn must be (indices, distances), both ({rows}, k) with k at least {least}, got {tuple(indices.shape)} "
            f"and {tuple(distances.shape)}; nearest_rows(rows, {least}) makes them"
        )
    if indices.is_floating_point() or indices.dtype == torch.bool:
        raise ShapeError(f"knn's indices must be whole numbers, got dtype {indices.dtype}; pass (indices, distances)")
    indices, distances = indices.long(), distances.to(torch.promote_types(distances.dtype, torch.float32))
    if not bool(torch.isfinite(distances).all()):
        raise NonFiniteError("knn's distances must be finite; compute them from finite rows")
    if int(indices.min()) < 0 or int(indices.max()) >= rows or bool((indices == torch.arange(rows)[:, None]).any()):
        raise ArgumentError(f"knn's indices must name other rows, 0 to {rows - 1}, and no row itself")
    if bool((distances < 0).any()) or bool((distances.diff(dim=1) < 0).any()):
        raise ArgumentError("knn must list the nearest row first: its distances (N, k) must not fall along a row")
    return NearestRows(indices, distances)
