"""Encoders of a variational autoencoder: samples to normal distributions over latents.

References:
    Kingma, Welling (2014), "Auto-encoding variational Bayes".
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from latentkit.nets.conv import conv_trunk
from latentkit.nets.mlp import leaky_layers
from latentkit.nets.settings import at_least_single, checked

__all__ = ["ConvEncoder", "MLPEncoder"]

# Beyond these exp(log_variance) is of no use to a loss: the standard deviation is below 3e-7 or above 2e4.
_LEAST_LOG_VARIANCE, _MOST_LOG_VARIANCE = -30.0, 20.0


class _Encoder(nn.Module):
    head: nn.Linear

    def features(self, x: Tensor) -> Tensor:
        """Return the last hidden layer (N, F) for samples (N, *S)."""
        raise NotImplementedError

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean (N, D) and the log variance (N, D), in [-30, 20], of each sample's latent."""
        mean, log_variance = at_least_single(self.head(self.features(x))).chunk(2, 1)
        return mean, log_variance.clamp(_LEAST_LOG_VARIANCE, _MOST_LOG_VARIANCE)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean latents (N, D) of samples (N, *S)."""
        return self.moments(x)[0]


class ConvEncoder(_Encoder):
    """Turns images (N, channels, size, size) into normal distributions over latents (N, latent_dim).

    Args:
        latent_dim: size D of a latent.
        channels: 1 for grey, 3 for colour.
        size: side of an image in pixels, a power of two from 16 to 1024.
        width: channels of the feature maps of side size / 2; each halving doubles them, up to 8 times.

    Raises:
        ArgumentError: if an argument is not a whole number in its range.
    """

    network: ClassVar[str] = "conv-encoder"

    def __init__(self, latent_dim: int, channels: int, size: int, width: int) -> None:
        super().__init__()
        self.settings = checked(latent_dim=latent_dim, channels=channels, size=size, width=width)
        self.blocks, self.hidden, features = conv_trunk(channels, size, width)
        self.head = nn.Linear(features, 2 * latent_dim)

    def features(self, x: Tensor) -> Tensor:
        """Return the last hidden layer (N, F) for images (N, channels, size, size)."""
        return self.hidden(self.blocks(x.contiguous(memory_format=torch.channels_last)))


class MLPEncoder(_Encoder):
    """Turns points (N, in_dim) into normal distributions over latents (N, latent_dim).

    Args:
        latent_dim: size D of a latent.
        in_dim: size of a point.
        width: units of each hidden layer.
        depth: number of hidden layers, 1 to 64.

    Raises:
        ArgumentError: if an argument is not a whole number in its range.
    """

    network: ClassVar[str] = "mlp-encoder"

    def __init__(self, latent_dim: int, in_dim: int, width: int, depth: int) -> None:
        super().__init__()
        self.settings = checked(latent_dim=latent_dim, in_dim=in_dim, width=width, depth=depth)
        self.layers = leaky_layers(in_dim, width, depth)
        self.head = nn.Linear(width, 2 * latent_dim)

    def features(self, x: Tensor) -> Tensor:
        """Return the last hidden layer (N, width) for points (N, in_dim)."""
        return self.layers(x)
