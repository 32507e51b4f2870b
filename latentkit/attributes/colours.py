"""Attributes of an image's colour."""

import torch
from torch import Tensor

from latentkit.errors import ShapeError

__all__ = ["greenness", "saturation", "warmth"]


def _channels(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return red, green and blue (N, H, W) float64 in [0, 1]."""
    if images.ndim != 4 or images.shape[1] != 3:
        raise ShapeError(f"this attribute is measured on colour images (N, 3, H, W), got {tuple(images.shape)}")
    red, green, blue = ((images.double() + 1.0) / 2.0).unbind(1)
    return red, green, blue


def warmth(images: Tensor) -> Tensor:
    """Return mean red less mean blue (N,) in [-1, 1] of colour images (N, 3, H, W) in [-1, 1]."""
    red, _, blue = _channels(images)
    return (red - blue).mean((1, 2))


def greenness(images: Tensor) -> Tensor:
    """Return mean green less that of red and blue (N,) in [-1, 1] of colour images (N, 3, H, W) in [-1, 1]."""
    red, green, blue = _channels(images)
    return (green - 0.5 * (red + blue)).mean((1, 2))


def saturation(images: Tensor) -> Tensor:
    """Return the mean saturation (N,) in [0, 1] of colour images (N, 3, H, W) in [-1, 1].

    That of a pixel is the spread of its channels over the largest, (max - min) / max: 0 for grey and black, 1 for a
    pure colour, however dark.

    References:
        Smith (1978), "Color gamut transform pairs": the saturation of the hexcone model (HSV).
    """
    channels = torch.stack(_channels(images))
    most, least = channels.amax(0), channels.amin(0)
    return ((most - least) / most.clamp(min=1e-12)).clamp(0.0, 1.0).mean((1, 2))
