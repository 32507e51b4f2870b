"""Attributes of the shape that an image shows, bright on dark: its size, its lean and its strokes."""

import numpy as np
import torch
from torch import Tensor

from latentkit.attributes.intensity import grey, lit

__all__ = ["area", "height", "slant", "stroke_width", "width"]


def _moments(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the variances along x and y and their covariance (N,) each, of intensity, in pixels^2."""
    light = grey(images)
    mass = light.sum((1, 2)).clamp(min=1e-12)
    y = torch.arange(light.shape[1], dtype=torch.float64, device=light.device)[None, :, None]
    x = torch.arange(light.shape[2], dtype=torch.float64, device=light.device)[None, None, :]
    dx = x - ((light * x).sum((1, 2)) / mass)[:, None, None]
    dy = y - ((light * y).sum((1, 2)) / mass)[:, None, None]
    across, down, both = ((light * product).sum((1, 2)) / mass for product in (dx * dx, dy * dy, dx * dy))
    return across, down, both


def area(images: Tensor) -> Tensor:
    """Return the share (N,) in [0, 1] of the pixels that are `lit`."""
    return lit(images).double().mean((1, 2))


def width(images: Tensor) -> Tensor:
    """Return the horizontal spread (N,) of the light: standard deviation, in pixels."""
    return _moments(images)[0].sqrt()


def height(images: Tensor) -> Tensor:
    """Return the vertical spread (N,) of the light: standard deviation, in pixels."""
    return _moments(images)[1].sqrt()


def slant(images: Tensor) -> Tensor:
    """Return how far the light leans to the right (N,): shift in pixels a row upwards."""
    _, vertical_variance, covariance = _moments(images)
    return -covariance / vertical_variance.clamp(min=1e-12)


def stroke_width(images: Tensor) -> Tensor:
    """Return the width (N,) in pixels of the strokes that the lit pixels form; 0 where none is lit.

    The mean diameter of the largest discs that fit, weighted by their areas: twice the distance to the strokes' edge
    on their ridge, the lit places no nearer to the edge than any of their neighbours. Exact for bars along the axes,
    of any width up to their length. The image's border counts as an edge.

    References:
        Blum (1967), "A transformation for extracting new descriptors of shape": widths along the medial axis.
        Felzenszwalb, Huttenlocher (2012), "Distance transforms of sampled functions".
    """
    from scipy.ndimage import distance_transform_edt, maximum_filter

    # On half pixels every bar is an even number across, and its ridge lies one whole half-width from the edge.
    mask = lit(images).cpu().numpy().repeat(2, axis=1).repeat(2, axis=2)
    mask = np.pad(mask, ((0, 0), (1, 1), (1, 1)))
    distance = np.zeros(mask.shape)
    for image, of_image in zip(mask, distance, strict=True):
        of_image[:] = distance_transform_edt(image)
    ridge = mask & (distance >= maximum_filter(distance, size=(1, 3, 3)))
    diameters = np.where(ridge, distance, 0.0)
    areas = np.square(diameters)
    widths = (areas * diameters).sum((1, 2)) / np.maximum(areas.sum((1, 2)), 1.0)
    return torch.from_numpy(widths).to(images.device)
