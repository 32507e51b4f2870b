"""Attributes that can be measured on a sample, to label latents by: brightness, slant, ...

Each is a plain function from samples to numbers, so that any function of yours serves as well:
`mean_difference(z, my_score(x) > my_score(x).median())`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from latentkit.errors import ArgumentError, ShapeError

__all__ = ["attributes_of", "brightness", "horizontal", "slant", "symmetry", "vertical", "width"]


def _grey(images: Tensor) -> Tensor:
    """Return images (N, C, H, W) in [-1, 1] as float64 intensities (N, H, W) in [0, 1]."""
    if images.ndim != 4:
        raise ShapeError(f"this attribute is measured on images (N, C, H, W), got {tuple(images.shape)}")
    return (images.double().mean(1) + 1.0) / 2.0


def _moments(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the variances along x and y and their covariance (N,) each, of intensity, in pixels^2."""
    grey = _grey(images)
    mass = grey.sum((1, 2)).clamp(min=1e-12)
    y = torch.arange(grey.shape[1], dtype=torch.float64)[None, :, None]
    x = torch.arange(grey.shape[2], dtype=torch.float64)[None, None, :]
    dx = x - ((grey * x).sum((1, 2)) / mass)[:, None, None]
    dy = y - ((grey * y).sum((1, 2)) / mass)[:, None, None]
    across, down, both = ((grey * product).sum((1, 2)) / mass for product in (dx * dx, dy * dy, dx * dy))
    return across, down, both


def brightness(images: Tensor) -> Tensor:
    """Return the mean intensity (N,) in [0, 1] of images (N, C, H, W) in [-1, 1]."""
    return _grey(images).mean((1, 2))


def width(images: Tensor) -> Tensor:
    """Return the horizontal spread (N,) of the lit pixels: standard deviation, in pixels."""
    return _moments(images)[0].sqrt()


def slant(images: Tensor) -> Tensor:
    """Return how far the lit pixels lean to the right (N,): shift in pixels a row upwards."""
    _, vertical_variance, covariance = _moments(images)
    return -covariance / vertical_variance.clamp(min=1e-12)


def symmetry(images: Tensor) -> Tensor:
    """Return the left-right symmetry (N,) in [0, 1]: 1 less the mean difference to the mirror image."""
    grey = _grey(images)
    return 1.0 - (grey - grey.flip(2)).abs().mean((1, 2))


def horizontal(points: Tensor) -> Tensor:
    """Return the first coordinate (N,) of points (N, 2)."""
    return _points(points)[:, 0]


def vertical(points: Tensor) -> Tensor:
    """Return the second coordinate (N,) of points (N, 2)."""
    return _points(points)[:, 1]


def _points(points: Tensor) -> Tensor:
    if points.ndim != 2 or points.shape[1] != 2:
        raise ShapeError(f"this attribute is measured on points (N, 2), got {tuple(points.shape)}")
    return points.double()


_IMAGES = {"brightness": brightness, "width": width, "slant": slant, "symmetry": symmetry}
_POINTS = {"horizontal": horizontal, "vertical": vertical}


def attributes_of(samples: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return the attributes that can be measured on such samples, by name.

    Raises:
        ArgumentError: if the samples are neither images (N, C, H, W) nor points (N, 2).
    """
    if samples.ndim == 4:
        return dict(_IMAGES)
    if samples.ndim == 2 and samples.shape[1] == 2:
        return dict(_POINTS)
    raise ArgumentError(f"attributes are measured on images (N, C, H, W) or points (N, 2), got {tuple(samples.shape)}")
