"""Curves through the latent space, with their degenerate cases decided.

`interpolate` stays on the prior and is what everything here uses unless told otherwise; `lerp` is the
plain straight line and `slerp` the great circle. `tour` and `loop` go through keyframes.

References:
    White (2016), "Sampling generative networks" (arXiv 1609.04468): slerp for latents.
    Agustsson et al. (2019), arXiv 1711.01970: prior-matched interpolation.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.checks import as_count, as_latents, floating, require_finite
from latentkit.errors import ArgumentError, CurveError, ShapeError
from latentkit.priors import Normal, Prior, Sphere, normal_scores

__all__ = ["Curve", "interpolate", "lerp", "loop", "slerp", "tour"]

#: Ends whose directions differ from opposite by less than this angle (radians) have no unique arc.
OPPOSITE = 1e-5

#: Two ends nearer to each other than the first quantile of independent draws begin to count as related, and
#: do so fully at the second.
RELATED = (1e-5, 1e-6)


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve through the latent space: `curve(t (T,)) -> z (T, D)` for t in [0, 1].

    Curves between batches of ends (N, D) give (T, N, D). Attributes: `kind` names the construction;
    `dim` is D; `segments` is the number of pieces between keyframes; `closed` says whether the curve
    ends where it began; `prior` is the prior that it was matched to, or None.
    """

    at: Callable[[Tensor], Tensor]
    kind: str
    dim: int
    segments: int = 1
    closed: bool = False
    prior: Prior | None = None

    def __call__(self, t: Tensor | Sequence[float] | float) -> Tensor:
        """Return the latents at times t (T,) in [0, 1]: (T, D), or (T, N, D) between batches.

        Raises:
            ShapeError: if t is not (T,).
            ArgumentError: if a time lies outside of [0, 1] or is not finite.
        """
        times = torch.as_tensor(t, dtype=torch.float64).detach().cpu()
        times = times[None] if times.ndim == 0 else times
        if times.ndim != 1:
            raise ShapeError(f"times must be (T,), got {tuple(times.shape)}")
        if not bool(((times >= 0.0) & (times <= 1.0)).all()):
            raise ArgumentError(f"times must lie in [0, 1], got {times.min():g} to {times.max():g}")
        return self.at(times)

    def steps(self, n: int, *, closed: bool | None = None) -> Tensor:
        """Return n latents at even times: (n, D).

        An open curve gives both ends. A closed one leaves out the end, which is its start again, so
        that a film of it loops without a doubled frame.

        Args:
            n: how many latents, at least 1 (1 gives the start).
            closed: whether to leave out the end; by default as the curve is.
        """
        n = as_count(n, "n")
        closed = self.closed if closed is None else closed
        times = torch.arange(n, dtype=torch.float64) / max(n if closed else n - 1, 1)
        return self(times)

    def steps_per_segment(self, n: int) -> Tensor:
        """Return n steps between neighbouring keyframes, every keyframe among the latents.

        For k keyframes that is (k - 1) n + 1 latents on an open curve and k n on a closed one.
        """
        n = as_count(n, "n")
        return self.steps(self.segments * n + (0 if self.closed else 1))


def _ends(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, torch.dtype]:
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
    start, end, dtype = _ends(a, b)
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
            f"a zero latent has no direction, so there is no great circle{_rows((na > 0) & (nb > 0))}; "
            "use lerp or interpolate, or another latent"
        )
    ua, ub = a / na, b / nb
    # Kahan's formula: unlike acos of the dot product it keeps its digits near 0 and near pi.
    angle = 2.0 * torch.atan2((ua - ub).norm(dim=-1, keepdim=True), (ua + ub).norm(dim=-1, keepdim=True))
    return ua, ub, angle


def _rows(good: Tensor) -> str:
    bad = (~good.reshape(-1)).nonzero().flatten().tolist()
    return f" (row {bad[0]}{', ...' if len(bad) > 1 else ''})" if good.numel() > 1 else ""


def _refuse_opposite(angle: Tensor) -> None:
    if not bool((math.pi - angle > OPPOSITE).all()):
        raise CurveError(
            f"the ends are opposite, so every way round is as short as another{_rows(math.pi - angle > OPPOSITE)}; "
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
    start, end, dtype = _ends(a, b)
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

    For two independent draws every point on the way is distributed exactly as the prior: a Gaussian
    line is rescaled by 1 / sqrt((1 - t)^2 + t^2), a uniform one goes through the CDF of the sum, one
    on a sphere is renormalised. Ends far too close to be independent draws (nearer than one pair in
    100,000) are joined as related ones, so that the curve does not bulge outwards between them. In few
    dimensions that takes ends that are very close: between a latent and its edit use `lerp`.

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
    start, end, dtype = _ends(a, b)
    prior = Normal(start.shape[-1]) if prior is None else prior
    if prior.dim != start.shape[-1]:
        raise ShapeError(f"the ends must have the prior's {prior.dim} coordinates, got {start.shape[-1]}")
    ga, gb = normal_scores(prior, start), normal_scores(prior, end)
    _refuse_cancelling(ga, gb)
    related = _related(ga, gb)

    def inner(t: Tensor) -> Tensor:
        weights = torch.cat([1.0 - t, t], dim=-1)
        matched = prior.match((1.0 - t) * start + t * end, weights)
        if not bool((related > 0).any()):
            return matched
        return torch.lerp(matched, _join_related(prior, start, end, ga, gb, t), related)

    return Curve(_between(start, end, dtype, inner), "interpolate", prior.dim, prior=prior)


def _refuse_cancelling(ga: Tensor, gb: Tensor) -> None:
    size = ga.norm(dim=-1, keepdim=True) + gb.norm(dim=-1, keepdim=True)
    apart = (ga + gb).norm(dim=-1, keepdim=True) > OPPOSITE * size
    if not bool((apart | (size == 0)).all()):
        raise CurveError(
            f"the ends are opposite, so the line between them goes through the prior's centre{_rows(apart)}; "
            "go through a third latent with tour([a, c, b])"
        )


def _related(ga: Tensor, gb: Tensor) -> Tensor:
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


def tour(keys: Tensor, *, prior: Prior | None = None) -> Curve:
    """Return the open curve through keyframes (K, D) in order, prior-matched between neighbours.

    `tour(keys).steps_per_segment(n)` gives (K - 1) n + 1 latents, each keyframe once.

    Raises:
        ShapeError: if the keyframes are not (K, D).
        CurveError: if there are fewer than 2, or two neighbours are equal or opposite.
    """
    return _through(keys, prior, closed=False)


def loop(keys: Tensor, *, prior: Prior | None = None) -> Curve:
    """Return the closed curve through keyframes (K, D) and back to the first, prior-matched.

    `loop(keys).steps_per_segment(n)` gives K n latents; the last is a step before the first, so a
    film of them loops evenly.

    Raises:
        ShapeError: if the keyframes are not (K, D).
        CurveError: if there are fewer than 3, or two neighbours (first and last too) are equal or
            opposite.
    """
    return _through(keys, prior, closed=True)


def _through(keys: Tensor, prior: Prior | None, *, closed: bool) -> Curve:
    keys = as_latents(keys, None if prior is None else prior.dim, "keyframes")
    least = 3 if closed else 2
    if len(keys) < least:
        raise CurveError(f"a {'loop' if closed else 'tour'} needs at least {least} keyframes, got {len(keys)}")
    starts = keys if closed else keys[:-1]
    ends = keys.roll(-1, 0) if closed else keys[1:]
    # Equal up to float32's rounding: the frames between them would be equal too.
    apart = (starts - ends).double().norm(dim=1)
    equal = apart <= 1e-6 * (starts.double().norm(dim=1) + ends.double().norm(dim=1))
    if bool(equal.any()):
        k = int(equal.nonzero()[0])
        raise CurveError(
            f"keyframes {k} and {(k + 1) % len(keys)} are equal, so frames between them would stand still; "
            "leave one out (to pause, use the animation's hold)"
        )
    segments = len(starts)
    interpolate(starts, ends, prior)  # all at once, so that an error names its keyframe
    pieces = [interpolate(a, b, prior) for a, b in zip(starts, ends, strict=True)]

    def at(times: Tensor) -> Tensor:
        scaled = times * segments
        # A keyframe's time is a rounded quotient: without this its frame may miss it by a rounding.
        scaled = torch.where((scaled - scaled.round()).abs() < 1e-9, scaled.round(), scaled)
        index = scaled.floor().clamp(max=segments - 1)
        local = scaled - index
        # Only the pieces in use, each with its own times.
        z = torch.empty((len(times), keys.shape[1]), dtype=keys.dtype, device=keys.device)
        for k in index.unique().long().tolist():
            rows = index == k
            z[rows] = pieces[k].at(local[rows])
        return z

    return Curve(at, "loop" if closed else "tour", keys.shape[1], segments, closed, pieces[0].prior)
