"""What the trainers share: how steps are made, where weights lie, and how batch norms settle."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from latentkit.nets.fitting import Average, initialised, shifted

__all__ = [
    "SETTLING_BATCHES",
    "Average",
    "adam",
    "descend",
    "initialised",
    "lay_out",
    "native_bfloat16",
    "on_cpu",
    "settle_batch_norm",
    "shifted",
]

SETTLING_BATCHES = 20  # on which the batch norms of averaged weights are measured


def native_bfloat16(device: str) -> bool:
    """Whether the device multiplies bfloat16 in hardware; elsewhere it is slower than float32."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def lay_out(module: nn.Module, memory_format: torch.memory_format) -> None:
    """Give the convolutions' weights a memory format, in place: channels-last ones are multiplied faster."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=memory_format)


def on_cpu(*modules: nn.Module) -> None:
    """Bring modules to the CPU as a checkpoint holds them: in eval mode, contiguous, without gradients; in place."""
    for module in modules:
        lay_out(module.to("cpu").eval().requires_grad_(False), torch.contiguous_format)


def adam(module: nn.Module, rate: float, config: Any) -> torch.optim.Optimizer:
    """Return Adam for a module, with the settings' `beta1` and `beta2`."""
    return torch.optim.Adam(module.parameters(), rate, (config.beta1, config.beta2), fused=True)


def descend(loss: Tensor, optimiser: torch.optim.Optimizer, module: nn.Module) -> Tensor:
    """Make one step of an optimiser down a loss, and return the norm of the module's gradient."""
    optimiser.zero_grad()
    loss.backward()
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    optimiser.step()
    return norm


@torch.no_grad()
def settle_batch_norm(module: nn.Module, batches: Iterator[tuple[Tensor, ...]]) -> None:
    """Measure the batch-norm statistics of averaged weights: those of the trained weights do not fit them.

    Args:
        module: left in eval mode.
        batches: arguments of the module, one tuple a batch; the statistics are their plain mean.
    """
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    if norms:
        before = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a cumulative mean
            norm.train()
        for batch in batches:
            module(*batch)
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum
    module.eval()
