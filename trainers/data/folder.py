"""Any folder of images as training data: found by stated rules, decoded in full before training starts."""

from collections import Counter
from pathlib import Path

import torch

from latentkit.checks import as_count
from latentkit.errors import ArgumentError, DataError
from latentkit.images import MAX_PIXELS, SUFFIXES, decode
from trainers.data.dataset import Data
from trainers.data.decoding import decoded
from trainers.data.store import Folder, Recipe

__all__ = ["image_folder"]


def image_folder(
    path: Folder, size: int = 32, grey: bool = False, *, max_pixels: int = MAX_PIXELS, cache: Folder | None = None
) -> Data:
    """Return all images in a folder and the folders below it, cropped to their centre square and resized.

    Hidden names are ignored, links are followed once, and the case of a suffix does not matter. Images are
    turned upright by their EXIF tag and taken to sRGB by their colour profile; transparent ones are laid on
    white; of animations the first frame counts; 16-bit greys are scaled by a shift of 8 bits. If every image
    lies in some sub-folder, and there are at least two, the first level's names are the classes.

    Args:
        path: the folder.
        size: side of the images in pixels.
        grey: one channel of luminance instead of three of colour.
        max_pixels: largest width times height that is decoded; raise it for larger photographs.
        cache: folder that keeps the decoded images for the next start. Without one they are kept in memory
            if they take at most a quarter of it, else in a temporary file.

    Returns:
        Images (N, 1 or 3, size, size) uint8 in the order of their paths.

    Raises:
        ArgumentError: if `size` or `max_pixels` is not a whole number of at least 1.
        DataError: if the folder is missing or has no images, if an image has more than `max_pixels`
            pixels, or if more than 5 % of the images cannot be read; up to 5 % are skipped with a warning.
        OutputError: if a file for the images is needed and cannot be written.
    """
    size, max_pixels = as_count(size, "size"), as_count(max_pixels, "max_pixels")
    if not isinstance(grey, bool):
        raise ArgumentError(f"grey must be True or False, got {grey!r}")
    root = Path(path)
    files = _find(root)
    name = root.resolve().name or "folder"
    samples, kept = decoded(
        files,
        lambda file: decode(file, size, grey, max_pixels),
        names=files,
        shape=(1 if grey else 3, size, size),
        where=repr(str(root)),
        recipe=Recipe(name, ("folder", str(root.resolve()), size, grey), tuple(_state(root, file) for file in files)),
        cache=cache,
        max_pixels=max_pixels,
    )
    labels, classes = _labels(root, [files[number] for number in kept])
    return Data(name, samples, labels, classes)


def _find(root: Path) -> list[Path]:
    """Return the image files below `root`, sorted."""
    if not root.exists():
        raise DataError(f"there is no folder {str(root)!r}; check the path (spaces at its ends count)")
    if not root.is_dir():
        raise DataError(f"{str(root)!r} is a file; pass the folder that holds the images")
    found: list[Path] = []
    skipped: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    _walk(root, found, skipped, seen)
    if not found:
        why = ", ".join(f"{count} {what}" for what, count in skipped.most_common()) or "nothing is in it"
        raise DataError(f"no images in {str(root)!r} ({why}); wanted files that end in {', '.join(sorted(SUFFIXES))}")
    return found


def _walk(folder: Path, found: list[Path], skipped: Counter[str], seen: set[tuple[int, int]]) -> None:
    place = folder.stat()
    if (place.st_dev, place.st_ino) in seen:  # a link back to a folder that was visited
        skipped["linked a second time"] += 1
        return
    seen.add((place.st_dev, place.st_ino))
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"cannot list the folder {str(folder)!r}: {error.strerror or error}") from error
    for entry in entries:
        if entry.name.startswith("."):
            skipped["hidden"] += 1
        elif entry.is_dir():
            _walk(entry, found, skipped, seen)
        elif not entry.exists():
            skipped["dangling links"] += 1
        elif entry.suffix.lower() in SUFFIXES and entry.is_file():
            found.append(entry)
        else:
            skipped[f"with suffix {entry.suffix.lower()!r}" if entry.suffix else "without a suffix"] += 1


def _state(root: Path, file: Path) -> tuple[str, int, int]:
    name = str(file.relative_to(root))
    try:
        about = file.stat()
    except OSError:  # gone since it was found; decoding it says so
        return name, -1, -1
    return name, about.st_size, about.st_mtime_ns


def _labels(root: Path, files: list[Path]) -> tuple[torch.Tensor | None, tuple[str, ...]]:
    parts = [file.relative_to(root).parts for file in files]
    names = sorted({part[0] for part in parts})
    if any(len(part) < 2 for part in parts) or len(names) < 2:
        return None, ()
    numbers = {name: k for k, name in enumerate(names)}
    return torch.tensor([numbers[part[0]] for part in parts]), tuple(names)
