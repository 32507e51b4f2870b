"""Data by a name or a path, as it is typed: what is there decides how it is read."""

from pathlib import Path
from typing import Any

from latentkit.errors import DataError
from trainers.data.dataset import Data
from trainers.data.folder import image_folder
from trainers.data.hub import hugging_face, is_saved
from trainers.data.idx import idx_file, is_idx
from trainers.data.npy import array_file
from trainers.data.store import Folder

__all__ = ["UNDERSTOOD", "from_path"]

UNDERSTOOD = (
    "a folder of images, a folder with train-images-idx3-ubyte, a folder written by save_to_disk of Hugging Face "
    "datasets, a .npy or .npz file, or an IDX file"
)
_IDX_IMAGES = ("train-images-idx3-ubyte", "train-images.idx3-ubyte")
_ZIPPED = ("", ".gz")


def from_path(path: Folder, *, size: int | None = None, grey: bool = False, cache: Folder | None = None) -> Data:
    """Return the data that are at a path, whichever kind they are.

    Understood are a folder of images (`image_folder`), one with the training files of MNIST's form (`idx_file`),
    one that Hugging Face datasets wrote (`hugging_face`), `.npy` and `.npz` files (`array_file`), and IDX files,
    whose labels are looked for beside them.

    Args:
        path: a folder or a file.
        size: side of the images in pixels; None is 32 for files of images, and for arrays the size they have.
        grey: one channel of luminance instead of three of colour.
        cache: folder that keeps the decoded images for the next start; None for memory, or a temporary file.

    Raises:
        DataError: if nothing is there, or nothing that is understood.
        ArgumentError, LabelError, MissingDependencyError, OutputError: as the function of that kind does.
    """
    place = Path(path)
    options: dict[str, Any] = (
        {"grey": grey, "cache": cache} if size is None else {"size": size, "grey": grey, "cache": cache}
    )
    if place.is_dir():
        if is_saved(place):
            return hugging_face(place, **options)
        for name in _IDX_IMAGES:
            for zipped in _ZIPPED:
                if (place / f"{name}{zipped}").is_file():
                    return _idx(place / f"{name}{zipped}", place.resolve().name, options)
        return image_folder(place, **options)
    if not place.is_file():
        raise DataError(f"there is no file or folder {str(place)!r}; wanted {UNDERSTOOD}")
    if place.suffix.lower() in (".npy", ".npz"):
        return array_file(place, **options)
    if is_idx(place):
        return _idx(place, None, options)
    raise DataError(f"{str(place)!r} is a file of no kind that is understood: {UNDERSTOOD}")


def _idx(images: Path, name: str | None, options: dict[str, Any]) -> Data:
    """Return an IDX file with the labels that are beside it, plain or compressed."""
    beside = images.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    found = [images.with_name(beside + zipped) for zipped in _ZIPPED if images.with_name(beside + zipped).is_file()]
    labels = found[0] if found and beside != images.name.removesuffix(".gz") else None
    return idx_file(images, labels, name=name, **options)
