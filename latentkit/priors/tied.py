"""A prior for latents that hold one vector a layer, drawn as one."""

from dataclasses import dataclass

from torch import Tensor

from latentkit.checks import as_latents
from latentkit.priors.prior import Prior, followed_latents

__all__ = ["Tied"]


@dataclass(frozen=True)
class Tied:
    """Latents (N, L * D) that are the same vector, drawn from a prior of D coordinates, in each of L layers.

    A draw has as many free coordinates as one vector. Away from that subspace, where edits of single layers lead, each
    layer's vector is judged by itself.

    Args:
        single: prior of one layer's vector.
        layers: how many layers L there are.

    Examples:
        >>> from latentkit.priors import Normal
        >>> Tied(Normal(1), 3).sample(2, seed=0).unique(dim=1).shape
        torch.Size([2, 1])
    """

    single: Prior
    layers: int

    @property
    def dim(self) -> int:
        """Size L * D of one latent."""
        return self.layers * self.single.dim

    def parts(self, z: Tensor) -> Tensor:
        """Return the vectors (..., L, D) of latents (..., L * D)."""
        return z.unflatten(-1, (self.layers, self.single.dim))

    def sample(self, n: int, *, seed: int, start: int = 0) -> Tensor:
        """Return latents `start` to `start + n - 1` of `seed`: (n, L * D) float32."""
        return self.single.sample(n, seed=seed, start=start).repeat(1, self.layers)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the mean over the layers of the log density of their vectors, (N,) float64.

        For a draw that is the density of its vector.
        """
        rows = self.parts(followed_latents(z, self.dim)).flatten(0, 1)
        return self.single.log_prob(rows).unflatten(0, (-1, self.layers)).mean(1)

    def typicality(self, z: Tensor) -> Tensor:
        """Return the typicality (N,) of the least typical layer's vector; over draws it is uniform."""
        rows = self.parts(as_latents(z, self.dim)).flatten(0, 1)
        return self.single.typicality(rows).unflatten(0, (-1, self.layers)).amin(1)

    def match(self, total: Tensor, weights: Tensor) -> Tensor:
        """Map sums (..., L * D) of draws back onto the prior, layer by layer."""
        return self.single.match(self.parts(total), weights[..., None, :] if weights.ndim > 1 else weights).flatten(-2)
