"""NumPy files as training data: `.npy`, mapped where it lies if it is large, and `.npz`; neither may run code."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentkit.archives import read_arrays
from latentkit.errors import DataError
from trainers.data.arrays import Reading, samples_of
from trainers.data.dataset import Data
from trainers.data.labels import class_numbers
from trainers.data.store import Folder, fits

__all__ = ["array_file"]

_SAMPLES = ("samples", "images", "x", "arr_0")
_LABELS = ("labels", "y")
_CLASSES = ("classes",)


def array_file(
    path: Folder,
    *,
    labels: Folder | ArrayLike | None = None,
    classes: Sequence[str] | None = None,
    size: int | None = None,
    grey: bool = False,
    layout: str | None = None,
    span: tuple[float, float] | None = None,
    name: str | None = None,
    cache: Folder | None = None,
) -> Data:
    """Return the images or points of a `.npy` or `.npz` file.

    Floats (N, F) are points. Images are (N, H, W), or (N, H, W, C) or (N, C, H, W) with 1, 3 or 4 channels (of
    which the fourth is opacity over white) on one of the two axes but not on both. Bytes are taken as they are,
    16 bits are shifted by 8, other whole numbers must lie in 0 to 255, and floats either in [0, 1] or, reaching
    below -0.5, in [-1, 1]. What these rules leave open is an error that says which argument decides it.

    Args:
        path: the file. An .npz file holds the samples as `samples`, `images`, `x` or `arr_0`, and may hold
            `labels` or `y`, and `classes`.
        labels: labels (N,) as an array or a .npy file; None takes those in the file. Text and numbers with gaps
            become class numbers, named as they were.
        classes: names of the classes, which numbers count from 0; None takes those in the file, or the labels.
        size: side of the images in pixels: their centre square is resized; None keeps them as they are.
        grey: one channel of luminance instead of three of colour.
        layout: NHW, NHWC or NCHW; None goes by the rules above.
        span: the values of black and of white; None goes by the rules above.
        name: what the data are called; None for the name of the file.
        cache: folder that keeps images which had to be converted, for the next start.

    Raises:
        ArgumentError: if an argument is out of its range, or is of images and the file holds points.
        DataError: if the file cannot be read, holds objects, or is not decided by the rules.
        LabelError: if labels and samples or classes do not fit.
        OutputError: if a file for converted images is needed and cannot be written.
    """
    reading, file = Reading(size, grey, layout, span), Path(path)
    if file.suffix.lower() == ".npz":
        part, arrays = _unzipped(file)
        array, inside, names = arrays["samples"], arrays.get("labels"), arrays.get("classes")
    else:
        part, array, inside, names = "", _mapped(file), None, None
    if isinstance(labels, str | os.PathLike):
        inside, called = _mapped(Path(labels)), str(labels)
    else:
        inside, called = (inside if labels is None else np.asarray(labels)), f"labels of {str(file)!r}"
    if classes is None and names is not None:
        classes = [str(value) for value in names.reshape(-1)]
    samples = samples_of(array, file, reading, cache, part)
    title = file.stem if name is None else name
    if inside is None:
        return Data(title, samples)
    numbers, known = class_numbers(inside, len(samples), called, classes)
    return Data(title, samples, numbers, known)


def _mapped(file: Path) -> NDArray[Any]:
    """Return the array over a .npy file."""
    try:
        return np.lib.format.open_memmap(file, mode="c")
    except FileNotFoundError:
        raise DataError(f"there is no file {str(file)!r}; check the path") from None
    except (
        OSError,
        ValueError,
        EOFError,
        RecursionError,
        MemoryError,
        TypeError,
        SyntaxError,
    ) as error:  # among them: objects, which only unpickling could read
        raise DataError(f"cannot read {str(file)!r} as a .npy file of numbers: {error}") from error


def _unzipped(file: Path) -> tuple[str, dict[str, NDArray[Any]]]:
    """Return the name that the samples have in an .npz file, and its arrays by what they are."""
    try:
        with zipfile.ZipFile(file) as archive:
            sizes = {entry.filename.removesuffix(".npy"): entry.file_size for entry in archive.infolist()}
        roles = {"samples": _SAMPLES, "labels": _LABELS, "classes": _CLASSES}
        keys = {role: next((key for key in known if key in sizes), None) for role, known in roles.items()}
        if keys["samples"] is None:
            raise DataError(
                f"{str(file)!r} holds {', '.join(sizes) or 'nothing'}; wanted the samples as one of "
                f"{', '.join(_SAMPLES)}, and if there are labels, those as {' or '.join(_LABELS)}"
            )
        if not fits(sum(sizes[key] for key in keys.values() if key)):
            raise DataError(
                f"{str(file)!r} unpacks to more than a quarter of this machine's memory; save its "
                f"{keys['samples']!r} as a .npy file, which can be mapped"
            )
        arrays = read_arrays(file, lambda name: name in keys.values())
        return keys["samples"], {role: arrays[key] for role, key in keys.items() if key}
    except FileNotFoundError:
        raise DataError(f"there is no file {str(file)!r}; check the path") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"cannot read {str(file)!r} as an .npz file of numbers: {error}") from error
