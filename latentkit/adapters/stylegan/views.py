"""The views of a StyleGAN: generators over one network, of z, of w, and of one w a layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_seed
from latentkit.errors import ArgumentError
from latentkit.nets.stylegan import StyleGenerator
from latentkit.priors import Prior

__all__ = ["Rendering", "WPlusView", "WView", "ZView", "noise_maps"]


@dataclass(frozen=True, eq=False)
class Rendering:
    """How styles become an image, whatever view they come from.

    Attributes: `psi` and `cutoff`, the truncation (see `StyleGenerator.truncated`); `noises`, the noise of each layer
    that adds some, or None.
    """

    psi: float = 1.0
    cutoff: int | None = None
    noises: tuple[Tensor, ...] | None = None

    def image(self, network: StyleGenerator, ws: Tensor) -> Tensor:
        """Return images (N, channels, size, size) for styles (N, L, w_dim)."""
        noises = None if self.noises is None else [noise.to(ws.device) for noise in self.noises]
        return network.synthesise(network.truncated(ws, self.psi, self.cutoff), noises)


def noise_maps(network: StyleGenerator, noise: str | int) -> tuple[Tensor, ...] | None:
    """Return the noise (side, side) of each layer that adds some, or None for no noise.

    Args:
        network: the generator.
        noise: "const" for the noise that is stored with the weights, "none", or a seed: then layer i has noise that is
            a function of (seed, i), the same for all samples.

    Raises:
        ArgumentError: for anything else, or a seed where the network adds no noise.
    """
    stored = network.synthesis.noises()
    if noise == "none":
        return None
    if noise == "const":
        return None if stored is None else tuple(stored)
    if isinstance(noise, str):
        raise ArgumentError(f'noise must be "const", "none" or a seed, got {noise!r}')
    seed = as_seed(noise)
    if stored is None:
        raise ArgumentError(f'this network adds no noise; leave noise at "const", got the seed {seed}')
    made: Sequence[Tensor] = [
        torch.from_numpy(streams.normal(1, kept.numel(), seed=seed, start=i, stream=streams.NOISE)).reshape(kept.shape)
        for i, kept in enumerate(stored)
    ]
    return tuple(noise.to(torch.float32) for noise in made)


@dataclass(frozen=True, eq=False)
class ZView:
    """A StyleGAN as a generator of its latents z; one with classes takes labels beside them."""

    module: StyleGenerator
    prior: Prior
    rendering: Rendering

    def __call__(self, z: Tensor, labels: Tensor | None = None, /) -> Tensor:
        """Return images (N, channels, size, size) for latents (N, z_dim)."""
        return self.rendering.image(self.module, self.module.repeated(self.module.map(z, labels)))


@dataclass(frozen=True, eq=False)
class WView:
    """A StyleGAN as a generator of its intermediate latents w, which the classes have become a part of."""

    module: StyleGenerator
    prior: Prior
    rendering: Rendering

    def __call__(self, w: Tensor, /) -> Tensor:
        """Return images (N, channels, size, size) for latents (N, w_dim)."""
        return self.rendering.image(self.module, self.module.repeated(w))


@dataclass(frozen=True, eq=False)
class WPlusView:
    """A StyleGAN as a generator of one intermediate latent for each layer, (N, L * w_dim), the coarsest first.

    Edits of some layers only are made by `latentkit.edits.on_layers`.
    """

    module: StyleGenerator
    prior: Prior
    rendering: Rendering

    @property
    def layers(self) -> int:
        """How many layers L there are."""
        return self.module.layers

    def __call__(self, z: Tensor, /) -> Tensor:
        """Return images (N, channels, size, size) for latents (N, L * w_dim)."""
        return self.rendering.image(self.module, z.unflatten(1, (self.module.layers, self.module.w_dim)))
