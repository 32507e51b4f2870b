"""The maximum mean discrepancy: do two sets of samples come from one distribution?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_count, as_number, as_seed
from latentkit.errors import ArgumentError
from latentkit.metrics.bootstrap import percentile_interval
from latentkit.metrics.rows import as_pair
from latentkit.neighbours import distances

__all__ = ["MMD", "mmd"]

#: Fewest samples a side: fewer say nothing when they are resampled.
FEWEST = 10

_MULTIPLES = (0.125, 0.25, 0.5, 1.0, 2.0)
_SOME = 1_000  # samples a side that the median distance is taken of


@dataclass(frozen=True)
class MMD:
    """The squared maximum mean discrepancy between real and generated samples.

    Attributes: `squared`, the unbiased estimate, which is below 0 about as often as above if the distributions
    are equal; `interval`, its 95 % bootstrap interval; `p_value`, how often as large a value comes from samples
    whose kind was shuffled (a small one says that the distributions differ, a large one proves nothing);
    `bandwidths`, the standard deviations of the Gaussian kernels, whose mean was used; `real` and `generated`,
    how many samples; `features`, what was compared.
    """

    squared: float
    interval: tuple[float, float]
    p_value: float
    bandwidths: tuple[float, ...]
    real: int
    generated: int
    features: str


def mmd(
    real: Tensor,
    generated: Tensor,
    *,
    bandwidths: Sequence[float] | None = None,
    resamples: int = 400,
    seed: int = 0,
    features: str = "pixels",
) -> MMD:
    """Return the squared maximum mean discrepancy with a mean of Gaussian kernels, its interval and its p-value.

    The time grows with the square of the number of samples (2,000 a side take a few seconds), the memory linearly.
    The interval is right where the distributions differ and too wide where they are equal, where the estimate
    is degenerate; whether they differ is what the p-value is for.

    Args:
        real: (M, ...) real samples or their features.
        generated: (N, ...) generated samples or their features.
        bandwidths: standard deviations of the kernels, in the unit of the samples. By default 1/8, 1/4, 1/2, 1
            and 2 times the median distance between two samples, of the first 1,000 of each side. Only
            differences that are about as wide as some kernel show: state smaller ones for fine detail, and state
            them to compare values of several generators.
        resamples: how often the samples are resampled, and how often their kinds are shuffled.
        seed: decides both.
        features: the name of what is compared, for the record.

    Raises:
        ShapeError: if a side is not (N, ...) with at least 10 rows, or the widths differ.
        NonFiniteError: if a value is not finite.
        ArgumentError: if a bandwidth is not above 0, or `resamples` or `seed` is out of range.

    References:
        Gretton, Borgwardt, Rasch, Scholkopf, Smola (2012), "A kernel two-sample test", equation 3 (the unbiased
        estimate), section 5 (the shuffled kinds) and section 8 (the median distance).
        Phipson, Smyth (2010), "Permutation p-values should never be zero": (b + 1) / (m + 1).
    """
    r, g = as_pair(real, generated, least=FEWEST)
    resamples, seed = as_count(resamples, "resamples", least=20), as_seed(seed)
    if bandwidths is None:
        widths = tuple(multiple * _median_distance(r, g) for multiple in _MULTIPLES)
    else:
        widths = tuple(as_number(width, "a bandwidth", least=0.0, open_least=True) for width in bandwidths)
    if not widths:
        raise ArgumentError("mmd needs at least one bandwidth, got none")

    m, n = len(r), len(g)
    pooled = torch.cat([r.double(), g.double()])
    kinds = _kinds(m, n, resamples, seed)
    counts = _counts(m, n, resamples, seed)
    # Sums over pairs, a column of `kinds` or `counts` each. Of kinds a it is enough to know a'Ka, a'K1 and 1'K1.
    within, across, total = torch.zeros(resamples + 1).double(), torch.zeros(resamples + 1).double(), 0.0
    xx, xy, yy = (torch.zeros(resamples).double() for _ in range(3))
    for rows, far in distances(pooled, pooled):
        kernel = _kernel(far, widths)
        kernel[torch.arange(len(kernel)), torch.arange(rows.start, rows.stop)] = 0.0
        sums = kernel.sum(1)
        within += (kinds[rows] * (kernel @ kinds)).sum(0)
        across += sums @ kinds[rows]
        total += float(sums.sum())
        first = min(max(m - rows.start, 0), len(kernel))  # the block's first rows are real ones
        weights, to_real, to_generated = counts[rows], kernel[:, :m] @ counts[:m], kernel[:, m:] @ counts[m:]
        xx += (weights * to_real)[:first].sum(0)
        xy += (weights * to_generated)[:first].sum(0)
        yy += (weights * to_generated)[first:].sum(0)

    pairs = (within / (m * (m - 1)), (total - 2.0 * across + within) / (n * (n - 1)), (across - within) / (m * n))
    values = pairs[0] + pairs[1] - 2.0 * pairs[2]
    # A pair of one sample with its own copy is left out, as the sample itself is: it would count as similarity.
    others = [side.sum(0).square() - side.square().sum(0) for side in (counts[:m], counts[m:])]
    redrawn = xx / others[0].clamp(min=1.0) + yy / others[1].clamp(min=1.0) - 2.0 * xy / (m * n)
    # Equal sets shuffle to values that differ by rounding alone.
    as_large = int((values[1:] >= values[0] - 1e-12).sum())
    return MMD(
        squared=float(values[0]),
        interval=percentile_interval(redrawn.numpy()),
        p_value=(as_large + 1) / (resamples + 1),
        bandwidths=widths,
        real=m,
        generated=n,
        features=features,
    )


def _kernel(far: Tensor, widths: Sequence[float]) -> Tensor:
    """Return the mean of Gaussian kernels of distances (m, n) as float64, so that their sums keep their digits."""
    kernel = torch.zeros_like(far)
    for width in widths:
        kernel += (far / width).square_().mul_(-0.5).exp_()
    return kernel.double().div_(len(widths))


def _kinds(m: int, n: int, shuffles: int, seed: int) -> Tensor:
    """Return 1 for real and 0 for generated rows (m + n, 1 + shuffles): first as they are, then shuffled."""
    kinds = torch.zeros(m + n, shuffles + 1, dtype=torch.float64)
    kinds[:m, 0] = 1.0
    for k in range(shuffles):
        order = np.argsort(streams.uniform(1, m + n, seed=seed, start=k, stream=streams.SPLITS)[0])
        kinds[torch.from_numpy(order[:m]), k + 1] = 1.0
    return kinds


def _counts(m: int, n: int, resamples: int, seed: int) -> Tensor:
    """Return how often each row is drawn in each resample: (m + n, resamples)."""
    counts = np.empty((m + n, resamples))
    for k in range(resamples):
        of_real, of_generated = streams.resampled_rows((m, n), seed=seed, index=k)
        counts[:m, k] = np.bincount(of_real, minlength=m)
        counts[m:, k] = np.bincount(of_generated, minlength=n)
    return torch.from_numpy(counts)


def _median_distance(r: Tensor, g: Tensor) -> float:
    """Return the median of the distances above 0 between two samples; 1 if there is none."""
    some = torch.cat([r[:_SOME].double(), g[:_SOME].double()])
    # Each pair once: what lies right of the diagonal.
    above = torch.cat([far.triu(1 + rows.start).flatten() for rows, far in distances(some, some)])
    above = above[above > 0.0]
    return float(above.median()) if len(above) else 1.0
