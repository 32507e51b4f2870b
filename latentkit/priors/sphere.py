"""The spherical prior."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_count, as_latents, as_number
from latentkit.errors import CurveError
from latentkit.priors.prior import alpha_beta, followed_latents, set_checked

__all__ = ["Sphere"]


@dataclass(frozen=True)
class Sphere:
    """The uniform distribution on the sphere of a given radius around the origin.

    Args:
        dim: size D of a latent, at least 2.
        radius: norm of every latent, above 0.

    Raises:
        ArgumentError: if an argument is out of range.
    """

    dim: int
    radius: float = 1.0

    #: Relative distance from the sphere up to which a latent counts as lying on it (float32 sums).
    tolerance = 1e-4

    def __post_init__(self) -> None:
        set_checked(
            self,
            dim=as_count(self.dim, "dim", least=2),
            radius=as_number(self.radius, "radius", least=0.0, open_least=True),
        )

    def sample(self, n: int, *, seed: int, start: int = 0) -> Tensor:
        """Return latents `start` to `start + n - 1` of `seed`: (n, D) float32."""
        z = streams.normal(n, self.dim, seed=seed, start=start)
        return torch.from_numpy(self.radius * z / np.linalg.norm(z, axis=1, keepdims=True)).to(torch.float32)

    def _on(self, z: Tensor) -> Tensor:
        z = as_latents(z, self.dim)
        norm = z.double().cpu().norm(dim=1)
        return (norm / self.radius - 1.0).abs() <= max(self.tolerance, 2.0 * torch.finfo(z.dtype).eps)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log density (N,) per unit of area; -inf off the sphere."""
        d = self.dim
        area = math.log(2.0) + 0.5 * d * math.log(math.pi) - math.lgamma(d / 2) + (d - 1) * math.log(self.radius)
        # The same everywhere, and still with a gradient, of zero, where the latents need one.
        density = 0.0 * followed_latents(z, d).sum(1) - area
        return density.masked_fill(~self._on(z), -math.inf)

    def typicality(self, z: Tensor) -> Tensor:
        """Return 1 on the sphere, where all points are alike, and 0 off it: (N,) float64."""
        return self._on(z).to(torch.float64)

    def match(self, total: Tensor, weights: Tensor) -> Tensor:
        """Rescale sums (..., D) to the sphere.

        Raises:
            CurveError: if a sum is zero, so that it has no direction.
        """
        alpha_beta(weights)
        norm = total.double().norm(dim=-1, keepdim=True)
        scale = weights.double().abs().sum(-1)[..., None] * self.radius
        if not bool((norm > 1e-6 * scale).all()):
            raise CurveError("latents on a sphere cancel out, so their sum has no direction; use other latents")
        return (self.radius * total.double() / norm).to(total.dtype)
