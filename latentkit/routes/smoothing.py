"""Smooth curves through latents that keep to their prior, run through so that samples change evenly."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from latentkit.curves import Curve, retimed
from latentkit.priors import Normal, Prior, Sphere, Uniform
from latentkit.routes.pace import even_pace

__all__ = ["evenly", "fewer", "joined", "pieces", "spline"]

#: From this share of its ends' distance from the mean on a point is brought to all of it; below the other not at all.
HELD, LOOSE = 0.5, 0.2

#: Points of a curve whose samples are looked at.
FINE = 257


def joined(prior: Prior, a: Tensor, b: Tensor, t: float | Tensor) -> Tensor:
    """Return what lies at t, a number or (N, 1), between neighbours a and b (N, D): straight, but on the prior."""
    start, end = a.double(), b.double()
    return _on_prior(prior, (1.0 - t) * start + t * end, start, end, t).to(a.dtype)


def _on_prior(prior: Prior, z: Tensor, a: Tensor, b: Tensor, t: float | Tensor) -> Tensor:
    """Return z (N, D) at the distance from a normal prior's mean that lies between those of a and b (N, D).

    On a sphere that is its radius; a uniform prior only has bounds; others are left as they are.
    """
    if isinstance(prior, Uniform):
        return z.clamp(prior.low, prior.high)
    if isinstance(prior, Sphere):
        return prior.radius * z / z.norm(dim=1, keepdim=True).clamp(min=1e-300)
    if not isinstance(prior, Normal):
        return z
    wanted = (1.0 - t) * (a - prior.mean).norm(dim=1, keepdim=True) + t * (b - prior.mean).norm(dim=1, keepdim=True)
    off = z - prior.mean
    size = off.norm(dim=1, keepdim=True)
    # A line past the mean would have to jump from one side to the other: near it it is left as it is.
    ratio = size / wanted.clamp(min=1e-300)
    held = ((ratio - LOOSE) / (HELD - LOOSE)).clamp(0.0, 1.0)
    return prior.mean + off * torch.lerp(torch.ones_like(ratio), 1.0 / ratio.clamp(min=LOOSE), held)


def fewer(count: int) -> list[int]:
    """Return through how many of so many points a spline is tried, fewest first: each time about twice as many."""
    pieces, tried = 1, []
    while pieces < count - 1:
        tried.append(pieces + 1)
        pieces *= 2
    return [*tried, count]


def pieces(prior: Prior, knots: Tensor) -> Curve:
    """Return the curve of straight pieces on the prior through knots (K, D), each as long in time."""
    segments = len(knots) - 1

    def at(times: Tensor) -> Tensor:
        first, local = _places(times, segments)
        return joined(prior, knots[first], knots[first + 1], local[:, None])

    return Curve(at, "route", knots.shape[1], segments, prior=prior)


def spline(prior: Prior, knots: Tensor) -> Curve:
    """Return the curve on the prior through knots (K, D): natural cubic, each piece as long in time as in latents."""
    from scipy.interpolate import CubicSpline

    z = knots.double()
    lengths = z.diff(dim=0).norm(dim=1).numpy()
    at_knots = np.concatenate([[0.0], lengths.cumsum()]) / lengths.sum()
    spline = CubicSpline(at_knots, z.numpy(), bc_type="natural")

    def at(times: Tensor) -> Tensor:
        t = times.numpy()
        first = np.clip(np.searchsorted(at_knots, t, side="right") - 1, 0, len(lengths) - 1)
        local = torch.from_numpy((t - at_knots[first]) / np.diff(at_knots)[first])[:, None]
        found = torch.from_numpy(spline(t))
        return _on_prior(prior, found, z[first], z[first + 1], local).to(knots.dtype)

    return Curve(at, "route", knots.shape[1], len(lengths), prior=prior)


def _places(times: Tensor, segments: int) -> tuple[Tensor, Tensor]:
    """Return the piece (T,) long that each time lies in, and where in it (T,)."""
    first = (times * segments).floor().clamp(max=segments - 1)
    return first.long(), times * segments - first


def evenly(curve: Curve, features: Callable[[Tensor], Tensor]) -> Curve:
    """Return a curve run through so that samples change evenly, with the same ends.

    A twentieth of the pace is the curve's own, so that it does not jump where the samples do not change.

    Args:
        curve: between two latents.
        features: latents (N, D) to features (N, F) of their samples.
    """

    def lengths(z: Tensor) -> Tensor:
        return features(z).double().diff(dim=0).norm(dim=1)

    pace = even_pace(curve, lengths, points=FINE - 1, rounds=1, slack=0.05)
    return retimed(curve, pace.times, pace.places)
