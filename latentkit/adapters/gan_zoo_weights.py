"""Weights of pytorch_GAN_zoo, mapped onto the bundled networks that compute the same."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from latentkit.adapters.weights import filled
from latentkit.errors import CheckpointError
from latentkit.nets import DCGANCritic, DCGANGenerator, ProgressiveCritic, ProgressiveGenerator

__all__ = ["homed_critic", "homed_generator"]

_START = 4


def homed_generator(state: Mapping[str, Any], alpha: float, source: str) -> ProgressiveGenerator | DCGANGenerator:
    """Return the bundled generator that computes what a generator of the zoo does.

    Args:
        state: the weights, by the zoo's names.
        alpha: share of the older block of a progressive GAN that was saved while a block was faded in, else 0.
        source: what they are called in errors.

    Raises:
        CheckpointError: if they are no such generator's, or one's that no bundled network computes.
    """
    taken = _Taken(state, source)
    if "decisionLayer.weight" in taken.left:
        raise CheckpointError(f"{source} is a discriminator where a generator is wanted; nothing was loaded")
    first = taken.first("formatLayer.weight")
    if first.ndim == 2:
        return _progressive_generator(taken, first, alpha)
    if first.ndim != 4:
        raise CheckpointError(f"{source} has a first layer {tuple(first.shape)}, which is none of the zoo's")
    return _dcgan_generator(taken, first)


def homed_critic(state: Mapping[str, Any], alpha: float, source: str) -> ProgressiveCritic | DCGANCritic:
    """Return the bundled critic that computes what a discriminator of the zoo does, see `homed_generator`.

    The zoo's minibatch standard deviation is that of groups of 4 images; the bundled critic puts a constant in its
    place, so that a score does not depend on the batch. It is 0 until it is set.

    Raises:
        CheckpointError: if they are no such discriminator's, or one's that no bundled network computes.
    """
    taken = _Taken(state, source)
    decision = taken.first("decisionLayer.weight")
    if decision.shape[0] != 1:
        raise CheckpointError(f"{source} has a discriminator that tells classes too, which is not taken")
    return _progressive_critic(taken, decision, alpha) if decision.ndim == 2 else _dcgan_critic(taken, decision)


class _Taken:
    """Weights that are taken one by one, so that none is missed."""

    def __init__(self, state: Mapping[str, Any], source: str) -> None:
        strangers = [key for key, value in state.items() if not isinstance(value, Tensor)]
        if strangers:
            raise CheckpointError(f"{source} holds {strangers[0]}, which is no tensor; nothing was loaded")
        # Newer versions of the zoo name the layer within an equalised one.
        self.left: dict[str, Tensor] = {key.replace(".module.", "."): value for key, value in state.items()}
        self.made: dict[str, Tensor] = {}
        self.source = source

    def first(self, name: str) -> Tensor:
        """Return a tensor, which stays."""
        if name not in self.left:
            raise CheckpointError(f"{self.source} lacks {name}, so it is no GAN of the zoo; nothing was loaded")
        return self.left[name]

    def take(self, old: str, new: str) -> None:
        """Move a tensor."""
        self.made[new] = self.first(old)
        del self.left[old]

    def equalised(self, old: str, new: str, *, gain: float = math.sqrt(2.0)) -> None:
        """Move a layer of equalised learning rate.

        The zoo scales the layer's whole output by sqrt(2 / fan-in), the bias too, and does so in every layer; here the
        bias is not scaled, and the last layers have a gain of 1.
        """
        self.take(f"{old}.weight", f"{new}.weight")
        self.take(f"{old}.bias", f"{new}.bias")
        weight = self.made[f"{new}.weight"].float()
        if weight.ndim < 2:
            raise CheckpointError(f"{self.source} has a weight {old} of the shape {tuple(weight.shape)}")
        self.made[f"{new}.weight"] = weight * (math.sqrt(2.0) / gain)
        self.made[f"{new}.bias"] = self.made[f"{new}.bias"].float() * math.sqrt(2.0 / math.prod(weight.shape[1:]))

    def norm(self, old: str, new: str) -> None:
        """Move a batch norm; files of old torch versions do not count batches."""
        for part in ("weight", "bias", "running_mean", "running_var"):
            self.take(f"{old}.{part}", f"{new}.{part}")
        self.made[f"{new}.num_batches_tracked"] = self.left.pop(f"{old}.num_batches_tracked", torch.tensor(0))

    def counted(self, pattern: str) -> int:
        """Return how many of the names `pattern.format(0)`, `pattern.format(1)`, ... there are."""
        count = 0
        while pattern.format(count) in self.left:
            count += 1
        return count

    def finished(self) -> dict[str, Tensor]:
        """Return the moved tensors, once nothing is left."""
        if self.left:
            raise CheckpointError(
                f"{self.source} has {len(self.left)} weights more than such a network has "
                f"({', '.join(list(self.left)[:3])}); nothing was loaded"
            )
        return self.made


def _width(maps: list[int], source: str, growth: int | None = None) -> tuple[int, int]:
    """Return the width and the widest map, or refuse maps, from side 4 on, that do not double as published."""
    width, widest = maps[-1], max(maps)
    wanted = [min(widest, width * 2**k) for k in reversed(range(len(maps)))]
    if maps != wanted or (growth is not None and widest > growth * width):
        raise CheckpointError(
            f"{source} has {', '.join(map(str, maps))} channels, which do not double from the largest side on; wrap "
            "its generator with latentkit.wrap"
        )
    return width, widest


def _progressive_generator(taken: _Taken, first: Tensor, alpha: float) -> ProgressiveGenerator:
    scales = taken.counted("scaleLayers.{}.0.weight")
    maps = [len(taken.first("groupScale0.0.weight"))]
    maps += [len(taken.first(f"scaleLayers.{i}.1.weight")) for i in range(scales)]
    width, widest = _width(maps, taken.source)
    settings = {"channels": len(taken.first("toRGBLayers.0.weight")), "size": _START * 2**scales}
    taken.equalised("formatLayer", "start.0")
    taken.equalised("groupScale0.0", "start.4")
    for i in range(scales):
        taken.equalised(f"scaleLayers.{i}.0", f"blocks.{i}.0")
        taken.equalised(f"scaleLayers.{i}.1", f"blocks.{i}.3")
    for i in range(scales + 1):
        taken.equalised(f"toRGBLayers.{i}", f"to_image.{i}", gain=1.0)
    taken.made["stage"] = torch.tensor([float(settings["size"]), 1.0 - alpha])
    return filled(
        lambda: ProgressiveGenerator(first.shape[1], **settings, width=width, widest=widest),
        taken.finished(),
        taken.source,
    )


def _progressive_critic(taken: _Taken, decision: Tensor, alpha: float) -> ProgressiveCritic:
    scales = taken.counted("scaleLayers.{}.0.weight")
    maps = [decision.shape[1]]
    maps += [len(taken.first(f"scaleLayers.{i}.0.weight")) for i in range(scales)]
    width, widest = _width(maps, taken.source)
    channels, size = taken.first("fromRGBLayers.0.weight").shape[1], _START * 2**scales
    for i in range(scales + 1):
        taken.equalised(f"fromRGBLayers.{i}", f"from_image.{i}.0")
    for i in range(scales):
        taken.equalised(f"scaleLayers.{i}.0", f"blocks.{i}.0")
        taken.equalised(f"scaleLayers.{i}.1", f"blocks.{i}.2")
    taken.equalised("groupScaleZero.0", "last.1")
    taken.equalised("groupScaleZero.1", "last.4")
    taken.equalised("decisionLayer", "score", gain=1.0)
    weight = taken.made["last.1.weight"]
    if weight.shape[1] == maps[0]:
        # Without minibatch standard deviation: its map has no weight. The scale is that of one channel less.
        grown = math.sqrt((maps[0] + 1) / maps[0])
        taken.made["last.1.weight"] = torch.cat([weight * grown, torch.zeros_like(weight[:, :1])], 1)
    taken.made["last.0.running_std"] = torch.zeros(())
    taken.made["stage"] = torch.tensor([float(size), 1.0 - alpha])
    return filled(lambda: ProgressiveCritic(channels, size, width, widest), taken.finished(), taken.source)


def _dcgan_generator(taken: _Taken, first: Tensor) -> DCGANGenerator:
    depth = taken.counted("main.batchNorm{}.weight") - 1
    maps = [first.shape[1]]
    maps += [taken.first(f"main.convTranspose{i + 1}.weight").shape[1] for i in range(depth)]
    width, _ = _width(maps, taken.source, 8)
    image = taken.first("main.outlayer.weight")
    taken.take("formatLayer.weight", "start.1.weight")
    taken.norm("main.batchNorm0", "start_norm.0")
    for i in range(depth):
        taken.take(f"main.convTranspose{i + 1}.weight", f"blocks.{3 * i}.weight")
        taken.norm(f"main.batchNorm{i + 1}", f"blocks.{3 * i + 1}")
    taken.take("main.outlayer.weight", "to_image.weight")
    taken.made["to_image.bias"] = torch.zeros(image.shape[1])
    return filled(
        lambda: DCGANGenerator(first.shape[0], image.shape[1], _START * 2 ** (depth + 1), width),
        taken.finished(),
        taken.source,
    )


def _dcgan_critic(taken: _Taken, decision: Tensor) -> DCGANCritic:
    # The layers are numbered from the last one on; the first of all has no batch norm.
    depth = taken.counted("main.batchNorm{}.weight")
    layers = [taken.first(f"main.convTranspose{i}.weight") for i in range(depth + 1)]
    width, _ = _width([len(layer) for layer in layers], taken.source, 8)
    channels = layers[-1].shape[1]
    taken.take(f"main.convTranspose{depth}.weight", "blocks.0.weight")
    taken.made["blocks.0.bias"] = torch.zeros(width)
    for k in range(depth):
        taken.take(f"main.convTranspose{depth - 1 - k}.weight", f"blocks.{2 + 3 * k}.weight")
        taken.norm(f"main.batchNorm{depth - 1 - k}", f"blocks.{3 + 3 * k}")
    taken.take("decisionLayer.weight", "score.weight")
    taken.made["score.weight"] = decision.flatten(1)
    taken.made["score.bias"] = torch.zeros(1)
    return filled(lambda: DCGANCritic(channels, _START * 2 ** (depth + 1), width), taken.finished(), taken.source)
