"""Frames to an animated PNG: exact, streamed, each frame the rectangle that changes.

Pillow compresses each picture; the chunks around them are written here, because Pillow's own writer of animations
holds every frame.

References:
    W3C (2025), "Portable Network Graphics (PNG) Specification (Third Edition)", sections 4.9 and 11.3.5.
"""

import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

import numpy as np

from latentkit.encoders.frames import Frame, checked
from latentkit.errors import ShapeError

__all__ = ["SIGNATURE", "chunk", "chunks", "write_apng"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"

#: A delay is a fraction of two 16-bit numbers: with the finest of these denominators that it fits.
DENOMINATORS = (1000, 100, 10, 1)


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file: its length, kind, data and checksum."""
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk of a PNG file, where its data begin, and how long they are; data are not read."""
    at = len(SIGNATURE)
    while True:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        yield kind, at + 8, length
        at += length + 12


def _picture(frame: Frame) -> bytes:
    """Return the compressed data of a picture (H, W, 3)."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    parts = []
    for kind, at, length in chunks(buffer):
        if kind == b"IDAT":
            buffer.seek(at)
            parts.append(buffer.read(length))
    return b"".join(parts)


def write_apng(
    file: IO[bytes],
    frames: Iterable[Frame],
    delays: Sequence[int],
    *,
    size: tuple[int, int],
    loop: bool,
    note: bytes = b"",
) -> int:
    """Write frames to an open file and return how many were stored; one frame is held beside the current one.

    Equal neighbours are stored once and shown for as long as both.

    Args:
        file: open for writing bytes, at its start; one that can seek.
        frames: each (H, W, 3) uint8.
        delays: ms a frame, as many as frames.
        size: (W, H) in pixels.
        loop: play for ever rather than once.
        note: a chunk that is written before the end.

    Raises:
        ShapeError: if a frame is not (H, W, 3) uint8 of this size, or larger than the format knows.
        ArgumentError: if there are more or fewer frames than delays, or none.
    """
    if max(size) >= 2**31:
        raise ShapeError(f"a PNG is less than 2**31 pixels wide and high, got {size[0]} x {size[1]}")
    control = _Control(file, loop)
    file.write(SIGNATURE + chunk(b"IHDR", _numbers(*size) + bytes((8, 2, 0, 0, 0))))
    place = file.tell()
    file.write(control.animation())
    before: Frame | None = None
    for frame, delay in zip(checked(frames, len(delays), size), delays, strict=False):
        if before is None:
            control.add(frame, 0, 0, delay)
        else:
            changed = (frame != before).any(2)
            rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
            if len(rows):
                top, left = int(rows[0]), int(columns[0])
                control.add(frame[top : rows[-1] + 1, left : columns[-1] + 1], top, left, delay)
            else:
                control.waiting += delay
        before = frame
    control.flush()
    file.write(note + chunk(b"IEND", b""))
    file.seek(place)
    file.write(control.animation())
    file.seek(0, io.SEEK_END)
    return control.stored


def _numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "big") for value in values)


class _Control:
    """The frames of a file: each waits until it is known how long it is shown."""

    def __init__(self, file: IO[bytes], loop: bool) -> None:
        self._file, self._loop = file, loop
        self._pending: tuple[bytes, bytes] | None = None
        self.waiting = self.stored = self._number = 0

    def animation(self) -> bytes:
        """Return the chunk that says how many frames there are and how often they play."""
        return chunk(b"acTL", _numbers(self.stored, 0 if self._loop else 1))

    def add(self, part: Frame, top: int, left: int, delay: int) -> None:
        """Take a rectangle (h, w, 3) that is shown from now on, for `delay` and what is added to `waiting`."""
        self.flush()
        place = _numbers(part.shape[1], part.shape[0], left, top)
        self._pending = place, _picture(np.ascontiguousarray(part))
        self.waiting += delay

    def flush(self) -> None:
        """Write the frame that waits."""
        if self._pending is None:
            return
        place, data = self._pending
        over = next((d for d in DENOMINATORS if round(self.waiting * d / 1000) < 2**16), 1)
        parts = min(round(self.waiting * over / 1000), 2**16 - 1)
        self.waiting -= parts * 1000 // over  # what a coarse fraction leaves is given to the next frame
        delay = parts.to_bytes(2, "big") + over.to_bytes(2, "big")
        self._file.write(chunk(b"fcTL", self._next() + place + delay + bytes((0, 0))))
        kind, head = (b"IDAT", b"") if self.stored == 0 else (b"fdAT", self._next())
        self._file.write(chunk(kind, head + data))
        self.stored += 1
        self._pending = None

    def _next(self) -> bytes:
        number, self._number = self._number, self._number + 1
        return _numbers(number)
