"""The files of a report: films in their best format and as GIFs, and pictures beside the page or inside it."""

import base64
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from latentkit.animation import Animation
from latentkit.encoders.avif import available

__all__ = ["KINDS", "Shelf", "save_film"]

Frame = NDArray[np.uint8]

#: What browsers call the kinds of files that a page shows.
KINDS = {
    ".png": "image/png",
    ".apng": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".avif": "image/avif",
}


def save_film(film: Animation, folder: Path, stem: str, *, smooth: bool = False) -> tuple[str, str]:
    """Write a film in the format that suits it, and as a GIF, and return both names, which may be one and the same.

    Frames are made once, whatever making them costs, and wait in a temporary file.

    Args:
        film: the film.
        folder: where it goes.
        stem: the name of its files, without a suffix.
        smooth: whether its pictures may lose what no eye sees: as AVIF a sheet of samples takes a sixth of the bytes.
            An even background would let it be taken for a plot, whose colours must stay exact.
    """
    with _kept(film) as kept:
        if smooth and available():
            return kept.save(folder / f"{stem}.avif").name, kept.save(folder / f"{stem}.gif").name
        best, *others = kept.save_best(folder / stem)
    return best.name, others[0].name if others else best.name


@contextmanager
def _kept(film: Animation) -> Iterator[Animation]:
    """Give a film whose frames are read from a temporary file, drawn as they are saved."""
    with tempfile.TemporaryFile() as file:
        for frame in film.pictures():
            file.write(np.ascontiguousarray(frame).data)
        size = film.whole_size
        yield replace(film, frames=lambda: _read(file, size, film.count), size=size, captions=(), strip=False)


def _read(file: IO[bytes], size: tuple[int, int], count: int) -> Iterator[Frame]:
    width, height = size
    each = width * height * 3
    for i in range(count):
        file.seek(i * each)
        yield np.frombuffer(file.read(each), dtype=np.uint8).reshape(height, width, 3)


@dataclass(frozen=True)
class Shelf:
    """Where the page finds its files.

    Args:
        folder: that they are in.
        inside: the page holds them itself, as data URIs.
    """

    folder: Path
    inside: bool = False

    def kind(self, name: str) -> str:
        """Return what browsers call a file's kind."""
        return KINDS[Path(name).suffix]

    def source(self, name: str) -> str:
        """Return what a picture's address is in the page: its name, or all of it."""
        if not self.inside:
            return name
        return f"data:{self.kind(name)};base64,{base64.b64encode((self.folder / name).read_bytes()).decode('ascii')}"

    def size(self, name: str) -> tuple[int, int]:
        """Return a picture's width and height in pixels, so that the page keeps a place for it before it is there."""
        from PIL import Image

        with Image.open(self.folder / name) as picture:
            return picture.size
