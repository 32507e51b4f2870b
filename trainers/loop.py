"""What the trainers share: repeatable starts, weight averages, augmentation, and checks on the way."""

import copy
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

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

Made = TypeVar("Made")


def initialised(make: Callable[[], Made], seed: int) -> Made:
    """Return `make()` with initial weights that depend on `seed` alone; torch's global state is restored."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make()


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


class Average:
    """An exponential moving average of a module's weights, in `module`; buffers are copied.

    Args:
        module: the module that trains.
        decay: share of the average that a step keeps, in [0, 1); early on it is less, so that the
            random start is forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self._updates = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights and how many updates they had."""
        return {**self.module.state_dict(), "updates": self._updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        weights = dict(state)
        self._updates = int(weights.pop("updates"))
        self.module.load_state_dict(weights)

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards the module's present weights."""
        self._updates += 1
        decay = min(self.decay, self._updates / (self._updates + 10.0))
        for mine, other in zip(self.module.parameters(), module.parameters(), strict=True):
            mine.lerp_(other, 1.0 - decay)
        for mine, other in zip(self.module.buffers(), module.buffers(), strict=True):
            mine.copy_(other)


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


def shifted(images: Tensor, draws: Tensor, reach: int) -> Tensor:
    """Return images (N, C, H, W), each moved by up to `reach` pixels each way; edges are repeated.

    Args:
        images: the images; gradients flow through.
        draws: (N, 2) uniform in (0, 1); they decide the moves.
        reach: largest move in pixels.

    References:
        Zhao, Liu, Lin, Zhu, Han (2020), "Differentiable augmentation for data-efficient GAN training".
    """
    if reach == 0:
        return images
    n, _, height, width = images.shape
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    corner = (draws * (2 * reach + 1)).long()
    rows = corner[:, 0, None] + torch.arange(height)
    columns = corner[:, 1, None] + torch.arange(width)
    # Indexed in channels-last order, where the channels of a pixel are one run of memory.
    pixels = padded.permute(0, 2, 3, 1)
    return pixels[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
