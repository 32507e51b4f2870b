"""The normal prior."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_count, as_latents, as_number
from latentkit.priors.prior import alpha_beta, chi_square_tails, followed_latents, set_checked

__all__ = ["Normal"]


@dataclass(frozen=True)
class Normal:
    """The Gaussian with independent coordinates of one mean and one standard deviation.

    Args:
        dim: size D of a latent, at least 1.
        mean: mean of every coordinate.
        std: standard deviation of every coordinate, above 0.

    Raises:
        ArgumentError: if an argument is out of range.

    Examples:
        >>> prior = Normal(3)
        >>> prior.sample(5, seed=1)[3:].equal(prior.sample(2, seed=1, start=3))
        True
    """

    dim: int
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        set_checked(
            self,
            dim=as_count(self.dim, "dim"),
            mean=as_number(self.mean, "mean"),
            std=as_number(self.std, "std", least=0.0, open_least=True),
        )

    def sample(self, n: int, *, seed: int, start: int = 0) -> Tensor:
        """Return latents `start` to `start + n - 1` of `seed`: (n, D) float32."""
        z = self.mean + self.std * streams.normal(n, self.dim, seed=seed, start=start)
        return torch.from_numpy(z).to(torch.float32)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log density (N,) float64 of latents (N, D), with a gradient if they need one."""
        u = (followed_latents(z, self.dim) - self.mean) / self.std
        return -0.5 * u.square().sum(1) - self.dim * (math.log(self.std) + 0.5 * math.log(2 * math.pi))

    def typicality(self, z: Tensor) -> Tensor:
        """Return the two-sided tail probability (N,) of the norm, chi distributed with D degrees."""
        u = (as_latents(z, self.dim).double().cpu() - self.mean) / self.std
        return chi_square_tails(u.square().sum(1).numpy(), self.dim)

    def match(self, total: Tensor, weights: Tensor) -> Tensor:
        """Map sums (..., D) back onto the prior: Bodin et al. (2024), theorem 1."""
        alpha, root_beta = alpha_beta(weights)
        return ((1.0 - alpha / root_beta) * self.mean + total.double() / root_beta).to(total.dtype)
