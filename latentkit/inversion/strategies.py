"""Evolution strategies with covariance matrix adaptation, many of them in step, each with a row of its own.

A strategy draws candidates around its mean, moves the mean to the better half of them, and learns from the way it took
how far and in which directions to draw next.

References:
    Hansen (2016), "The CMA evolution strategy: a tutorial" (arXiv 1604.00772), figure 6 and table 1.
    Ros, Hansen (2008), "A simple modification in CMA-ES achieving linear time and space complexity": the diagonal
    covariance for many dimensions.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from latentkit import streams

__all__ = ["candidates_of", "evolved"]

_FULL = 100  # coordinates up to which whole covariances are learned
_WIDTH = 0.3  # standard deviations: how far the first candidates lie
_NARROWEST = 1e-6


def candidates_of(dim: int) -> int:
    """Return how many candidates a generation has for `dim` coordinates."""
    return 4 + int(3 * math.log(dim))


@dataclass(frozen=True)
class _Plan:
    """The strategy's constants for D coordinates, by the names of table 1 of the tutorial, which gives them."""

    candidates: int
    full: bool
    weights: Tensor
    mu_eff: float
    c_sigma: float
    d_sigma: float
    c_c: float
    c_1: float
    c_mu: float
    chi: float

    @classmethod
    def of(cls, dim: int) -> "_Plan":
        """Return those for `dim` coordinates."""
        candidates = candidates_of(dim)
        parents = candidates // 2
        weights = math.log(candidates / 2 + 0.5) - torch.arange(1, parents + 1, dtype=torch.float64).log()
        weights = weights / weights.sum()
        mu_eff = 1.0 / float(weights.square().sum())
        c_sigma = (mu_eff + 2.0) / (dim + mu_eff + 5.0)
        c_1 = 2.0 / ((dim + 1.3) ** 2 + mu_eff)
        c_mu = min(1.0 - c_1, 2.0 * (mu_eff - 2.0 + 1.0 / mu_eff) / ((dim + 2.0) ** 2 + mu_eff))
        if dim > _FULL:
            # A diagonal has so many times fewer numbers, and is learned as much faster (Ros, Hansen 2008, section 3).
            c_1 = min(1.0, c_1 * (dim + 2.0) / 3.0)
            c_mu = min(1.0 - c_1, c_mu * (dim + 2.0) / 3.0)
        return cls(
            candidates=candidates,
            full=dim <= _FULL,
            weights=weights,
            mu_eff=mu_eff,
            c_sigma=c_sigma,
            d_sigma=1.0 + 2.0 * max(0.0, math.sqrt((mu_eff - 1.0) / (dim + 1.0)) - 1.0) + c_sigma,
            c_c=(4.0 + mu_eff / dim) / (dim + 4.0 + 2.0 * mu_eff / dim),
            c_1=c_1,
            c_mu=c_mu,
            chi=math.sqrt(dim) * (1.0 - 1.0 / (4.0 * dim) + 1.0 / (21.0 * dim**2)),
        )


@dataclass
class _Rows:
    """The strategies that still search; the first axis is theirs everywhere."""

    number: Tensor  # (n,) in the whole
    mean: Tensor  # (n, D)
    width: Tensor  # (n,) the step size
    drift: Tensor  # (n, D) way of the mean, whitened
    trail: Tensor  # (n, D) way of the mean
    shape: Tensor  # (n, D, D) covariance, or (n, D) its diagonal
    axes: Tensor  # (n, D, D) eigenvectors, or the diagonal again
    scales: Tensor  # (n, D) standard deviations along them

    def only(self, rows: Tensor) -> "_Rows":
        """Return those rows."""
        return _Rows(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@torch.no_grad()
def evolved(
    value: Callable[[Tensor, Tensor], Tensor],
    kept: Callable[[Tensor], Tensor],
    u: Tensor,
    generations: int,
    exact: float,
    seed: int,
) -> Tensor:
    """Return the best points (R, D) that strategies find which begin at points (R, D).

    All rows draw the same normal numbers, those of the generation, so that none depends on its place; no row ends
    worse than it began. A row stops when its loss is below `exact` or its candidates lie within a millionth.

    Args:
        value: gives the losses (n,) of points (n, D), for the numbers (n,) of their rows.
        kept: puts points (n, D) back where they may be.
        u: where to begin, kept already.
        generations: how many, at most.
        exact: a loss that counts as none.
        seed: of the draws.
    """
    plan = _Plan.of(u.shape[1])
    rows = _begun(u, plan)
    best, least = u.clone(), value(u, rows.number)
    # Decomposing a covariance costs more than a generation, and it changes little in this many (Hansen, B.2).
    lag = max(1, int(1.0 / (10.0 * u.shape[1] * (plan.c_1 + plan.c_mu)))) if plan.full else 1
    for generation in range(generations):
        stay = (least[rows.number] > exact) & (rows.width > _NARROWEST)
        if not bool(stay.all()):
            rows = rows.only(stay)
            if not len(rows.number):
                break
        if generation % lag == 0:
            rows.scales, rows.axes = _factors(rows.shape)
        points = kept(_candidates(rows, plan, generation, seed).flatten(0, 1))
        found = value(points, rows.number.repeat_interleave(plan.candidates)).reshape(-1, plan.candidates)
        points = points.reshape(-1, plan.candidates, u.shape[1])
        order = torch.argsort(found, dim=1, stable=True)[:, : len(plan.weights)]
        parents = points.gather(1, order[..., None].expand(-1, -1, u.shape[1]))
        lowest = found.gather(1, order[:, :1])[:, 0]
        better = lowest < least[rows.number]
        least[rows.number[better]], best[rows.number[better]] = lowest[better], parents[better, 0]
        _learned(rows, parents, plan, generation)
    return best


def _begun(u: Tensor, plan: _Plan) -> _Rows:
    count, dim = u.shape
    round_ = torch.eye(dim, dtype=u.dtype, device=u.device).repeat(count, 1, 1) if plan.full else torch.ones_like(u)
    return _Rows(
        number=torch.arange(count, device=u.device),
        mean=u.clone(),
        width=u.new_full((count,), _WIDTH),
        drift=torch.zeros_like(u),
        trail=torch.zeros_like(u),
        shape=round_,
        axes=round_,
        scales=torch.ones_like(u),
    )


def _candidates(rows: _Rows, plan: _Plan, generation: int, seed: int) -> Tensor:
    """Return points (n, L, D) of a generation."""
    draws = streams.normal(
        plan.candidates, rows.mean.shape[1], seed=seed, start=generation * plan.candidates, stream=streams.VICINITY
    )
    y = torch.from_numpy(draws).to(rows.mean) * rows.scales[:, None]
    return rows.mean[:, None] + rows.width[:, None, None] * (y @ rows.axes.mT if plan.full else y)


def _learned(rows: _Rows, parents: Tensor, plan: _Plan, generation: int) -> None:
    """Move the means to the parents (n, M, D), best first, and adapt widths and covariances."""
    weights, dim = plan.weights.to(parents), parents.shape[2]
    parents = (parents - rows.mean[:, None]) / rows.width[:, None, None]
    step = (weights[:, None] * parents).sum(1)
    rows.mean = rows.mean + rows.width[:, None] * step
    if plan.full:
        white = (rows.axes @ ((rows.axes.mT @ step[..., None]) / rows.scales[..., None]))[..., 0]
    else:
        white = step / rows.scales
    fresh = plan.c_sigma * (2.0 - plan.c_sigma) * plan.mu_eff
    rows.drift = (1.0 - plan.c_sigma) * rows.drift + math.sqrt(fresh) * white
    length = rows.drift.norm(dim=1) / plan.chi
    known = math.sqrt(1.0 - (1.0 - plan.c_sigma) ** (2 * (generation + 1)))
    # Where the width grows fast the way is long for that reason alone, and says nothing about directions.
    steady = (length / known < 1.4 + 2.0 / (dim + 1.0)).to(parents.dtype)
    fresh = plan.c_c * (2.0 - plan.c_c) * plan.mu_eff
    rows.trail = (1.0 - plan.c_c) * rows.trail + steady[:, None] * math.sqrt(fresh) * step
    rows.shape = _adapted(rows, parents, weights, steady, plan)
    rows.width = rows.width * ((plan.c_sigma / plan.d_sigma) * (length - 1.0)).clamp(max=1.0).exp()


def _factors(shape: Tensor) -> tuple[Tensor, Tensor]:
    """Return the standard deviations (n, D) and axes (n, D, D) of covariances (n, D, D), or of diagonals (n, D)."""
    if shape.ndim == 2:
        return shape.clamp(min=1e-20).sqrt(), shape
    values, axes = torch.linalg.eigh(shape)
    return values.clamp(min=1e-20).sqrt(), axes


def _adapted(rows: _Rows, parents: Tensor, weights: Tensor, steady: Tensor, plan: _Plan) -> Tensor:
    """Return covariances moved towards the trail's (rank one) and the parents' (rank mu); tutorial, equation 47."""
    trail = rows.trail
    keep = 1.0 - plan.c_1 - plan.c_mu + plan.c_1 * (1.0 - steady) * plan.c_c * (2.0 - plan.c_c)
    if not plan.full:
        spread = (weights[:, None] * parents.square()).sum(1)
        return keep[:, None] * rows.shape + plan.c_1 * trail.square() + plan.c_mu * spread
    spread = (weights[:, None] * parents).mT @ parents
    return keep[:, None, None] * rows.shape + plan.c_1 * trail[:, :, None] * trail[:, None] + plan.c_mu * spread
