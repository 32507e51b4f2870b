"""The DCGAN as PyTorch's examples publish it: its state dicts, put into latentkit's own networks where they fit."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentkit.adapters.torch_modules import Shaped, state_of
from latentkit.adapters.weights import filled, read_weights
from latentkit.checkpoint import Checkpoint
from latentkit.errors import CheckpointError
from latentkit.nets import DCGANCritic, DCGANGenerator
from latentkit.nets.settings import START, maps_by_side
from latentkit.priors import Normal
from latentkit.protocols import wrap

__all__ = ["load_dcgan"]

_KEY = re.compile(r"(.*?)(\d+)\.(weight|bias|running_mean|running_var|num_batches_tracked)")
_CRITICS = ("D", "d", "netD", "discriminator", "critic", "disc")


@dataclass(frozen=True)
class _Layer:
    """A convolution of a chain, with the batch norm after it if there is one."""

    weight: Tensor
    bias: Tensor | None
    norm: dict[str, Tensor] | None


def load_dcgan(
    file: str | os.PathLike[str], *, critic: str | os.PathLike[str] | None = None, part: str | None = None
) -> Checkpoint:
    """Load a DCGAN's generator, and its discriminator, from state dicts by the names of PyTorch's example.

    That is a chain of 4x4 transposed convolutions with batch norm: `main.0.weight` (latent size, channels, 4, 4),
    `main.1` its batch norm, and so on; the first makes maps of side 4, each of the others doubles them. Any number of
    layers and channels will do, and any name in place of `main`. Where the channels halve with each layer, as
    published, the weights become latentkit's own `DCGANGenerator` and `DCGANCritic`, which a checkpoint can hold: they
    are the same functions, and the critic gives logits. Other widths stay a chain of their own.

    Weights do not tell strides and activations. A network that differs in those from the published one needs its own
    code: `load_module`.

    Args:
        file: the generator's weights: safetensors, or what `torch.save` wrote.
        critic: the discriminator's weights, or None.
        part: which part of the file, where it holds several state dicts.

    Returns:
        A checkpoint without held-out samples.

    Raises:
        CheckpointError: if a file is missing or damaged, or its weights are not such a network's; nothing is loaded.

    References:
        Radford, Metz, Chintala (2016), "Unsupervised representation learning with deep convolutional generative
        adversarial networks".
    """
    source = str(Path(file))
    layers = _layers(state_of(read_weights(file), source, part), source)
    if not _is_chain(layers, up=True):
        what = "a discriminator, and a generator is wanted" if _is_chain(layers, up=False) else "no DCGAN generator"
        raise CheckpointError(f"{source} holds {what}; nothing was loaded")
    generator = _generator(layers, source)
    latent, channels = layers[0].weight.shape[0], layers[-1].weight.shape[1]
    size = START * 2 ** (len(layers) - 1)
    scorer = None if critic is None else _critic(critic, (channels, size, size))
    return Checkpoint(
        generator=wrap(generator, Normal(latent)),
        critic=scorer,
        holdout=torch.empty(0, channels, size, size),
        data="unknown",
        trainer="dcgan of PyTorch's examples",
    )


def _layers(state: Mapping[str, Tensor], source: str) -> list[_Layer]:
    """Return the convolutions of a chain in order, each with its batch norm."""
    groups: dict[int, dict[str, Tensor]] = {}
    leads = set()
    for key, value in state.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise CheckpointError(f"{source} is no DCGAN: it has {key}; nothing was loaded")
        leads.add(match[1])
        groups.setdefault(int(match[2]), {})[match[3]] = value
    if len(leads) != 1:
        few = ", ".join(sorted(lead or "none" for lead in leads)[:4])
        raise CheckpointError(f"{source} is no DCGAN: its layers have the prefixes {few}; nothing was loaded")
    layers: list[_Layer] = []
    for number in sorted(groups):
        group = groups[number]
        weight = group.get("weight")
        if "running_mean" in group and layers and layers[-1].norm is None:
            layers[-1] = _Layer(layers[-1].weight, layers[-1].bias, group)
        elif weight is not None and weight.ndim == 4 and tuple(weight.shape[2:]) == (4, 4):
            layers.append(_Layer(weight, group.get("bias"), None))
        else:
            shape = tuple(weight.shape) if weight is not None else "no weight"
            raise CheckpointError(f"{source} is no DCGAN: its layer {number} has {shape}; nothing was loaded")
    return layers


def _is_chain(layers: list[_Layer], *, up: bool) -> bool:
    """Whether layers follow on each other as a generator's (transposed) or a discriminator's convolutions do."""
    into, out = (0, 1) if up else (1, 0)
    follow = all(a.weight.shape[out] == b.weight.shape[into] for a, b in pairwise(layers))
    normed = all(layer.norm is None or len(layer.norm["running_mean"]) == layer.weight.shape[out] for layer in layers)
    ends = layers[-1].norm is None and (up or layers[-1].weight.shape[0] == 1) if layers else False
    return len(layers) >= 3 and follow and normed and ends


def _norm(layer: _Layer, name: str) -> dict[str, Tensor]:
    """Return a batch norm's tensors by name; the bias of the convolution before it is taken off its mean."""
    norm = dict(layer.norm or {})
    if layer.bias is not None:
        norm["running_mean"] = norm["running_mean"] - layer.bias
    norm.setdefault("num_batches_tracked", torch.zeros((), dtype=torch.int64))
    return {f"{name}.{key}": value for key, value in norm.items()}


def _bias(layer: _Layer, size: int) -> Tensor:
    return torch.zeros(size) if layer.bias is None else layer.bias


def _generator(layers: list[_Layer], source: str) -> Any:
    widths = [layer.weight.shape[1] for layer in layers]
    latent, size = layers[0].weight.shape[0], START * 2 ** (len(layers) - 1)
    normed = all(layer.norm is not None for layer in layers[:-1])
    if not normed or widths[:-1] != maps_by_side(size, widths[-2]) or widths[-1] not in (1, 3):
        return Shaped(_chain(layers, source), (latent, 1, 1))
    state = {"start.1.weight": layers[0].weight, **_norm(layers[0], "start_norm.0")}
    for k, layer in enumerate(layers[1:-1]):
        state |= {f"blocks.{3 * k}.weight": layer.weight, **_norm(layer, f"blocks.{3 * k + 1}")}
    state |= {"to_image.weight": layers[-1].weight, "to_image.bias": _bias(layers[-1], widths[-1])}
    return filled(lambda: DCGANGenerator(latent, widths[-1], size, widths[-2]), state, source)


def _chain(layers: list[_Layer], source: str) -> nn.Module:
    """Return a generator of any widths as a plain chain."""

    def make() -> nn.Module:
        parts: list[nn.Module] = []
        for k, layer in enumerate(layers):
            before, after = layer.weight.shape[:2]
            stride, padding = (2, 1) if k else (1, 0)
            parts.append(nn.ConvTranspose2d(before, after, 4, stride, padding, bias=layer.bias is not None))
            parts.append(nn.Identity() if layer.norm is None else nn.BatchNorm2d(after))
            parts.append(nn.Tanh() if k == len(layers) - 1 else nn.ReLU())
        return nn.Sequential(*parts)

    state: dict[str, Tensor] = {}
    for k, layer in enumerate(layers):
        state[f"{3 * k}.weight"] = layer.weight
        state |= {} if layer.bias is None else {f"{3 * k}.bias": layer.bias}
        norm = {**(layer.norm or {})}
        if norm:
            norm.setdefault("num_batches_tracked", torch.zeros((), dtype=torch.int64))
        state |= {f"{3 * k + 1}.{key}": value for key, value in norm.items()}
    return filled(make, state, source)


def _critic(file: str | os.PathLike[str], shape: tuple[int, int, int]) -> DCGANCritic:
    """Return a discriminator's weights as the critic of images of a shape (C, S, S)."""
    source, (channels, size, _) = str(Path(file)), shape
    found = read_weights(file)
    part = next((name for name in _CRITICS if isinstance(found, Mapping) and name in found), None)
    layers = _layers(state_of(found, source, part), source)
    if not _is_chain(layers, up=False):
        what = "a generator, and a discriminator is wanted" if _is_chain(layers, up=True) else "no DCGAN discriminator"
        raise CheckpointError(f"{source} holds {what}; nothing was loaded")
    width, seen = layers[0].weight.shape[0], (layers[0].weight.shape[1], START * 2 ** (len(layers) - 1))
    if seen != (channels, size):
        raise CheckpointError(
            f"{source} scores images of {seen[0]} channels and side {seen[1]}, and the generator makes {channels} and "
            f"{size}; nothing was loaded"
        )
    widths = [layer.weight.shape[0] for layer in layers[:-1]]
    normed = [layer.norm is not None for layer in layers]
    if widths[::-1] != maps_by_side(size, width) or normed != [False, *[True] * (len(layers) - 2), False]:
        raise CheckpointError(
            f"{source} has layers of {widths} channels, not those of the published discriminator; give its module as "
            "the critic instead"
        )
    state = {"blocks.0.weight": layers[0].weight, "blocks.0.bias": _bias(layers[0], width)}
    for k, layer in enumerate(layers[1:-1]):
        state |= {f"blocks.{2 + 3 * k}.weight": layer.weight, **_norm(layer, f"blocks.{3 + 3 * k}")}
    state |= {"score.weight": layers[-1].weight.flatten(1), "score.bias": _bias(layers[-1], 1)}
    return filled(lambda: DCGANCritic(channels, size, width), state, source)
