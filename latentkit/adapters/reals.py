"""Real samples beside an imported generator: what its critic, its report and its inversions are measured against."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.archives import read_arrays, read_npy
from latentkit.checks import require_finite
from latentkit.errors import CheckpointError, DataError
from latentkit.images import SUFFIXES, read_images
from latentkit.protocols import Output

__all__ = ["packed", "read_reals", "unpacked"]

_LEVELS = Output(0, 255)
_ZIP = b"PK"


def read_reals(source: str | os.PathLike[str], shape: Sequence[int]) -> Tensor:
    """Return real samples (M, *S), floats as a generator makes them, from a folder of images or an array.

    Args:
        source: a folder of images, whose centre squares are taken; or `.npy`, or the first array in `.npz`: (M, *S),
            images of whole numbers from 0 to 255 with their channels first or last, anything else as it is.
        shape: S, of one sample.

    Raises:
        DataError: if there is nothing there, or samples of another shape.
        ShapeError: if images are wanted that are not square.
        NonFiniteError: if a sample holds NaN or infinity.
    """
    path, wanted = Path(source), tuple(shape)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if _is_image(file.relative_to(path)))
        if not files:
            raise DataError(f"{path} holds no images ({', '.join(sorted(SUFFIXES))})")
        return read_images(files, wanted)
    try:
        array = _array(path)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is neither a folder of images nor an array ({error})") from None
    whole = array.dtype.kind in "ui"
    last = len(wanted) == 3 and array.shape[1:] == (*wanted[1:], wanted[0]) != wanted
    if array.ndim == 0 or not len(array) or array.dtype.kind not in "uif" or not (array.shape[1:] == wanted or last):
        sides = ", ".join(map(str, ("M", *wanted)))
        raise DataError(f"real samples must be ({sides}), at least one, got {array.shape} {array.dtype}")
    channels = "last" if last else "first"
    meant = Output(0, 255, channels) if whole and len(wanted) == 3 else Output(channels=channels)
    return require_finite(meant.samples(array, len(array)).to(torch.float32), "real samples")


def _is_image(name: Path) -> bool:
    """Whether a name below a folder is that of an image; hidden ones are none, as everywhere."""
    return name.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in name.parts)


def _array(path: Path) -> NDArray[Any]:
    """Return the array in a .npy file, or the first one in an .npz file."""
    with path.open("rb") as file:
        if not file.read(4).startswith(_ZIP):
            file.seek(0)
            return read_npy(file, path.stat().st_size)
    with zipfile.ZipFile(path) as archive:
        first = archive.namelist()[:1]
    if not first:
        raise ValueError("it holds nothing")
    return next(iter(read_arrays(path, lambda name: f"{name}.npy" in first or name in first).values()))


def packed(samples: Tensor) -> bytes:
    """Return samples (M, *S) as safetensors; images that came from 8-bit files as those bytes again."""
    from safetensors.torch import save

    levels = _LEVELS.undone(samples).round().clamp(0, 255).to(torch.uint8)
    exact = samples.ndim == 4 and torch.allclose(_LEVELS.samples(levels, len(levels)), samples, rtol=0.0, atol=1e-6)
    return save({"samples": (levels if exact else samples).contiguous()})


def unpacked(data: bytes, what: str) -> Tensor:
    """Return the samples that `packed` packed.

    Raises:
        CheckpointError: if they are damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        held = load(data)["samples"]
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{what} does not hold samples: {error}") from None
    return _LEVELS.samples(held, len(held)) if held.dtype == torch.uint8 else held
