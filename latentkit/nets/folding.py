"""Batch norm folded into the layer before it, and other changes that leave a network in eval mode what it computes.

In eval mode batch norm is y = (x - mean) w / sqrt(var + eps) + b, a scale and a shift for each channel. Where x is the
output of a convolution or a linear layer and goes nowhere else, its weights and bias can take both in. Where that is
certain is read from the structure alone: within an `nn.Sequential`, and within what a network names in `in_order`.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from latentkit.nets.transposed import RunningConvTranspose2d, running

__all__ = ["fold", "halve"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, RunningConvTranspose2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_PASSING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)  # in eval mode they return what they get
_ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ReLU6, nn.ELU, nn.CELU, nn.SELU, nn.SiLU, nn.Mish, nn.Hardtanh, nn.Hardswish)


class _Place(NamedTuple):
    """A module and where it hangs."""

    parent: nn.Module
    name: str
    module: nn.Module


def fold(network: nn.Module, *, kernels: bool = True) -> None:
    """Make a network faster in eval mode, in place; what it returns there stays the same to float rounding.

    Parametrised weights, such as spectrally normalised ones, become plain ones. Batch norm goes into the layer before
    it, activations of what nobody else reads work in place, transposed convolutions run by the fastest way and do the
    ReLU after them, and weights of convolutions of images lie as their kernels read them. What is shared by several
    places, or is of a class that is not known here, stays as it is.

    Args:
        network: in eval mode; a copy of its own, since it can't be trained afterwards.
        kernels: use torch's own names for oneDNN's kernels, which other versions of it may lack.
    """
    parts = list(network.modules())
    for part in parts:
        _unparametrised(part)
    uses = Counter(id(child) for part in network.modules() for child in part._modules.values() if child is not None)
    for part in parts:
        running(part, kernels=kernels)
        _lay_out(part)
    for part in parts:
        chain = list(_chain(part, uses))
        if len(chain) > 1:
            _fold_chain(chain)
            _rectify(chain)
            _work_in_place(chain)


def _unparametrised(part: nn.Module) -> None:
    if not parametrize.is_parametrized(part):
        return
    # Not remove_parametrizations: that takes the property from a class that copies share with their original.
    names = [name for name, _ in part.get_submodule("parametrizations").named_children()]
    values = {name: getattr(part, name).detach().clone() for name in names}
    part.__class__ = parametrize.type_before_parametrizations(part)
    del part._modules["parametrizations"]
    for name, value in values.items():
        part.register_parameter(name, nn.Parameter(value, requires_grad=False))


def _is_sequence(part: nn.Module) -> bool:
    return isinstance(part, nn.Sequential) and type(part).forward is nn.Sequential.forward


def _chain(part: nn.Module, uses: Counter[int]) -> Iterator[_Place]:
    """Yield the modules, each of which takes what the one before returns, and nothing else does."""
    named = getattr(type(part), "in_order", None)
    children = part._modules
    if _is_sequence(part):
        names = list(children)
    elif isinstance(named, tuple) and all(children.get(name) is not None for name in named):
        names = list(named)
    else:
        return
    for name in names:
        child = children[name]
        if child is None:
            continue
        # A sequence that hangs in two places has two neighbours.
        if _is_sequence(child) and uses[id(child)] == 1:
            yield from _chain(child, uses)
        elif uses[id(child)] == 1:
            yield _Place(part, name, child)
        else:
            yield _Place(part, name, nn.Module())  # known to nobody: whatever is beside it stays as it is


def _fold_chain(chain: list[_Place]) -> None:
    layer: nn.Module | None = None
    reshaped = False
    for place in chain:
        kind = type(place.module)
        if kind in (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear):
            layer, reshaped = place.module, False
        elif isinstance(place.module, _NORMS) and kind in _NORMS:
            if layer is not None and _take_in(layer, place.module, reshaped):
                place.parent._modules[place.name] = nn.Identity().eval()
            else:
                layer = None
        elif kind is nn.Unflatten and type(layer) is nn.Linear:
            reshaped = getattr(place.module, "dim", None) == 1
            layer = layer if reshaped else None
        elif kind not in _PASSING:
            layer = None


def _take_in(layer: nn.Module, norm: nn.modules.batchnorm._BatchNorm, reshaped: bool) -> bool:
    """Let a layer do what the batch norm of its output does; return False if it can't."""
    mean, var = norm.running_mean, norm.running_var
    weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
    if mean is None or var is None or not isinstance(weight, Tensor):
        return False  # it takes the statistics of each batch
    if weight.dtype not in (torch.float32, torch.float64) or mean.dtype != weight.dtype:
        return False
    across = type(layer) in _TRANSPOSED  # their weights are (in, out, ...)
    outputs = weight.shape[int(across)]
    if (across and getattr(layer, "groups", 1) > 1) or outputs % norm.num_features:
        return False
    each = outputs // norm.num_features
    # The outputs of a linear layer that become maps are those of one channel after those of another.
    if each > 1 and not (type(layer) is nn.Linear and (reshaped or type(norm) is not nn.BatchNorm1d)):
        return False
    scale = torch.rsqrt(var.double() + norm.eps)
    scale = scale if norm.weight is None else scale * norm.weight.double()
    shift = -mean.double() * scale if norm.bias is None else norm.bias.double() - mean.double() * scale
    scale, shift = scale.repeat_interleave(each), shift.repeat_interleave(each)
    if bias is not None:
        shift = shift + bias.double() * scale
    columns = scale.reshape([1, -1, *[1] * (weight.ndim - 2)] if across else [-1, *[1] * (weight.ndim - 1)])
    layer.register_parameter("weight", nn.Parameter(weight.detach() * columns.to(weight.dtype), requires_grad=False))
    layer.register_parameter("bias", nn.Parameter(shift.to(weight.dtype), requires_grad=False))
    return True


def _rectify(chain: list[_Place]) -> None:
    """Let transposed convolutions do the ReLU that follows them."""
    layer: nn.Module | None = None
    for place in chain:
        shared = type(place.module) is nn.Module
        module = place.module if shared else place.parent._modules[place.name]  # what was folded is gone by now
        if isinstance(layer, RunningConvTranspose2d) and type(module) is nn.ReLU:
            layer.rectified = True
            place.parent._modules[place.name] = nn.Identity().eval()
        elif type(module) in _PASSING:
            continue
        layer = module


def _work_in_place(chain: list[_Place]) -> None:
    fresh = False  # whether what comes is a tensor that only the next module reads
    for place in chain:
        kind = type(place.module)
        if kind in _ACTIVATIONS:
            if fresh:
                setattr(place.module, "inplace", True)  # noqa: B010
            fresh = fresh or not getattr(place.module, "inplace", False)
        elif kind not in _PASSING:
            fresh = kind in (*_CONVOLUTIONS, *_TRANSPOSED, *_NORMS, nn.Linear)


def _lay_out(part: nn.Module) -> None:
    # Elsewhere than on a processor, what layout suits float32 depends on the device.
    if isinstance(part, nn.Conv2d | nn.ConvTranspose2d) and part.weight.device.type == "cpu":
        # Not weight.contiguous(): of one channel that keeps strides which don't say that channels are last.
        cast(Any, part).to(memory_format=torch.channels_last)


def halve(network: nn.Module) -> None:
    """Let the weights of layers that an autocast runs in bfloat16 be in it, in place, so that no call converts them."""
    for part in network.modules():
        if type(part) in (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear):
            for name, value in list(part.named_parameters(recurse=False)):
                if value.dtype == torch.float32:
                    part.register_parameter(name, nn.Parameter(value.detach().bfloat16(), requires_grad=False))
