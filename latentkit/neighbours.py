"""Exact nearest neighbours by blocks of matrix products."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["distances", "nearest"]

_BLOCK = 1024

#: Up to so many coordinates distances are computed in float64.
_FEW = 64


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
