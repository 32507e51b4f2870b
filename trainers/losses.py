"""The adversarial losses, by their names in the literature.

Each is a pair of functions of the logits of real and generated samples: what the critic minimises, and what the
generator minimises. Beside them are the penalties on the critic's gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["LOSSES", "Loss", "gradient_penalty", "squared_gradient", "zero_centred_penalty"]

softplus = functional.softplus


@dataclass(frozen=True)
class Loss:
    """An adversarial loss.

    Args:
        critic: (real logits (N,), generated logits (M,), smoothing) to a scalar.
        generator: (generated logits (M,), real logits (M,)) to a scalar. The second may be left out where the
            loss does not pair, and needs no gradient.
        smooths: whether the critic's part heeds the smoothing, the share by which the target of real
            samples lies below 1.
        pairs: whether each generated sample is held against a real one, so that N = M and the generator's part needs
            the real logits.
    """

    critic: Callable[[Tensor, Tensor, float], Tensor]
    generator: Callable[..., Tensor]
    smooths: bool = False
    pairs: bool = False


def _logistic(real: Tensor, fake: Tensor, smoothing: float) -> Tensor:
    # Cross-entropy of target 1 - s: softplus(-l) weighs the share that is real, softplus(l) the rest.
    positive = softplus(-real).mean()
    if smoothing:
        positive = (1.0 - smoothing) * positive + smoothing * softplus(real).mean()
    return positive + softplus(fake).mean()


def _least_squares(real: Tensor, fake: Tensor, smoothing: float) -> Tensor:
    return 0.5 * ((real - (1.0 - smoothing)).square().mean() + fake.square().mean())


def _hinge(real: Tensor, fake: Tensor, _smoothing: float) -> Tensor:
    return functional.relu(1.0 - real).mean() + functional.relu(1.0 + fake).mean()


def _wasserstein(real: Tensor, fake: Tensor, _smoothing: float) -> Tensor:
    return fake.mean() - real.mean()


def _raise_logits(fake: Tensor, _real: Tensor | None = None) -> Tensor:
    return -fake.mean()


def _beat(logits: Tensor, rivals: Tensor) -> Tensor:
    """Return the mean of -log sigmoid(logit - rival): it falls as each logit rises above its rival."""
    return softplus(rivals - logits).mean()


#: By name. References:
#: non-saturating and saturating: Goodfellow et al. (2014), "Generative adversarial nets", section 3;
#: least-squares: Mao et al. (2017), "Least squares generative adversarial networks", equation 9;
#: hinge: Lim, Ye (2017), "Geometric GAN"; Miyato et al. (2018), "Spectral normalization", equations 16 and 17;
#: wasserstein: Arjovsky, Chintala, Bottou (2017), "Wasserstein GAN", equation 3;
#: relativistic: Jolicoeur-Martineau (2018), "The relativistic discriminator: a key element missing from standard GAN",
#: section 4.1 (RSGAN), and, with both penalties, Huang, Gokaslan, Kuleshov, Tompkin (2024), "The GAN is dead; long live
#: the GAN! A modern baseline GAN" (R3GAN), section 2.
LOSSES: dict[str, Loss] = {
    "non-saturating": Loss(_logistic, lambda fake, _=None: softplus(-fake).mean(), smooths=True),
    "saturating": Loss(_logistic, lambda fake, _=None: -softplus(fake).mean(), smooths=True),
    "least-squares": Loss(_least_squares, lambda fake, _=None: 0.5 * (fake - 1.0).square().mean(), smooths=True),
    "hinge": Loss(_hinge, _raise_logits),
    "wasserstein": Loss(_wasserstein, _raise_logits),
    "relativistic": Loss(lambda real, fake, _: _beat(real, fake), _beat, pairs=True),
}


def _slope(critic: Callable[[Tensor], Tensor], samples: Tensor) -> Tensor:
    """Return the gradient (N, ...) of each sample's logit with respect to the sample, itself differentiable."""
    samples = samples.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(samples).sum(), samples, create_graph=True)
    return slope.flatten(1)


def squared_gradient(critic: Callable[[Tensor], Tensor], samples: Tensor) -> Tensor:
    """Return the mean squared norm of the critic's gradient at samples (N, *S)."""
    return _slope(critic, samples).square().sum(1).mean()


def zero_centred_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, r1: float, r2: float
) -> Tensor:
    """Return half the squared gradient of the critic at real samples, weighted by r1, and at generated ones, by r2.

    Args:
        critic: samples to logits (N,).
        real: (N, *S).
        fake: (N, *S).
        r1: weight at the real samples, from 0.
        r2: weight at the generated ones, from 0; a weight of 0 leaves its part, and the cost of it, out.

    References:
        Mescheder, Geiger, Nowozin (2018), "Which training methods for GANs do actually converge?",
        equations 9 (R1) and 10 (R2).
    """
    weighted = [(weight, samples) for weight, samples in ((r1, real), (r2, fake)) if weight]
    parts = [weight / 2 * squared_gradient(critic, samples) for weight, samples in weighted]
    return sum(parts, real.new_zeros(()))


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Return the mean squared difference from 1 of the gradient's norm between real and generated samples.

    Args:
        critic: samples to logits (N,).
        real: (N, *S).
        fake: (N, *S).
        mix: (N,) uniform in (0, 1): the share of the real sample.

    References:
        Gulrajani et al. (2017), "Improved training of Wasserstein GANs", equation 3.
    """
    mix = mix.reshape(-1, *(1,) * (real.ndim - 1))
    between = mix * real + (1.0 - mix) * fake.detach()
    return (_slope(critic, between).norm(dim=1) - 1.0).square().mean()
