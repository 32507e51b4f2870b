"""Data by what is typed after `--data`: a name, or a path. `DATA` names the sets that need nothing but this machine."""

from collections.abc import Callable
from pathlib import Path

from latentkit.errors import ArgumentError
from trainers.data.dataset import Data
from trainers.data.digits import digits
from trainers.data.fashion import fashion_mnist
from trainers.data.folder import image_folder
from trainers.data.hub import hugging_face
from trainers.data.points import gaussian_curve, grid25, imbalanced_ring, moons, parabola, ring, swiss_roll
from trainers.data.sources import UNDERSTOOD, from_path
from trainers.data.store import Folder

__all__ = ["DATA", "named"]

DATA: dict[str, Callable[[], Data]] = {
    "digits": digits,
    "fashion-mnist": fashion_mnist,
    "gaussian-curve": gaussian_curve,
    "grid25": grid25,
    "imbalanced-ring": imbalanced_ring,
    "moons": moons,
    "parabola": parabola,
    "ring": ring,
    "swiss-roll": swiss_roll,
}
_HUB = "hf:"
_FOLDER_SIZE = 32


def named(
    name: str, *, folder: Folder | None = None, size: int | None = None, grey: bool = False, cache: Folder | None = None
) -> Data:
    """Return the data that a command's `--data`, `--data-dir`, `--size` and `--grey` mean.

    Args:
        name: one of `DATA`, `folder`, `hf:` and a name for `datasets.load_dataset`, or a path for `from_path`.
        folder: where the images of `folder` or the files of `fashion-mnist` are.
        size: side of the images in pixels, a power of two from 16 to 1024; None is 32 for files of images.
        grey: read the images as grey ones.
        cache: folder that keeps the decoded images for the next start; None for memory, or a temporary file.

    Raises:
        ArgumentError: if the options do not go together; the text is in their terms.
        DataError: if the data cannot be read.

    Examples:
        >>> len(named("digits"))
        1797
    """
    from trainers.settings import is_image_side  # which needs Data

    bundled = name in DATA
    if bundled and (size is not None or grey):
        raise ArgumentError(f"--size and --grey go with --data folder or a path, not with --data {name}")
    if folder is not None and name not in ("folder", "fashion-mnist"):
        raise ArgumentError(f"--data-dir goes with --data folder or fashion-mnist, not with --data {name}")
    if size is not None and not is_image_side(size):
        raise ArgumentError(f"--size must be a power of two from 16 to 1024, got {size}")
    if bundled:
        return DATA[name]() if folder is None else fashion_mnist(folder)
    if name == "folder":
        if folder is None:
            raise ArgumentError("--data folder needs --data-dir DIR, the folder of images")
        return image_folder(folder, size or _FOLDER_SIZE, grey, cache=cache)
    if name.startswith(_HUB):
        return hugging_face(name.removeprefix(_HUB), size=size or _FOLDER_SIZE, grey=grey, cache=cache)
    return _at(name, size, grey, cache)


def _at(path: str, size: int | None, grey: bool, cache: Folder | None) -> Data:
    """Return the data at a path, if trainers can take them."""
    if not _exists(path):
        raise ArgumentError(
            f"--data must be {', '.join(DATA)}, folder, {_HUB}NAME, or the path of {UNDERSTOOD}; got {path!r}"
        )
    from trainers.settings import is_image_side

    try:
        data = from_path(path, size=size, grey=grey, cache=cache)
    except ArgumentError as error:
        raise ArgumentError(f"--data {path}: {error}") from error
    if data.is_images:
        height, width = data.samples.shape[2:]
        if height != width or not is_image_side(height):
            raise ArgumentError(
                f"--data {path} has images of {height}x{width}; pass --size N, a power of two from 16 to 1024, "
                "to have their centre squares resized"
            )
    return data


def _exists(path: str) -> bool:
    try:
        return bool(path) and Path(path).exists()
    except (OSError, ValueError):  # a name that no file can have
        return False
