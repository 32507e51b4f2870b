"""Tricks of the 2016 tutorial that are neither a loss nor a layer: feature matching and historical averaging.

References:
    Salimans et al. (2016), "Improved techniques for training GANs", sections 3.1 and 3.3.
"""

from typing import Any

import torch
from torch import Tensor, nn

from trainers.distributed import Group

__all__ = ["PastMean", "feature_distance"]


def feature_distance(real: Tensor, fake: Tensor, group: Group) -> Tensor:
    """Return the squared distance between the mean features of real and of generated samples, (N, F) each."""
    return (group.mean_of(fake.float().mean(0)) - group.mean_of(real.float().mean(0)).detach()).square().sum()


class PastMean:
    """The mean of a module's weights over all steps so far."""

    def __init__(self, module: nn.Module) -> None:
        self._means = [parameter.detach().clone() for parameter in module.parameters()]
        self._count = 1

    def distance(self, module: nn.Module) -> Tensor:
        """Return the squared distance of the module's weights from their past mean, differentiable."""
        pairs = zip(module.parameters(), self._means, strict=True)
        return torch.stack([(parameter - mean).square().sum() for parameter, mean in pairs]).sum()

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Count the present weights."""
        self._count += 1
        for mean, parameter in zip(self._means, module.parameters(), strict=True):
            mean.lerp_(parameter, 1.0 / self._count)

    def state_dict(self) -> dict[str, Any]:
        """Return what a snapshot holds."""
        return {**{str(k): mean for k, mean in enumerate(self._means)}, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        self._count = int(state["count"])
        for k, mean in enumerate(self._means):
            mean.copy_(state[str(k)])
