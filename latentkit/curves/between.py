"""Curves between two latents, with their degenerate cases decided.

References:
    White (2016), "Sampling generative networks" (arXiv 1609.04468): slerp for latents.
    Agustsson et al. (2019), arXiv 1711.01970: prior-matched interpolation.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from latentkit.checks import floating, require_finite
from latentkit.curves.curve import Curve
from latentkit.errors import CurveError, ShapeError
from latentkit.priors import Joint, Normal, Prior, Sphere, normal_scores

__all__ = ["interpolate", "lerp", "paired_ends", "refuse_cancelling", "related", "rows_named", "slerp"]

#: Ends whose directions differ from opposite by less than this angle (radians) have no unique arc.
OPPOSITE = 1e-5

#: Two ends nearer to each other than the first quantile of independent draws begin to count as related, and
#: do so fully at the second.
RELATED = (1e-5, 1e-6)


def paired_ends(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, torch.dtype]:
    """Return both ends in float64 with their common dtype; each is (D,) or (N, D)."""
    ends = [floating(a, "the first end"), floating(b, "the second end")]
    for name, end in zip(("the first end", "the second end"), ends, strict=True):
        if end.ndim not in (1, 2) or end.numel() == 0:
            raise ShapeError(f"{name} must be (D,) or (N, D), got {tuple(end.shape)}")
        require_finite(end if end.ndim == 2 else end[None], name)
    if ends[0].shape != ends[1].shape:
        raise ShapeError(f"both ends must have one shape, got {tuple(ends[0].shape)} and {tuple(ends[1].shape)}")
    dtype = torch.promote_types(ends[0].dtype, ends[1].dtype)
    return ends[0].double(), ends[1].double(), dtype


def _between(a: Tensor, b: Tensor, dtype: torch.dtype, inner: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a curve's function that is exactly a at t = 0 and b at t = 1, in the ends' dtype."""

    def at(times: Tensor) -> Tensor:
        t = times.reshape(-1, *[1] * a.ndim).to(a.device)
        z = inner(t)
        return torch.where(t == 0.0, a, torch.where(t == 1.0, b, z)).to(dtype)

    return at


def lerp(a: Tensor, b: Tensor) -> Curve:
    """Return the straight line from a to b, each (D,) or (N, D).

    It leaves a Gaussian prior: midway it is 0.71 times as long as a draw. `interpolate` stays on it.

    Raises:
        ShapeError: if the ends are not of one shape.
        NonFiniteError: if an end holds NaN or infinity.
    """
    start, end, dtype = paired_ends(a, b)
    return Curve(_between(start, end, dtype, lambda t: (1.0 - t) * start + t * end), "lerp", start.shape[-1])


def _norm(z: Tensor) -> Tensor:
    """Return norms (..., 1) whose squares neither overflow nor vanish."""
    peak = z.abs().amax(-1, keepdim=True)
    return peak * (z / peak.clamp(min=5e-324)).norm(dim=-1, keepdim=True)


def _arc(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return unit directions (..., D) and the angle (..., 1) between them, accurate at both extremes."""
    na, nb = _norm(a), _norm(b)
    if not bool(((na > 0) & (nb > 0)).all()):
        raise CurveError(
            f"a zero latent has no direction, so there is no great circle{rows_named((na > 0) & (nb > 0))}; "
            "use lerp or interpolate, or another latent"
        )
    ua, ub = a / na, b / nb
    # Kahan's formula: unlike acos of the dot product it keeps its digits near 0 and near pi.
    angle = 2.0 * torch.atan2((ua - ub).norm(dim=-1, keepdim=True), (ua + ub).norm(dim=-1, keepdim=True))
    return ua, ub, angle


def rows_named(good: Tensor) -> str:
    """Return the first row that is not good, for an error about a batch (N, 1); nothing for single ends."""
    bad = (~good.reshape(-1)).nonzero().flatten().tolist()
    return f" (row {bad[0]}{', ...' if len(bad) > 1 else ''})" if good.numel() > 1 else ""


def _refuse_opposite(angle: Tensor) -> None:
    apart = math.pi - angle > OPPOSITE
    if not bool(apart.all()):
        raise CurveError(
            f"the ends are opposite, so every way round is as short as another{rows_named(apart)}; "
            "go through a third latent with tour([a, c, b]), or use lerp, which crosses the origin"
        )


def slerp(a: Tensor, b: Tensor) -> Curve:
    """Return the great-circle arc from a to b, each (D,) or (N, D), with the norm going evenly.

    The direction turns at constant speed and the norm is interpolated on its own, so ends of any
    length are reached exactly. Every row is decided by itself; where the arc vanishes the formula
    goes over into lerp without a threshold.

    Raises:
        ShapeError: if the ends are not of one shape.
        NonFiniteError: if an end holds NaN or infinity.
        CurveError: if an end is zero or the ends are opposite, where no arc is the right one.

    References:
        Shoemake (1985), "Animating rotation with quaternion curves", equation for Slerp.
    """
    start, end, dtype = paired_ends(a, b)
    ua, ub, angle = _arc(start, end)
    _refuse_opposite(angle)
    na, nb = _norm(start), _norm(end)

    def inner(t: Tensor) -> Tensor:
        # sin(t w) / sin(w) written as t sinc(t w) / sinc(w): its limit t at w = 0 needs no branch.
        base = torch.sinc(angle / math.pi)
        wa = (1.0 - t) * torch.sinc((1.0 - t) * angle / math.pi) / base
        wb = t * torch.sinc(t * angle / math.pi) / base
        return ((1.0 - t) * na + t * nb) * (wa * ua + wb * ub)

    return Curve(_between(start, end, dtype, inner), "slerp", start.shape[-1])


def interpolate(a: Tensor, b: Tensor, prior: Prior | None = None) -> Curve:
    """Return the prior-matched curve from a to b, each (D,) or (N, D).

    For two independent draws every point on the way is distributed exactly as the prior: a Gaussian line is rescaled
    by 1 / sqrt((1 - t)^2 + t^2), a uniform one goes through the CDF of the sum, one on a sphere is renormalised, and
    the parts of a joint prior go each by itself. Ends far too close to be independent draws (nearer than one pair in
    100,000) are joined as related ones, so that the curve does not bulge outwards between them. In few dimensions
    that takes ends that are very close: between a latent and its edit use `lerp`.

    Args:
        a: where the curve starts.
        b: where it ends.
        prior: the generator's prior; by default the standard normal one of that dimension.

    Raises:
        ShapeError: if the ends are not of one shape, or not of the prior's dimension.
        NonFiniteError: if an end holds NaN or infinity.
        CurveError: if the ends are opposite, so that the line goes through the prior's centre.

    References:
        Agustsson et al. (2019), arXiv 1711.01970, section 2.2 and table 1.

    Examples:
        >>> import latentkit as lk
        >>> z = lk.Normal(512).sample(2, seed=0)
        >>> z.norm(dim=1).round().tolist(), lk.interpolate(z[0], z[1])(0.5).norm().round().item()
        ([24.0, 23.0], 24.0)
    """
    start, end, dtype = paired_ends(a, b)
    prior = Normal(start.shape[-1]) if prior is None else prior
    if prior.dim != start.shape[-1]:
        raise ShapeError(f"the ends must have the prior's {prior.dim} coordinates, got {start.shape[-1]}")
    if isinstance(prior, Joint):
        # Independent parts, each on its own way: one that is alike at both ends stands still.
        ways = [
            interpolate(p, q, part)
            for p, q, part in zip(prior.parts(start), prior.parts(end), (prior.first, prior.second), strict=True)
        ]

        def at(times: Tensor) -> Tensor:
            return torch.cat([way.at(times) for way in ways], dim=-1).to(dtype)

        return Curve(at, "interpolate", prior.dim, prior=prior)
    ga, gb = normal_scores(prior, start), normal_scores(prior, end)
    refuse_cancelling(ga, gb)
    kin = related(ga, gb)

    def inner(t: Tensor) -> Tensor:
        weights = torch.cat([1.0 - t, t], dim=-1)
        matched = prior.match((1.0 - t) * start + t * end, weights)
        if not bool((kin > 0).any()):
            return matched
        return torch.lerp(matched, _join_related(prior, start, end, ga, gb, t), kin)

    return Curve(_between(start, end, dtype, inner), "interpolate", prior.dim, prior=prior)


def refuse_cancelling(ga: Tensor, gb: Tensor) -> None:
    """Raise `CurveError` where two normal scores (..., D) are opposite, so that their line crosses the centre."""
    size = ga.norm(dim=-1, keepdim=True) + gb.norm(dim=-1, keepdim=True)
    apart = (ga + gb).norm(dim=-1, keepdim=True) > OPPOSITE * size
    if not bool((apart | (size == 0)).all()):
        raise CurveError(
            f"the ends are opposite, so the line between them goes through the prior's centre{rows_named(apart)}; "
            "go through a third latent with tour([a, c, b])"
        )


def related(ga: Tensor, gb: Tensor) -> Tensor:
    """Return (..., 1) in [0, 1]: how far two ends are too near each other to be independent draws."""
    from scipy.special import gammainc

    # |a - b|^2 / 2 is chi-square distributed with D degrees for independent draws.
    half = (ga - gb).square().sum(-1, keepdim=True) / 4.0
    chance = torch.as_tensor(gammainc(ga.shape[-1] / 2.0, half.cpu().numpy())).to(ga.device).clamp(min=1e-300)
    begins, ends = (math.log(quantile) for quantile in RELATED)
    return ((begins - chance.log()) / (begins - ends)).clamp(0.0, 1.0)


def _join_related(prior: Prior, a: Tensor, b: Tensor, ga: Tensor, gb: Tensor, t: Tensor) -> Tensor:
    """Join ends that share most of their coordinates: straight in the prior's own coordinates.

    With correlation r the matched length is sqrt((1 - t)^2 + t^2 + 2 r t (1 - t)); r is estimated
    from the ends, which is what keeps the curve at the length of its ends.
    """
    line = (1.0 - t) * a + t * b
    if isinstance(prior, Sphere):
        return prior.radius * line / line.norm(dim=-1, keepdim=True)
    if not isinstance(prior, Normal):
        # Convex supports and mixtures: between near neighbours the line itself is on the prior.
        return line
    energy = ga.square().sum(-1, keepdim=True) + gb.square().sum(-1, keepdim=True)
    r = 2.0 * (ga * gb).sum(-1, keepdim=True) / energy.clamp(min=1e-300)
    g = ((1.0 - t) * ga + t * gb) / ((1.0 - t).square() + t.square() + 2.0 * r * t * (1.0 - t)).sqrt()
    return torch.where(energy > 0, prior.mean + prior.std * g, line)
