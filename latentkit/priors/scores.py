"""Latents as standard Gaussian coordinates of their prior."""

import math

import torch
from torch import Tensor

from latentkit.errors import ArgumentError
from latentkit.priors.empirical import Empirical
from latentkit.priors.joint import Joint
from latentkit.priors.normal import Normal
from latentkit.priors.prior import Prior
from latentkit.priors.sphere import Sphere
from latentkit.priors.tied import Tied
from latentkit.priors.uniform import Uniform

__all__ = ["from_normal_scores", "has_normal_scores", "normal_scores", "score_energy"]


def has_normal_scores(prior: Prior) -> bool:
    """Return whether standard normal scores give latents of this prior, so that a random score is a random latent.

    They do for all of latentkit's priors but classes (`OneHot`) and tied layers (`Tied`), not for one of a user's
    own. For a mixture they keep the mean and the covariance.
    """
    if isinstance(prior, Joint):
        return has_normal_scores(prior.first) and has_normal_scores(prior.second)
    return isinstance(prior, Normal | Uniform | Sphere | Empirical)


def normal_scores(prior: Prior, z: Tensor) -> Tensor:
    """Return latents (..., D) as standard Gaussian coordinates of their prior, float64.

    Used to ask whether two latents are too close to be independent draws. On a sphere the scaled
    latents stand for them; a mixture is whitened by its overall mean and covariance; the scores of two parts lie
    side by side. Latents of a prior that latentkit does not know are their own scores.
    """
    z = z.double()
    if isinstance(prior, Normal):
        return (z - prior.mean) / prior.std
    if isinstance(prior, Uniform):
        u = ((z - prior.low) / (prior.high - prior.low)).clamp(2.0**-25, 1.0 - 2.0**-25)
        return torch.special.ndtri(u)
    if isinstance(prior, Sphere):
        return z * (math.sqrt(prior.dim) / prior.radius)
    if isinstance(prior, Empirical):
        mean, covariance = prior._mixed
        factor = torch.linalg.cholesky(covariance).to(z.device)
        flat = (z - mean.to(z.device)).reshape(-1, prior.dim).T
        return torch.linalg.solve_triangular(factor, flat, upper=False).T.reshape(z.shape)
    if isinstance(prior, Joint):
        first, second = prior.parts(z)
        return torch.cat([normal_scores(prior.first, first), normal_scores(prior.second, second)], dim=-1)
    if isinstance(prior, Tied):
        return normal_scores(prior.single, prior.parts(z)).flatten(-2)
    return z


def from_normal_scores(prior: Prior, u: Tensor) -> Tensor:
    """Return the latents (..., D) with normal scores u (..., D), float64: `normal_scores` undone, differentiably.

    All of u is allowed: a uniform prior's latents stay within its bounds, and on a sphere the direction counts.
    """
    u = u.double()
    if isinstance(prior, Normal):
        return prior.mean + prior.std * u
    if isinstance(prior, Uniform):
        return prior.low + (prior.high - prior.low) * torch.special.ndtr(u)
    if isinstance(prior, Sphere):
        return prior.radius * u / u.norm(dim=-1, keepdim=True)
    if isinstance(prior, Empirical):
        mean, covariance = prior._mixed
        return mean.to(u.device) + u @ torch.linalg.cholesky(covariance).to(u.device).T
    if isinstance(prior, Joint):
        first, second = prior.parts(u)
        return torch.cat([from_normal_scores(prior.first, first), from_normal_scores(prior.second, second)], dim=-1)
    if isinstance(prior, Tied):
        return from_normal_scores(prior.single, prior.parts(u)).flatten(-2)
    return u


def score_energy(prior: Prior, u: Tensor) -> Tensor:
    """Return the negative log density (N,) float64 of normal scores u (N, D), up to a constant, differentiably.

    Scores with this density give latents with the prior's, by `from_normal_scores`. The scores are standard normal
    but for a mixture, which is only whitened, and for a prior that latentkit does not know, whose scores are its
    latents: there the prior's own density counts.

    Raises:
        ArgumentError: if the prior's `log_prob` keeps no gradient where one is needed.
    """
    u = u.double()
    known = isinstance(prior, Normal | Uniform | Sphere)
    if known or (isinstance(prior, Empirical) and len(prior.weights) == 1):
        return 0.5 * u.square().sum(-1)
    if isinstance(prior, Joint):
        first, second = prior.parts(u)
        return score_energy(prior.first, first) + score_energy(prior.second, second)
    if isinstance(prior, Tied):
        return score_energy(prior.single, prior.parts(u).flatten(0, -2)).unflatten(0, (*u.shape[:-1], -1)).mean(-1)
    energy = -prior.log_prob(from_normal_scores(prior, u))
    if u.requires_grad and not energy.requires_grad:
        raise ArgumentError(
            f"the log_prob of {type(prior).__name__} keeps no gradient; write it in torch operations on the latents "
            "that it is given, or use a sampler without gradients, such as rejection"
        )
    return energy
