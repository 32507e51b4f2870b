"""What the trainers share: repeatable starts, weight averages, augmentation, and checks on the way."""

import copy
import math
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.errors import DivergenceError

__all__ = [
    "Average",
    "History",
    "initialised",
    "lay_out",
    "native_bfloat16",
    "settle_batch_norm",
    "shifted",
]

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

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards the module's present weights."""
        self._updates += 1
        decay = min(self.decay, self._updates / (self._updates + 10.0))
        for mine, other in zip(self.module.parameters(), module.parameters(), strict=True):
            mine.lerp_(other, 1.0 - decay)
        for mine, other in zip(self.module.buffers(), module.buffers(), strict=True):
            mine.copy_(other)


@torch.no_grad()
def settle_batch_norm(module: nn.Module, batches: Iterator[Tensor]) -> None:
    """Measure the batch-norm statistics of averaged weights: those of the trained weights do not fit them.

    Args:
        module: left in eval mode.
        batches: inputs of the module, one a batch; the statistics are their plain mean.
    """
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    if norms:
        before = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a cumulative mean
            norm.train()
        for batch in batches:
            module(batch)
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


class History:
    """Training's numbers, averaged between the steps that are recorded.

    Args:
        steps: length of the run; about 200 of its steps are recorded, and always the last.
    """

    def __init__(self, steps: int) -> None:
        self.columns: dict[str, list[float]] = {}
        self._steps = steps
        self._every = max(1, steps // 200)
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, step: int, seconds: float, **values: float) -> None:
        """Count the numbers of step `step`, 1 to `steps`.

        Raises:
            DivergenceError: if one is not finite.
        """
        for name, value in values.items():
            if not math.isfinite(value):
                raise DivergenceError(f"{name} became {value} at step {step}; lower the learning rates or raise r1")
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        if step % self._every and step != self._steps:
            return
        means = {name: total / self._count for name, total in self._sums.items()}
        for name, value in {"step": float(step), "seconds": seconds, **means}.items():
            self.columns.setdefault(name, []).append(value)
        self._sums, self._count = {}, 0
