"""Samples in the plane against a distribution that is known: the figures that leave nothing to be flattered.

The share of good samples alone flatters a generator: one whose modes shrank, or that dropped some of them, has
more. So parts, widths, weights and a two-sample distance stand beside it. Copies of the training set pass all of
these; `copy_ratio` is what sees them.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_latents, as_seed, as_vector
from latentkit.errors import ArgumentError, ShapeError
from latentkit.metrics.sliced import sliced_wasserstein
from latentkit.metrics.toys import Toy

__all__ = ["ToyTruth", "density_ratio_error", "jensen_shannon", "toy_truth"]

#: A sample is good within so many standard deviations of the nearest mean, or of the curve.
GOOD = 4.0

#: A part is recovered, strictly, by at least this share of its fair share of samples that are good.
STRICT = 0.2


@dataclass(frozen=True)
class ToyTruth:
    """How samples compare with the known distribution that they should have.

    Attributes: `count`, how many samples; `high_quality`, the share within 4 standard deviations of the nearest
    mean or of the curve, `within_3_sd` that within 3; `counts`, the samples of high quality in each part (a mode, or
    a stretch of the curve); `modes`, how many parts have any, and `strict_modes`, how many at least a fifth of their
    fair share; `missing`, the numbers of the parts that have less; `sd`, the root mean square offset of the samples
    of high quality in one coordinate, from the mean, or across the curve (the cut at 4 makes it 0.13 % too small for
    Gaussian modes: 0.0499 where 0.05 is right), NaN without such samples; `js`, the Jensen-Shannon divergence of
    their weights over the parts from the true ones, in nats (0 to 0.693); `sliced_wasserstein`, the distance to as
    many fresh points. Chance alone makes the last two greater than 0: compare them with those of real points.
    """

    count: int
    high_quality: float
    within_3_sd: float
    counts: tuple[int, ...]
    modes: int
    strict_modes: int
    missing: tuple[int, ...]
    sd: float
    js: float
    sliced_wasserstein: float


def toy_truth(points: Tensor, toy: Toy, *, seed: int = 0) -> ToyTruth:
    """Measure samples (N, 2) against a known distribution.

    Args:
        points: (N, 2), 10,000 for figures that are comparable with published ones.
        toy: what they should be: `grid25_mixture()`, `ring_mixture()`, `SwissRoll()`, a `Mixture`.
        seed: decides the fresh points, which are not those of `toy.sample` with this seed.

    Raises:
        ShapeError: if the points are not (N, 2).
        NonFiniteError: if a point is not finite.

    References:
        Azadi, Olsson, Darrell, Goodfellow, Odena (2019), "Discriminator rejection sampling", section 4.1: samples of
        high quality and recovered modes of 25 Gaussians.

    Examples:
        >>> from latentkit.metrics import grid25_mixture
        >>> grid = grid25_mixture()
        >>> truth = toy_truth(grid.sample(10_000, seed=1), grid)
        >>> truth.strict_modes, truth.high_quality > 0.999, round(truth.sd, 3)
        (25, True, 0.05)
    """
    points = as_latents(points, 2, "points")
    count, shares = len(points), toy.shares
    found = toy.locate(points)
    good = found.distance <= GOOD
    counts = torch.bincount(found.part[good], minlength=len(shares))
    missing = (counts < STRICT * shares * count).nonzero()[:, 0].tolist()
    fresh = toy.sample(count, streams.derived_seed(as_seed(seed), streams.MEASURES))
    return ToyTruth(
        count=count,
        high_quality=float(good.double().mean()),
        within_3_sd=float((found.distance <= 3.0).double().mean()),
        counts=tuple(counts.tolist()),
        modes=int((counts > 0).sum()),
        strict_modes=len(shares) - len(missing),
        missing=tuple(missing),
        sd=float(found.offsets[good].square().mean().sqrt()),
        js=jensen_shannon(counts.double() / counts.sum(), shares) if bool(good.any()) else float("nan"),
        sliced_wasserstein=sliced_wasserstein(fresh, points),
    )


def jensen_shannon(p: Tensor, q: Tensor) -> float:
    """Return the Jensen-Shannon divergence of two distributions (K,) over the same parts, in nats: 0 to 0.693.

    Raises:
        ShapeError: if they are not of one length.
        ArgumentError: if a share is negative, or the shares of one do not sum to 1.

    References:
        Lin (1991), "Divergence measures based on the Shannon entropy", equation 4.1 with equal weights.
    """
    sides = [as_vector(values, name=name).double() for name, values in (("p", p), ("q", q))]
    if len(sides[0]) != len(sides[1]):
        raise ShapeError(f"p and q must have one length, got {len(sides[0])} and {len(sides[1])}")
    for name, side in zip("pq", sides, strict=True):
        if bool((side < 0.0).any()) or abs(float(side.sum()) - 1.0) > 1e-6:
            raise ArgumentError(
                f"{name} must be shares of at least 0 whose sum is 1, got the sum {float(side.sum()):g}"
            )
    middle = (sides[0] + sides[1]) / 2.0
    parts = [torch.xlogy(side, side / torch.where(middle > 0.0, middle, 1.0)).sum() for side in sides]
    return max(float(parts[0] + parts[1]) / 2.0, 0.0)


class Density(Protocol):
    """Anything with a known log density."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log density (N,) at points (N, D)."""
        ...


def density_ratio_error(log_ratio: Tensor, points: Tensor, real: Density, model: Density) -> float:
    """Return the mean absolute error of a critic's log density ratio where both densities are known.

    Args:
        log_ratio: (N,) what the critic says of the points: its calibrated logits, log p_real / p_model in nats.
        points: (N, D) the points that are averaged over, such as real and generated ones in equal numbers.
        real: the distribution of the real points.
        model: that of the generated ones: a `Toy` or a `Prior`.

    Raises:
        ShapeError: if there is not one log ratio a point.
        NonFiniteError: if a value is not finite.
    """
    places = as_latents(points, name="points")
    said = as_vector(log_ratio, len(places), "log ratios").double().cpu()
    return float((said - (real.log_prob(places) - model.log_prob(places)).double().cpu()).abs().mean())
