"""Fully connected networks for points in the plane and other short vectors."""

from typing import Any, ClassVar

from torch import Tensor, nn

from latentkit.checks import as_count
from latentkit.errors import ArgumentError

__all__ = ["MLPCritic", "MLPGenerator"]

_MOST_LAYERS = 64


def _checked(**settings: Any) -> dict[str, int]:
    counts = {name: as_count(value, name) for name, value in settings.items()}
    if counts["depth"] > _MOST_LAYERS:
        raise ArgumentError(f"depth must be at most {_MOST_LAYERS}, got {counts['depth']}")
    return counts


class MLPGenerator(nn.Module):
    """Turns latents (N, latent_dim) into points (N, out_dim) through `depth` hidden ReLU layers.

    Args:
        latent_dim: size of a latent.
        out_dim: size of a point.
        width: units of each hidden layer.
        depth: number of hidden layers, 1 to 64.

    Raises:
        ArgumentError: if an argument is not a whole number in its range.
    """

    network: ClassVar[str] = "mlp-generator"

    def __init__(self, latent_dim: int, out_dim: int, width: int, depth: int) -> None:
        super().__init__()
        self.settings = _checked(latent_dim=latent_dim, out_dim=out_dim, width=width, depth=depth)
        layers: list[nn.Module] = []
        for k in range(depth):
            layers += [nn.Linear(width if k else latent_dim, width), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(width, out_dim))

    def forward(self, z: Tensor) -> Tensor:
        """Return points (N, out_dim) for latents (N, latent_dim)."""
        return self.layers(z)


class MLPCritic(nn.Module):
    """Scores points (N, in_dim): logits (N,), larger means more real.

    Args:
        in_dim: size of a point.
        width: units of each hidden layer.
        depth: number of hidden layers, 1 to 64.

    Raises:
        ArgumentError: if an argument is not a whole number in its range.
    """

    network: ClassVar[str] = "mlp-critic"

    def __init__(self, in_dim: int, width: int, depth: int) -> None:
        super().__init__()
        self.settings = _checked(in_dim=in_dim, width=width, depth=depth)
        layers: list[nn.Module] = []
        for k in range(depth):
            layers += [nn.Linear(width if k else in_dim, width), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.score = nn.Linear(width, 1)

    def features(self, x: Tensor) -> Tensor:
        """Return the last hidden layer (N, width) for points (N, in_dim)."""
        return self.layers(x)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N,) for points (N, in_dim)."""
        return self.score(self.features(x))[:, 0]
