"""The discriminator of StyleGAN2, ADA and StyleGAN3."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from latentkit.checks import as_number, one_of
from latentkit.errors import ShapeError
from latentkit.nets.layers import MinibatchStd
from latentkit.nets.settings import START, at_least_single, checked, class_columns
from latentkit.nets.stylegan.layers import HALF, Dense, FilteredConv2d
from latentkit.nets.stylegan.mapping import Mapping
from latentkit.nets.stylegan.resampling import binomial_kernel, downsampled
from latentkit.nets.stylegan.styled import ARCHITECTURES, channels_of

__all__ = ["StyleGAN2Critic"]


class _Block(nn.Module):
    """Halves the side of maps (N, middle, side, side), which in some blocks are made of the image."""

    resample_filter: Tensor

    def __init__(
        self, before: int, middle: int, after: int, *, channels: int, architecture: str, clamp: float | None
    ) -> None:
        super().__init__()
        self.register_buffer("resample_filter", binomial_kernel())
        sees = before == 0 or architecture == "skip"
        self.fromrgb = FilteredConv2d(channels, middle, 1, clamp=clamp) if sees else None
        self.conv0 = FilteredConv2d(middle, middle, 3, clamp=clamp)
        self.conv1 = FilteredConv2d(middle, after, 3, down=2, clamp=clamp)
        branches = architecture == "resnet"
        self.skip = FilteredConv2d(middle, after, 1, bias=False, leaky=False, down=2) if branches else None

    def maps(self, x: Tensor, image: Tensor) -> Tensor:
        """Return maps (N, after, side / 2, side / 2) of those of the block before, 0 for none, and the image."""
        if self.fromrgb is not None:
            x = x + self.fromrgb(image)
        y = self.conv1(self.conv0(x), 1.0 if self.skip is None else HALF)
        return y if self.skip is None else y + self.skip(x, HALF)


class _Epilogue(nn.Module):
    """Turns maps (N, C, 4, 4) into numbers (N, outputs), with the standard deviation over the batch beside them."""

    def __init__(
        self, maps: int, outputs: int, *, channels: int, architecture: str, group: int | None, clamp: float | None
    ) -> None:
        super().__init__()
        self.group = group or 1
        self.fromrgb = FilteredConv2d(channels, maps, 1) if architecture == "skip" else None
        self.mbstd = MinibatchStd(group) if group else None
        self.conv = FilteredConv2d(maps + bool(group), maps, 3, clamp=clamp)
        self.fc = Dense(maps * START**2, maps, leaky=True)
        self.out = Dense(maps, outputs)

    def together(self, x: Tensor, image: Tensor) -> Tensor:
        """Return the maps that the samples of a group are compared by."""
        return x if self.fromrgb is None else x + self.fromrgb(image)

    def features(self, x: Tensor) -> Tensor:
        """Return the last hidden layer (N, C)."""
        if self.mbstd is None:
            return self.fc(self.conv(x).flatten(1))
        if not self.training or len(x) % self.group:
            return self.fc(self.conv(self.mbstd(x)).flatten(1))
        # As published the samples of a group stand N / group apart; `MinibatchStd` compares neighbours.
        order = torch.arange(len(x), device=x.device).reshape(self.group, -1).T.flatten()
        return self.fc(self.conv(self.mbstd(x[order])).flatten(1))[order.argsort()]


class StyleGAN2Critic(nn.Module):
    """Scores images (N, channels, size, size): logits (N,), larger means more real.

    As published a sample's score depends on the others of its group. Here that is so in training mode only, where N
    must be a multiple of `group`. In eval mode the standard deviation over a group is replaced by one number,
    `b4.mbstd.running_std`, so that the score is a function of the sample; `settle` measures the number.

    Args:
        channels: 1 for grey, 3 for colour.
        size: side of an image in pixels, a power of two from 8 to 1024.
        channel_base: feature maps of a side have `channel_base` / side channels,
        channel_max: but at most so many.
        classes: number of classes, or 0.
        architecture: "resnet" as published, or one of the others of `ARCHITECTURES`.
        conv_clamp: largest size of an activation; None for no limit.
        group: samples that are compared with one another; None compares none.
        cmap_dim: size of the embedding of a class; None for the channels at side 4.
        mapping_depth: layers of the embedding's network.

    Raises:
        ArgumentError: if an argument is out of its range.

    References:
        Karras, Laine, Aittala, Hellsten, Lehtinen, Aila (2020), "Analyzing and improving the image quality of
            StyleGAN", figure 7.
        Karras, Aila, Laine, Lehtinen (2018), "Progressive growing of GANs", section 3: the standard deviation.
        Miyato, Koyama (2018), "cGANs with projection discriminator".
    """

    network: ClassVar[str] = "stylegan2-critic"

    def __init__(
        self,
        channels: int,
        size: int,
        *,
        channel_base: int = 32768,
        channel_max: int = 512,
        classes: int = 0,
        architecture: str = "resnet",
        conv_clamp: float | None = None,
        group: int | None = 4,
        cmap_dim: int | None = None,
        mapping_depth: int = 8,
    ) -> None:
        super().__init__()
        plain = checked(
            2 * START,
            channels=channels,
            size=size,
            channel_base=channel_base,
            channel_max=channel_max,
            classes=classes,
            mapping_depth=mapping_depth,
        )
        one_of(architecture, "architecture", ARCHITECTURES)
        clamp = None if conv_clamp is None else as_number(conv_clamp, "conv_clamp", least=0.0, open_least=True)
        least = channels_of(START, channel_base, channel_max)
        embedded = least if cmap_dim is None else checked(cmap_dim=cmap_dim)["cmap_dim"]
        self.settings = {
            **plain,
            "architecture": architecture,
            "conv_clamp": clamp,
            "group": None if group is None else checked(group=group)["group"],
            "cmap_dim": cmap_dim,
        }
        self.classes, self.size, self.channels, self.embedded = plain["classes"], size, channels, embedded
        before = 0
        for side in (2**k for k in range(size.bit_length() - 1, START.bit_length() - 1, -1)):
            middle = channels_of(side, channel_base, channel_max)
            after = channels_of(side // 2, channel_base, channel_max)
            block = _Block(before, middle, after, channels=channels, architecture=architecture, clamp=clamp)
            self.add_module(f"b{side}", block)
            before = after
        if classes:
            self.mapping = Mapping(0, embedded, mapping_depth, classes=classes, average=False)
        self.b4 = _Epilogue(
            least,
            embedded if classes else 1,
            channels=channels,
            architecture=architecture,
            group=group,
            clamp=clamp,
        )

    def _last_maps(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1:] != (self.channels, self.size, self.size):
            wanted = f"(N, {self.channels}, {self.size}, {self.size})"
            raise ShapeError(f"this critic takes images {wanted}, got {tuple(x.shape)}")
        maps, image = x.new_zeros(()), x.contiguous(memory_format=torch.channels_last)
        for block in self.children():
            if isinstance(block, _Block):
                maps = block.maps(maps, image)
                if self.settings["architecture"] == "skip":
                    image = downsampled(image, block.resample_filter)
        return self.b4.together(maps, image)

    def features(self, x: Tensor) -> Tensor:
        """Return the last hidden layer (N, C) for images (N, channels, size, size)."""
        return self.b4.features(self._last_maps(x))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits (N,) for images (N, channels, size, size).

        Args:
            x: the images.
            labels: class numbers (N,), or weights of the classes (N, classes). A critic with classes that gets none
                scores each image by the mean embedding of the classes.

        Raises:
            ShapeError: if the images are not of its channels and size.
            LabelError: if labels do not fit, or there are no classes.
        """
        rows = self.b4.out(self.features(x))
        if not self.classes:
            if labels is not None:
                class_columns(labels, len(x), 0)
            return at_least_single(rows[:, 0])
        if labels is None:
            embedding = self.mapping(None, torch.eye(self.classes).to(rows)).mean(0, keepdim=True)
        else:
            embedding = self.mapping(None, class_columns(labels, len(x), self.classes).to(rows))
        return at_least_single((rows * embedding).sum(1) / math.sqrt(self.embedded))

    @torch.no_grad()
    def settle(self, x: Tensor) -> None:
        """Measure the standard deviation over groups that eval mode uses, as its mean over the groups of some images.

        Args:
            x: (N, channels, size, size), N a multiple of `group`: images such as the critic is to score.

        Raises:
            ShapeError: if there are no whole groups.
        """
        if self.b4.mbstd is None:
            return
        group = self.b4.group
        if not len(x) or len(x) % group:
            raise ShapeError(f"a critic settles on a multiple of {group} images, got {len(x)}")
        groups = torch.cat([self._last_maps(part) for part in x.split(group)]).unflatten(0, (-1, group))
        self.b4.mbstd.running_std.copy_((groups.var(1, correction=0) + 1e-8).sqrt().mean())
