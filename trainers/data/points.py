"""Distributions in the plane whose truth is known in closed form.

Point i of a seed depends on (seed, i) alone, so a larger set begins with the smaller one.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentkit.metrics.toys import Mixture, SwissRoll, grid25_mixture, plane_draws, ring_mixture
from trainers.data.dataset import Data

__all__ = ["gaussian_curve", "grid25", "imbalanced_ring", "moons", "parabola", "ring", "swiss_roll"]

Array = NDArray[np.float64]

_DEGREES = tuple(f"{45 * k} degrees" for k in range(8))


def _data(name: str, x: Array, y: Array, labels: NDArray[Any] | None = None, classes: tuple[str, ...] = ()) -> Data:
    samples = torch.from_numpy(np.stack([x, y], axis=1)).to(torch.float32)
    return Data(name, samples, None if labels is None else torch.from_numpy(labels.astype(np.int64)), classes)


def _modes(name: str, mixture: Mixture, n: int, seed: int, classes: tuple[str, ...]) -> Data:
    return Data(name, *mixture.draw(n, seed), classes)


def parabola(n: int = 20_000, seed: int = 0) -> Data:
    """Return points (x, x^2 - 2) with x uniform in [-2, 2].

    Examples:
        >>> x, y = parabola(n=5).samples.T
        >>> bool(((x**2 - 2 - y).abs() < 1e-6).all())
        True
    """
    u, _ = plane_draws(n, seed)
    x = 4.0 * u[:, 0] - 2.0
    return _data("parabola", x, x**2 - 2.0)


def gaussian_curve(n: int = 20_000, seed: int = 0) -> Data:
    """Return points (x, 3 exp(-x^2) - 1.5) with x uniform in [-2.5, 2.5]: a bell, without noise."""
    u, _ = plane_draws(n, seed)
    x = 5.0 * u[:, 0] - 2.5
    return _data("gaussian-curve", x, 3.0 * np.exp(-(x**2)) - 1.5)


def ring(n: int = 20_000, seed: int = 0) -> Data:
    """Return eight Gaussians of standard deviation 0.02 on a circle of radius 2; labels are the modes."""
    return _modes("ring", ring_mixture(), n, seed, _DEGREES)


def imbalanced_ring(n: int = 20_000, seed: int = 0) -> Data:
    """Return the eight Gaussians of `ring` with weights in the ratio 1 : 2 : ... : 8, from 0 degrees on."""
    return _modes("imbalanced-ring", ring_mixture(range(1, 9)), n, seed, _DEGREES)


def grid25(n: int = 50_000, seed: int = 0) -> Data:
    """Return 25 Gaussians of standard deviation 0.05 with means {-2, ..., 2}^2; labels are the modes."""
    return _modes("grid25", grid25_mixture(), n, seed, tuple(f"({k // 5 - 2}, {k % 5 - 2})" for k in range(25)))


def swiss_roll(n: int = 20_000, seed: int = 0) -> Data:
    """Return a spiral of one and a half turns, radius 0.8 to 2.4, with noise of standard deviation 0.05."""
    return Data("swiss-roll", SwissRoll().sample(n, seed))


def moons(n: int = 20_000, seed: int = 0) -> Data:
    """Return two interleaved half circles of radius 1.5, noise 0.1; labels say which."""
    u, g = plane_draws(n, seed)
    lower = u[:, 0] >= 0.5
    angle = np.pi * u[:, 1]
    x = np.where(lower, 0.75 - 1.5 * np.cos(angle), 1.5 * np.cos(angle) - 0.75)
    y = np.where(lower, 0.375 - 1.5 * np.sin(angle), 1.5 * np.sin(angle) - 0.375)
    return _data("moons", x + 0.1 * g[:, 0], y + 0.1 * g[:, 1], lower, ("upper", "lower"))
