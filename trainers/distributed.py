"""One training on several processes: each takes its share of every batch, and all make the same step.

Start it with torchrun; `joined_group` reads what torchrun sets. Every batch is the same set of rows and
latents as in one process, so the result is that of one process up to the rounding of sums.
"""

import copy
import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from latentkit.errors import ArgumentError

__all__ = ["Group", "SharedBatchNorm2d", "joined_group"]

#: What asks for buffers to be sent around before each step, which are equal by themselves here; PyTorch renames it.
_OWN_BUFFERS = (
    "forward_sync_buffers"
    if "forward_sync_buffers" in inspect.signature(nn.parallel.DistributedDataParallel).parameters
    else "broadcast_buffers"
)


class Group:
    """The processes that train together; one of them by default."""

    def __init__(self) -> None:
        joined = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if joined else 0
        self.size = dist.get_world_size() if joined else 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Return which of a batch's `count` samples are this process's.

        Raises:
            ArgumentError: if they cannot be shared evenly.
        """
        if count % self.size:
            raise ArgumentError(f"batch_size must be a multiple of the {self.size} processes, got {count}")
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def parallel(self, module: nn.Module) -> nn.Module:
        """Return the module to train through: gradients and batch statistics are those of all processes."""
        if self.size == 1:
            return module
        share_batch_norm(module)
        parallel: Any = nn.parallel.DistributedDataParallel
        return parallel(module, **{_OWN_BUFFERS: False})

    def mean(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Return scalars averaged over the processes, as floats."""
        stacked = torch.stack([value.detach().float().reshape(()) for value in values.values()])
        if self.size > 1:
            dist.all_reduce(stacked)
            stacked /= self.size
        return dict(zip(values, stacked.tolist(), strict=True))

    def mean_of(self, value: Tensor) -> Tensor:
        """Return a tensor averaged over the processes, differentiable."""
        return value if self.size == 1 else _sum(value) / self.size

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in some process."""
        if self.size == 1:
            return flag
        shared = torch.tensor(float(flag))
        dist.all_reduce(shared)
        return bool(shared > 0)


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose statistics in training are those of the batches of all processes, on any device."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the input (N, C, H, W), normalised a channel."""
        x = input
        if not self.training or not dist.is_initialized():
            return super().forward(x)
        count = torch.tensor([float(x.numel() // x.shape[1])], device=x.device)
        total = _sum(torch.cat([x.float().sum((0, 2, 3)), count]))
        mean, size = total[:-1] / total[-1], total[-1].detach()
        centred = x.float() - mean[:, None, None]
        variance = _sum(centred.square().sum((0, 2, 3))) / size
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked += 1
                step = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean, step)
                self.running_var.lerp_(variance * size / (size - 1), step)
        scale = torch.rsqrt(variance + self.eps)
        if self.affine:
            return (centred * (scale * self.weight)[:, None, None] + self.bias[:, None, None]).to(x.dtype)
        return (centred * scale[:, None, None]).to(x.dtype)


class _Sum(torch.autograd.Function):
    """The sum of a tensor over the processes; so is its gradient, since every process uses the sum."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        value = value.clone()
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _sum(gradients[0])  # which can be differentiated again


def _sum(value: Tensor) -> Tensor:
    summed: Any = _Sum.apply(value)
    return summed


def share_batch_norm(module: nn.Module) -> None:
    """Make the batch norms of a module shared ones, in place; weights, buffers and their names stay."""
    _turn(module, nn.BatchNorm2d, SharedBatchNorm2d)


def alone(module: nn.Module) -> nn.Module:
    """Return a copy of a module that one process can use by itself."""
    single = copy.deepcopy(module)
    _turn(single, SharedBatchNorm2d, nn.BatchNorm2d)
    return single


def _turn(module: nn.Module, before: type[nn.Module], after: type[nn.Module]) -> None:
    part: Any
    for part in module.modules():
        if type(part) is before:
            part.__class__ = after


@contextmanager
def joined_group() -> Iterator[Group]:
    """Join the processes that torchrun started, for the block; without torchrun this process is alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or not dist.is_available() or dist.is_initialized():
        yield Group()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    # Both: the processes agree on flags and figures that live on the CPU, whatever trains elsewhere.
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Group()
    finally:
        dist.destroy_process_group()
