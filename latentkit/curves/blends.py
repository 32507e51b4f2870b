"""Blends of several latents by weights that go with time, matched to the prior.

A blend is done in the latents' normal scores: there a weighted sum of independent draws is Gaussian with variance
sum w_k^2 whatever the prior was, so that divided by its root it is a draw again.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from latentkit.curves.between import related
from latentkit.errors import CurveError
from latentkit.priors import Joint, Prior, from_normal_scores, has_normal_scores, normal_scores

__all__ = ["blended"]

#: The least share of sum w_k^2 that a variance may have: weights of related latents that cancel stay finite.
LEAST = 1e-3


def blended(latents: Tensor, prior: Prior) -> Callable[[Tensor], Tensor]:
    """Return the function from weights (T, K) to blends (T, ..., D) of latents, each distributed as the prior.

    A row of one 1 and zeros gives that latent exactly. Latents far too close to be independent draws count as related
    ones, by `interpolate`'s rule: the variance is then sum_kl w_k w_l r_kl with the correlations r_kl estimated from
    the latents, so that a blend of a latent and its edit keeps their length. A prior without normal scores maps the
    sums back by its own `match`, and the parts of a joint prior are blended each by itself.

    Args:
        latents: (K, D) or (K, N, D), of the prior's dimension, finite.
        prior: what the blends are matched to. A mixture keeps its mean and covariance only; all others are exact.
    """
    if isinstance(prior, Joint):
        first, second = prior.parts(latents)
        parts = blended(first, prior.first), blended(second, prior.second)
        return lambda weights: torch.cat([part(weights) for part in parts], dim=-1)
    blend = _by_scores(latents, prior) if has_normal_scores(prior) else _by_match(latents, prior)

    def exact(weights: Tensor) -> Tensor:
        weights = weights.to(latents.device, torch.float64)
        z = blend(weights).to(latents.dtype)
        for k in range(len(latents)):
            z[(weights[:, k] == 1.0) & (weights.abs().sum(1) == 1.0)] = latents[k]
        return z

    return exact


def _by_scores(latents: Tensor, prior: Prior) -> Callable[[Tensor], Tensor]:
    scores = normal_scores(prior, latents)
    energy = scores.square().sum(-1)
    likeness = 2.0 * torch.einsum("k...d,l...d->kl...", scores, scores) / (energy[:, None] + energy).clamp(min=1e-300)
    kin = torch.stack([related(one[None], scores)[..., 0] for one in scores])
    alike = torch.eye(len(scores), device=scores.device).reshape(*likeness.shape[:2], *[1] * (scores.ndim - 2)) > 0
    correlation = torch.where(alike, 1.0, kin * likeness)

    def blend(weights: Tensor) -> Tensor:
        own = weights.square().sum(1).reshape(-1, *[1] * (scores.ndim - 2))
        shared = torch.einsum("tk,kl...->tl...", weights, correlation)
        variance = torch.einsum("tl,tl...->t...", weights, shared)
        total = torch.einsum("tk,k...->t...", weights, scores)
        z = from_normal_scores(prior, total / torch.maximum(variance, LEAST * own).sqrt()[..., None])
        if not bool(z.isfinite().all()):
            raise CurveError("latents on a sphere cancel out, so their blend has no direction; use other latents")
        return z

    return blend


def _by_match(latents: Tensor, prior: Prior) -> Callable[[Tensor], Tensor]:
    def blend(weights: Tensor) -> Tensor:
        total = torch.einsum("tk,k...->t...", weights, latents.double())
        return prior.match(total, weights.reshape(len(weights), *[1] * (latents.ndim - 2), -1))

    return blend
