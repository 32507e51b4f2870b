"""Where an inversion may look: standardised coordinates, in a ball around the prior's mean, on the prior's support."""

import torch
from torch import Tensor

from latentkit.priors import Prior

__all__ = ["Bounds"]


class Bounds:
    """Where plausible latents lie.

    Latents are standardised: centred, and each coordinate divided by its standard deviation.

    Args:
        prior: the distribution of the latents.
        drawn: (P, D) draws of it, where the search is; the farthest of them says how far plausible latents reach.

    Attributes: `dim`, the size D of a latent; `mean` and `std` (D,) of each coordinate.
    """

    def __init__(self, prior: Prior, drawn: Tensor) -> None:
        self._prior, self.dim = prior, prior.dim
        self.mean, self.std = drawn.mean(0), drawn.std(0).clamp(min=1e-12)
        self._radius = self.standard(drawn).norm(dim=1).max()
        self._one = torch.ones(1, device=drawn.device)

    def standard(self, latents: Tensor) -> Tensor:
        """Return latents (N, D) in the unit of the search."""
        return (latents - self.mean) / self.std

    def latents(self, u: Tensor) -> Tensor:
        """Return what standardised latents (N, D) are; gradients flow through."""
        return self.mean + self.std * u

    @torch.no_grad()
    def kept(self, u: Tensor) -> Tensor:
        """Return standardised latents (N, D), those that are not plausible pulled back."""
        norm = u.norm(dim=1, keepdim=True)
        within = u * (self._radius / norm.clamp(min=1e-12)).clamp(max=1.0)
        return self.standard(self.supported(self.latents(within)))

    def supported(self, latents: Tensor) -> Tensor:
        """Return latents (N, D) moved onto the prior's support, where they are not on it; gradients flow through."""
        # A combination of one latent with weight 1 is the latent itself.
        return self._prior.match(latents, self._one)
