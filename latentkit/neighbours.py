"""Exact nearest neighbours: a k-d tree where there are few coordinates, blocks of matrix products elsewhere."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["Neighbours", "distances", "nearest"]

_BLOCK = 1024

#: Up to so many coordinates distances are computed in float64.
_FEW = 64

#: Up to so many coordinates a tree visits far fewer points than there are.
_TREE = 8


def distances(queries: Tensor, points: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield blocks of the Euclidean distances from queries (M, F) to points (N, F): rows and (m, N).

    Computed around the points' mean and in units of the largest coordinate, so that neither an offset
    nor the unit costs digits. With few coordinates neighbours are so near that the squares of a product
    cancel, and the products are cheap: those are float64, others float32.
    """
    dtype = torch.float64 if points.shape[1] <= _FEW else torch.float32
    middle = points.double().mean(0)
    a, b = queries.double() - middle, points.double() - middle
    # A power of two, so that scaling rounds nothing.
    unit = 2.0 ** math.floor(math.log2(max(float(a.abs().max()), float(b.abs().max()), 1e-300)))
    a, b = (a / unit).to(dtype), (b / unit).to(dtype)
    squares = b.square().sum(1)
    for start in range(0, len(a), _BLOCK):
        part = a[start : start + _BLOCK]
        squared = torch.addmm(squares[None], part, b.T, alpha=-2.0) + part.square().sum(1, keepdim=True)
        yield slice(start, start + len(part)), (squared.clamp_(min=0.0).sqrt_() * unit).float()


class Neighbours:
    """Points (N, F) that are asked for their nearest ones, many times.

    Args:
        points: (N, F), finite.
    """

    def __init__(self, points: Tensor) -> None:
        self.points = points
        self._tree: Any = None
        if points.shape[1] <= _TREE:
            from scipy.spatial import KDTree

            self._tree = KDTree(points.double().numpy())

    @property
    def exhaustive(self) -> bool:
        """Whether a question takes the distances to all points."""
        return self._tree is None

    def nearest(self, queries: Tensor, k: int, *, same: bool | Tensor = False) -> tuple[Tensor, Tensor]:
        """Return the k nearest points for each query (M, F): distances (M, k) float32, indices (M, k).

        Args:
            queries: (M, F).
            k: how many, at most N (N - 1 if `same`).
            same: whether the queries are the points, so that each row must not find itself; or, if they are some of
                the points, which: (M,) long.
        """
        own = same if isinstance(same, Tensor) else torch.arange(len(queries)) if same else None
        if self._tree is not None:
            return self._from_tree(queries, k, own)
        found = torch.empty((len(queries), k)), torch.empty((len(queries), k), dtype=torch.long)
        for rows, block in distances(queries, self.points):
            if own is not None:
                block[torch.arange(block.shape[0]), own[rows]] = torch.inf
            values, indices = block.topk(k, dim=1, largest=False)
            found[0][rows], found[1][rows] = values, indices
        return found

    def _from_tree(self, queries: Tensor, k: int, own: Tensor | None) -> tuple[Tensor, Tensor]:
        import numpy as np

        values, indices = self._tree.query(queries.double().numpy(), k=np.arange(1, k + (1 if own is None else 2)))
        if own is not None:
            # The row itself goes; where copies of it fill the list and it is missing, the last one does.
            itself = indices == own.numpy()[:, None]
            itself[~itself.any(1), -1] = True
            values, indices = values[~itself].reshape(-1, k), indices[~itself].reshape(-1, k)
        return torch.from_numpy(values).float(), torch.from_numpy(indices.astype(np.int64))


def nearest(queries: Tensor, points: Tensor, k: int, *, same: bool | Tensor = False) -> tuple[Tensor, Tensor]:
    """Return the k nearest of points (N, F) for each query (M, F): distances (M, k), indices (M, k).

    Args:
        queries: (M, F).
        points: (N, F).
        k: how many, at most N (N - 1 if `same`).
        same: whether the queries are the points, so that each row must not find itself; or, if they are some of the
            points, which: (M,) long.
    """
    return Neighbours(points).nearest(queries, k, same=same)
