"""Where decoded images are kept: in memory if they fit there, else in a file that is mapped.

A folder given as a cache keeps that file for the next start. Beside it lies a manifest with what it was made
from, its size and its checksum; a file that is damaged, half there or made from something else is made anew.
"""

import hashlib
import io
import json
import math
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.console import machine_memory
from latentkit.errors import OutputError
from latentkit.files import check_writable, write_json, writing
from trainers.data.mapped import MappedSamples

__all__ = ["Folder", "Recipe", "fits", "keep"]

Folder = str | os.PathLike[str]
Images = Iterable[NDArray[np.uint8]]

_FORMAT = 1  # of the manifest and of the rules by which images are decoded
_SHARE = 4  # images take at most this part of the memory, since a split of them takes as much again
_BLOCK = 2**24  # bytes of a cache that are checked at a time


@dataclass(frozen=True)
class Recipe:
    """What images are made from, and how: the same recipe makes the same bytes.

    Args:
        name: begins the file's name.
        place: where the source is and how it is read; decides the rest of the file's name.
        source: what is in the source, such as sizes and times of files; decides whether the file is up to date.
    """

    name: str
    place: tuple[Any, ...]
    source: tuple[Any, ...]

    def file(self, folder: Path) -> Path:
        """Return the .npy file in the cache `folder`."""
        plain = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:40] or "images"
        return folder / f"{plain}-{_digest(self.place)[:12]}.npy"

    @property
    def version(self) -> str:
        """A digest of the source and of what decodes it."""
        return _digest((self.place, self.source, PIL.__version__, _FORMAT))


def _digest(value: tuple[Any, ...]) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


def fits(size: int) -> bool:
    """Whether `size` bytes of samples are kept in memory: up to a quarter of what this machine has."""
    return size <= machine_memory() // _SHARE


def keep(
    images: Images, notes: dict[str, Any], *, count: int, shape: tuple[int, ...], recipe: Recipe, cache: Folder | None
) -> Tensor:
    """Return images as one tensor in memory or over a file, taking them one by one.

    Args:
        images: arrays of `shape` and of bytes; not touched if a cache holds what they would give.
        notes: what is found out while taking them, as JSON can hold it; filled from the cache if it is used.
        count: how many there are at most; an upper bound decides where they are kept.
        shape: of one image, (C, H, W).
        recipe: what they are made from.
        cache: folder in which the file is kept for the next start; None for memory, or where that is too small
            a temporary file that goes with the tensor.

    Raises:
        OutputError: if the file cannot be written.
    """
    size = count * math.prod(shape)
    if cache is None and fits(size):
        kept = np.empty((count, *shape), np.uint8)
        number = 0
        for number, image in enumerate(images, 1):
            kept[number - 1] = image
        return torch.from_numpy(kept[:number])
    if cache is None:
        return _in_temporary_file(images, count, shape)
    file = recipe.file(check_writable(cache))
    manifest = file.with_suffix(".json")
    found = _manifest_of(file, manifest, recipe)
    if found is None:
        _check_space(file.parent, size)
        rows, checksum = _write(file, images, count, shape)
        found = {"version": recipe.version, "shape": [rows, *shape], "crc32": checksum, "notes": notes}
        write_json(manifest, {**found, "seal": _seal(found)})
    notes.update(found["notes"])
    return _mapped(file, found["shape"])


def _in_temporary_file(images: Images, count: int, shape: tuple[int, ...]) -> Tensor:
    folder = Path(tempfile.mkdtemp(prefix="latentkit-"))
    try:
        _check_space(folder, count * math.prod(shape))
        rows, _ = _write(folder / "images.npy", images, count, shape)
        return _mapped(folder / "images.npy", (rows, *shape), owned=folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _check_space(folder: Path, size: int) -> None:
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if size > free:
        raise OutputError(
            f"the decoded images need {size / 2**20:,.0f} MiB and {existing} has {free / 2**20:,.0f} MiB free; make "
            "room, choose a smaller size, or another folder as cache"
        )


def _header(rows: int, shape: tuple[int, ...]) -> bytes:
    # NumPy leaves room for the first dimension to grow, so headers of fewer rows are as long.
    header = io.BytesIO()
    about = {"descr": "|u1", "fortran_order": False, "shape": (rows, *shape)}
    np.lib.format.write_array_header_1_0(header, about)
    return header.getvalue()


def _write(file: Path, images: Images, count: int, shape: tuple[int, ...]) -> tuple[int, int]:
    """Write a .npy file and return how many images it holds and the checksum of their bytes."""
    rows, checksum = 0, 0
    with writing(file) as target:
        target.write(_header(count, shape))
        for image in images:
            data = np.ascontiguousarray(image).tobytes()
            target.write(data)
            rows, checksum = rows + 1, zlib.crc32(data, checksum)
        target.seek(0)
        target.write(_header(rows, shape))
    return rows, checksum


def _mapped(file: Path, shape: Iterable[int], owned: Path | None = None) -> MappedSamples:
    rows, *rest = shape
    return MappedSamples.of_file(file, (rows, *rest), offset=len(_header(rows, tuple(rest))), owned=owned)


def _seal(about: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _manifest_of(file: Path, manifest: Path, recipe: Recipe) -> Mapping[str, Any] | None:
    """Return the manifest of a cache if it and the file are whole and made by the recipe, else None."""
    try:
        about = json.loads(manifest.read_bytes())
        if about.pop("seal") != _seal(about) or about["version"] != recipe.version:
            return None
        rows, *shape = about["shape"]
        header = _header(rows, tuple(shape))
        whole = file.stat().st_size == len(header) + rows * math.prod(shape)
        return about if whole and _checksum(file, header) == about["crc32"] else None
    except (OSError, ValueError, TypeError, LookupError, AttributeError):  # no manifest, or none of ours
        return None


def _checksum(file: Path, header: bytes) -> int | None:
    """Return the checksum of what follows a file's header, or None if it has another header."""
    with file.open("rb") as source:
        if source.read(len(header)) != header:
            return None
        checksum = 0
        for block in _blocks(source):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _blocks(source: io.BufferedReader) -> Iterator[bytes]:
    while block := source.read(_BLOCK):
        yield block
