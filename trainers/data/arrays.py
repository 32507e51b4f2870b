"""Arrays as training data: which axis is which, and which value is black, is decided by stated rules or refused."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from latentkit.checks import as_count, as_number, one_of
from latentkit.errors import ArgumentError, DataError
from latentkit.images import fitted
from trainers.data.decoding import decoded
from trainers.data.mapped import MappedSamples
from trainers.data.store import Folder, Recipe, fits

__all__ = ["Reading", "samples_of"]

_LAYOUTS = ("NHW", "NHWC", "NCHW")
_CHANNELS = (1, 3, 4)
_SLACK = 1e-3  # by which floats may leave [0, 1] or [-1, 1], as resampled images do
_LOOKED_AT = 1_000  # images of bytes that are looked at to see whether they use the range
_BLOCK = 2**22  # values that are looked at in one go

Array = NDArray[Any]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Reading:
    """How an array of images is read; None leaves a question to the rules of docs/data.md.

    Args:
        size: side of the images in pixels: their centre square is resized; None keeps them as they are.
        grey: one channel of luminance instead of three of colour.
        layout: NHW, NHWC or NCHW.
        span: the values of black and of white.

    Raises:
        ArgumentError: if a value is out of its range.
    """

    size: int | None = None
    grey: bool = False
    layout: str | None = None
    span: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.size is not None:
            as_count(self.size, "size")
        if not isinstance(self.grey, bool):
            raise ArgumentError(f"grey must be True or False, got {self.grey!r}")
        if self.layout is not None:
            one_of(self.layout, "layout", _LAYOUTS)
        if self.span is not None and len({as_number(value, "span") for value in self.span}) != 2:
            raise ArgumentError(f"span must be two different numbers, those of black and of white, got {self.span!r}")


def samples_of(array: Array, file: Path, reading: Reading, cache: Folder | None, part: str = "") -> Tensor:
    """Return the samples of `Data` that an array holds: floats (N, F) are points, all else is images.

    Args:
        array: the array, over a file or in memory.
        file: where it comes from.
        reading: how it is read.
        cache: folder that keeps images which had to be converted, for the next start.
        part: the array's name within the file, if it has one.

    Raises:
        DataError: if the array is empty or its axes or values are not decided by the rules.
        ArgumentError: if `reading` asks of points what only images have.
    """
    where = f"{str(file)!r}" + (f" ({part})" if part else "")
    if array.size == 0:
        raise DataError(f"{where} is empty: its shape is {array.shape}")
    if array.dtype.kind not in "buif":
        raise DataError(f"{where} must hold numbers, got {array.dtype}")
    if array.ndim == 2:
        return _points(array, where, reading)
    images = _channels_first(array, reading.layout, where)
    to_bytes = _to_bytes(images, reading.span, where)
    channels = images.shape[1]
    as_they_are = reading.size is None and (channels == 1 or (channels == 3 and not reading.grey))
    if images.dtype == np.uint8 and reading.span is None and as_they_are:
        return _stored(images, file)

    def convert(number: int) -> Bytes:
        image = to_bytes(images[number])
        if as_they_are:
            return image
        pixels = np.ascontiguousarray(image[0] if channels == 1 else image.transpose(1, 2, 0))
        return fitted(Image.fromarray(pixels), reading.size, reading.grey or channels == 1)

    height, width = images.shape[2:] if reading.size is None else (reading.size, reading.size)
    about = file.stat()
    return decoded(
        range(len(images)),
        convert,
        names=range(len(images)),
        shape=(1 if reading.grey or channels == 1 else 3, height, width),
        where=where,
        recipe=Recipe(file.stem, ("array", str(file.resolve()), part, reading), (about.st_size, about.st_mtime_ns)),
        cache=cache,
    )[0]


def _points(array: Array, where: str, reading: Reading) -> Tensor:
    if array.dtype.kind != "f":
        raise DataError(
            f"{where} is {array.shape} {array.dtype}: points are floats, and images have two axes of pixels; "
            "convert or reshape the array"
        )
    if reading != Reading():
        raise ArgumentError(f"size, grey, layout and span go with images, and {where} holds points {array.shape}")
    if not fits(4 * array.size):
        raise DataError(f"{where} has {len(array):,} points, too many for this machine's memory; take fewer")
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, which Data refuses by row
        return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))


def _channels_first(array: Array, layout: str | None, where: str) -> Array:
    """Return a view (N, C, H, W) of an array of images."""
    shape = array.shape
    if layout is not None and len(layout) != array.ndim:
        raise DataError(f"{where} is {shape}, which is not of the layout {layout}")
    if array.ndim == 3:
        if layout is None and shape[2] in _CHANNELS and min(shape[:2]) > max(_CHANNELS):
            raise DataError(
                f"{where} is {shape}, which looks like one image (H, W, C) rather than many (N, H, W); "
                "add a first axis, or pass layout='NHW'"
            )
        return array[:, None]
    if array.ndim != 4:
        raise DataError(f"{where} is {shape}; wanted images (N, H, W), (N, H, W, C) or (N, C, H, W), or points (N, F)")
    first, last = shape[1] in _CHANNELS, shape[3] in _CHANNELS
    if layout is None and first == last:
        why = "either of two axes may be the channels" if first else "no axis is of 1, 3 or 4 channels"
        raise DataError(f"{where} is {shape}: {why}; pass layout='NHWC' or layout='NCHW', or another array")
    if layout == "NHWC" or (layout is None and last):
        array = np.moveaxis(array, 3, 1)
    if array.shape[1] not in _CHANNELS:
        raise DataError(f"{where} has {array.shape[1]} channels as {layout}; wanted 1 (grey), 3 (RGB) or 4 (RGBA)")
    return array


def _to_bytes(images: Array, span: tuple[float, float] | None, where: str) -> Callable[[Array], Bytes]:
    """Return what takes images to bytes, by their type and the values that they use."""
    kind = images.dtype
    if span is None and kind == np.uint8:
        step = -(-len(images) // _LOOKED_AT)
        if images[::step].max() <= 1:
            raise DataError(f"{where} has no byte above 1, nearly black on a scale to 255; pass span=(0, 1)")
        return np.asarray
    if kind == np.bool_:
        low, high = 0.0, 1.0
    else:
        low, high = _extent(images)
    if not math.isfinite(low + high):
        raise DataError(f"{where} has NaN or infinite values; remove or replace them")
    if span is None and kind == np.uint16:
        if high <= 255:
            raise DataError(f"{where} has 16 bits but no value above 255; pass span=(0, 255)")
        return lambda values: (values >> 8).astype(np.uint8)
    if span is None:
        span = _usual_span(kind, low, high)
        if span is None:
            raise DataError(
                f"{where} has values {kind} from {low:g} to {high:g}, which may mean several things; pass "
                "span=(black, white), such as span=(0, 255)"
            )
    black, white = span
    slack = _SLACK * abs(white - black)
    if low < min(span) - slack or high > max(span) + slack:
        raise DataError(f"{where} has values from {low:g} to {high:g}, outside of span={span}")

    def to_bytes(values: Array) -> Bytes:
        shares = (values.astype(np.float64) - black) / (white - black)
        return np.rint(255.0 * np.clip(shares, 0.0, 1.0)).astype(np.uint8)

    return to_bytes


def _usual_span(kind: np.dtype[Any], low: float, high: float) -> tuple[float, float] | None:
    """Return what black and white usually are among such values; None if that is not clear."""
    if kind.kind == "b":
        return 0.0, 1.0
    if kind.kind in "ui":
        return (0.0, 255.0) if low >= 0 and 1 < high <= 255 else None
    if high > 1 + _SLACK or high <= 0:
        return None
    if low >= -_SLACK:
        return 0.0, 1.0
    # Between the two lie images in [0, 1] that resampling has taken below 0.
    return (-1.0, 1.0) if -1 - _SLACK <= low <= -0.5 else None


def _extent(images: Array) -> tuple[float, float]:
    """Return the smallest and the largest value; NaN if there is one."""
    step = max(1, _BLOCK // math.prod(images.shape[1:]))
    blocks = [images[start : start + step] for start in range(0, len(images), step)]
    # NumPy's own minimum keeps NaN, Python's does not.
    return float(np.min([block.min() for block in blocks])), float(np.max([block.max() for block in blocks]))


def _stored(images: Bytes, file: Path) -> Tensor:
    """Return images that are bytes already: in memory if they fit there, else mapped where they lie."""
    if isinstance(images, np.memmap) and not fits(images.nbytes):
        return MappedSamples.of_file(file, images.shape, offset=images.offset, stride=images.strides)
    return torch.from_numpy(np.array(images, order="C"))
