"""Truncation: trading variety for typicality."""

import math

import torch
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_count, as_latents, as_number, as_vector
from latentkit.errors import ArgumentError
from latentkit.priors import Normal, Prior
from latentkit.priors.prior import singles_within

__all__ = ["truncate", "truncated_sample"]


def truncate(latents: Tensor, mean: Tensor, psi: float) -> Tensor:
    """Pull latents (N, D) towards a mean (D,): mean + psi (z - mean).

    Meant for learned latents such as StyleGAN's w, whose mean is their most typical point. For a
    Gaussian z the mean is *not* typical: use `truncated_sample` there.

    Args:
        latents: (N, D).
        mean: (D,), usually the average of 10,000 draws.
        psi: 1 leaves the latents as they are, 0 gives the mean; values above 1 exaggerate.

    Raises:
        ShapeError: if the shapes do not belong together.
        ArgumentError: if psi is not a finite number.

    References:
        Karras, Laine, Aila (2019), "A style-based generator architecture for GANs", appendix B.
    """
    latents = as_latents(latents)
    mean = as_vector(mean, latents.shape[1], "mean").to(latents.device, torch.float64)
    psi = as_number(psi, "psi")
    if psi == 1.0:
        return latents.clone()
    return (mean + psi * (latents.double() - mean)).to(latents.dtype)


def truncated_sample(prior: Prior, n: int, *, threshold: float, seed: int, start: int = 0) -> Tensor:
    """Draw latents (n, D) from a normal prior cut off at `threshold` standard deviations.

    Values beyond the threshold are replaced by values within, not scaled: a truncated normal.

    Args:
        prior: must be a `Normal` one.
        n: how many latents.
        threshold: largest distance of a coordinate from the mean, in standard deviations, above 0.
        seed: 0 to 2**64 - 1.
        start: index of the first latent.

    Raises:
        ArgumentError: if the prior is not normal or the threshold is not above 0.

    References:
        Brock, Donahue, Simonyan (2019), "Large scale GAN training", section 3.1.
    """
    if not isinstance(prior, Normal):
        raise ArgumentError(f"a truncated draw needs a Normal prior, got {type(prior).__name__}")
    threshold = as_number(threshold, "threshold", least=0.0, open_least=True)
    as_count(n, "n", least=0)
    from scipy.special import ndtri

    # One uniform a coordinate, squeezed into the kept part of the CDF: exactly the law of redrawing,
    # and latent i still depends on (seed, i, D) alone.
    outside = 0.5 * math.erfc(threshold / math.sqrt(2.0))
    u = outside + (1.0 - 2.0 * outside) * streams.uniform(n, prior.dim, seed=seed, start=start)
    z = torch.from_numpy(ndtri(u)).clamp(-threshold, threshold)
    reach = prior.std * threshold
    return singles_within((prior.mean + prior.std * z).numpy(), prior.mean - reach, prior.mean + reach)
