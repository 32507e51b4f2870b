"""What fitting a network needs, whatever it learns: a repeatable start, averaged weights, shifted images."""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Average", "initialised", "shifted"]

Made = TypeVar("Made")


def initialised(make: Callable[[], Made], seed: int) -> Made:
    """Return `make()` with initial weights that depend on `seed` alone; torch's global state is restored."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make()


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
