"""The prior of a class that is written as a unit vector."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from latentkit import streams
from latentkit.checks import as_count, as_latents
from latentkit.errors import ArgumentError
from latentkit.priors.prior import alpha_beta, followed_latents, set_checked

__all__ = ["OneHot"]


@dataclass(frozen=True)
class OneHot:
    """The even distribution over the K unit vectors of K dimensions: one of K classes.

    What lies between them, weights of several classes, is nothing that a generator was trained on: its density and its
    typicality are 0, however good its samples may be.

    Args:
        dim: the number K of classes, at least 1.

    Raises:
        ArgumentError: if that is no whole number in its range.

    Examples:
        >>> OneHot(3).sample(4, seed=1).sum(1).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """

    dim: int

    #: How far from a unit vector a coordinate may lie that still counts as on it (rounded sums).
    tolerance = 1e-6

    def __post_init__(self) -> None:
        set_checked(self, dim=as_count(self.dim, "dim"))

    def sample(self, n: int, *, seed: int, start: int = 0) -> Tensor:
        """Return latents `start` to `start + n - 1` of `seed`: (n, K) float32, each a unit vector."""
        u = torch.from_numpy(streams.uniform(n, 1, seed=seed, start=start)[:, 0])
        # The largest uniform is below 1, but its product with K may round up to K.
        return functional.one_hot((u * self.dim).long().clamp(max=self.dim - 1), self.dim).to(torch.float32)

    def _on(self, z: Tensor) -> Tensor:
        z = as_latents(z, self.dim).double().cpu()
        nearest = functional.one_hot(z.argmax(1), self.dim)
        return ((z - nearest).abs() <= self.tolerance).all(1)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log probability (N,) float64 of latents (N, K): -log K on a unit vector, -inf elsewhere."""
        # The same at each, and still with a gradient, of zero, where the latents need one.
        even = 0.0 * followed_latents(z, self.dim).sum(1) - math.log(self.dim)
        return even.masked_fill(~self._on(z), -math.inf)

    def typicality(self, z: Tensor) -> Tensor:
        """Return 1 on a unit vector, all of which are alike, and 0 between them: (N,) float64."""
        return self._on(z).to(torch.float64)

    def match(self, total: Tensor, weights: Tensor) -> Tensor:
        """Return sums (..., K) of unit vectors as weights of the classes: none negative, adding up to 1.

        One class is kept as it is, so a curve's ends stay ends, and a - b + c of one class is that class. Sums of
        several stay between them: no map onto the unit vectors is continuous.

        Raises:
            ArgumentError: if nothing positive is left of a sum.
        """
        alpha_beta(weights)
        positive = total.double().clamp(min=0.0)
        share = positive.sum(-1, keepdim=True)
        if not bool((share > 1e-9 * weights.double().abs().sum(-1)[..., None]).all()):
            raise ArgumentError("the classes of these latents cancel out, so no class is left; give one of them more")
        return (positive / share).to(total.dtype)
