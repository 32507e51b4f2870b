"""Two independent priors side by side."""

from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_latents
from latentkit.priors.classes import OneHot
from latentkit.priors.prior import Prior, followed_latents
from latentkit.priors.sphere import Sphere

__all__ = ["Joint"]

#: Priors whose draws are all equally typical.
_ALIKE = (OneHot, Sphere)


@dataclass(frozen=True)
class Joint:
    """Latents of two parts that are drawn independently: (N, first.dim + second.dim).

    Args:
        first: prior of the first coordinates; what it draws from a seed is what it draws alone.
        second: prior of the others.

    Examples:
        >>> from latentkit.priors import Normal
        >>> both = Joint(Normal(2), Normal(3))
        >>> both.sample(4, seed=0)[:, :2].equal(Normal(2).sample(4, seed=0))
        True
    """

    first: Prior
    second: Prior

    @property
    def dim(self) -> int:
        """Size D of one latent."""
        return self.first.dim + self.second.dim

    def sample(self, n: int, *, seed: int, start: int = 0) -> Tensor:
        """Return latents `start` to `start + n - 1` of `seed`: (n, D) float32."""
        other = streams.derived_seed(seed, streams.SECOND)
        parts = self.first.sample(n, seed=seed, start=start), self.second.sample(n, seed=other, start=start)
        return torch.cat(parts, dim=1)

    def parts(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two parts (..., D1) and (..., D2) of latents (..., D)."""
        return z[..., : self.first.dim], z[..., self.first.dim :]

    @property
    def alike(self) -> bool:
        """Whether one part's draws are all equally typical, as a sphere's and classes are, so the other decides."""
        return isinstance(self.first, _ALIKE) or isinstance(self.second, _ALIKE)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log density (N,) float64 of latents (N, D), with a gradient if they need one."""
        first, second = self.parts(followed_latents(z, self.dim))
        return self.first.log_prob(first) + self.second.log_prob(second)

    def typicality(self, z: Tensor) -> Tensor:
        """Return the tail probability (N,) of both parts' together, uniform over draws.

        Of a part whose draws are all alike (a sphere's, a class) only the other counts, where it is on its support.

        References:
            Fisher (1932), "Statistical methods for research workers": minus twice the log of the product of two
            independent tail probabilities is chi-square with 4 degrees of freedom.
        """
        first, second = self.parts(as_latents(z, self.dim))
        product = self.first.typicality(first) * self.second.typicality(second)
        if self.alike:
            return product
        return product - torch.xlogy(product, product)

    def match(self, total: Tensor, weights: Tensor) -> Tensor:
        """Map sums (..., D) of draws back onto the prior, part by part."""
        first, second = self.parts(total)
        return torch.cat([self.first.match(first, weights), self.second.match(second, weights)], dim=-1)
