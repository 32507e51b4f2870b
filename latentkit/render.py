"""Samples to pictures: RGB arrays of uint8, sheets of them, scatter frames, and PNG files.

Images are (N, C, H, W) floats in [-1, 1] with one or three channels; points are (N, 2).
"""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.checks import as_count, require_finite
from latentkit.errors import ArgumentError, OutputError, ShapeError
from latentkit.files import check_target, write_bytes
from latentkit.scatter import POINTS_SIDE, as_points, moving_point, points_rgb

__all__ = [
    "LEAST_CELL",
    "enlargement",
    "render_samples",
    "samples_sheet",
    "save_image",
    "save_png",
    "sheet",
    "thumbnails",
    "to_rgb",
    "upscale",
]

Pixels = NDArray[np.uint8]

#: Images on a sheet are enlarged until their longer side has so many pixels.
LEAST_CELL = 64


def _drawable(samples: Any, name: str = "samples") -> Tensor:
    """Return samples if they are floats that can be drawn, images or points."""
    if not isinstance(samples, Tensor):
        samples = torch.as_tensor(np.asarray(samples))
    shape = tuple(samples.shape)
    images = samples.ndim == 4 and shape[1] in (1, 3) and min(shape[2:]) > 0
    if not images and not (samples.ndim == 2 and shape[1] == 2):
        hint = "; for one image pass x[None]" if samples.ndim == 3 and shape[0] in (1, 3) else ""
        raise ShapeError(
            f"{name} that can be drawn are images (N, 1, H, W) or (N, 3, H, W), or points (N, 2), got {shape}{hint}"
        )
    if not samples.is_floating_point():
        raise ShapeError(f"{name} must be floats (images in [-1, 1]), got {samples.dtype}; bytes are x / 127.5 - 1")
    return require_finite(samples.detach().cpu(), name)


def to_rgb(samples: Tensor) -> Pixels:
    """Return images (N, C, H, W), floats in [-1, 1], as pixels (N, H, W, 3): x * 127.5 + 127.5.

    Halves are rounded to even; what lies outside of [-1, 1] is clipped.

    Raises:
        ShapeError: if the samples are no images of 1 or 3 channels, or not floats.
        NonFiniteError: if one holds NaN or infinity.

    Examples:
        >>> to_rgb(torch.tensor([-1.0, 0.0, 1.0]).reshape(1, 1, 1, 3))[0, 0, :, 0].tolist()
        [0, 128, 255]
    """
    samples = _drawable(samples)
    if samples.ndim != 4:
        raise ShapeError(f"images must be (N, 1, H, W) or (N, 3, H, W), got {tuple(samples.shape)}")
    grey = (samples.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(grey.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy())


def upscale(images: Pixels, factor: int) -> Pixels:
    """Return images (..., H, W, 3) `factor` times as large, every pixel a square."""
    factor = as_count(factor, "factor")
    return images if factor == 1 else images.repeat(factor, axis=-3).repeat(factor, axis=-2)


def sheet(images: Pixels, columns: int | None = None, *, gap: int = 2, scale: int = 1) -> Pixels:
    """Lay images out in a grid, row by row, and return it: (H', W', 3).

    Args:
        images: (N, H, W, 3) uint8, at least one.
        columns: how many a row; by default about as many as rows.
        gap: white pixels between neighbours.
        scale: every pixel becomes a square of this side.

    Raises:
        ShapeError: if the images are not (N, H, W, 3) uint8, or there are none.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or len(images) == 0:
        raise ShapeError(f"images must be (N, H, W, 3) uint8, at least one, got {images.shape} {images.dtype}")
    columns = int(np.ceil(np.sqrt(len(images)))) if columns is None else as_count(columns, "columns")
    columns, gap = min(columns, len(images)), as_count(gap, "gap", least=0)
    images = upscale(images, scale)
    rows, (height, width) = -(-len(images) // columns), images.shape[1:3]
    cells = np.full((rows * columns, height + gap, width + gap, 3), 255, dtype=np.uint8)
    cells[: len(images), :height, :width] = images
    grid = cells.reshape(rows, columns, height + gap, width + gap, 3).swapaxes(1, 2)
    grid = grid.reshape(rows * (height + gap), columns * (width + gap), 3)
    return np.ascontiguousarray(grid[: grid.shape[0] - gap, : grid.shape[1] - gap])


def enlargement(sides: Sequence[int], least: int) -> int:
    """Return the smallest whole factor that makes the longer of an image's sides at least `least` pixels."""
    return -(-least // max(sides))


def samples_sheet(samples: Tensor, *, columns: int | None = None, scale: int | None = None) -> Pixels:
    """Return one picture of samples: a sheet of images (N, C, H, W), or a scatter of points (N, 2).

    Args:
        samples: at least one.
        columns: images a row; by default about as many as rows.
        scale: by default what makes an image at least 64 pixels high or wide.
    """
    samples = _drawable(samples)
    if len(samples) == 0:
        raise ShapeError("there must be at least one sample to draw, got none")
    if samples.ndim == 2:
        return points_rgb(samples, size=POINTS_SIDE * (scale or 1))
    return sheet(to_rgb(samples), columns, scale=scale or enlargement(samples.shape[2:], LEAST_CELL))


def thumbnails(samples: Tensor, side: int) -> Pixels:
    """Return images (N, C, H, W) as small squares (N, side, side, 3), averaged, on black if not square."""
    samples, side = _drawable(samples), as_count(side, "side")
    small = np.empty((len(samples), side, side, 3), dtype=np.uint8)
    height, width = samples.shape[2:]
    longest = max(height, width)
    top, left = (longest - height) // 2, (longest - width) // 2
    frame = (left, longest - width - left, top, longest - height - top)
    for start in range(0, len(samples), 256):  # in blocks: the padded copies need not all be held
        square = torch.nn.functional.pad(samples[start : start + 256].float(), frame, value=-1.0)
        small[start : start + 256] = to_rgb(torch.nn.functional.interpolate(square, size=(side, side), mode="area"))
    return small


def save_png(image: Pixels, path: str | os.PathLike[str], *, metadata: Mapping[str, str] | None = None) -> Path:
    """Write one picture (H, W, 3) as PNG and return the path.

    Args:
        image: uint8.
        path: ends in .png.
        metadata: texts to keep in the file, for instance how it was made.

    Raises:
        ArgumentError: if the path does not end in .png.
        ShapeError: if the picture is not (H, W, 3) uint8.
        OutputError: if it cannot be written; what was there is untouched.
    """
    return _save(image, path, (".png",), metadata or {})


def save_image(image: Pixels, path: str | os.PathLike[str]) -> Path:
    """Write one picture (H, W, 3) as .png (exact) or .webp (lossy, for large sheets), and return the path."""
    return _save(image, path, (".png", ".webp"), {})


def _save(image: Pixels, path: str | os.PathLike[str], suffixes: tuple[str, ...], metadata: Mapping[str, str]) -> Path:
    suffix = Path(path).suffix.lower()
    if suffix not in suffixes:
        raise ArgumentError(
            f"a picture is written to a file that ends in {' or '.join(suffixes)}, got {os.fspath(path)}"
        )
    target = check_target(path)
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ShapeError(f"a picture must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    buffer = io.BytesIO()
    picture = Image.fromarray(image)
    if suffix == ".webp":
        if max(image.shape) > 16383:
            raise OutputError(
                f"cannot write {target}: WebP is at most 16383 pixels a side, got {image.shape}; use .png"
            )
        picture.save(buffer, "WEBP", quality=85)
    else:
        texts = PngInfo()
        for key, value in metadata.items():
            texts.add_itxt(key, value)
        picture.save(buffer, "PNG", pnginfo=texts)
    return write_bytes(target, buffer.getvalue())


def render_samples(
    samples: Tensor, *, scale: int = 1, backdrop: Tensor | None = None, closed: bool = False
) -> Iterator[Pixels]:
    """Return one frame (H, W, 3) a sample: an image itself, or a point that moves over fixed axes.

    Args:
        samples: images (N, C, H, W), or points (N, 2) in the order in which they are passed through.
        scale: images are this many times as large; frames of points have 320 pixels times this a side.
        backdrop: (M, 2), for points: what they move over, usually random samples.
        closed: for points: the first follows on the last, so its trail shows the last.

    Raises:
        ShapeError: if the samples are neither images nor points.
        NonFiniteError: if a sample holds NaN or infinity.
    """
    samples, scale = _drawable(samples), as_count(scale, "scale")
    if samples.ndim == 4:
        return (upscale(to_rgb(sample[None])[0], scale) for sample in samples)
    points = as_points(samples, "points")
    backdrop = None if backdrop is None else as_points(backdrop, "backdrop")
    return moving_point(points, POINTS_SIDE * scale, backdrop, closed)
