"""Weights of the common re-implementation of StyleGAN2, under the names that the official release gives them."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from latentkit.errors import CheckpointError
from latentkit.nets.stylegan import binomial_kernel

__all__ = ["renamed_critic", "renamed_generator"]

_LAYER = (
    ("conv.weight", "weight"),
    ("conv.modulation.weight", "affine.weight"),
    ("conv.modulation.bias", "affine.bias"),
    ("noise.weight", "noise_strength"),
    ("activate.bias", "bias"),
)
_IMAGE = (
    ("conv.weight", "weight"),
    ("conv.modulation.weight", "affine.weight"),
    ("conv.modulation.bias", "affine.bias"),
    ("bias", "bias"),
)


class _Moved:
    """Weights that are taken one by one, so that what nobody took can be named."""

    def __init__(self, state: Mapping[str, Tensor], source: str) -> None:
        self.left, self.made, self.source = dict(state), {}, source

    def take(self, old: str, new: str, *, drop: int = 0, flat: bool = False) -> None:
        """Move a tensor, without its first `drop` axes, which must be of length 1; or all of them, as a vector."""
        if old not in self.left:
            raise CheckpointError(f"{self.source} lacks {old}; nothing was loaded")
        value = self.left.pop(old)
        if any(side != 1 for side in value.shape[:drop]):
            raise CheckpointError(f"{self.source} has {old} of the shape {tuple(value.shape)}; nothing was loaded")
        self.made[new] = value.flatten() if flat else value.reshape(value.shape[drop:])

    def layer(self, old: str, new: str) -> None:
        for before, after in _LAYER:
            scalar = after == "noise_strength"
            self.take(f"{old}.{before}", f"{new}.{after}", drop=int(scalar or after == "weight"))

    def image(self, old: str, new: str) -> None:
        for before, after in _IMAGE:
            self.take(f"{old}.{before}", f"{new}.{after}", drop=int(after == "weight"), flat=after == "bias")

    def finished(self, kernels: str) -> dict[str, Tensor]:
        """Return the moved weights, once nothing is left but the filters, which every layer has alike."""
        left = [key for key in self.left if not re.fullmatch(kernels, key)]
        other = [key for key in self.left.keys() - set(left) if not _usual(self.left[key])]
        if other:
            raise CheckpointError(f"{self.source} resamples with another filter ({other[0]}); nothing was loaded")
        if left:
            raise CheckpointError(
                f"{self.source} has {len(left)} weights that are not StyleGAN2's ({', '.join(left[:3])}); nothing was "
                "loaded"
            )
        return self.made


def _usual(kernel: Tensor) -> bool:
    """Whether a filter is the published one, up to its gain."""
    usual = binomial_kernel()
    return kernel.shape == usual.shape and bool(torch.allclose(kernel.float() / kernel.float().sum(), usual))


def renamed_generator(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return a generator's weights by their official names, but for `mapping.w_avg` and the resampling filters.

    Raises:
        CheckpointError: if one is missing or left over.
    """
    moved = _Moved(state, source)
    depth = sum(re.fullmatch(r"style\.\d+\.weight", key) is not None for key in state)
    for i in range(depth):
        for part in ("weight", "bias"):
            moved.take(f"style.{i + 1}.{part}", f"mapping.fc{i}.{part}")
    moved.take("input.input", "synthesis.b4.const", drop=1)
    moved.layer("conv1", "synthesis.b4.conv1")
    moved.image("to_rgb1", "synthesis.b4.torgb")
    moved.take("noises.noise_0", "synthesis.b4.conv1.noise_const", drop=2)
    doublings = sum(re.fullmatch(r"to_rgbs\.\d+\.bias", key) is not None for key in state)
    for i in range(doublings):
        block = f"synthesis.b{8 * 2**i}"
        for j in (0, 1):
            moved.layer(f"convs.{2 * i + j}", f"{block}.conv{j}")
            moved.take(f"noises.noise_{2 * i + j + 1}", f"{block}.conv{j}.noise_const", drop=2)
        moved.image(f"to_rgbs.{i}", f"{block}.torgb")
    return moved.finished(r"(convs\.\d+\.conv\.blur|to_rgbs\.\d+\.upsample)\.kernel")


def renamed_critic(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return a discriminator's weights by their official names, but for the resampling filters.

    Raises:
        CheckpointError: if one is missing or left over.
    """
    moved = _Moved(state, source)
    halvings = sum(re.fullmatch(r"convs\.\d+\.skip\.1\.weight", key) is not None for key in state)
    size = 4 * 2**halvings
    moved.take("convs.0.0.weight", f"b{size}.fromrgb.weight")
    moved.take("convs.0.1.bias", f"b{size}.fromrgb.bias")
    for i in range(1, halvings + 1):
        old, new = f"convs.{i}", f"b{2 * size // 2**i}"
        for before, after in (
            ("conv1.0.weight", "conv0.weight"),
            ("conv1.1.bias", "conv0.bias"),
            ("conv2.1.weight", "conv1.weight"),
            ("conv2.2.bias", "conv1.bias"),
            ("skip.1.weight", "skip.weight"),
        ):
            moved.take(f"{old}.{before}", f"{new}.{after}")
    for before, after in (
        ("final_conv.0.weight", "conv.weight"),
        ("final_conv.1.bias", "conv.bias"),
        ("final_linear.0.weight", "fc.weight"),
        ("final_linear.0.bias", "fc.bias"),
        ("final_linear.1.weight", "out.weight"),
        ("final_linear.1.bias", "out.bias"),
    ):
        moved.take(before, f"b4.{after}")
    return moved.finished(r"convs\.\d+\.(conv2|skip)\.0\.kernel")
