"""A pair that grows: both networks hold a block for each side from 4 up, and new blocks are faded in.

A size's network is the blocks up to it. While side s is faded in, the generator mixes its images of side s / 2,
enlarged, with those of the new block; the critic mixes what the new block makes of its images with what
the images of half the side would have given. How far a network has grown is part of its state, so that one saved
on the way says what it says then, at the full size. Learning rates are equalised, the generator's maps and latents
normalised place by place, and the critic sees the standard deviation of its batch.

References:
    Karras, Aila, Laine, Lehtinen (2018), "Progressive growing of GANs for improved quality, stability, and
    variation".
"""

from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.checks import as_count, as_number
from latentkit.errors import ArgumentError, ShapeError
from latentkit.nets.layers import EqualConv2d, EqualLinear, MinibatchStd, PixelNorm
from latentkit.nets.settings import START, at_least_single, checked

__all__ = ["ProgressiveCritic", "ProgressiveGenerator"]


def _maps(settings: dict[str, Any]) -> list[int]:
    """Return the channels at sides 4, 8, ... size: `width` at the full side, doubled by each halving."""
    doublings = settings["size"].bit_length() - START.bit_length()
    return [min(settings["widest"], settings["width"] * 2**k) for k in reversed(range(doublings + 1))]


def _leaky(before: int, after: int) -> tuple[nn.Module, nn.Module]:
    return EqualConv2d(before, after, 3), nn.LeakyReLU(0.2)


def _enlarged(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


class _Growing(nn.Module):
    """A network that is complete up to a side, which may be fading in."""

    stage: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("stage", torch.tensor([float(size), 1.0]))

    def grow(self, side: int, alpha: float = 1.0) -> None:
        """Set the side that `forward` works at, and the share of its block; a new network is fully grown.

        Args:
            side: a power of two from 4 to `size`.
            alpha: share of the newest block, 0 to 1.

        Raises:
            ArgumentError: if `side` or `alpha` is out of its range.
        """
        _level(side, self.size)
        alpha = as_number(alpha, "alpha", least=0.0, most=1.0)
        self.stage.copy_(torch.tensor([float(side), alpha]))

    def grown(self) -> tuple[int, float]:
        """Return the side that `forward` works at, and the share of its block."""
        side, alpha = self.stage.tolist()
        return int(side), alpha


class ProgressiveGenerator(_Growing):
    """Turns latents (N, latent_dim) into images of any side 4, 8, ... size.

    Latents are first scaled to length sqrt(latent_dim), as published, so that only their direction counts.
    The last layer is linear: in training images may leave [-1, 1], where a critic can call them back; in eval
    mode they are clamped to it.

    Args:
        latent_dim: size of a latent.
        channels: 1 for grey, 3 for colour.
        size: largest side of an image in pixels, a power of two from 4 to 1024.
        width: channels of the feature maps of side `size`; each halving doubles them.
        widest: most channels of a feature map. Width 16 and widest 512 at side 1024 are the published network.

    Raises:
        ArgumentError: if an argument is not a whole number in its range.
    """

    network: ClassVar[str] = "progressive-generator"

    def __init__(self, latent_dim: int, channels: int, size: int, width: int, widest: int = 512) -> None:
        settings = checked(START, latent_dim=latent_dim, channels=channels, size=size, width=width, widest=widest)
        super().__init__(size)
        self.settings = settings
        maps = _maps(self.settings)
        self.normalise = PixelNorm()
        self.start = nn.Sequential(
            EqualLinear(latent_dim, maps[0] * START**2),
            nn.Unflatten(1, (maps[0], START, START)),
            nn.LeakyReLU(0.2),
            PixelNorm(),
            *_leaky(maps[0], maps[0]),
            PixelNorm(),
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*_leaky(before, after), PixelNorm(), *_leaky(after, after), PixelNorm())
            for before, after in pairwise(maps)
        )
        self.to_image = nn.ModuleList(EqualConv2d(count, channels, 1, gain=1.0) for count in maps)

    def at(self, z: Tensor, side: int, alpha: float = 1.0) -> Tensor:
        """Return images (N, channels, side, side) for latents (N, latent_dim), while `side` is faded in.

        Args:
            z: the latents.
            side: a power of two from 4 to `size`.
            alpha: share of the newest block, 0 to 1: at 0 the images are those of side / 2, enlarged, and at 1
                those of the newest block alone. At side 4 there is only one block.

        Raises:
            ArgumentError: if `side` or `alpha` is out of its range.
        """
        level, alpha = _level(side, self.size), as_number(alpha, "alpha", least=0.0, most=1.0)
        maps = self.start(self.normalise(z)).contiguous(memory_format=torch.channels_last)
        older = maps
        for block in self.blocks[:level]:
            older, maps = maps, block(_enlarged(maps))
        images = self.to_image[level](maps)
        if level and alpha < 1.0:
            images = torch.lerp(_enlarged(self.to_image[level - 1](older)), images, alpha)
        images = at_least_single(images)
        return images if self.training else images.clamp(-1.0, 1.0)

    def forward(self, z: Tensor) -> Tensor:
        """Return images (N, channels, size, size) for latents (N, latent_dim), enlarged if it is not fully grown."""
        side, alpha = self.grown()
        images = self.at(z, side, alpha)
        return images if side == self.size else functional.interpolate(images, size=self.size, mode="nearest")


class ProgressiveCritic(_Growing):
    """Scores images (N, channels, side, side) of any side 4, 8, ... size: logits (N,), larger means more real.

    Args:
        channels: 1 for grey, 3 for colour.
        size: largest side of an image in pixels, a power of two from 4 to 1024.
        width: channels of the feature maps of side `size`; each halving doubles them.
        widest: most channels of a feature map.

    Raises:
        ArgumentError: if an argument is not a whole number in its range.
    """

    network: ClassVar[str] = "progressive-critic"

    def __init__(self, channels: int, size: int, width: int, widest: int = 512) -> None:
        settings = checked(START, channels=channels, size=size, width=width, widest=widest)
        super().__init__(size)
        self.settings = settings
        maps = _maps(self.settings)
        self.from_image = nn.ModuleList(
            nn.Sequential(EqualConv2d(channels, count, 1), nn.LeakyReLU(0.2)) for count in maps
        )
        # blocks[k] takes maps of side 8 * 2^k to half that side.
        self.blocks = nn.ModuleList(
            nn.Sequential(*_leaky(after, after), *_leaky(after, before), nn.AvgPool2d(2))
            for before, after in pairwise(maps)
        )
        self.last = nn.Sequential(
            MinibatchStd(),
            *_leaky(maps[0] + 1, maps[0]),
            nn.Flatten(),
            EqualLinear(maps[0] * START**2, maps[0]),
            nn.LeakyReLU(0.2),
        )
        self.score = EqualLinear(maps[0], 1, gain=1.0)

    def at(self, x: Tensor, alpha: float = 1.0) -> Tensor:
        """Return logits (N,) for images (N, channels, side, side), while their side is faded in.

        Args:
            x: the images; their side is a power of two from 4 to `size`.
            alpha: share of the newest block, 0 to 1: at 0 the logits are those of the images at half the side, at
                1 the newest block alone sees them. At side 4 there is only one block.

        Raises:
            ShapeError: if the images are not square.
            ArgumentError: if their side or `alpha` is out of its range.
        """
        return self._score(self._features(x, alpha))

    def features(self, x: Tensor) -> Tensor:
        """Return the last hidden layer (N, F) for images (N, channels, side, side); see `forward`."""
        x, (side, alpha) = _square(x), self.grown()
        if x.shape[2] > side:
            _level(x.shape[2], self.size)
            x = functional.avg_pool2d(x, x.shape[2] // side)
        return self._features(x, alpha if x.shape[2] == side else 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N,) for images (N, channels, side, side), all blocks from that side at work.

        Images larger than the side that the critic has grown to are averaged down to it.
        """
        return self._score(self.features(x))

    def _score(self, features: Tensor) -> Tensor:
        return at_least_single(self.score(features)[:, 0])

    def _features(self, x: Tensor, alpha: float) -> Tensor:
        level, alpha = _level(_square(x).shape[2], self.size), as_number(alpha, "alpha", least=0.0, most=1.0)
        x = x.contiguous(memory_format=torch.channels_last)
        maps = self.from_image[level](x)
        if level:
            maps = self.blocks[level - 1](maps)
            if alpha < 1.0:
                maps = torch.lerp(self.from_image[level - 1](functional.avg_pool2d(x, 2)), maps, alpha)
            for k in reversed(range(level - 1)):
                maps = self.blocks[k](maps)
        return self.last(maps)


def _square(x: Tensor) -> Tensor:
    if x.ndim != 4 or x.shape[2] != x.shape[3]:
        raise ShapeError(f"images must be square (N, C, side, side), got {tuple(x.shape)}")
    return x


def _level(side: int, size: int) -> int:
    """Return how many doublings of 4 make `side`."""
    side = as_count(side, "side")
    if not START <= side <= size or side & (side - 1):
        raise ArgumentError(f"side must be a power of two from {START} to {size}, got {side}")
    return side.bit_length() - START.bit_length()
