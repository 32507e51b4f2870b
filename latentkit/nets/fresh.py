"""The network for a fresh critic of samples of any shape: which one fits, at the samples' own scale."""

import torch
from torch import Tensor, nn

from latentkit.nets.conv import ConvCritic
from latentkit.nets.fourier import FourierCritic
from latentkit.nets.mlp import MLPCritic

__all__ = ["are_images", "fresh_critic", "merged"]

#: Points of at most so many dimensions get a network that sees sines of them.
FEW_DIMENSIONS = 8

#: On 25 Gaussians, of 0.035 standard deviations of all points each, 16 radians a standard deviation did best; on a
#: ring of eight with 0.014 anything from 16 to 64 did as well.
WAVES, FINEST = 64, 16


def are_images(samples: Tensor) -> bool:
    """Whether samples (N, *S) are square images (C, side, side) whose side is a power of two of at least 16."""
    side = samples.shape[-1]
    return samples.ndim == 4 and samples.shape[2] == side and side >= 16 and not side & (side - 1)


def fresh_critic(samples: Tensor, width: int) -> nn.Module:
    """Return a new critic for what looks like samples (N, *S), which knows their mean and spread.

    It is a `FourierCritic` for points of at most 8 dimensions, a `ConvCritic` for images (see `are_images`), and else
    an `MLPCritic` behind a standardisation, which `merged` makes a part of it. Initialisation draws from torch's
    global random state.
    """
    if are_images(samples):
        return ConvCritic(samples.shape[1], samples.shape[2], width)
    flat = samples.flatten(1)
    middle, spread = flat.mean(0), flat.std(0, correction=0)
    # Numbers that hardly change, such as an image's corners, are not blown up to matter as much as the others.
    spread = spread.clamp_min(max(0.1 * float(spread.square().mean().sqrt()), 1e-6))
    if samples.ndim == 2 and flat.shape[1] <= FEW_DIMENSIONS:
        critic = FourierCritic(flat.shape[1], WAVES, FINEST, width, 2)
        critic.standardise(middle, spread)
        return critic
    return nn.Sequential(nn.Flatten(), _Standardised(middle, spread), MLPCritic(flat.shape[1], width, 3))


def merged(network: nn.Module) -> nn.Module:
    """Return a critic that `fresh_critic` made, of bundled parts alone; its weights may be changed in place.

    The standardisation before an `MLPCritic` becomes part of its first layer.
    """
    if not isinstance(network, nn.Sequential):
        return network
    flatten, standardised, critic = network
    if isinstance(standardised, _Standardised) and isinstance(critic, MLPCritic):
        first = critic.layers[0]
        if isinstance(first, nn.Linear):
            with torch.no_grad():
                first.weight.div_(standardised.spread)
                first.bias.sub_(first.weight @ standardised.middle)
    return nn.Sequential(flatten, critic)


class _Standardised(nn.Module):
    """Moves vectors (N, D) to mean 0 and scales them to unit standard deviation."""

    middle: Tensor
    spread: Tensor

    def __init__(self, middle: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.register_buffer("middle", middle)
        self.register_buffer("spread", spread)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.middle) / self.spread
