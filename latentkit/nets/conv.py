"""A convolutional pair for square images, in the manner of DCGAN.

Each doubling of the generator is a strided transposed convolution with batch norm, each halving of the
critic a strided convolution. The critic has no normalisation that sees a batch, so that the score of an image
cannot depend on the other images of its batch.

References:
    Radford, Metz, Chintala (2016), "Unsupervised representation learning with deep convolutional
    generative adversarial networks".
"""

from collections.abc import Callable
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from latentkit.errors import ArgumentError
from latentkit.nets.critic import FeatureCritic
from latentkit.nets.layers import VirtualBatchNorm2d
from latentkit.nets.settings import START, at_least_single, checked, conditioned, maps_by_side

__all__ = ["ConvCritic", "ConvGenerator", "conv_trunk"]


def conv_trunk(channels: int, size: int, width: int) -> tuple[nn.Sequential, nn.Sequential, int]:
    """Return what turns images into features: the halvings, the hidden layer after them, and its size F.

    The halvings take images (N, channels, size, size) to flat maps of side 4, the hidden layer those to (N, F).
    """
    maps = [channels, *reversed(maps_by_side(size, width))]
    blocks: list[nn.Module] = []
    for before, after in pairwise(maps):
        blocks += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    hidden = nn.Sequential(nn.Linear(maps[-1] * START**2, maps[-1]), nn.LeakyReLU(0.2))
    return nn.Sequential(*blocks, nn.Flatten()), hidden, maps[-1]


class ConvGenerator(nn.Module):
    """Turns latents (N, latent_dim) into images (N, channels, size, size) in [-1, 1].

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

    network: ClassVar[str] = "conv-generator"
    #: What forward calls one after another, each with what the one before returned, at most reshaped; see `fold`.
    in_order: ClassVar[tuple[str, ...]] = ("start", "start_norm", "blocks", "to_image")

    def __init__(
        self,
        latent_dim: int,
        channels: int,
        size: int,
        width: int,
        classes: int = 0,
        virtual_batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.settings = checked(
            latent_dim=latent_dim,
            channels=channels,
            size=size,
            width=width,
            classes=classes,
            virtual_batch_norm=virtual_batch_norm,
        )
        self.classes = classes
        self._reference: Tensor | None = None
        norm = VirtualBatchNorm2d if virtual_batch_norm else nn.BatchNorm2d
        maps = maps_by_side(size, width)
        self.start = self._start(latent_dim + classes, maps[0])
        self.start_norm, self.blocks = self._doublings(maps, norm)
        self.to_image = nn.ConvTranspose2d(maps[-1], channels, 4, stride=2, padding=1)

    def _start(self, inputs: int, channels: int) -> nn.Module:
        """Return the layer from (N, inputs) to maps (N, channels, 4, 4), or those flattened."""
        return nn.Linear(inputs, channels * START**2, bias=False)

    def _doublings(self, maps: list[int], norm: Callable[[int], nn.Module]) -> tuple[nn.Module, nn.Module]:
        """Return what keeps the shape of the first maps (N, maps[0], 4, 4), and what doubles their side to size / 2.

        Args:
            maps: channels of the maps of side 4, 8, ... up to size / 2.
            norm: makes the normalisation of so many channels.
        """
        start_norm = nn.Sequential(norm(maps[0]), nn.ReLU())
        blocks: list[nn.Module] = []
        for before, after in pairwise(maps):
            blocks += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False), norm(after), nn.ReLU()]
        return start_norm, nn.Sequential(*blocks)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return images (N, channels, size, size) in [-1, 1] for latents (N, latent_dim).

        Args:
            z: the latents.
            labels: if there are classes, their numbers (N,), or weights of them (N, classes) as floats.

        Raises:
            LabelError: if there are classes and no fitting labels, or labels and no classes.
            ArgumentError: in training with virtual batch norm, if `reference` was not called.
        """
        inputs = conditioned(z, labels, self.classes)
        if self._reference is None or not self.training:
            return self._images(inputs)
        return self._images(torch.cat([self._reference.to(inputs), inputs]), skip=len(self._reference))

    def reference(self, z: Tensor, labels: Tensor | None = None) -> None:
        """Take latents (R, latent_dim) as virtual batch norm's reference, and keep their statistics.

        From then on each call in training mode runs them before its own latents, so that their statistics are
        those of the present weights and their gradients count, and keeps the statistics for eval mode. One call
        before training is enough, and one after weights were loaded or averaged. The latents are not in the
        state dict, their statistics are.

        Args:
            z: the latents, at least 2.
            labels: their class numbers (R,), if there are classes.

        Raises:
            ArgumentError: if this generator has no virtual batch norm, or there are fewer than 2 latents.
            LabelError: if there are classes and no fitting labels, or labels and no classes.
        """
        norms = [part for part in self.modules() if isinstance(part, VirtualBatchNorm2d)]
        if not norms:
            raise ArgumentError("this generator takes no reference batch; build it with virtual_batch_norm=True")
        if len(z) < 2:
            raise ArgumentError(f"a reference batch needs at least 2 latents, better 64, got {len(z)}")
        self._reference = conditioned(z.detach(), labels, self.classes)
        modes = [norm.training for norm in norms]
        for norm in norms:
            norm.reference_rows = len(z)
            norm.train()  # where it measures
        with torch.no_grad():
            self._images(self._reference, skip=len(z))
        for norm, mode in zip(norms, modes, strict=True):
            norm.train(mode)

    def _images(self, inputs: Tensor, skip: int = 0) -> Tensor:
        """Return the images of the first layer's inputs, without those of the first `skip`."""
        maps = self.start(inputs).flatten(1).unflatten(1, (-1, START, START))
        maps = self.blocks(self.start_norm(maps.contiguous(memory_format=torch.channels_last)))[skip:]
        return torch.tanh(at_least_single(self.to_image(maps)))


class ConvCritic(FeatureCritic):
    """Scores images (N, channels, size, size): logits (N,), larger means more real.

    Args:
        channels: 1 for grey, 3 for colour.
        size: side of an image in pixels, a power of two from 16 to 1024.
        width: channels of the feature maps of side size / 2; each halving doubles them, up to 8 times.
        classes: number of classes, or 0 for none; see `FeatureCritic`.
        spectral: divide the weight of each layer by its largest singular value.
        minibatch_kernels: features that compare an image with its batch, or 0 for none.

    Raises:
        ArgumentError: if an argument is not in its range.
    """

    network: ClassVar[str] = "conv-critic"

    def __init__(
        self,
        channels: int,
        size: int,
        width: int,
        classes: int = 0,
        spectral: bool = False,
        minibatch_kernels: int = 0,
    ) -> None:
        super().__init__()
        heads = checked(classes=classes, spectral=spectral, minibatch_kernels=minibatch_kernels)
        self.settings = checked(channels=channels, size=size, width=width) | heads
        self.blocks, self.hidden, features = conv_trunk(channels, size, width)
        self.add_heads(features, **heads)

    def trunk(self, x: Tensor) -> Tensor:
        """Return the last hidden layer (N, H) for images (N, channels, size, size)."""
        return self.hidden(self.blocks(x.contiguous(memory_format=torch.channels_last)))
