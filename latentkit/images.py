"""One image file as pixels: how each kind of file and pixel is read is decided here, and in docs/data.md."""

import io
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.checks import as_count
from latentkit.errors import ArgumentError, DataError, ShapeError

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "OversizedImageError",
    "decode",
    "fitted",
    "from_bytes",
    "read_images",
    "strict_pillow",
]

MAX_PIXELS = 89_478_485  # Pillow's own limit, where it begins to warn of a decompression bomb

_ORIENTATION = 0x0112
#: How Pillow names what undoes each orientation.
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
#: How the names of image files end, in small letters.
SUFFIXES = frozenset((
    ".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tga", ".tif", ".tiff", ".webp",
))  # fmt: skip

#: What is read. Pillow knows more, some of which it hands to other programs, such as EPS, a program for Ghostscript.
_FORMATS = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP")
_TRANSPARENT = ("LA", "PA", "RGBA", "RGBa")
_pillow_settings = threading.RLock()


class OversizedImageError(Exception):
    """An image has more pixels than may be decoded; its text says how many."""


@contextmanager
def strict_pillow(max_pixels: int) -> Iterator[None]:
    """Make Pillow refuse huge and truncated images, whatever the caller has set, and restore that.

    Its settings are those of the process, so two such blocks in two threads run one after the other.
    """
    from PIL import Image, ImageFile

    with _pillow_settings:
        before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = max_pixels, False
                yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def from_bytes(samples: Tensor) -> Tensor:
    """Return bytes (uint8) of images as floats in [-1, 1], x / 127.5 - 1, and samples of other dtypes as they are."""
    return samples.to(torch.float32) / 127.5 - 1.0 if samples.dtype == torch.uint8 else samples


def read_images(
    files: Sequence[str | os.PathLike[str]], shape: Sequence[int], *, max_pixels: int = MAX_PIXELS
) -> Tensor:
    """Return image files as samples (N, C, S, S), floats in [-1, 1]: their centre squares, resized.

    Args:
        files: at least one: AVIF, BMP, GIF, ICO, JPEG, JPEG 2000, PNG, PPM, TGA, TIFF or WebP, whatever their names.
        shape: (C, S, S) of a sample, C 1 for grey or 3 for colour, such as `checkpoint.holdout.shape[1:]`.
        max_pixels: largest width times height that is decoded.

    Raises:
        ArgumentError: if there are no files.
        ShapeError: if the shape is not that of square images.
        DataError: if a file cannot be read as an image; it is named.
    """
    shape, limit = tuple(shape), as_count(max_pixels, "max_pixels")
    if not files:
        raise ArgumentError("there are no image files to read; name at least one")
    if len(shape) != 3 or shape[0] not in (1, 3) or shape[1] != shape[2]:
        raise ShapeError(f"image files are read as squares (1, S, S) or (3, S, S), not as samples of shape {shape}")
    images = []
    with strict_pillow(limit):
        for file in files:
            try:
                images.append(decode(Path(file), shape[1], shape[0] == 1, limit))
            except OversizedImageError as error:
                raise DataError(f"{file} has {error} pixels, more than {limit:,}; make it smaller first") from error
            except Exception as error:  # Pillow's plug-ins raise whatever they like for a damaged file
                why = " ".join(str(error).split()) or type(error).__name__
                raise DataError(f"{file} cannot be read as an image: {why}") from error
    return from_bytes(torch.from_numpy(np.stack(images)))


def decode(source: Path | bytes, size: int, grey: bool, max_pixels: int) -> NDArray[np.uint8]:
    """Return one image file, or the bytes of one, as (C, size, size) bytes; call it within `strict_pillow`.

    Raises:
        OversizedImageError: if it has more than `max_pixels` pixels; they are not decoded.
        Exception: whatever Pillow raises for a damaged file, or `ValueError` for pixels of no stated meaning.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_formats()) as opened:
            width, height = opened.size
            if width * height > max_pixels:
                raise OversizedImageError(f"{width} x {height}")
            if min(width, height) < 2:
                raise ValueError(f"{width} x {height} pixels hold no picture")
            opened.draft("", (2 * size, 2 * size))  # a JPEG is decoded at a fraction of its size
            opened.load()
            return fitted(_upright(opened), size, grey)
    except Image.DecompressionBombError as error:
        raise OversizedImageError(str(error)) from error


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """Return those formats that this Pillow was built with."""
    from PIL import Image

    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def fitted(image: Any, size: int | None, grey: bool) -> NDArray[np.uint8]:
    """Return an image's centre square at `size`, or all of it if `size` is None, as (1 or 3, H, W) bytes."""
    from PIL import Image

    plain = _eight_bits(image).convert("L" if grey else "RGB")
    if size is not None:
        side = min(plain.size)
        left, top = (plain.width - side) / 2, (plain.height - side) / 2
        plain = plain.resize((size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    return np.asarray(plain).reshape(plain.height, plain.width, -1).transpose(2, 0, 1)


def _upright(image: Any) -> Any:
    """Return an image turned as its EXIF tag says; TIFF files have been turned by Pillow."""
    from PIL import Image

    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION))
    except Exception:  # damaged EXIF data may raise anything, and say nothing about the pixels
        return image
    return image if turn is None else image.transpose(Image.Transpose[turn])


def _eight_bits(image: Any) -> Any:
    """Return an image as mode L or RGB in sRGB, without clipping deep greys and without transparency."""
    from PIL import Image

    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"grey values must lie in 0 to 65535, got {values.min()} to {values.max()}")
        return Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no stated range; save the image with 8 or 16 bits")
    profile = image.info.get("icc_profile")
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        kind = "L" if image.mode in ("1", "L", "LA") else "RGB"
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert(kind)
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    change = _to_srgb(profile, image.mode) if isinstance(profile, bytes) and profile else None
    if change is not None:
        return change.apply(image)
    return image.convert("RGB") if image.mode == "CMYK" else image


@lru_cache(maxsize=16)
def _to_srgb(profile: bytes, mode: str) -> Any:
    """Return what takes pixels of `mode` from an embedded ICC profile to sRGB; None if the profile is not for them."""
    from PIL import ImageCms

    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.buildTransform(embedded, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ImportError):  # damaged, of another colour space, or Pillow without LittleCMS
        return None
