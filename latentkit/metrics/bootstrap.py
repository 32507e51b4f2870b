"""Bootstrap intervals: how far a figure would move if the samples were drawn again."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from latentkit import streams

__all__ = ["bootstrap_interval", "percentile_interval"]

Array = NDArray[np.float64]


def percentile_interval(values: Array) -> tuple[float, float]:
    """Return the middle 95 % of a figure's bootstrap values (R,)."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def bootstrap_interval(
    statistic: Callable[..., float], sides: Sequence[Array], *, resamples: int, seed: int
) -> tuple[float, float]:
    """Return the 95 % percentile interval of a statistic of independent sides of numbers, (N,) each.

    References:
        Efron, Tibshirani (1993), "An introduction to the bootstrap", section 13.3.
    """
    sizes = [len(side) for side in sides]
    values = np.empty(resamples)
    for index in range(resamples):
        rows = streams.resampled_rows(sizes, seed=seed, index=index)
        values[index] = statistic(*(side[chosen] for side, chosen in zip(sides, rows, strict=True)))
    return percentile_interval(values)
