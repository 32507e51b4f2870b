"""A critic for points of few dimensions whose density ratio changes within a small part of their range.

A network of ReLUs learns the smooth part of a function of few variables first and its fine part hardly ever. Sines
of the input at many frequencies, from one wave over the whole range to many, put both within reach.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor

from latentkit.nets.critic import FeatureCritic
from latentkit.nets.mlp import leaky_layers
from latentkit.nets.settings import checked

__all__ = ["FourierCritic"]

#: The lowest frequency in radians a standard deviation: a tenth of a wave over the bulk of the points.
COARSEST = 0.5


class FourierCritic(FeatureCritic):
    """Scores points (N, in_dim) through sines and cosines of them: logits (N,), larger means more real.

    The hidden layers see the standardised point u, and sin and cos of `waves` random directions of u. Directions are
    uniform on the sphere, frequencies log-uniform from 0.5 to `finest` radians a standard deviation.

    Args:
        in_dim: size of a point.
        waves: number of random directions.
        finest: highest frequency, at least 1: what is finer than 1 / finest standard deviations is learned slowly.
        width: units of each hidden layer.
        depth: number of hidden layers, 1 to 64.

    Raises:
        ArgumentError: if an argument is not a whole number in its range.

    References:
        Rahimi, Recht (2007), "Random features for large-scale kernel machines".
        Tancik et al. (2020), "Fourier features let networks learn high frequency functions in low dimensional
        domains", section 5.
    """

    network: ClassVar[str] = "fourier-critic"
    middle: Tensor
    spread: Tensor
    frequencies: Tensor

    def __init__(self, in_dim: int, waves: int, finest: int, width: int, depth: int) -> None:
        super().__init__()
        self.settings = checked(in_dim=in_dim, waves=waves, finest=finest, width=width, depth=depth)
        directions = torch.nn.functional.normalize(torch.randn(in_dim, waves), dim=0)
        octaves = torch.rand(waves) * math.log(finest / COARSEST)
        self.register_buffer("middle", torch.zeros(in_dim))
        self.register_buffer("spread", torch.ones(in_dim))
        self.register_buffer("frequencies", directions * COARSEST * torch.exp(octaves))
        self.layers = leaky_layers(in_dim + 2 * waves, width, depth)
        self.add_heads(width, classes=0, spectral=False, minibatch_kernels=0)

    def standardise(self, middle: Tensor, spread: Tensor) -> None:
        """Set the mean (in_dim,) and the standard deviation (in_dim,), above 0, of the points to come."""
        self.middle.copy_(middle)
        self.spread.copy_(spread)

    def trunk(self, x: Tensor) -> Tensor:
        """Return the last hidden layer (N, width) for points (N, in_dim)."""
        u = (x - self.middle) / self.spread
        phase = u @ self.frequencies
        # Of unit variance, as u is.
        return self.layers(torch.cat([u, math.sqrt(2.0) * phase.sin(), math.sqrt(2.0) * phase.cos()], 1))
