"""Which attributes can be measured on which samples."""

from collections.abc import Callable

from torch import Tensor

from latentkit.attributes.colours import greenness, saturation, warmth
from latentkit.attributes.intensity import brightness, contrast, sharpness, symmetry
from latentkit.attributes.points import angle, horizontal, radius, vertical
from latentkit.attributes.series import level, loudness, roughness
from latentkit.attributes.shapes import area, height, slant, stroke_width, width
from latentkit.checks import floating
from latentkit.errors import ArgumentError

__all__ = ["Attribute", "attributes_of"]

#: From samples (N, *S) to one number each (N,).
Attribute = Callable[[Tensor], Tensor]

_IMAGES: dict[str, Attribute] = {
    "brightness": brightness,
    "contrast": contrast,
    "area": area,
    "stroke_width": stroke_width,
    "width": width,
    "height": height,
    "slant": slant,
    "symmetry": symmetry,
    "sharpness": sharpness,
}
_COLOURS: dict[str, Attribute] = {"warmth": warmth, "greenness": greenness, "saturation": saturation}
_POINTS: dict[str, Attribute] = {"horizontal": horizontal, "vertical": vertical, "radius": radius, "angle": angle}
_SERIES: dict[str, Attribute] = {"level": level, "loudness": loudness, "roughness": roughness}


def attributes_of(samples: Tensor) -> dict[str, Attribute]:
    """Return the attributes that can be measured on such samples, by name.

    Those of light and shape for images (N, C, H, W), those of colour as well where C is 3, and those of points for
    points (N, 2); else those of series (N, T) or (N, C, T), which also serve rows (N, F).

    Raises:
        ArgumentError: if the samples are none of these.
        ShapeError: if they are no floats.
    """
    samples = floating(samples, "samples")
    if samples.ndim == 4:
        return {**_IMAGES, **_COLOURS} if samples.shape[1] == 3 else dict(_IMAGES)
    if samples.ndim == 2 and samples.shape[1] == 2:
        return dict(_POINTS)
    if samples.ndim in (2, 3):
        return dict(_SERIES)
    raise ArgumentError(
        "attributes are measured on images (N, C, H, W), points (N, 2), series (N, T) or (N, C, T), or rows (N, F), "
        f"got {tuple(samples.shape)}"
    )
