"""Latents as standard Gaussian coordinates of their prior."""

import math

import torch
from torch import Tensor

from latentkit.priors.empirical import Empirical
from latentkit.priors.normal import Normal
from latentkit.priors.prior import Prior
from latentkit.priors.sphere import Sphere
from latentkit.priors.uniform import Uniform

__all__ = ["normal_scores"]


def normal_scores(prior: Prior, z: Tensor) -> Tensor:
    """Return latents (..., D) as standard Gaussian coordinates of their prior, float64.

    Used to ask whether two latents are too close to be independent draws. On a sphere the scaled
    latents stand for them; a mixture is whitened by its overall mean and covariance.
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
    return z
