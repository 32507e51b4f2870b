"""Smooth curves through keyframes."""

from dataclasses import replace

import torch
from torch import Tensor

from latentkit.curves.between import interpolate, refuse_cancelling
from latentkit.curves.blends import blended
from latentkit.curves.curve import Curve
from latentkit.curves.tours import keyframes, neighbours, snapped
from latentkit.errors import CurveError
from latentkit.priors import Normal, Prior, normal_scores

__all__ = ["spline"]


def spline(keys: Tensor, *, prior: Prior | None = None, closed: bool = False) -> Curve:
    """Return the smooth, prior-matched curve through keyframes: a natural cubic spline, or a periodic one.

    In the keyframes' normal scores the spline is a weighted sum of them, with weights w_k(t) that depend on the time
    alone; divided by the root of sum w_k(t)^2, every point of it is distributed as the prior for independent
    keyframes. Where `tour` turns at a keyframe, this goes on with its velocity and acceleration; closed, it does so
    across the seam too. Two keyframes are joined as by `interpolate`.

    `spline(keys).steps_per_segment(n)` gives (K - 1) n + 1 latents, closed K n, every keyframe among them exactly.

    Args:
        keys: (K, D) keyframes at even times, or (K, N, D) for N splines side by side, whose curve gives (T, N, D).
        prior: the generator's prior; by default the standard normal one of that dimension. A mixture of several
            components keeps its mean and covariance only.
        closed: whether to go on from the last keyframe to the first.

    Raises:
        ShapeError: if the keyframes are not (K, D) or (K, N, D) with the prior's D.
        NonFiniteError: if one holds NaN or infinity.
        CurveError: if there are fewer than 2 (3 for a closed one), or two neighbours are equal or opposite.

    References:
        Schoenberg (1973), "Cardinal spline interpolation": the weights on the keyframes.
        Bodin et al. (2024), arXiv 2408.08558, theorem 1: the variance of a weighted sum.

    Examples:
        >>> import latentkit as lk
        >>> from latentkit.curves import spline
        >>> keys = lk.Normal(16).sample(4, seed=0)
        >>> len(spline(keys).steps_per_segment(10)), len(spline(keys, closed=True).steps_per_segment(10))
        (31, 40)
    """
    keys = keyframes(keys, prior, "a closed spline" if closed else "a spline", least=3 if closed else 2)
    prior = Normal(keys.shape[-1]) if prior is None else prior
    starts, ends, names = neighbours(keys, closed=closed)
    if len(keys) == 2:
        return replace(interpolate(keys[0], keys[1], prior), kind="spline")
    for a, b, (first, second) in zip(starts, ends, names, strict=True):
        try:
            refuse_cancelling(normal_scores(prior, a), normal_scores(prior, b))
        except CurveError as error:
            raise CurveError(f"between keyframes {first} and {second}: {error}") from error
    blend, segments = blended(keys, prior), len(starts)

    def at(times: Tensor) -> Tensor:
        return blend(cardinal_weights(snapped(times, segments), len(keys), closed=closed))

    return Curve(at, "closed spline" if closed else "spline", keys.shape[-1], segments, closed, prior)


def cardinal_weights(places: Tensor, keys: int, *, closed: bool) -> Tensor:
    """Return the weights (T, K) of a cubic spline on its K keys at places (T,) in segments; they add up to 1.

    Row t holds the values at t of the splines through 1 at one key and 0 at the others, so at a key they are
    exactly 1 and 0.
    """
    import numpy as np
    from scipy.interpolate import CubicSpline

    identity = np.eye(keys)
    if closed:
        identity = np.concatenate([identity, identity[:1]])
    curves = CubicSpline(np.arange(len(identity)), identity, bc_type="periodic" if closed else "natural")
    weights = torch.from_numpy(curves(places.numpy()))
    at_key = places == places.round()
    weights[at_key] = torch.eye(keys, dtype=torch.float64)[places[at_key].long() % keys]
    return weights
