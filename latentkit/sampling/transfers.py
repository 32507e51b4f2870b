"""Results on their way from a device to the CPU while the device works on the next ones."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["brought_back", "sent"]


def sent(part: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return a tensor of the CPU on a device; on its way there, the caller does not wait for it."""
    if device.type == "cpu" or part.device.type != "cpu":
        return part.to(device, dtype)
    return _pinned(part.to(dtype), device).to(device, non_blocking=True)


def brought_back(results: Iterator[tuple[Tensor, ...]]) -> Iterator[tuple[Tensor, ...]]:
    """Yield tuples of tensors on the CPU, in order.

    Those that are there already pass as they are, one at a time. Of a device, the copies go through pinned memory on a
    stream of their own, and the next result is asked for before one is waited for, so that copying and the device's
    work overlap; two results are then alive at a time.

    Args:
        results: launched on their device's current stream, all tensors of a tuple on one device.
    """
    waiting: tuple[Any, tuple[Tensor, ...]] | None = None
    stream: Any = None
    for result in results:
        device = result[0].device
        if _is_at_hand(device):
            yield tuple(part.detach() for part in result)
            continue
        module = torch.get_device_module(device)
        stream = module.Stream(device=device) if stream is None else stream
        stream.wait_stream(module.current_stream(device))
        with module.stream(stream):
            parts = tuple(_copy_begun(part.detach(), stream) for part in result)
            event = module.Event()
            event.record(stream)
        if waiting is not None:
            yield _arrived(*waiting)
        waiting = (event, parts)
    if waiting is not None:
        yield _arrived(*waiting)


def _is_at_hand(device: torch.device) -> bool:
    return device.type == "cpu"


def _copy_begun(part: Tensor, stream: Any) -> Tensor:
    """Return memory of the CPU into which a tensor is being copied."""
    target = torch.empty(part.shape, dtype=part.dtype, pin_memory=part.device.type == "cuda")
    target.copy_(part, non_blocking=True)
    if part.device.type != "cpu":
        part.record_stream(stream)  # its memory is given to nobody else before it was copied
    return target


def _arrived(event: Any, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return copies in plain memory: pinned memory is scarce, and who gets them may keep them."""
    event.synchronize()
    return tuple(part.clone() if part.is_pinned() else part for part in parts)


def _pinned(part: Tensor, device: torch.device) -> Tensor:
    return part.pin_memory() if device.type == "cuda" else part
