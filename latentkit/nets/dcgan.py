"""A DCGAN-style convolutional pair for square images.

Each doubling of the generator is a strided transposed convolution with batch norm, each halving of the
critic a strided convolution. The critic has no normalisation, so that the score of an image cannot
depend on the other images of its batch.

References:
    Radford, Metz, Chintala (2016), "Unsupervised representation learning with deep convolutional
    generative adversarial networks".
"""

from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from latentkit.checks import as_count
from latentkit.errors import ArgumentError

__all__ = ["ConvCritic", "ConvGenerator"]

_SMALLEST, _LARGEST = 16, 1024
_START = 4  # side of the smallest feature map
_MOST_TIMES = 8  # the widest feature map has this many times `width` channels


def _checked(**settings: Any) -> dict[str, int]:
    counts = {name: as_count(value, name) for name, value in settings.items()}
    size = counts["size"]
    if not _SMALLEST <= size <= _LARGEST or size & (size - 1):
        raise ArgumentError(f"size must be a power of two from {_SMALLEST} to {_LARGEST}, got {size}")
    return counts


def _channels(size: int, width: int) -> list[int]:
    """Return the channels of the feature maps of side 4, 8, ... up to size / 2."""
    doublings = size.bit_length() - _START.bit_length()
    return [width * min(2**k, _MOST_TIMES) for k in reversed(range(doublings))]


class ConvGenerator(nn.Module):
    """Turns latents (N, latent_dim) into images (N, channels, size, size) in [-1, 1].

    Args:
        latent_dim: size of a latent.
        channels: 1 for grey, 3 for colour.
        size: side of an image in pixels, a power of two from 16 to 1024.
        width: channels of the feature maps of side size / 2; each halving doubles them, up to 8 times.

    Raises:
        ArgumentError: if an argument is not a whole number in its range.
    """

    network: ClassVar[str] = "conv-generator"

    def __init__(self, latent_dim: int, channels: int, size: int, width: int) -> None:
        super().__init__()
        self.settings = _checked(latent_dim=latent_dim, channels=channels, size=size, width=width)
        maps = _channels(size, width)
        self.start = nn.Linear(latent_dim, maps[0] * _START**2, bias=False)
        self.start_norm = nn.Sequential(nn.BatchNorm2d(maps[0]), nn.ReLU())
        blocks: list[nn.Module] = []
        for before, after in pairwise(maps):
            blocks += [
                nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.blocks = nn.Sequential(*blocks)
        self.to_image = nn.ConvTranspose2d(maps[-1], channels, 4, stride=2, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Return images (N, channels, size, size) in [-1, 1] for latents (N, latent_dim)."""
        x = self.start(z).unflatten(1, (-1, _START, _START)).contiguous(memory_format=torch.channels_last)
        return torch.tanh(self.to_image(self.blocks(self.start_norm(x))).float())


class ConvCritic(nn.Module):
    """Scores images (N, channels, size, size): logits (N,), larger means more real.

    Args:
        channels: 1 for grey, 3 for colour.
        size: side of an image in pixels, a power of two from 16 to 1024.
        width: channels of the feature maps of side size / 2; each halving doubles them, up to 8 times.

    Raises:
        ArgumentError: if an argument is not a whole number in its range.
    """

    network: ClassVar[str] = "conv-critic"

    def __init__(self, channels: int, size: int, width: int) -> None:
        super().__init__()
        self.settings = _checked(channels=channels, size=size, width=width)
        maps = [channels, *reversed(_channels(size, width))]
        blocks: list[nn.Module] = []
        for before, after in pairwise(maps):
            blocks += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.blocks = nn.Sequential(*blocks, nn.Flatten())
        self.hidden = nn.Sequential(nn.Linear(maps[-1] * _START**2, maps[-1]), nn.LeakyReLU(0.2))
        self.score = nn.Linear(maps[-1], 1)

    def features(self, x: Tensor) -> Tensor:
        """Return the last hidden layer (N, F) for images (N, channels, size, size)."""
        return self.hidden(self.blocks(x.contiguous(memory_format=torch.channels_last)))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N,) for images (N, channels, size, size)."""
        return self.score(self.features(x))[:, 0].float()
