"""A generator of residual blocks, for the critic of the convolutional pair.

A block adds to the enlarged maps what two convolutions make of them, so that the first maps reach the image through
linear steps alone, whatever the convolutions still have to learn.

References:
    He, Zhang, Ren, Sun (2016), "Identity mappings in deep residual networks" (normalisation and activation come before
    each convolution).
    Gulrajani et al. (2017), "Improved training of Wasserstein GANs", appendix F (residual generators).
"""

from collections.abc import Callable
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from latentkit.nets.conv import ConvGenerator
from latentkit.nets.settings import START

__all__ = ["ResidualGenerator"]


class _DoublingBlock(nn.Module):
    """Doubles the side: maps (N, before, H, W) to (N, after, 2 H, 2 W).

    The transposed convolution has half the products of enlarging before a convolution of 3x3.
    """

    def __init__(self, before: int, after: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        # No biases: all that follows up to the next normalisation leaves the mean of a channel to it.
        self.change = nn.Sequential(
            norm(before),
            nn.ReLU(),
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False),
            norm(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
        )
        self.skip = nn.Conv2d(before, after, 1, bias=False) if before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the enlarged maps, and what the block adds to them."""
        return functional.interpolate(self.skip(x), scale_factor=2.0) + self.change(x)


class ResidualGenerator(ConvGenerator):
    """Turns latents (N, latent_dim) into images (N, channels, size, size) in [-1, 1].

    A `ConvGenerator` whose doublings are residual blocks; it has a convolution more at each side, and a step of
    the pair takes about a fifth longer.

    Args:
        latent_dim: size of a latent.
        channels: 1 for grey, 3 for colour.
        size: side of an image in pixels, a power of two from 16 to 1024.
        width: channels of the feature maps of side size / 2; each halving doubles them, up to 8 times.
        classes: number of classes to choose from, or 0 for none.
        virtual_batch_norm: normalise by a fixed reference batch; give it with `reference` before training.

    Raises:
        ArgumentError: if an argument is not in its range.
    """

    network: ClassVar[str] = "residual-generator"

    def _start(self, inputs: int, channels: int) -> nn.Module:
        return nn.Linear(inputs, channels * START**2)

    def _doublings(self, maps: list[int], norm: Callable[[int], nn.Module]) -> tuple[nn.Module, nn.Module]:
        blocks = [_DoublingBlock(before, after, norm) for before, after in pairwise(maps)]
        return nn.Identity(), nn.Sequential(*blocks, norm(maps[-1]), nn.ReLU())
