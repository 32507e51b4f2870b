"""Edits of some layers only: of latents that hold one vector a layer, and of the activations in any torch generator."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from latentkit.checks import as_count, as_number, as_vector, floating, require_finite
from latentkit.directions import Direction, pca_directions, typical_range
from latentkit.edits.activations import activations, hooked, layer_of
from latentkit.errors import ArgumentError, ShapeError
from latentkit.priors import Prior
from latentkit.protocols import Generator

__all__ = ["EditedLayer", "LayerDirection", "Layered", "edited_layer", "layer_directions", "on_layers"]

#: Latents whose activations are held at a time.
HELD = 1024


@runtime_checkable
class Layered(Protocol):
    """A generator whose latents (N, L * D) hold one vector (D,) for each of its L layers, the first layer's first."""

    @property
    def prior(self) -> Prior:
        """The distribution that latents (N, L * D) are drawn from."""
        ...

    @property
    def layers(self) -> int:
        """How many layers L there are."""
        ...

    def __call__(self, z: Tensor, /) -> Tensor:
        """Return samples (N, *S) for latents (N, L * D)."""
        ...


def on_layers(direction: Direction, layers: Sequence[int], generator: Layered) -> Direction:
    """Return a direction that moves the vectors of some layers only.

    The result has norm 1 as a whole: a direction of one vector (D,) that is placed in m layers moves each of them by
    1 / sqrt(m) a unit of strength.

    Args:
        direction: of one layer's vector (D,), which is placed in each of the layers; or of all layers (L * D,), of
            which the others' parts become 0.
        layers: numbers of the layers, 0 to L - 1.
        generator: the model with the layers.

    Raises:
        ArgumentError: if the generator has no layers, there is no such layer, none or twice the same is given, or the
            direction has nothing in these layers.
        ShapeError: if the direction is neither of one layer nor of all.

    References:
        Karras, Laine, Aila (2019), "A style-based generator architecture for generative adversarial networks":
            coarse, middle and fine styles.
        Härkönen, Hertzmann, Lehtinen, Paris (2020), "GANSpace: discovering interpretable GAN controls": layer-wise
            edits.
    """
    if not isinstance(generator, Layered):
        raise ArgumentError(
            "this generator's latents hold no vector a layer (it has no attribute `layers`); use edited_layer, which "
            "edits the activations inside any torch generator"
        )
    count, dim = as_count(generator.layers, "the generator's layers"), generator.prior.dim
    chosen = [as_count(layer, "a layer's number", least=0) for layer in layers]
    if not chosen or len(set(chosen)) != len(chosen) or max(chosen) >= count:
        raise ArgumentError(f"layers must be different numbers from 0 to {count - 1}, at least one, got {chosen}")
    size = dim // count
    vector = direction.vector
    if len(vector) not in (size, dim):
        raise ShapeError(f"the direction must be of one layer ({size},) or of all ({dim},), got ({len(vector)},)")
    parts = vector.reshape(-1, size).expand(count, size)
    placed = torch.zeros_like(parts)
    placed[chosen] = parts[chosen]
    norm = float(placed.double().norm())
    if not norm > 1e-9:
        raise ArgumentError(f"the direction {direction.name} is 0 in the layers {chosen}; choose others")
    placed = (placed.double() / norm).to(vector.dtype).flatten()
    return replace(
        direction,
        vector=placed,
        safe_range=typical_range(generator.prior.sample(512, seed=0), placed, generator.prior),
        intercept=float("nan"),
        audit=None,
    )


@dataclass(frozen=True, eq=False)
class LayerDirection:
    """A principal component of a layer's activations, to be added to them: see `edited_layer`.

    Attributes: `layer`, its name; `vector` (C,), as long as the component's standard deviation over the prior (in the
    activation's unit), so that strengths count in standard deviations; `share` of the variance that it holds; `name`.
    """

    layer: str
    vector: Tensor
    share: float
    name: str


def layer_directions(
    generator: Generator, layer: str, k: int, *, n: int = 2_000, seed: int = 0, batch_size: int = 64
) -> tuple[LayerDirection, ...]:
    """Find the k principal components of a layer's activations, channel by channel: directions in activation space.

    Activations with places (N, C, H, W) are averaged over them, so that a component says what a whole map has more of.

    Args:
        generator: the model.
        layer: one of `layers_of(generator)`.
        k: how many, those of the largest variance first; at most C.
        n: latents that are drawn.
        seed: which latents.
        batch_size: latents a call.

    Raises:
        ArgumentError: if there is no such layer, or k is more than its channels.
    """
    k, n = as_count(k, "k"), as_count(n, "n", least=2)
    parts = (
        activations(generator, part, layer, batch_size=batch_size)
        for part in generator.prior.sample(n, seed=seed).split(HELD)
    )
    rows = torch.cat([part.flatten(2).mean(2) if part.ndim > 2 else part for part in parts]).double()
    if k > rows.shape[1]:
        raise ArgumentError(f"k must be at most the {rows.shape[1]} channels of {layer}, got {k}")
    found = []
    for i, direction in enumerate(pca_directions(rows, k)):
        spread = (rows @ direction.vector.double()).std()
        found.append(
            LayerDirection(layer, (spread * direction.vector.double()).float(), direction.share, f"{layer} {i + 1}")
        )
    return tuple(found)


def _shape_of(generator: Generator, layer: str) -> tuple[int, ...]:
    """Return the shape (C, ...) of a layer's activation for one latent."""
    return tuple(activations(generator, generator.prior.sample(1, seed=0), layer).shape[1:])


@dataclass(frozen=True, eq=False)
class EditedLayer:
    """A generator one of whose layers puts out `amount` more, whatever the latent: a `Generator`.

    The generator itself is not changed: the amount is added while a call runs, and only to calls of its thread.

    Attributes: `module`, the generator; `layer`, the name of its layer; `amount` (C, ...), of as many axes as the
    layer's activation for one latent, with sides of 1 where all places get the same.
    """

    module: Generator
    layer: str
    amount: Tensor
    _target: nn.Module

    @property
    def prior(self) -> Prior:
        """The distribution that latents are drawn from."""
        return self.module.prior

    def __call__(self, z: Tensor, /) -> Tensor:
        """Return samples (N, *S) for latents (N, D), with the layer edited."""

        def add(module: nn.Module, args: Any, output: Tensor) -> Tensor:
            return output + self.amount.to(output.device, output.dtype)

        with hooked({self._target: add}):
            return self.module(z)


def edited_layer(
    generator: Generator, layer: str, vector: Tensor | LayerDirection, strength: float = 1.0
) -> EditedLayer:
    """Return the generator with strength * vector added to what one of its layers puts out.

    Args:
        generator: the model; it stays as it is.
        layer: one of `layers_of(generator)`.
        vector: (C,), the same at all places, or of the activation's whole shape (C, H, W); or one of
            `layer_directions`, whose strength counts in standard deviations.
        strength: a number.

    Raises:
        ArgumentError: if there is no such layer, the direction is another layer's, or the strength is no number.
        ShapeError: if the vector does not fit the activation.
        NonFiniteError: if it holds NaN or infinity.

    References:
        Bau et al. (2019), "GAN dissection: visualizing and understanding generative adversarial networks":
            interventions on the units of a layer.
    """
    strength = as_number(strength, "strength")
    if isinstance(vector, LayerDirection):
        if vector.layer != layer:
            raise ArgumentError(f"the direction {vector.name} is one of the layer {vector.layer}, got layer={layer!r}")
        vector = vector.vector
    target, shape = layer_of(generator, layer), _shape_of(generator, layer)
    amount = require_finite(floating(vector, "vector"), "vector")
    if tuple(amount.shape) == shape[:1]:
        amount = as_vector(amount).reshape(-1, *[1] * (len(shape) - 1))
    elif tuple(amount.shape) != shape:
        whole = f" or {shape}" if len(shape) > 1 else ""
        raise ShapeError(f"a vector for the layer {layer} must be {shape[:1]}{whole}, got {tuple(amount.shape)}")
    return EditedLayer(generator, layer, strength * amount, target)
