"""The synthesis network of StyleGAN2: styles, one a layer, to an image, through blocks of doubled side."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.nets.settings import START
from latentkit.nets.stylegan.layers import HALF, Dense, FilteredConv2d, activated, modulated
from latentkit.nets.stylegan.resampling import binomial_kernel, convolved, upsampled

__all__ = ["ARCHITECTURES", "Synthesis2", "channels_of"]

#: How a block hands on what it made: as an image beside the maps, by a residual branch, or by the maps alone.
ARCHITECTURES = ("skip", "resnet", "orig")


def channels_of(side: int, channel_base: int, channel_max: int) -> int:
    """Return the channels of the feature maps of a side: `channel_base` / side, at most `channel_max`."""
    return min(channel_base // side, channel_max)


class StyledConv2d(nn.Module):
    """A modulated convolution of maps (N, I, H, W) with styles made of w (N, w_dim), then noise, bias, leaky ReLU.

    The noise of a place is the same for all channels and samples: `noise_const`, times `noise_strength`.
    """

    noise_const: Tensor
    resample_filter: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, w_dim: int, side: int, *, up: int, clamp: float | None
    ) -> None:
        super().__init__()
        self.side, self.up, self.clamp = side, up, clamp
        self.affine = Dense(w_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3).normal_())
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.empty(side, side).normal_())
        self.register_buffer("resample_filter", binomial_kernel())

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None, gain: float = 1.0) -> Tensor:
        """Return maps (N, O, side, side) for maps, w (N, w_dim) and noise (side, side), or None for no noise."""
        x, factors = modulated(x, self.weight, self.affine(w))
        y = convolved(x, self.weight, self.resample_filter, up=self.up) * factors
        if noise is not None:
            y = y + noise.to(y.dtype) * self.noise_strength
        return activated(y, self.bias, gain=gain, clamp=self.clamp)


class ToImage(nn.Module):
    """Colours (N, channels, H, W) of maps (N, I, H, W): a pointwise convolution, modulated and not demodulated."""

    def __init__(self, in_channels: int, channels: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.clamp = clamp
        self.scale = 1.0 / math.sqrt(in_channels)
        self.affine = Dense(w_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.empty(channels, in_channels, 1, 1).normal_())
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Return the colours."""
        styles = self.affine(w) * self.scale
        image = functional.conv2d(x * styles[:, :, None, None], self.weight)
        return activated(image, self.bias, leaky=False, clamp=self.clamp)


class _Block(nn.Module):
    """The layers of one side: the learned start or a doubling, then a convolution, then perhaps an image."""

    resample_filter: Tensor

    def __init__(
        self,
        before: int,
        after: int,
        *,
        w_dim: int,
        side: int,
        channels: int,
        architecture: str,
        last: bool,
        clamp: float | None,
    ) -> None:
        super().__init__()
        self.register_buffer("resample_filter", binomial_kernel())
        self.first = side == START
        if self.first:
            self.const = nn.Parameter(torch.empty(after, side, side).normal_())
        else:
            self.conv0 = StyledConv2d(before, after, w_dim, side, up=2, clamp=clamp)
        self.conv1 = StyledConv2d(after, after, w_dim, side, up=1, clamp=clamp)
        self.torgb = ToImage(after, channels, w_dim, clamp) if last or architecture == "skip" else None
        branches = architecture == "resnet" and not self.first
        self.skip = FilteredConv2d(before, after, 1, bias=False, leaky=False, up=2) if branches else None
        self.layers = 1 if self.first else 2

    def maps(self, x: Tensor | None, ws: Sequence[Tensor], noises: Sequence[Tensor | None]) -> Tensor:
        """Return the feature maps (N, after, side, side), one w (N, w_dim) and one noise a layer."""
        if x is None:
            start = self.const.expand(len(ws[0]), *self.const.shape)
            return self.conv1(start.contiguous(memory_format=torch.channels_last), ws[0], noises[0])
        gain = 1.0 if self.skip is None else HALF
        y = self.conv1(self.conv0(x, ws[0], noises[0]), ws[1], noises[1], gain)
        return y if self.skip is None else y + self.skip(x, HALF)

    def image(self, x: Tensor, older: Tensor | None, w: Tensor) -> Tensor | None:
        """Return the image so far: the older one at twice its side, with what this block adds."""
        older = None if older is None else upsampled(older, self.resample_filter)
        if self.torgb is None:
            return older
        new = self.torgb(x, w)
        return new if older is None else older + new


class Synthesis2(nn.Module):
    """Styles w (N, L, w_dim), one for each layer and the last for the last image, to images (N, channels, size, size).

    The blocks are called `b4`, `b8`, ... by their side. The layers are numbered from the coarsest: one at side 4, two
    at each other side, and one for the last image; that of an earlier side has the style of the layer after it.

    Args:
        w_dim: size of a style.
        size: side of an image in pixels, a power of two from 8.
        channels: 1 for grey, 3 for colour.
        channel_base: feature maps of a side have `channel_base` / side channels,
        channel_max: but at most so many.
        architecture: one of `ARCHITECTURES`.
        clamp: largest size of an activation; None for no limit.

    References:
        Karras, Laine, Aittala, Hellsten, Lehtinen, Aila (2020), "Analyzing and improving the image quality of
            StyleGAN", sections 2 and 4, figure 7.
    """

    def __init__(
        self,
        w_dim: int,
        size: int,
        channels: int,
        *,
        channel_base: int,
        channel_max: int,
        architecture: str,
        clamp: float | None,
    ) -> None:
        super().__init__()
        self.sides = [2**k for k in range(START.bit_length() - 1, size.bit_length())]
        before = 0
        for side in self.sides:
            after = channels_of(side, channel_base, channel_max)
            block = _Block(
                before,
                after,
                w_dim=w_dim,
                side=side,
                channels=channels,
                architecture=architecture,
                last=side == size,
                clamp=clamp,
            )
            self.add_module(f"b{side}", block)
            before = after
        self.layers = 2 * len(self.sides)

    def blocks(self) -> list["_Block"]:
        """Return the blocks, the coarsest first."""
        return [block for block in self.children() if isinstance(block, _Block)]

    def noises(self) -> list[Tensor]:
        """Return the stored noise (side, side) of each layer but that of the last image, the coarsest first."""
        parts = [part for block in self.blocks() for part in block.children()]
        return [part.noise_const for part in parts if isinstance(part, StyledConv2d)]

    def forward(self, ws: Tensor, noises: Sequence[Tensor] | None = None) -> Tensor:
        """Return images for styles (N, L, w_dim).

        Args:
            ws: the styles.
            noises: (side, side) for each layer but that of the last image, as `noises` lists them; None for no noise.
        """
        styles, maps, image, i = ws.unbind(1), None, None, 0
        given: Sequence[Tensor | None] = [None] * (self.layers - 1) if noises is None else noises
        for block in self.blocks():
            j = i + block.layers
            maps = block.maps(maps, styles[i:j], given[i:j])
            image, i = block.image(maps, image, styles[j]), j
        if image is None:
            raise RuntimeError("a synthesis network without an image")
        return image
