"""Fully connected networks for points in the plane and other short vectors."""

from typing import ClassVar

from torch import Tensor, nn

from latentkit.nets.critic import FeatureCritic
from latentkit.nets.settings import at_least_single, checked, conditioned

__all__ = ["MLPCritic", "MLPGenerator", "leaky_layers"]


def leaky_layers(in_dim: int, width: int, depth: int) -> nn.Sequential:
    """Return `depth` linear layers of `width` units with leaky ReLUs: (N, in_dim) to (N, width)."""
    layers: list[nn.Module] = []
    for k in range(depth):
        layers += [nn.Linear(width if k else in_dim, width), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)


class MLPGenerator(nn.Module):
    """Turns latents (N, latent_dim) into points (N, out_dim) through `depth` hidden ReLU layers.

    Args:
        latent_dim: size of a latent.
        out_dim: size of a point.
        width: units of each hidden layer.
        depth: number of hidden layers, 1 to 64.
        classes: number of classes to choose from, or 0 for none.

    Raises:
        ArgumentError: if an argument is not a whole number in its range.
    """

    network: ClassVar[str] = "mlp-generator"

    def __init__(self, latent_dim: int, out_dim: int, width: int, depth: int, classes: int = 0) -> None:
        super().__init__()
        self.settings = checked(latent_dim=latent_dim, out_dim=out_dim, width=width, depth=depth, classes=classes)
        self.classes = classes
        layers: list[nn.Module] = []
        for k in range(depth):
            layers += [nn.Linear(width if k else latent_dim + classes, width), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(width, out_dim))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return points (N, out_dim) for latents (N, latent_dim).

        Args:
            z: the latents.
            labels: if there are classes, their numbers (N,), or weights of them (N, classes) as floats.

        Raises:
            LabelError: if there are classes and no fitting labels, or labels and no classes.
        """
        return at_least_single(self.layers(conditioned(z, labels, self.classes)))


class MLPCritic(FeatureCritic):
    """Scores points (N, in_dim): logits (N,), larger means more real.

    Args:
        in_dim: size of a point.
        width: units of each hidden layer.
        depth: number of hidden layers, 1 to 64.
        classes: number of classes, or 0 for none; see `FeatureCritic`.
        spectral: divide the weight of each layer by its largest singular value.
        minibatch_kernels: features that compare a point with its batch, or 0 for none.

    Raises:
        ArgumentError: if an argument is not a whole number in its range.
    """

    network: ClassVar[str] = "mlp-critic"

    def __init__(
        self,
        in_dim: int,
        width: int,
        depth: int,
        classes: int = 0,
        spectral: bool = False,
        minibatch_kernels: int = 0,
    ) -> None:
        super().__init__()
        heads = checked(classes=classes, spectral=spectral, minibatch_kernels=minibatch_kernels)
        self.settings = checked(in_dim=in_dim, width=width, depth=depth) | heads
        self.layers = leaky_layers(in_dim, width, depth)
        self.add_heads(width, **heads)

    def trunk(self, x: Tensor) -> Tensor:
        """Return the last hidden layer (N, width) for points (N, in_dim)."""
        return self.layers(x)
