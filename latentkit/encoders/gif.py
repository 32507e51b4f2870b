"""Frames to a GIF file: streamed, with play times that are right and a palette that fits the frames.

Pillow does the compression of one picture; the file around it is written here, because Pillow's own film writer holds
every frame.

References:
    CompuServe (1990), "Graphics Interchange Format, version 89a".
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from latentkit.encoders.frames import checked, few
from latentkit.encoders.patches import Patch, Screen, table_bits
from latentkit.errors import ArgumentError, ShapeError

__all__ = ["GifInfo", "gif_info", "write_gif"]

#: The longest delay of one stored frame, in ticks: 16 bits.
LONGEST = 2**16 - 1

#: Frames that share a palette, and that are held at a time.
SEGMENT = 4

Bytes = NDArray[np.uint8]


def write_gif(
    file: IO[bytes],
    frames: Iterable[Bytes],
    delays: Sequence[int],
    *,
    size: tuple[int, int],
    loop: bool,
    note: bytes = b"",
) -> int:
    """Write frames to an open file and return how many were stored.

    Equal neighbours are stored once and shown for as long as both. Four frames are held at a time.

    Args:
        file: open for writing bytes.
        frames: each (H, W, 3) uint8.
        delays: hundredths of a second a frame, at least 1 each; as many as frames.
        size: (W, H) in pixels, at most 65535 each.
        loop: play for ever rather than once.
        note: a block, such as a comment, that is written before the end.

    Raises:
        ShapeError: if a frame is not (H, W, 3) uint8 of this size.
        ArgumentError: if there are more or fewer frames than delays, or none.
    """
    width, height = size
    if not (0 < width < 2**16 and 0 < height < 2**16):
        raise ShapeError(f"a GIF is at most 65535 pixels wide and high, got {width} x {height}; use a smaller scale")
    stored = waiting = 0
    shared: Bytes | None = None
    pending: Patch | None = None
    screen = Screen()
    patches = chain.from_iterable(map(screen.follow, few(checked(frames, len(delays), size), SEGMENT)))
    for patch, delay in zip(patches, delays, strict=False):
        if patch is not None:
            if shared is None:
                shared = patch.colours
                file.write(_header(size, shared, loop))
            stored += _store(file, pending, waiting, shared)
            pending, waiting = patch, 0
        waiting += delay
    for _ in patches:  # one more than said is an error that `checked` raises
        pass
    if shared is not None:
        stored += _store(file, pending, waiting, shared)
    file.write(note + b";")
    return stored


def _header(size: tuple[int, int], colours: Bytes, loop: bool) -> bytes:
    screen = np.array(size, dtype="<u2").tobytes()
    forever = b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00" if loop else b""
    return b"GIF89a" + screen + bytes((0xF0 | table_bits(colours), 0, 0)) + colours.tobytes() + forever


def _store(file: IO[bytes], patch: Patch | None, delay: int, shared: Bytes) -> int:
    """Write a frame, again and again if its delay is longer than one can be; return how many were written."""
    if patch is None:
        return 0
    times = max(1, -(-delay // LONGEST))
    for left in range(times, 0, -1):
        part = delay // left
        file.write(patch.stored(part, shared))
        delay -= part
    return times


@dataclass(frozen=True)
class GifInfo:
    """What a GIF file holds: stored `frames`, their `durations` in ms, `size` (W, H), whether it loops."""

    frames: int
    durations: tuple[int, ...]
    size: tuple[int, int]
    loop: bool

    @property
    def milliseconds(self) -> int:
        """How long it plays once."""
        return sum(self.durations)


def gif_info(path: str | os.PathLike[str]) -> GifInfo:
    """Read back what a GIF file holds.

    Equal neighbours are stored once, so there may be fewer frames than went in; the time is kept.

    Raises:
        ArgumentError: if the file is no GIF.
    """
    from PIL import Image, ImageSequence

    with Path(path).open("rb") as file:
        if file.read(4) != b"GIF8":
            raise ArgumentError(f"{path} is no GIF file")
        file.seek(0)
        with Image.open(file) as image:
            loop = image.info.get("loop") == 0
            durations = tuple(int(frame.info.get("duration", 0)) for frame in ImageSequence.Iterator(image))
            return GifInfo(len(durations), durations, image.size, loop)
