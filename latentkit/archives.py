"""Arrays in NumPy's files, read with every fault named: no pickle, and no more memory than the file has bytes for."""

import json
import math
import os
import zipfile
import zlib
from collections.abc import Callable
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from latentkit.console import machine_memory
from latentkit.errors import CheckpointError

__all__ = ["read_arrays", "read_npy", "read_npz"]

_SUFFIX = ".npy"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
#: Deflate makes at most so many bytes of one; an entry that says more lies.
_LARGEST_RATIO = 1_032
_SHARE = 2  # an archive's arrays take at most this part of the memory
_BLOCK = 2**24


def read_npz(
    path: str | os.PathLike[str],
    kind: str,
    number: int,
    *,
    wanted: Callable[[str, dict[str, Any]], bool] = lambda _name, _about: True,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what an `.npz` file of a kind and format number says about itself, and its arrays.

    Args:
        path: of the file.
        kind: what it must say that it is, such as "latentkit quality map".
        number: of the format.
        wanted: whether the array of a name is read, given what the file says about itself.

    Raises:
        CheckpointError: if the file is missing, damaged, of another kind, or written by a later version.
    """
    name, what = os.fspath(path), kind.removeprefix("latentkit ")
    try:
        _check_sums(path)
        about = _description(read_arrays(path, lambda part: part == "about").get("about"))
        if about is None or about.get("kind") != kind:
            raise CheckpointError(f"{name} is no {what}; pass a file that latentkit saved as one")
        if about.get("format") != number:
            raise CheckpointError(
                f"{name} has format {about.get('format')!r}, this version of latentkit reads {number}; update latentkit"
            )
        return about, read_arrays(path, lambda part: part != "about" and wanted(part, about))
    except CheckpointError:
        raise
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no file {name}; pass a saved {what}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{name} is damaged or no {what} ({error}); pass a file that was saved whole") from error


def read_arrays(path: str | os.PathLike[str], wanted: Callable[[str], bool]) -> dict[str, NDArray[Any]]:
    """Return the arrays of an `.npz` file whose names are wanted, without ".npy" at the end of their names.

    Raises:
        ValueError: if the file is damaged or no archive of plain arrays, or would not fit into the memory.
        OSError: if it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {}
            for entry in _entries(archive, wanted):
                with archive.open(entry) as part:
                    arrays[entry.filename.removesuffix(_SUFFIX)] = read_npy(part, entry.file_size)
            return arrays
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, NotImplementedError) as error:
        raise ValueError(str(error) or type(error).__name__) from error


def read_npy(file: IO[bytes], size: int) -> NDArray[Any]:
    """Return the array in a `.npy` file of `size` bytes that is open at its begin.

    Raises:
        ValueError: if it holds objects, which only unpickling could read, or its header says what is not there.
    """
    try:
        header = _HEADERS.get(np.lib.format.read_magic(file))
        if header is None:
            raise ValueError("it is of a version for records")
        shape, columns_first, kind = header(file)
    except (SyntaxError, TypeError, RecursionError, MemoryError, OverflowError) as error:
        raise ValueError(f"an array's header cannot be read ({type(error).__name__})") from error
    if kind.kind not in "biufUS" or not kind.itemsize:
        raise ValueError(f"its elements are {kind}, not numbers or text")
    # In Python's whole numbers, which cannot overflow as NumPy's can.
    needed, left = math.prod(shape) * kind.itemsize, size - file.tell()
    if min(shape, default=0) < 0 or needed != left:
        raise ValueError(f"an array's header says {shape} {kind}, {needed:,} bytes, and {left:,} follow it")
    data = memoryview(bytearray(needed))
    place = 0
    while place < needed:
        block = file.read(min(_BLOCK, needed - place))
        if not block:
            raise ValueError("an array is cut")
        data[place : place + len(block)] = block
        place += len(block)
    return np.frombuffer(data, kind).reshape(shape, order="F" if columns_first else "C")


def _entries(archive: zipfile.ZipFile, wanted: Callable[[str], bool]) -> list[zipfile.ZipInfo]:
    """Return the entries of an archive whose names are wanted, or raise `ValueError` if they can't be what they say."""
    entries = [entry for entry in archive.infolist() if wanted(entry.filename.removesuffix(_SUFFIX))]
    if len({entry.filename for entry in entries}) < len(entries):
        raise ValueError("it holds two arrays of one name")
    if sum(entry.file_size for entry in entries) > machine_memory() // _SHARE:
        raise ValueError(f"it unpacks to more than 1/{_SHARE} of this machine's memory")
    for entry in entries:
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{entry.filename} is packed in a way that NumPy does not use")
        if entry.file_size > _LARGEST_RATIO * (entry.compress_size + 1):
            raise ValueError(f"{entry.filename} says that it is larger than it can be")
    return entries


def _check_sums(path: str | os.PathLike[str]) -> None:
    """Raise `ValueError` if a part of an archive is not what its checksum says."""
    try:
        with zipfile.ZipFile(path) as archive:
            _entries(archive, lambda _name: True)
            broken = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, NotImplementedError) as error:
        raise ValueError(str(error) or type(error).__name__) from error
    if broken is not None:
        raise ValueError(f"{broken} is not what was written")


def _description(array: NDArray[Any] | None) -> dict[str, Any] | None:
    """Return what the text in an array says in JSON, if that is an object."""
    if array is None or array.ndim or array.dtype.kind != "U":
        return None

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is no number of JSON")

    try:
        about = json.loads(str(array), parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("what it says about itself is nested too deeply") from error
    return about if isinstance(about, dict) else None
