"""Any folder of images as training data: found by stated rules, decoded in full before training starts."""

import os
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from latentkit.checks import as_count
from latentkit.errors import ArgumentError, DataError
from trainers.data.dataset import Data

__all__ = ["image_folder"]

MAX_PIXELS = 89_478_485  # Pillow's own limit, where it begins to warn of a decompression bomb

_SUFFIXES = frozenset((
    ".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tga", ".tif", ".tiff", ".webp",
))  # fmt: skip
_UNREADABLE_SHARE = 0.05
_SHOWN = 5


def image_folder(
    path: str | os.PathLike[str], size: int = 32, grey: bool = False, *, max_pixels: int = MAX_PIXELS
) -> Data:
    """Return all images in a folder and the folders below it, cropped to their centre square and resized.

    Hidden names are ignored, links are followed once, and the case of a suffix does not matter. Images are
    turned upright by their EXIF tag; transparent ones are laid on white; of animations the first frame
    counts; 16-bit greys are scaled by a shift of 8 bits. If every image lies in some sub-folder, and
    there are at least two, the first level's names are the classes.

    Args:
        path: the folder.
        size: side of the images in pixels.
        grey: one channel of luminance instead of three of colour.
        max_pixels: largest width times height that is decoded; raise it for larger photographs.

    Returns:
        Images (N, 1 or 3, size, size) uint8 in the order of their paths.

    Raises:
        ArgumentError: if `size` or `max_pixels` is not a whole number of at least 1.
        DataError: if the folder is missing or has no images, if an image has more than `max_pixels`
            pixels, or if more than 5 % of the images cannot be read; up to 5 % are skipped with a warning.
    """
    size, max_pixels = as_count(size, "size"), as_count(max_pixels, "max_pixels")
    if not isinstance(grey, bool):
        raise ArgumentError(f"grey must be True or False, got {grey!r}")
    root = Path(path)
    files = _find(root)
    pixels, kept, failures = [], [], []
    with _strict_pillow(max_pixels):
        for file in files:
            try:
                pixels.append(_decode(file, size, grey))
            except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
                raise DataError(
                    f"{file} has more than {max_pixels:,} pixels ({error}); make it smaller, take it away, "
                    "or pass a larger max_pixels"
                ) from error
            # A decoder may raise anything for a damaged file; the reason is kept for the report.
            except Exception as error:
                failures.append(f"{file}: {error or type(error).__name__}")
            else:
                kept.append(file)
    if failures:
        _report(failures, len(files), root)
    labels, classes = _labels(root, kept)
    return Data(root.resolve().name or "folder", torch.from_numpy(np.stack(pixels)), labels, classes)


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
        raise DataError(f"no images in {str(root)!r} ({why}); wanted files that end in {', '.join(sorted(_SUFFIXES))}")
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
        elif entry.suffix.lower() in _SUFFIXES and entry.is_file():
            found.append(entry)
        else:
            skipped[f"with suffix {entry.suffix.lower()!r}" if entry.suffix else "without a suffix"] += 1


@contextmanager
def _strict_pillow(max_pixels: int) -> Iterator[None]:
    """Make Pillow refuse large and truncated images, whatever the caller has set, and restore that."""
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = max_pixels, False
            yield
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def _decode(file: Path, size: int, grey: bool) -> NDArray[np.uint8]:
    """Return one image as (C, size, size) bytes."""
    with Image.open(file) as opened:
        opened.draft("", (2 * size, 2 * size))  # a JPEG is decoded at a fraction of its size
        opened.load()
        image = _eight_bits(ImageOps.exif_transpose(opened))
    image = image.convert("L" if grey else "RGB")
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    square = image.resize((size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    return np.asarray(square).reshape(size, size, -1).transpose(2, 0, 1)


def _eight_bits(image: Any) -> Any:
    """Return an image as mode L or RGB, without clipping deep greys and without transparency."""
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"grey values must lie in 0 to 65535, got {values.min()} to {values.max()}")
        return Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no stated range; save the image with 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "L" else image.convert("RGB")


def _report(failures: list[str], total: int, root: Path) -> None:
    shown = "; ".join(failures[:_SHOWN]) + ("; ..." if len(failures) > _SHOWN else "")
    text = f"{len(failures)} of {total} images in {str(root)!r} cannot be read: {shown}"
    if len(failures) > _UNREADABLE_SHARE * total:
        raise DataError(f"{text}. Mend or take away these files (up to 5 % would be skipped)")
    warnings.warn(f"{text}. They are skipped", UserWarning, stacklevel=3)


def _labels(root: Path, files: list[Path]) -> tuple[torch.Tensor | None, tuple[str, ...]]:
    parts = [file.relative_to(root).parts for file in files]
    names = sorted({part[0] for part in parts})
    if any(len(part) < 2 for part in parts) or len(names) < 2:
        return None, ()
    numbers = {name: k for k, name in enumerate(names)}
    return torch.tensor([numbers[part[0]] for part in parts]), tuple(names)
