"""The published DCGAN: at 64x64 and width 64 its maps have 512, 256, 128 and 64 channels.

Batch norm in both networks except where images enter and leave, no biases under batch norm, and initial
weights N(0, 0.02). A critic with batch norm scores by its batch in training, where real and generated images
belong in batches of their own, and by running statistics in eval mode.

References:
    Radford, Metz, Chintala (2016), "Unsupervised representation learning with deep convolutional
    generative adversarial networks".
    Miyato, Kataoka, Koyama, Yoshida (2018), "Spectral normalization for generative adversarial networks".
"""

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from latentkit.nets.conv import ConvGenerator
from latentkit.nets.critic import FeatureCritic
from latentkit.nets.layers import VirtualBatchNorm2d
from latentkit.nets.settings import START, checked, maps_by_side

__all__ = ["DCGANCritic", "DCGANGenerator"]

_SPREAD = 0.02


def _initialise(*modules: nn.Module) -> None:
    for part in (part for module in modules for part in module.modules()):
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(part.weight, 0.0, _SPREAD)
        elif isinstance(part, nn.BatchNorm2d | VirtualBatchNorm2d):
            nn.init.normal_(part.weight, 1.0, _SPREAD)
        else:
            continue
        if part.bias is not None:
            nn.init.zeros_(part.bias)


class DCGANGenerator(ConvGenerator):
    """Turns latents (N, latent_dim) into images (N, channels, size, size) in [-1, 1].

    A `ConvGenerator` that starts with a transposed convolution of the latent as a 1x1 map, with the published
    initial weights.

    Args:
        latent_dim: size of a latent; 100 was published.
        channels: 1 for grey, 3 for colour.
        size: side of an image in pixels, a power of two from 16 to 1024.
        width: channels of the feature maps of side size / 2; each halving doubles them, up to 8 times.
        classes: number of classes to choose from, or 0 for none.
        virtual_batch_norm: normalise by a fixed reference batch; give it with `reference` before training.

    Raises:
        ArgumentError: if an argument is not in its range.
    """

    network: ClassVar[str] = "dcgan-generator"

    def __init__(
        self,
        latent_dim: int,
        channels: int,
        size: int,
        width: int = 64,
        classes: int = 0,
        virtual_batch_norm: bool = False,
    ) -> None:
        super().__init__(latent_dim, channels, size, width, classes, virtual_batch_norm)
        _initialise(self)

    def _start(self, inputs: int, channels: int) -> nn.Module:
        return nn.Sequential(nn.Unflatten(1, (inputs, 1, 1)), nn.ConvTranspose2d(inputs, channels, START, bias=False))


class DCGANCritic(FeatureCritic):
    """Scores images (N, channels, size, size): logits (N,), larger means more real.

    The features are the maps of side 4, flattened, and the score the 4x4 convolution that takes them to one number.

    Args:
        channels: 1 for grey, 3 for colour.
        size: side of an image in pixels, a power of two from 16 to 1024.
        width: channels of the feature maps of side size / 2; each halving doubles them, up to 8 times.
        classes: number of classes, or 0 for none; see `FeatureCritic`.
        spectral: divide the weight of each layer by its largest singular value, in place of batch norm.
        minibatch_kernels: features that compare an image with its batch, or 0 for none.

    Raises:
        ArgumentError: if an argument is not in its range.
    """

    network: ClassVar[str] = "dcgan-critic"

    def __init__(
        self,
        channels: int,
        size: int,
        width: int = 64,
        classes: int = 0,
        spectral: bool = False,
        minibatch_kernels: int = 0,
    ) -> None:
        super().__init__()
        heads = checked(classes=classes, spectral=spectral, minibatch_kernels=minibatch_kernels)
        self.settings = checked(channels=channels, size=size, width=width) | heads
        maps = [channels, *reversed(maps_by_side(size, width))]
        blocks: list[nn.Module] = []
        for k, (before, after) in enumerate(pairwise(maps)):
            normed = k > 0 and not spectral
            blocks.append(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=not normed))
            blocks += [nn.BatchNorm2d(after)] if normed else []
            blocks.append(nn.LeakyReLU(0.2))
        self.blocks = nn.Sequential(*blocks, nn.Flatten())
        _initialise(self.blocks)
        self.add_heads(maps[-1] * START**2, **heads)
        _initialise(self.score)

    def trunk(self, x: Tensor) -> Tensor:
        """Return the maps of side 4, flattened (N, 16 * channels there), for images (N, channels, size, size)."""
        return self.blocks(x.contiguous(memory_format=torch.channels_last))
