"""Attributes of points of the plane."""

import torch
from torch import Tensor

from latentkit.errors import ShapeError

__all__ = ["angle", "horizontal", "radius", "vertical"]


def _points(points: Tensor) -> Tensor:
    if points.ndim != 2 or points.shape[1] != 2:
        raise ShapeError(f"this attribute is measured on points (N, 2), got {tuple(points.shape)}")
    return points.double()


def horizontal(points: Tensor) -> Tensor:
    """Return the first coordinate (N,) of points (N, 2)."""
    return _points(points)[:, 0]


def vertical(points: Tensor) -> Tensor:
    """Return the second coordinate (N,) of points (N, 2)."""
    return _points(points)[:, 1]


def radius(points: Tensor) -> Tensor:
    """Return the distance (N,) from the origin of points (N, 2)."""
    return _points(points).norm(dim=1)


def angle(points: Tensor) -> Tensor:
    """Return the angle (N,) of points (N, 2) in radians, from -pi to pi: 0 to the right, pi / 2 upwards.

    It jumps on the left half of the horizontal axis, so a mean of angles says little where points lie there.
    """
    x, y = _points(points).unbind(1)
    return torch.atan2(y, x)
