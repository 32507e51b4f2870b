"""Fashion-MNIST from its IDX files, read strictly."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentkit.errors import DataError
from trainers.data.dataset import Data
from trainers.data.idx import read_idx
from trainers.data.store import Folder

__all__ = ["fashion_mnist"]

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")

_CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_IMAGES, _LABELS = 0x0803, 0x0801  # unsigned bytes along three axes, and along one


def fashion_mnist(folder: Folder = DEBIAN_FOLDER) -> Data:
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
    images, image_file = _read(Path(folder), "train-images-idx3-ubyte", _IMAGES)
    labels, label_file = _read(Path(folder), "train-labels-idx1-ubyte", _LABELS)
    if images.shape[1:] != (28, 28):
        raise DataError(f"{image_file} must hold images of 28x28, got {images.shape[1]}x{images.shape[2]}")
    if len(images) != len(labels):
        raise DataError(f"{image_file} has {len(images)} images but {label_file} has {len(labels)} labels")
    if len(images) == 0 or labels.max() >= len(_CLASSES):
        raise DataError(f"{label_file} must hold classes 0 to 9, got {labels.max() if len(labels) else 'none'}")
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))[:, None]
    return Data("fashion-mnist", torch.from_numpy(padded), torch.from_numpy(labels.astype(np.int64)), _CLASSES)


def _read(folder: Path, name: str, magic: int) -> tuple[NDArray[Any], Path]:
    """Return the array of one IDX file and the file's path."""
    found = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
    if not found:
        raise DataError(
            f"Fashion-MNIST is not in {folder} ({name} or {name}.gz is missing); on Debian run "
            "`apt-get install dataset-fashion-mnist`, or name the folder that holds its four files"
        )
    return read_idx(found[0], magic), found[0]
