"""A generator whose samples get a little noise, so that its law has a density to be compared with the data's."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentkit.checks import as_number
from latentkit.errors import ArgumentError
from latentkit.priors import Joint, Normal
from latentkit.protocols import Generator
from latentkit.sampling.generate import generate

__all__ = ["Noisy", "Smoothed", "smoothed"]


@dataclass(frozen=True)
class Noisy:
    """A proposal of latents beside the standard normal noise of a smoothed generator.

    Attributes: `proposal` of the latents; `noise`, the prior of the noise.
    """

    proposal: Any
    noise: Normal

    @property
    def dim(self) -> int:
        """Size of a latent with its noise."""
        return self.proposal.dim + self.noise.dim

    def sample(self, n: int, *, seed: int, start: int = 0) -> Tensor:
        """Return latents with their noise (n, D + M) float32; the noise is that of the smoothed generator's prior."""
        noise = Joint(self.noise, self.noise).sample(n, seed=seed, start=start)[:, self.noise.dim :]
        return torch.cat([self.proposal.sample(n, seed=seed, start=start), noise], dim=1)


@dataclass(frozen=True, eq=False)
class Smoothed:
    """A generator with noise on its samples: x = G(z) + tau e, with e standard normal.

    The noise is part of the latent, (z, e), so that one latent is one sample, and every function takes it.

    Attributes: `module`, the generator; `tau`, the noise's standard deviation in the samples' unit; `prior` of (z, e).
    """

    module: Generator
    tau: float
    prior: Joint

    def __call__(self, z: Tensor, /) -> Tensor:
        """Return samples (N, *S) for latents with their noise (N, D + M)."""
        latents, noise = self.prior.parts(z)
        samples = self.module(latents)
        return samples + self.tau * noise.reshape(samples.shape).to(samples)

    def proposal(self, proposal: Any) -> Noisy:
        """Return a proposal of latents (N, D) with noise beside it, for this generator."""
        return Noisy(proposal, Normal(self.prior.second.dim))


def smoothed(generator: Generator, tau: float) -> Smoothed:
    """Return a generator that adds noise to the samples of another.

    A generator of few dimensions fills a curve or a sheet, beside which the ratio of densities is infinite. Noise of
    about the data's own width gives it a density, and leaves a critic with something to weigh.

    Args:
        generator: the model.
        tau: standard deviation of the noise, in the samples' unit; above 0.

    Raises:
        ArgumentError: if tau is not above 0.

    References:
        Sonderby, Caballero, Theis, Shi, Huszar (2017), "Amortised MAP inference for image super-resolution", section
        3.2, and Arjovsky, Bottou (2017), "Towards principled methods for training GANs", section 3: instance noise.

    Examples:
        >>> import latentkit as lk
        >>> soft = smoothed(lk.wrap(lambda z: z, lk.Normal(2)), 0.1)
        >>> lk.generate(soft, soft.prior.sample(5, seed=0)).shape
        torch.Size([5, 2])
    """
    tau = as_number(tau, "tau", least=0.0, open_least=True)
    if isinstance(generator, Smoothed):
        raise ArgumentError(f"this generator is smoothed by {generator.tau:g} already; smooth generator.module instead")
    size = generate(generator, generator.prior.sample(1, seed=0))[0].numel()
    return Smoothed(generator, tau, Joint(generator.prior, Normal(size)))
