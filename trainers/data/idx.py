"""IDX files, the form of MNIST and its relatives, read strictly."""

import gzip
import math
import zlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from latentkit.errors import DataError
from trainers.data.arrays import Reading, samples_of
from trainers.data.dataset import Data
from trainers.data.labels import class_numbers
from trainers.data.store import Folder, fits

__all__ = ["idx_file", "is_idx", "read_idx"]

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_AXES = 8
_ZIPPED = b"\x1f\x8b"
_BLOCK = 2**24  # bytes that are unpacked at a time


def idx_file(
    images: Folder,
    labels: Folder | None = None,
    classes: Sequence[str] | None = None,
    *,
    size: int | None = None,
    grey: bool = False,
    span: tuple[float, float] | None = None,
    name: str | None = None,
    cache: Folder | None = None,
) -> Data:
    """Return the images, or points, of an IDX file.

    Args:
        images: the file, plain or compressed by gzip, whatever its name says.
        labels: the file of the labels (N,), if there is one.
        classes: names of the classes, which the labels count from 0; None names them by their labels.
        size: side of the images in pixels: their centre square is resized; None keeps them as they are.
        grey: one channel of luminance instead of three of colour.
        span: the values of black and of white; None for bytes, or to go by the rules of `array_file`.
        name: what the data are called; None for the name of the file.
        cache: folder that keeps images which had to be converted, for the next start.

    Raises:
        DataError: if a file is missing, damaged, or not what it should be.
        LabelError: if labels and images or classes do not fit.

    References:
        LeCun, Cortes, Burges (1998), "The MNIST database of handwritten digits", which defines the form.
    """
    reading, file = Reading(size, grey, None, span), Path(images)
    samples = samples_of(read_idx(file), file, reading, cache)
    called = file.name.partition(".")[0] if name is None else name
    if labels is None:
        return Data(called, samples)
    numbers, names = class_numbers(read_idx(Path(labels)), len(samples), str(labels), classes)
    return Data(called, samples, numbers, names)


def is_idx(file: Path) -> bool:
    """Whether a file begins as an IDX file does."""
    try:
        with closing(_opened(file)) as source:
            start = source.read(4)
    except (OSError, EOFError, zlib.error):
        return False
    return len(start) == 4 and start[:2] == b"\0\0" and start[2] in _TYPES and 1 <= start[3] <= _MOST_AXES


def read_idx(file: Path, magic: int | None = None) -> NDArray[Any]:
    """Return the array of an IDX file; a plain file is mapped, a compressed one is in memory.

    Args:
        file: the file.
        magic: its first four bytes, which give the type and the number of axes; None for any.

    Raises:
        DataError: if the file cannot be read, or is not what its header says, to the byte.
    """
    try:
        zipped = _is_zipped(file)
        with closing(_opened(file)) as source:
            kind, shape, header = _header(source, file, magic)
            # In Python's whole numbers, which cannot overflow as NumPy's can.
            size = math.prod(shape) * kind.itemsize
            data = _unpacked(source, file, size) if zipped else b""
        held = len(data) if zipped else file.stat().st_size - header
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {file}: {error}; get the file again") from error
    if held != size:
        said = f"{' x '.join(map(str, shape))} values, {size:,} bytes"
        raise DataError(f"{file} is damaged: its header says {said}, it holds {held:,}{' or more' * (held > size)}")
    if zipped or size == 0:
        return np.frombuffer(data, kind).reshape(shape)
    return np.memmap(file, kind, "c", offset=header, shape=shape)


def _is_zipped(file: Path) -> bool:
    with file.open("rb") as source:
        return source.read(2) == _ZIPPED


def _opened(file: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(file)) if _is_zipped(file) else file.open("rb")


def _header(source: IO[bytes], file: Path, magic: int | None) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Return the type, the shape and the length of the header that a file begins with."""
    start = source.read(4)
    found = int.from_bytes(start, "big")
    if len(start) < 4:
        raise DataError(f"{file} is truncated: {len(start)} bytes are less than its header of 4 or more")
    if magic is not None and found != magic:
        raise DataError(f"{file} must start with 0x{magic:08x} (IDX), got 0x{found:08x}")
    axes = start[3]
    if start[:2] != b"\0\0" or start[2] not in _TYPES or not 1 <= axes <= _MOST_AXES:
        raise DataError(
            f"{file} is no IDX file: it must start with 0x0000, a type and 1 to {_MOST_AXES} axes, got 0x{found:08x}"
        )
    sizes = source.read(4 * axes)
    if len(sizes) < 4 * axes:
        raise DataError(f"{file} is truncated: {4 + len(sizes)} bytes are less than its header of {4 + 4 * axes}")
    return np.dtype(_TYPES[start[2]]), tuple(int(n) for n in np.frombuffer(sizes, ">u4")), 4 + 4 * axes


def _unpacked(source: IO[bytes], file: Path, size: int) -> bytearray:
    """Return what follows the header, and if it is longer than `size` a part that is longer."""
    data = bytearray()
    while len(data) <= size and (block := source.read(_BLOCK)):
        data += block
        if not fits(len(data)):
            raise DataError(
                f"{file} unpacks to more than a quarter of this machine's memory; unpack it with gunzip, so that it "
                "can be mapped, or take a part of it"
            )
    return data
