"""Generators and critics of the convolutional pair as one would tune them by hand, without latentkit.sampling."""

import copy
import shutil
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_conv_bn_weights, fuse_linear_bn_weights

__all__ = ["Way", "compiled", "critic_ways", "generator_ways"]

#: From inputs (N, ...) to samples or logits.
Run = Callable[[Tensor], Tensor]


class Way(NamedTuple):
    """One way to run a network: its name, and what runs it."""

    name: str
    run: Run


class _Layer(NamedTuple):
    """A transposed convolution with its batch norm folded in."""

    weight: Tensor
    bias: Tensor
    stride: tuple[int, int]
    padding: tuple[int, int]

    def run(self, x: Tensor) -> Tensor:
        return functional.conv_transpose2d(x, self.weight, self.bias, self.stride, self.padding)

    def product(self, x: Tensor) -> Tensor:
        """Do the same as a matrix product of each place, and an addition of patches."""
        n, channels, height, width = x.shape
        rows = x.permute(0, 2, 3, 1).reshape(n, height * width, channels)
        patches = torch.matmul(self.weight.flatten(1).T, rows.transpose(1, 2)).float()
        sides = [
            (side - 1) * step - 2 * pad + kernel
            for side, step, pad, kernel in zip(
                (height, width), self.stride, self.padding, self.weight.shape[2:], strict=True
            )
        ]
        kernel = (int(self.weight.shape[2]), int(self.weight.shape[3]))
        made = functional.fold(patches, (sides[0], sides[1]), kernel, padding=self.padding, stride=self.stride)
        return made.add_(self.bias.float()[:, None, None])


class _Folded(nn.Module):
    """A generator of the convolutional pair as folded layers; `product` does the last one as a matrix product."""

    def __init__(self, network: Any, product: bool) -> None:
        super().__init__()
        first, norm = network.start, network.start_norm[0]
        if isinstance(first, nn.Linear):
            side = first.out_features // norm.num_features
            mean, var, scale, shift = (
                one.repeat_interleave(side) for one in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
            )
            weight, bias = fuse_linear_bn_weights(first.weight, first.bias, mean, var, norm.eps, scale, shift)
        else:
            layer = first[1]
            weight, bias = fuse_conv_bn_weights(
                layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias, True
            )
            side = weight[0, 0].numel()
            weight, bias = weight.flatten(1).T, bias.repeat_interleave(side)
        self.weight, self.bias = weight.detach().contiguous(), bias.detach().contiguous()
        self.channels, self.product = norm.num_features, product
        self.layers = _folded_layers(network)

    def forward(self, z: Tensor) -> Tensor:
        maps = functional.linear(z, self.weight, self.bias).relu_().unflatten(1, (self.channels, 4, 4))
        maps = maps.contiguous(memory_format=torch.channels_last)
        for layer in self.layers[:-1]:
            maps = layer.run(maps).relu_()
        last = self.layers[-1]
        return torch.tanh((last.product(maps) if self.product else last.run(maps)).float())


def _folded_layers(network: Any) -> list[_Layer]:
    layers: list[_Layer] = []
    parts = [*network.blocks, network.to_image]
    for part, after in zip(parts, [*parts[1:], None], strict=True):
        if not isinstance(part, nn.ConvTranspose2d):
            continue
        weight, bias = part.weight, part.bias
        if isinstance(after, nn.BatchNorm2d) and after.running_mean is not None and after.running_var is not None:
            weight, bias = fuse_conv_bn_weights(
                weight, bias, after.running_mean, after.running_var, after.eps, after.weight, after.bias, True
            )
        if bias is None:
            raise ValueError("each layer has batch norm or a bias")
        stride, padding = (int(part.stride[0]), int(part.stride[1])), (int(part.padding[0]), int(part.padding[1]))
        laid = weight.detach().contiguous(memory_format=torch.channels_last)
        layers.append(_Layer(laid, bias.detach(), stride, padding))
    return layers


class _Fused(nn.Module):
    """The same with the private kernels that do a transposed convolution and its ReLU at once, weights packed."""

    def __init__(self, folded: _Folded) -> None:
        super().__init__()
        self.folded = folded
        self.packed: dict[int, list[Tensor]] = {}

    def _weights(self, rows: int) -> list[Tensor]:
        if rows not in self.packed:
            shape, found = [rows, self.folded.channels, 4, 4], []
            for layer in self.folded.layers:
                args = (list(layer.padding), [0, 0], list(layer.stride), [1, 1], 1, shape)
                found.append(torch.ops.mkldnn._reorder_convolution_transpose_weight(layer.weight, *args))
                shape = [rows, layer.weight.shape[1], 2 * shape[2], 2 * shape[3]]
            self.packed[rows] = found
        return self.packed[rows]

    def forward(self, z: Tensor) -> Tensor:
        folded = self.folded
        maps = functional.linear(z, folded.weight, folded.bias).relu_().unflatten(1, (folded.channels, 4, 4))
        maps = maps.contiguous(memory_format=torch.channels_last)
        weights = self._weights(len(z))
        for layer, weight in zip(folded.layers[:-1], weights, strict=False):
            maps = torch.ops.mkldnn._convolution_transpose_pointwise(
                maps, weight, layer.bias, layer.padding, (0, 0), layer.stride, (1, 1), 1, "relu", [], ""
            )
        return torch.tanh(folded.layers[-1].product(maps))


def generator_ways(network: Any, example: Tensor, *, compile_too: bool) -> list[Way]:
    """Return the ways to run a `ConvGenerator` or `DCGANGenerator` on the inputs of its first layer.

    Args:
        network: in eval mode, without gradients.
        example: (N, D), what the first layer takes.
        compile_too: try torch.compile, which takes up to half a minute for each batch size.
    """
    images = network._images
    laid = copy.deepcopy(network).to(memory_format=torch.channels_last)
    folded, product = _Folded(network, product=False), _Folded(network, product=True)
    ways = [
        Way("as it is", images),
        Way("channels last", laid._images),
        Way("batch norm folded", folded),
        Way("folded, last layer a matrix product", product),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated, and still what freezes a network
        traced: Any = torch.jit.trace(folded, example)
        ways.append(Way("folded, traced and frozen", torch.jit.optimize_for_inference(traced)))
    if hasattr(torch.ops.mkldnn, "_convolution_transpose_pointwise"):
        ways.append(Way("folded, private fused kernels, last layer a matrix product", _Fused(product)))
    if compile_too:
        ways += compiled("folded, last layer a matrix product, compiled", product)
    return ways


def compiled(name: str, module: nn.Module) -> list[Way]:
    """Return a compiled module as a way, or none where there is no compiler."""
    if shutil.which("c++") is None and shutil.which("g++") is None:
        return []
    return [Way(name, torch.compile(module, dynamic=False, options={"freezing": True}))]


def critic_ways(network: Any) -> list[Way]:
    """Return the ways to run a `ConvCritic` or `DCGANCritic` without labels."""
    laid = copy.deepcopy(network).to(memory_format=torch.channels_last)
    folded = copy.deepcopy(network)
    parts: list[nn.Module] = []
    for part in folded.blocks:
        if isinstance(part, nn.BatchNorm2d) and isinstance(parts[-1], nn.Conv2d):
            parts[-1] = fuse_conv_bn_eval(parts[-1], part)
        else:
            parts.append(nn.LeakyReLU(0.2, inplace=True) if isinstance(part, nn.LeakyReLU) else part)
    folded.blocks = nn.Sequential(*parts)
    folded.requires_grad_(False).eval().to(memory_format=torch.channels_last)
    return [Way("as it is", network), Way("channels last", laid), Way("folded, in place", folded)]
