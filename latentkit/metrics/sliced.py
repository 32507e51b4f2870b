"""The sliced Wasserstein distance: how far samples must be moved, seen along one line after another."""

import math

import numpy as np
import torch
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_count, as_seed
from latentkit.metrics.rows import as_pair

__all__ = ["sliced_wasserstein"]

_NUMBERS = 2**23  # projected numbers that are held at once


def sliced_wasserstein(real: Tensor, generated: Tensor, *, directions: int = 64, seed: int = 0) -> float:
    """Return the Wasserstein distance of order 1 of projections onto a line, averaged over lines.

    It is in the unit of the samples, and 0 for equal sets. Between two finite sets of one distribution it is
    not: compare it with that of real against real samples in the same numbers. Along each line it is exact,
    also where the sides have different numbers of samples.

    Args:
        real: (M, ...) real samples or their features.
        generated: (N, ...) generated samples or their features.
        directions: how many lines. Samples of one number need one, and have one. In the plane the lines are
            evenly spaced over the half circle; in more dimensions they are uniform on the sphere.
        seed: decides the lines in three and more dimensions.

    Raises:
        ShapeError: if a side is not (N, ...) with at least one row, or the widths differ.
        NonFiniteError: if a value is not finite.
        ArgumentError: if `directions` or `seed` is out of range.

    References:
        Vallender (1974), "Calculation of the Wasserstein distance between probability distributions on the
        line": between quantile functions.
        Bonneel, Rabin, Peyre, Pfister (2015), "Sliced and Radon Wasserstein barycenters of measures".

    Examples:
        >>> a = torch.arange(5.0)[:, None]
        >>> sliced_wasserstein(a, a + 2.5)
        2.5
    """
    r, g = as_pair(real, generated, least=1)
    # Around one middle, so that an offset costs no digits.
    middle = r.double().mean(0)
    r, g = r.double() - middle, g.double() - middle
    lines = _lines(r.shape[1], as_count(directions, "directions"), as_seed(seed))
    # Both quantile functions are constant between neighbouring multiples of 1/M and 1/N. In units of 1/(MN) those are
    # whole numbers, so no step is lost to rounding.
    m, n = len(r), len(g)
    edges = np.union1d(np.arange(m + 1) * n, np.arange(n + 1) * m)
    of_real, of_generated = (torch.from_numpy(edges[:-1] // step) for step in (n, m))
    lengths = torch.from_numpy(np.diff(edges)).double() / (m * n)
    total = 0.0
    for some in lines.split(max(_NUMBERS // (m + n), 1), dim=1):
        gaps = (r @ some).sort(0).values[of_real] - (g @ some).sort(0).values[of_generated]
        total += float((lengths @ gaps.abs()).sum())
    return total / lines.shape[1]


def _lines(dim: int, count: int, seed: int) -> Tensor:
    """Return unit vectors as columns (dim, count), or the only one (1, 1) there is."""
    if dim == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    if dim == 2:
        angles = torch.arange(count, dtype=torch.float64) * (math.pi / count)
        return torch.stack([angles.cos(), angles.sin()])
    drawn = torch.from_numpy(streams.normal(count, dim, seed=seed, stream=streams.MEASURES))
    return torch.nn.functional.normalize(drawn, dim=1).T
