"""Attributes of an image's light: how much of it there is, and how it is spread."""

import torch
from torch import Tensor

from latentkit.errors import ShapeError

__all__ = ["brightness", "contrast", "grey", "lit", "sharpness", "symmetry"]


def grey(images: Tensor) -> Tensor:
    """Return images (N, C, H, W) in [-1, 1] as intensities (N, H, W) float64 in [0, 1]: the mean of their channels.

    Raises:
        ShapeError: if they are not (N, C, H, W).
    """
    if images.ndim != 4:
        raise ShapeError(f"this attribute is measured on images (N, C, H, W), got {tuple(images.shape)}")
    return (images.double().mean(1) + 1.0) / 2.0


def lit(images: Tensor) -> Tensor:
    """Return which pixels (N, H, W) bool are lit, of images (N, C, H, W) in [-1, 1].

    Those brighter than half of the image's own level, the intensity-weighted mean intensity (sum g^2 / sum g): half
    the brightness of what is bright, whatever the share of the dark background and however dim the whole is. A black
    image has none.
    """
    light = grey(images)
    level = light.square().sum((1, 2)) / light.sum((1, 2)).clamp(min=1e-12)
    return light > 0.5 * level[:, None, None].clamp(min=1e-6)


def brightness(images: Tensor) -> Tensor:
    """Return the mean intensity (N,) in [0, 1] of images (N, C, H, W) in [-1, 1]."""
    return grey(images).mean((1, 2))


def contrast(images: Tensor) -> Tensor:
    """Return the standard deviation (N,) in [0, 0.5] of the intensity of images (N, C, H, W) in [-1, 1]."""
    return grey(images).flatten(1).std(1, correction=0)


def sharpness(images: Tensor) -> Tensor:
    """Return how much neighbouring pixels differ (N,), of images (N, C, H, W) in [-1, 1].

    The mean squared difference of horizontal and vertical neighbours over twice the variance of the intensity, so
    that neither brightness nor contrast changes it: near 0 for smooth shades, 1 for white noise, about 2 for a
    chequerboard. A plain image has 0.

    References:
        Geary (1954), "The contiguity ratio and statistical mapping", with neighbours along rows and columns.
    """
    light = grey(images)
    squares = [light.diff(dim=axis).square().flatten(1) for axis in (1, 2)]
    edges = torch.cat(squares, dim=1)
    variance = light.flatten(1).var(1, correction=0)
    plain = (variance < 1e-12) | (edges.shape[1] == 0)
    return torch.where(plain, 0.0, edges.sum(1) / max(edges.shape[1], 1) / (2.0 * variance.clamp(min=1e-12)))


def symmetry(images: Tensor) -> Tensor:
    """Return the left-right symmetry (N,) in [0, 1]: 1 less the mean difference to the mirror image."""
    light = grey(images)
    return 1.0 - (light - light.flip(2)).abs().mean((1, 2))
