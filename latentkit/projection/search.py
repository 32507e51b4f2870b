"""The nearest neighbours of every row, found once: for the layout, its judgement and whoever else needs them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from latentkit.checks import as_count, as_seed
from latentkit.errors import ArgumentError, NonFiniteError, ShapeError
from latentkit.neighbours import Neighbours
from latentkit.projection.cells import part_into_cells

__all__ = ["NearestRows", "as_nearest_rows", "nearest_rows"]

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


def nearest_rows(rows: Tensor, k: int, *, seed: int = 0, progress: bool = False) -> NearestRows:
    """Return the k nearest other rows of each row (N, F), distances float32.

    Up to 20,000 rows, and in up to 8 dimensions, the answer is exact and does not depend on the seed. Elsewhere rows
    are parted into about the square root of N cells, and a row is compared with those of the cells around its own: of
    as many cells as it takes for 98 neighbours in 100, which is measured on 500 rows.

    Args:
        rows: (N, F), finite.
        k: how many, 1 to N - 1.
        seed: of the cells, 0 to 2**64 - 1.
        progress: show a progress bar on standard error.

    Raises:
        ArgumentError: if there are not so many other rows.

    References:
        Jegou, Douze, Schmid (2011), "Product quantization for nearest neighbor search", section IV (the cells; here
        without quantisation).
    """
    from tqdm import tqdm

    if as_count(k, "k") >= len(rows):
        raise ArgumentError(f"k must be below the number of rows, {len(rows)}, got {k}")
    known = Neighbours(rows)
    inexact = known.exhaustive and len(rows) > EXACT
    found = NearestRows(torch.empty((len(rows), k), dtype=torch.long), torch.empty((len(rows), k)))
    with tqdm(total=len(rows), desc="neighbours", unit="row", disable=not progress, leave=False) as bar:
        for part, distances, indices in _by_cells(rows, k, as_seed(seed)) if inexact else _by_blocks(known, k):
            found.distances[part], found.indices[part] = distances, indices
            bar.update(len(part))
    return found


def _by_blocks(known: Neighbours, k: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    for part in torch.arange(len(known.points)).split(_BLOCK):
        yield part, *known.nearest(known.points[part], k, same=part)


def _by_cells(rows: Tensor, k: int, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    cells = part_into_cells(rows, seed=seed)
    reach = cells.reach(k, RECALL, seed=seed)
    for cell in range(len(cells)):
        if len(cells.of(cell)):
            yield cells.of(cell), *cells.nearest(cell, k, reach)


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
