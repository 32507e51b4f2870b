"""Distributions in the plane whose density is known: mixtures of Gaussians and the Swiss roll.

Trainers draw their points here, and `toy_truth` measures samples against them. Point i of a seed depends on
(seed, i) alone, so a larger set begins with the smaller one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_count, as_latents, as_number, floating, require_finite
from latentkit.errors import ArgumentError

__all__ = ["Located", "Mixture", "SwissRoll", "Toy", "grid25_mixture", "plane_draws", "ring_mixture"]

_NODES = 4_096  # points of the spiral that it is looked up on and integrated over
_BINS = 50
_BLOCK = 2_048


@dataclass(frozen=True, eq=False)
class Located:
    """Where points lie on a toy distribution.

    Attributes: `part` (N,) int64, the number of the nearest mode or stretch; `distance` (N,) float64, how far it is,
    in standard deviations of the noise; `offsets` (N, d) float64, the d coordinates of the noise: both from a mode's
    mean, or the one across a curve.
    """

    part: Tensor
    distance: Tensor
    offsets: Tensor


class Toy(Protocol):
    """A distribution in the plane that consists of parts, with Gaussian noise of one standard deviation."""

    @property
    def sd(self) -> float:
        """Standard deviation of the noise in each coordinate."""
        ...

    @property
    def shares(self) -> Tensor:
        """The parts' shares (K,) float64 of the distribution; their sum is 1."""
        ...

    def sample(self, n: int, seed: int) -> Tensor:
        """Return points (n, 2) float32."""
        ...

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log density (N,) float64 at points (N, 2)."""
        ...

    def locate(self, x: Tensor) -> Located:
        """Return where points (N, 2) lie."""
        ...


def plane_draws(n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return uniforms (n, 2) in (0, 1) and standard normals (n, 2): what a point is made of."""
    from scipy.special import ndtri

    u = streams.uniform(as_count(n, "n"), 4, seed=seed, stream=streams.DATA)
    return u[:, :2], ndtri(u[:, 2:])


def _distances(points: Tensor, places: Tensor) -> Tensor:
    """Return the distances (N, K) from points (N, 2) to places (K, 2), by differences, which keep all digits."""
    return torch.cdist(points, places, compute_mode="donot_use_mm_for_euclid_dist")


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of round Gaussians in the plane.

    Args:
        means: (K, 2), kept as float64.
        sd: standard deviation of each coordinate around a mean, above 0.
        weights: (K,) relative weights of the modes, above 0 (kept as float64); None for equal ones.

    Raises:
        ShapeError: if the means are not (K, 2).
        ArgumentError: if there is not one weight above 0 a mode, or `sd` is not above 0.

    Examples:
        >>> pair = Mixture([[-1, 0], [1, 0]], sd=0.1, weights=[1, 3])
        >>> pair.shares.tolist(), pair.sample(5, seed=0).shape
        ([0.25, 0.75], torch.Size([5, 2]))
    """

    means: Tensor
    sd: float
    weights: Tensor

    def __init__(self, means: Tensor | Sequence, sd: float, weights: Tensor | Sequence[float] | None = None) -> None:
        places = as_latents(means, 2, "means").double().cpu()
        shown = floating(torch.ones(len(places)) if weights is None else weights, "weights").double().cpu()
        if shown.shape != (len(places),) or not bool((shown > 0.0).all()):
            raise ArgumentError(f"weights must be {len(places)} numbers above 0, one a mode, got {shown.tolist()}")
        object.__setattr__(self, "means", places)
        object.__setattr__(self, "sd", as_number(sd, "sd", least=0.0, open_least=True))
        object.__setattr__(self, "weights", require_finite(shown[:, None], "weights")[:, 0])

    @property
    def shares(self) -> Tensor:
        """The modes' shares (K,) float64; their sum is 1."""
        return self.weights / self.weights.sum()

    def draw(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """Return points (n, 2) float32 and the modes (n,) int64 that they are of."""
        u, g = plane_draws(n, seed)
        # Sums of whole weights are exact, so that equal ones split [0, 1] evenly.
        edges = (self.weights.cumsum(0) / self.weights.sum()).numpy()[:-1]
        mode = np.searchsorted(edges, u[:, 0], side="right")
        points = self.means.numpy()[mode] + self.sd * g
        return torch.from_numpy(points).to(torch.float32), torch.from_numpy(mode.astype(np.int64))

    def sample(self, n: int, seed: int) -> Tensor:
        """Return points (n, 2) float32."""
        return self.draw(n, seed)[0]

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log density (N,) float64 at points (N, 2)."""
        points = as_latents(x, 2, "points").double().cpu()
        squared = _distances(points, self.means).square_() / self.sd**2
        return torch.logsumexp(self.shares.log() - 0.5 * squared, 1) - math.log(2.0 * math.pi * self.sd**2)

    def locate(self, x: Tensor) -> Located:
        """Return the nearest mode of points (N, 2), and how they lie around its mean."""
        points = as_latents(x, 2, "points").double().cpu()
        part = _distances(points, self.means).argmin(1)
        offsets = points - self.means[part]
        return Located(part, offsets.norm(dim=1) / self.sd, offsets)


def grid25_mixture() -> Mixture:
    """Return 25 equal Gaussians of standard deviation 0.05 on {-2, ..., 2}^2; mode 5 i + j is at (i - 2, j - 2)."""
    k = torch.arange(25)
    return Mixture(torch.stack([k // 5 - 2, k % 5 - 2], 1).double(), 0.05)


def ring_mixture(weights: Sequence[float] | None = None) -> Mixture:
    """Return 8 Gaussians of standard deviation 0.02 on a circle of radius 2; mode k is at 45 k degrees.

    Args:
        weights: (8,) relative weights; None for equal ones.
    """
    angle = 2.0 * np.pi * np.arange(8) / 8
    means = np.stack([2.0 * np.cos(angle), 2.0 * np.sin(angle)], axis=1)
    return Mixture(torch.from_numpy(means), 0.02, weights)


@dataclass(frozen=True)
class SwissRoll:
    """A spiral of one and a half turns with radius 0.8 to 2.4, even in its angle, with Gaussian noise.

    Its parts are 50 stretches of equal probability, from the inner end to the outer one.

    Args:
        sd: standard deviation of the noise in each coordinate, above 0.

    Raises:
        ArgumentError: if `sd` is not above 0.
    """

    sd: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "sd", as_number(self.sd, "sd", least=0.0, open_least=True))

    @property
    def shares(self) -> Tensor:
        """The stretches' shares (50,) float64, all equal."""
        return torch.full((_BINS,), 1.0 / _BINS, dtype=torch.float64)

    def curve(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the points (N, 2) of the spiral at u (N,) in [0, 1], along which it is even."""
        angle = 1.5 * np.pi * (1.0 + 2.0 * u)
        radius = 2.4 * angle / (4.5 * np.pi)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)

    def sample(self, n: int, seed: int) -> Tensor:
        """Return points (n, 2) float32."""
        u, g = plane_draws(n, seed)
        return torch.from_numpy(self.curve(u[:, 0]) + self.sd * g).to(torch.float32)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log density (N,) float64 at points (N, 2), by the midpoint rule along the spiral."""
        points = as_latents(x, 2, "points").double().cpu()
        nodes = torch.from_numpy(self.curve((np.arange(_NODES) + 0.5) / _NODES))
        parts = []
        for some in points.split(_BLOCK):
            squared = _distances(some, nodes).square_() / self.sd**2
            parts.append(torch.logsumexp(-0.5 * squared, 1))
        return torch.cat(parts) - math.log(_NODES * 2.0 * math.pi * self.sd**2)

    def locate(self, x: Tensor) -> Located:
        """Return the stretch of the spiral that is nearest to points (N, 2), and how they lie across it."""
        points = as_latents(x, 2, "points").double().cpu().numpy()
        u = self._nearest(points)
        gap, along = points - self.curve(u), self._tangent(u)
        across = (gap[:, 0] * along[:, 1] - gap[:, 1] * along[:, 0]) / np.linalg.norm(along, axis=1)
        part = torch.from_numpy(np.minimum(u * _BINS, _BINS - 1).astype(np.int64))
        distance = torch.from_numpy(np.linalg.norm(gap, axis=1)) / self.sd
        return Located(part, distance, torch.from_numpy(across)[:, None])

    def _tangent(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the derivatives (N, 2) of the spiral by u."""
        angle = 1.5 * np.pi * (1.0 + 2.0 * u)
        outwards = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        around = np.stack([-angle * np.sin(angle), angle * np.cos(angle)], axis=1)
        return 3.0 * np.pi * 2.4 / (4.5 * np.pi) * (outwards + around)

    def _nearest(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the parameter (N,) of the nearest point of the spiral: the nearest node, then bisection."""
        from scipy.spatial import KDTree

        nodes = np.linspace(0.0, 1.0, _NODES)
        u = nodes[KDTree(self.curve(nodes)).query(points)[1]]
        low, high = np.maximum(u - nodes[1], 0.0), np.minimum(u + nodes[1], 1.0)
        for _ in range(30):
            u = (low + high) / 2.0
            ahead = ((points - self.curve(u)) * self._tangent(u)).sum(1) > 0.0
            low, high = np.where(ahead, u, low), np.where(ahead, high, u)
        return (low + high) / 2.0
