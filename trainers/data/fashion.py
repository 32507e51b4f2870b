"""Fashion-MNIST from its IDX files, read strictly."""

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from latentkit.errors import DataError
from trainers.data.dataset import Data

__all__ = ["fashion_mnist"]

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")

_CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_MAGIC = {1: 0x0801, 3: 0x0803}  # unsigned bytes, by the number of dimensions


def fashion_mnist(folder: str | os.PathLike[str] = DEBIAN_FOLDER) -> Data:
    """Return the 60,000 training images of Fashion-MNIST, padded from 28x28 to 32x32, with their classes.

    Args:
        folder: where `train-images-idx3-ubyte` and `train-labels-idx1-ubyte` are, plain or `.gz`; the
            default is where Debian's package dataset-fashion-mnist puts them.

    Raises:
        DataError: if a file is missing, truncated, or not what its name says.

    References:
        Xiao, Rasul, Vollgraf (2017), "Fashion-MNIST: a novel image dataset for benchmarking machine
        learning algorithms".
    """
    images, image_file = _read_idx(Path(folder), "train-images-idx3-ubyte", 3)
    labels, label_file = _read_idx(Path(folder), "train-labels-idx1-ubyte", 1)
    if images.shape[1:] != (28, 28):
        raise DataError(f"{image_file} must hold images of 28x28, got {images.shape[1]}x{images.shape[2]}")
    if len(images) != len(labels):
        raise DataError(f"{image_file} has {len(images)} images but {label_file} has {len(labels)} labels")
    if len(images) == 0 or labels.max() >= len(_CLASSES):
        raise DataError(f"{label_file} must hold classes 0 to 9, got {labels.max() if len(labels) else 'none'}")
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))[:, None]
    return Data("fashion-mnist", torch.from_numpy(padded), torch.from_numpy(labels.astype(np.int64)), _CLASSES)


def _read_idx(folder: Path, name: str, dimensions: int) -> tuple[NDArray[np.uint8], Path]:
    """Return the array of one IDX file and the file's path."""
    found = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
    if not found:
        raise DataError(
            f"Fashion-MNIST is not in {folder} ({name} or {name}.gz is missing); on Debian run "
            "`apt-get install dataset-fashion-mnist`, or name the folder that holds its four files"
        )
    path = found[0]
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}; get the file again") from error
    header = 4 * (1 + dimensions)
    if len(raw) < header:
        raise DataError(f"{path} is truncated: {len(raw)} bytes are less than its header of {header}")
    magic, *shape = (int(number) for number in np.frombuffer(raw, ">u4", 1 + dimensions))
    if magic != _MAGIC[dimensions]:
        raise DataError(f"{path} must start with 0x{_MAGIC[dimensions]:08x} (IDX bytes), got 0x{magic:08x}")
    if len(raw) - header != math.prod(shape):
        raise DataError(
            f"{path} is damaged: its header says {' x '.join(map(str, shape))} bytes, it holds {len(raw) - header:,}"
        )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape), path
