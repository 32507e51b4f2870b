"""Data sets of the Hugging Face library `datasets`, an extra: in memory, on disk, or by their name."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentkit.checks import as_count
from latentkit.errors import ArgumentError, DataError, LabelError, MissingDependencyError
from latentkit.images import MAX_PIXELS, decode
from trainers.data.dataset import Data
from trainers.data.decoding import decoded
from trainers.data.labels import class_numbers
from trainers.data.store import Folder, Recipe

if TYPE_CHECKING:
    import datasets

__all__ = ["hugging_face", "is_saved"]

_INSTALL = 'pip install "latentkit[datasets]"'
_OLDEST = 4
_SAVED = (("dataset_info.json", "state.json"), ("dataset_dict.json",))


def hugging_face(
    source: "Folder | datasets.Dataset",
    *,
    split: str = "train",
    image: str | None = None,
    label: str | None = None,
    size: int = 32,
    grey: bool = False,
    max_pixels: int = MAX_PIXELS,
    cache: Folder | None = None,
) -> Data:
    """Return the images of a data set of the library `datasets`, each read as `image_folder` reads a file.

    Args:
        source: a `datasets.Dataset`, a folder that its `save_to_disk` wrote, or a name for
            `datasets.load_dataset`, which may download it.
        split: which part, of a source that has several.
        image: the column of the images; None for the only column of that type.
        label: the column of the labels, classes, text or whole numbers; None for the only column of classes.
        size: side of the images in pixels.
        grey: one channel of luminance instead of three of colour.
        max_pixels: largest width times height that is decoded.
        cache: folder that keeps the decoded images for the next start; None for memory, or a temporary file.

    Raises:
        MissingDependencyError: if `datasets` is not installed.
        ArgumentError: if an argument is out of its range, or no column has that name.
        DataError: if the data set cannot be loaded, has no column of images, or has images that cannot be read.
        LabelError: if some of the samples have no label.
        OutputError: if a file for the images is needed and cannot be written.
    """
    size, max_pixels = as_count(size, "size"), as_count(max_pixels, "max_pixels")
    if not isinstance(grey, bool):
        raise ArgumentError(f"grey must be True or False, got {grey!r}")
    library = _library()
    table, name, origin = _table(library, source, split)
    if len(table) == 0:
        raise DataError(f"{name} has no rows")
    column = _column(table, image, "image", library.Image)
    if column is None:
        raise DataError(f"{name} has no column of images; its columns are {_columns(table)}")
    samples, kept = decoded(
        _encoded(library, table, column),
        lambda row: decode(_file_of(row), size, grey, max_pixels),
        names=[f"row {number}" for number in range(len(table))],
        shape=(1 if grey else 3, size, size),
        where=name,
        # The library's own fingerprint changes with the rows and what was done to them.
        recipe=Recipe(name, ("datasets", origin, split, column, size, grey), (table._fingerprint, len(table))),
        cache=cache,
        max_pixels=max_pixels,
    )
    tags = _column(table, label, "label", library.ClassLabel)
    if tags is None:
        return Data(name, samples)
    values = table.select_columns([tags]).with_format(None)[:][tags]
    feature = table.features[tags]
    names = feature.names if isinstance(feature, library.ClassLabel) else None
    missing = sum(value is None or (names is not None and value == -1) for value in values)
    if missing == len(values) and label is None:  # the test part of a contest, for example
        return Data(name, samples)
    if missing:
        raise LabelError(
            f"{missing} of {len(values)} rows of {name} have no {tags!r}; filter them out, or name another"
        )
    numbers, classes = class_numbers(np.asarray(values), len(values), f"{tags!r} of {name}", names)
    return Data(name, samples, numbers[kept], classes)


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote a folder."""
    return any(all((folder / part).is_file() for part in parts) for parts in _SAVED)


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError(f"this needs the library datasets: {_INSTALL}") from error
    if int(datasets.__version__.partition(".")[0]) < _OLDEST:  # those ran code that came with the data
        raise MissingDependencyError(f"this needs datasets {_OLDEST} or newer, got {datasets.__version__}: {_INSTALL}")
    return datasets


def _table(library: Any, source: Any, split: str) -> tuple[Any, str, str]:
    """Return a `datasets.Dataset`, what it is called, and where it comes from."""
    if isinstance(source, str | os.PathLike):
        found, name, origin = _loaded(library, source, split)
    else:
        found, name, origin = source, None, None
    if isinstance(found, library.DatasetDict):
        if split not in found:
            raise DataError(f"{name or 'the data set'} has no split {split!r}; it has {', '.join(map(str, found))}")
        found = found[split]
    if isinstance(found, library.IterableDataset | library.IterableDatasetDict):
        raise DataError("a data set that is streamed has no length; load it without streaming=True")
    if not isinstance(found, library.Dataset):
        raise DataError(f"source must be a datasets.Dataset, a path or a name, got {type(found).__name__}")
    return found, name or found.info.dataset_name or "dataset", origin or found._fingerprint


def _loaded(library: Any, source: str | os.PathLike[str], split: str) -> tuple[Any, str, str]:
    path = Path(source)
    try:
        if is_saved(path):
            return library.load_from_disk(path), path.resolve().name, str(path.resolve())
        return library.load_dataset(os.fspath(source), split=split), path.name, os.fspath(source)
    # The library, and what it uses to read files and to reach the hub, have no common error.
    except Exception as error:
        raise DataError(f"cannot load {os.fspath(source)!r} (split {split!r}): {error}") from error


def _column(table: Any, wanted: str | None, argument: str, kind: type) -> str | None:
    """Return the wanted column, or the only one of its kind; None if there is none."""
    if wanted is not None:
        if wanted not in table.features:
            raise ArgumentError(f"{argument} must be a column, which are {_columns(table)}; got {wanted!r}")
        if argument == "image" and not isinstance(table.features[wanted], kind):
            raise ArgumentError(f"image must be a column of images, got {wanted!r} of {_columns(table)}")
        return wanted
    found = [name for name, feature in table.features.items() if isinstance(feature, kind)]
    if len(found) > 1:
        raise ArgumentError(
            f"{' and '.join(found)} may each be the {argument}; pass {argument}={found[0]!r} or another"
        )
    return found[0] if found else None


def _columns(table: Any) -> str:
    return ", ".join(f"{name} ({type(feature).__name__})" for name, feature in table.features.items())


def _encoded(library: Any, table: Any, column: str) -> Iterator[dict[str, Any]]:
    """Yield the images as the files that they are stored as: they are decoded here, by one set of rules."""
    files = table.select_columns([column]).with_format(None).cast_column(column, library.Image(decode=False))
    for row in files:
        yield row[column]


def _file_of(row: dict[str, Any] | None) -> bytes | Path:
    if row is None:
        raise ValueError("there is no image in this row")
    return row["bytes"] if row["bytes"] is not None else Path(row["path"])
