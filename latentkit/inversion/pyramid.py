"""Laplacian pyramids of images, and the distance between two images level by level.

A pyramid holds what each halving of the side takes away, from the finest detail to a small remainder. Compared
level by level, a wrong outline counts at the levels where it is seen, while in squared pixels it is lost beside
wrong brightness; and absolute differences, unlike squared ones, do not pay for a blurred compromise.

References:
    Burt, Adelson (1983), "The Laplacian pyramid as a compact image code".
    Ling, Okada (2006), "Diffusion distance for histogram comparison".
    Bojanowski, Joulin, Lopez-Paz, Szlam (2018), "Optimizing the latent space of generative networks", section 3.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from latentkit.errors import ShapeError

__all__ = ["collapsed", "laplacian_distance", "laplacian_pyramid"]

_SMALLEST = 4  # side of the remainder, in pixels
_TAPS = (1.0, 3.0, 3.0, 1.0)  # binomial, centred between two pixels, so that a halved pixel lies amid its four


def laplacian_pyramid(images: Tensor) -> list[Tensor]:
    """Return the levels of images' pyramids: details (N, C, s, s) from the finest to that above the remainder, and it.

    Level j has side H / 2^j. It is what is lost when the images of that side are halved and enlarged again; the
    last is the images themselves at a side of 4 to 7, or earlier where a side is odd. Everything is linear.

    Args:
        images: (N, C, H, W).

    Raises:
        ShapeError: if the images are not (N, C, H, W).
    """
    if images.ndim != 4:
        raise ShapeError(f"a pyramid is made of images (N, C, H, W), got {tuple(images.shape)}")
    levels = []
    while min(images.shape[2:]) >= 2 * _SMALLEST and not (images.shape[2] % 2 or images.shape[3] % 2):
        smaller = _halved(images)
        levels.append(images - _doubled(smaller))
        images = smaller
    return [*levels, images]


def collapsed(levels: Sequence[Tensor]) -> Tensor:
    """Return the images (N, C, H, W) that a pyramid's levels were made of."""
    *details, images = levels
    for detail in reversed(details):
        images = detail + _doubled(images)
    return images


def laplacian_distance(x: Tensor, y: Tensor) -> Tensor:
    """Return the distance (N,) of images, sum over levels j of 4^j |L_j(x) - L_j(y)|_1 over the number of values.

    As a level has a quarter of the values of the one before, this is the sum of the levels' mean absolute
    differences: details count as much as what is beneath them.

    Args:
        x: (N, C, H, W).
        y: (N, C, H, W).

    Raises:
        ShapeError: if the images are not (N, C, H, W), or of two shapes.
    """
    if x.shape != y.shape:
        raise ShapeError(f"images that are compared must have one shape, got {tuple(x.shape)} and {tuple(y.shape)}")
    # The pyramid is linear: one of the difference is the difference of two.
    levels = laplacian_pyramid(x - y)
    return torch.stack([level.abs().flatten(1).mean(1) for level in levels]).sum(0)


def _halved(images: Tensor) -> Tensor:
    """Return images (N, C, H, W) at half their sides, smoothed."""
    n, channels, height, width = images.shape
    taps = torch.tensor(_TAPS, dtype=images.dtype, device=images.device) / sum(_TAPS)
    planes = functional.pad(images, (1, 1, 1, 1), mode="replicate").reshape(n * channels, 1, height + 2, width + 2)
    return functional.conv2d(planes, torch.outer(taps, taps)[None, None], stride=2).unflatten(0, (n, channels))[:, :, 0]


def _doubled(images: Tensor) -> Tensor:
    """Return images (N, C, H, W) at twice their sides: the same four taps, spread instead of gathered."""
    return functional.interpolate(images, scale_factor=2.0, mode="bilinear", align_corners=False)
