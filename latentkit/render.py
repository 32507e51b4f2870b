"""Samples to pictures: RGB arrays of uint8, sheets of them, scatter frames, and PNG files.

Images are (N, C, H, W) floats in [-1, 1] with one or three channels; points are (N, 2); series over time (N, T) or
(N, C, T), and rows of a table (N, F), are drawn by `latentkit.series`.
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
from latentkit.series import CELL, FRAME, limits_of, pictures, sample_kind, table

__all__ = [
    "LEAST_CELL",
    "enlargement",
    "render_samples",
    "samples_sheet",
    "save_image",
    "save_png",
    "sheet",
    "thumbnails",
    "tiles",
    "to_rgb",
    "upscale",
]

Pixels = NDArray[np.uint8]

#: Images on a sheet are enlarged until their longer side has so many pixels.
LEAST_CELL = 64

#: White pixels on either side of a waveform or of bars on a sheet.
MARGIN = 4


def _drawable(samples: Any, name: str = "samples") -> Tensor:
    """Return samples if they are floats that can be drawn: images, points, series or rows."""
    if not isinstance(samples, Tensor):
        samples = torch.as_tensor(np.asarray(samples))
    shape = tuple(samples.shape)
    if samples.ndim < 2 or sample_kind(shape[1:]) is None:
        hint = "; for one image pass x[None]" if samples.ndim == 3 and shape[0] in (1, 3) else ""
        raise ShapeError(
            f"{name} that can be drawn are images (N, 1, H, W) or (N, 3, H, W), or points (N, 2), or series (N, T) or "
            f"(N, C, T), or rows (N, F), got {shape}{hint}"
        )
    if not samples.is_floating_point():
        raise ShapeError(f"{name} must be floats (images in [-1, 1]), got {samples.dtype}; bytes are x / 127.5 - 1")
    return require_finite(samples.detach().cpu(), name)


def to_rgb(samples: Tensor) -> Pixels:
    """Return images (N, C, H, W), floats in [-1, 1], as pixels (N, H, W, 3): x * 127.5 + 127.5.

    Halves are rounded to even; what lies outside of [-1, 1] is clipped. Series and rows become their pictures.

    Raises:
        ShapeError: if the samples are no images of 1 or 3 channels, series or rows, or not floats.
        NonFiniteError: if one holds NaN or infinity.

    Examples:
        >>> to_rgb(torch.tensor([-1.0, 0.0, 1.0]).reshape(1, 1, 1, 3))[0, 0, :, 0].tolist()
        [0, 128, 255]
    """
    samples = _drawable(samples)
    kind = sample_kind(samples.shape[1:])
    if kind == "point":
        raise ShapeError(f"images must be (N, 1, H, W) or (N, 3, H, W), got {tuple(samples.shape)}")
    if kind != "image":
        return pictures(samples)
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
    """Return one picture of samples: a sheet of images or waveforms, a scatter of points, or a table of rows.

    Args:
        samples: at least one; images (N, C, H, W), points (N, 2), series (N, T) or (N, C, T), or rows (N, F).
        columns: images or waveforms a row; by default about as many as rows.
        scale: by default what makes an image at least 64 pixels high or wide; a waveform has 160x80 times this.
    """
    samples = _drawable(samples)
    if len(samples) == 0:
        raise ShapeError("there must be at least one sample to draw, got none")
    kind = sample_kind(samples.shape[1:])
    if kind == "point":
        return points_rgb(samples, size=POINTS_SIDE * (scale or 1))
    if kind == "row":
        return table(samples, scale=scale or 1)
    return sheet(tiles(samples, scale), columns)


def tiles(samples: Tensor, scale: int | None = None, *, limits: Tensor | None = None) -> Pixels:
    """Return one picture a sample (N, H, W, 3), as sheets show them: images enlarged, waveforms, or bars.

    Args:
        samples: images (N, C, H, W), series (N, T) or (N, C, T), or rows (N, F).
        scale: as in `samples_sheet`.
        limits: the vertical scale of series and rows, see `latentkit.series.limits_of`; by default of these samples.

    Raises:
        ShapeError: if they are none of these: points of the plane have no picture each.
        NonFiniteError: if one holds NaN or infinity.
    """
    samples = _drawable(samples)
    kind = sample_kind(samples.shape[1:])
    if kind == "point":
        raise ShapeError("points of the plane have no picture each, only one of all together")
    if kind != "image":
        width, height = _times(CELL, 1 if scale is None else scale)
        drawn = pictures(samples, size=(width - 2 * MARGIN, height), limits=limits)
        return np.pad(drawn, ((0, 0), (0, 0), (MARGIN, MARGIN), (0, 0)), constant_values=255)
    return upscale(to_rgb(samples), enlargement(samples.shape[2:], LEAST_CELL) if scale is None else scale)


def thumbnails(samples: Tensor, side: int) -> Pixels:
    """Return samples as small squares (N, side, side, 3): images averaged, on black if not square, or waveforms, bars.

    Raises:
        ShapeError: if they are no images, series or rows: points of the plane have no picture each.
    """
    samples, side = _drawable(samples), as_count(side, "side")
    kind = sample_kind(samples.shape[1:])
    if kind == "point":
        raise ShapeError("points of the plane have no picture each, only one of all together")
    if kind != "image":
        return pictures(samples, size=(side, side))
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


def _times(size: tuple[int, int], scale: int) -> tuple[int, int]:
    scale = as_count(scale, "scale")
    return size[0] * scale, size[1] * scale


def render_samples(
    samples: Tensor, *, scale: int = 1, backdrop: Tensor | None = None, closed: bool = False
) -> Iterator[Pixels]:
    """Return one frame (H, W, 3) a sample: an image itself, a point that moves over fixed axes, a waveform, or bars.

    Args:
        samples: images (N, C, H, W), series (N, T) or (N, C, T), rows (N, F), or points (N, 2) in the order in which
            they are passed through.
        scale: images are this many times as large; frames of points have 320 pixels times this a side, those of series
            and rows 320x160 times this.
        backdrop: (M, *S) other samples, usually random ones: what points move over, and what fixes the vertical scale
            of series and rows; by default the samples do that.
        closed: for points: the first follows on the last, so its trail shows the last.

    Raises:
        ShapeError: if the samples can't be drawn.
        NonFiniteError: if a sample holds NaN or infinity.
    """
    samples, scale = _drawable(samples), as_count(scale, "scale")
    kind = sample_kind(samples.shape[1:])
    if kind in ("series", "row") and len(samples):
        limits, size = limits_of(samples if backdrop is None else backdrop), _times(FRAME, scale)
        return (pictures(sample[None], size=size, limits=limits)[0] for sample in samples)
    if samples.ndim == 4:
        return (upscale(to_rgb(sample[None])[0], scale) for sample in samples)
    points = as_points(samples, "points")
    backdrop = None if backdrop is None else as_points(backdrop, "backdrop")
    return moving_point(points, POINTS_SIDE * scale, backdrop, closed)
