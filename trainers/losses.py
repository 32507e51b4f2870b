"""The adversarial losses, by their names in the literature.

Each is a pair of functions of logits: what the critic minimises on real and generated samples, and what
the generator minimises on its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["LOSSES", "Loss", "gradient_penalty", "squared_gradient"]

softplus = functional.softplus


@dataclass(frozen=True)
class Loss:
    """An adversarial loss.

    Args:
        critic: (real logits (N,), generated logits (M,), smoothing) to a scalar.
        generator: generated logits (M,) to a scalar.
        smooths: whether the critic's part heeds the smoothing, the share by which the target of real
            samples lies below 1.
    """

    critic: Callable[[Tensor, Tensor, float], Tensor]
    generator: Callable[[Tensor], Tensor]
    smooths: bool = False


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


def _raise_logits(fake: Tensor) -> Tensor:
    return -fake.mean()


#: By name. References:
#: non-saturating and saturating: Goodfellow et al. (2014), "Generative adversarial nets", section 3;
#: least-squares: Mao et al. (2017), "Least squares generative adversarial networks", equation 9;
#: hinge: Lim, Ye (2017), "Geometric GAN"; Miyato et al. (2018), "Spectral normalization", equations 16 and 17;
#: wasserstein: Arjovsky, Chintala, Bottou (2017), "Wasserstein GAN", equation 3.
LOSSES: dict[str, Loss] = {
    "non-saturating": Loss(_logistic, lambda fake: softplus(-fake).mean(), smooths=True),
    "saturating": Loss(_logistic, lambda fake: -softplus(fake).mean(), smooths=True),
    "least-squares": Loss(_least_squares, lambda fake: 0.5 * (fake - 1.0).square().mean(), smooths=True),
    "hinge": Loss(_hinge, _raise_logits),
    "wasserstein": Loss(_wasserstein, _raise_logits),
}


def _slope(critic: Callable[[Tensor], Tensor], samples: Tensor) -> Tensor:
    """Return the gradient (N, ...) of each sample's logit with respect to the sample, itself differentiable."""
    samples = samples.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(samples).sum(), samples, create_graph=True)
    return slope.flatten(1)


def squared_gradient(critic: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Return the mean squared norm of the critic's gradient at real samples (N, *S): R1 is half of it, weighted.

    References:
        Mescheder, Geiger, Nowozin (2018), "Which training methods for GANs do actually converge?",
        equation 9.
    """
    return _slope(critic, real).square().sum(1).mean()


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
