"""Distributions in the plane whose truth is known in closed form.

Point i of a seed depends on (seed, i) alone, so a larger set begins with the smaller one.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentkit import streams
from latentkit.checks import as_count
from trainers.data.dataset import Data

__all__ = ["gaussian_curve", "grid25", "moons", "parabola", "ring", "swiss_roll"]

Array = NDArray[np.float64]


def _draws(n: int, seed: int) -> tuple[Array, Array]:
    """Return uniforms (n, 2) and standard normals (n, 2)."""
    from scipy.special import ndtri

    u = streams.uniform(as_count(n, "n"), 4, seed=seed, stream=streams.DATA)
    return u[:, :2], ndtri(u[:, 2:])


def _data(name: str, x: Array, y: Array, labels: NDArray[Any] | None = None, classes: tuple[str, ...] = ()) -> Data:
    samples = torch.from_numpy(np.stack([x, y], axis=1)).to(torch.float32)
    return Data(name, samples, None if labels is None else torch.from_numpy(labels.astype(np.int64)), classes)


def parabola(n: int = 20_000, seed: int = 0) -> Data:
    """Return points (x, x^2 - 2) with x uniform in [-2, 2].

    Examples:
        >>> x, y = parabola(n=5).samples.T
        >>> bool(((x**2 - 2 - y).abs() < 1e-6).all())
        True
    """
    u, _ = _draws(n, seed)
    x = 4.0 * u[:, 0] - 2.0
    return _data("parabola", x, x**2 - 2.0)


def gaussian_curve(n: int = 20_000, seed: int = 0) -> Data:
    """Return points (x, 3 exp(-x^2) - 1.5) with x uniform in [-2.5, 2.5]: a bell, without noise."""
    u, _ = _draws(n, seed)
    x = 5.0 * u[:, 0] - 2.5
    return _data("gaussian-curve", x, 3.0 * np.exp(-(x**2)) - 1.5)


def ring(n: int = 20_000, seed: int = 0) -> Data:
    """Return eight Gaussians of standard deviation 0.02 on a circle of radius 2; labels are the modes."""
    u, g = _draws(n, seed)
    mode = np.floor(8 * u[:, 0])
    angle = 2.0 * np.pi * mode / 8
    x, y = 2.0 * np.cos(angle) + 0.02 * g[:, 0], 2.0 * np.sin(angle) + 0.02 * g[:, 1]
    return _data("ring", x, y, mode, tuple(f"{45 * k} degrees" for k in range(8)))


def grid25(n: int = 50_000, seed: int = 0) -> Data:
    """Return 25 Gaussians of standard deviation 0.05 with means {-2, ..., 2}^2; labels are the modes."""
    u, g = _draws(n, seed)
    mode = np.floor(25 * u[:, 0])
    x, y = mode // 5 - 2 + 0.05 * g[:, 0], mode % 5 - 2 + 0.05 * g[:, 1]
    return _data("grid25", x, y, mode, tuple(f"({k // 5 - 2}, {k % 5 - 2})" for k in range(25)))


def swiss_roll(n: int = 20_000, seed: int = 0) -> Data:
    """Return a spiral of one and a half turns, radius 0.8 to 2.4, with noise of standard deviation 0.05."""
    u, g = _draws(n, seed)
    angle = 1.5 * np.pi * (1.0 + 2.0 * u[:, 0])
    radius = 2.4 * angle / (4.5 * np.pi)
    return _data("swiss-roll", radius * np.cos(angle) + 0.05 * g[:, 0], radius * np.sin(angle) + 0.05 * g[:, 1])


def moons(n: int = 20_000, seed: int = 0) -> Data:
    """Return two interleaved half circles of radius 1.5, noise 0.1; labels say which."""
    u, g = _draws(n, seed)
    lower = u[:, 0] >= 0.5
    angle = np.pi * u[:, 1]
    x = np.where(lower, 0.75 - 1.5 * np.cos(angle), 1.5 * np.cos(angle) - 0.75)
    y = np.where(lower, 0.375 - 1.5 * np.sin(angle), 1.5 * np.sin(angle) - 0.375)
    return _data("moons", x + 0.1 * g[:, 0], y + 0.1 * g[:, 1], lower, ("upper", "lower"))
