"""Exact nearest neighbours by blocks of matrix products."""

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["distances", "nearest"]

_BLOCK = 1024


def distances(queries: Tensor, points: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield blocks of the Euclidean distances from queries (M, F) to points (N, F): rows and (m, N).

    Computed in float32 around the points' mean, which keeps the digits that a large offset would eat.
    """
    middle = points.float().mean(0)
    a, b = queries.float() - middle, points.float() - middle
    squares = b.square().sum(1)
    for start in range(0, len(a), _BLOCK):
        part = a[start : start + _BLOCK]
        squared = torch.addmm(squares[None], part, b.T, alpha=-2.0) + part.square().sum(1, keepdim=True)
        yield slice(start, start + len(part)), squared.clamp_(min=0.0).sqrt_()


def nearest(queries: Tensor, points: Tensor, k: int, *, same: bool = False) -> tuple[Tensor, Tensor]:
    """Return the k nearest of points (N, F) for each query (M, F): distances (M, k), indices (M, k).

    Args:
        queries: (M, F).
        points: (N, F).
        k: how many, at most N (N - 1 if `same`).
        same: whether the queries are the points, so that each row must not find itself.
    """
    found = torch.empty((len(queries), k)), torch.empty((len(queries), k), dtype=torch.long)
    for rows, block in distances(queries, points):
        if same:
            block[torch.arange(block.shape[0]), torch.arange(rows.start, rows.stop)] = torch.inf
        values, indices = block.topk(k, dim=1, largest=False)
        found[0][rows], found[1][rows] = values, indices
    return found
