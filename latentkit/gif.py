"""Frames to a GIF file: streamed, with play times that are right and a palette that fits the frames.

Pillow does the compression of one picture; the file around it is written here, because Pillow's own
film writer holds every frame. Each frame stores the rectangle that changes, with holes where a pixel
stays as it is. Nothing is dithered: dither flickers and compresses badly.

References:
    CompuServe (1990), "Graphics Interchange Format, version 89a".
"""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from latentkit.errors import ArgumentError, ShapeError
from latentkit.palette import Palette, packed_colours, palette_for

__all__ = ["GifInfo", "gif_info", "ticks", "write_gif"]

#: A GIF counts time in hundredths of a second.
TICK = 10.0

#: The longest delay of one stored frame, in ticks: 16 bits.
LONGEST = 2**16 - 1

#: Frames that share a palette, and that are held at a time.
SEGMENT = 8

Bytes = NDArray[np.uint8]


def ticks(durations: Sequence[float]) -> list[int]:
    """Return the delays in hundredths of a second for durations in milliseconds.

    Each delay takes the rounding of all before it into account, so that every frame begins within
    half a tick of its true time, however long the film.

    Examples:
        >>> ticks([1000 / 30] * 6), ticks([1000 / 24] * 6)
        ([3, 4, 3, 3, 4, 3], [4, 4, 5, 4, 4, 4])
    """
    ends = np.floor(np.cumsum(np.asarray(durations, dtype=np.float64)) / TICK + 0.5 + 1e-9).astype(np.int64)
    return np.diff(ends, prepend=0).tolist()


def _compressed(index: Bytes) -> bytes:
    """Return the LZW data of indices (H, W): what follows the descriptor in Pillow's file of one picture."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(index).save(buffer, "GIF", optimize=False, interlace=0)
    data = buffer.getvalue()
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while data[at] == 0x21:  # an extension: its label, then blocks that say their length, then a zero
        at += 2
        while data[at]:
            at += data[at] + 1
        at += 1
    return data[at + 10 : -1]


def _gap(frame: Bytes, other: Bytes) -> NDArray[np.int32]:
    """Return the squared distance (H, W) of colours."""
    # Differences of bytes fit 16 bits; their squares need 32.
    gap = np.subtract(frame, other, dtype=np.int16).astype(np.int32)
    return np.einsum("hwc,hwc->hw", gap, gap)


@dataclass(eq=False)
class _Patch:
    """One stored frame: the changed rectangle, compressed."""

    left: int
    top: int
    width: int
    height: int
    data: bytes
    transparent: int | None
    colours: Bytes | None  # a table of its own, or None for the file's

    def stored(self, delay: int) -> bytes:
        """Return the frame's blocks: graphic control, descriptor, table, picture."""
        flags = 1 << 2 | (self.transparent is not None)  # leave the frame in place for the next one
        place = np.array([self.left, self.top, self.width, self.height], dtype="<u2").tobytes()
        table, local = (b"", 0) if self.colours is None else (self.colours.tobytes(), 0x80 | _bits(self.colours))
        return b"".join(
            (
                bytes((0x21, 0xF9, 4, flags)) + delay.to_bytes(2, "little") + bytes((self.transparent or 0, 0)),
                b"," + place + bytes((local,)),
                table,
                self.data,
            )
        )


def _patch(
    frame: Bytes, packed: NDArray[np.int32], before: NDArray[np.int32], palette: Palette, canvas: Bytes
) -> _Patch | None:
    """Return what must be stored to go on from the canvas, None if nothing; update the canvas.

    A pixel is stored if its colour is another than in the frame before and the palette has a nearer one
    than the canvas shows.
    """
    differs = packed != before
    rows, columns = np.flatnonzero(differs.any(1)), np.flatnonzero(differs.any(0))
    if len(rows) == 0:
        return None
    top, left = int(rows[0]), int(columns[0])
    box = slice(top, rows[-1] + 1), slice(left, columns[-1] + 1)
    index = palette.index(packed[box])
    shown, target = palette.colours[index], canvas[box]
    old, new = _gap(frame[box], target), _gap(frame[box], shown)
    changed = differs[box] & (old > new)
    if not changed.any():
        return None
    place, candidates = (left, top, index.shape[1], index.shape[0]), []
    free = np.flatnonzero(np.bincount(index[changed], minlength=len(palette.colours)) == 0)
    if len(free) and not changed.all():
        hole = int(free[-1])
        candidates.append((_compressed(np.where(changed, index, np.uint8(hole))), hole))
    # Without holes it often compresses better: where the palette was fitted to what lies in them, too.
    if not candidates or new.sum() <= 1.1 * np.minimum(new, old).sum():
        candidates.append((_compressed(index), None))
    data, transparent = min(candidates, key=lambda candidate: len(candidate[0]))
    target[...] = shown if transparent is None else np.where(changed[..., None], shown, target)
    return _Patch(*place, data, transparent, None)


def _segments(frames: Iterable[Bytes]) -> Iterator[list[Bytes]]:
    # Copies: a maker of frames may draw all of them into one array.
    iterator = (np.array(frame) for frame in frames)
    while segment := list(islice(iterator, SEGMENT)):
        yield segment


def write_gif(
    file: IO[bytes], frames: Iterable[Bytes], delays: Sequence[int], *, size: tuple[int, int], loop: bool
) -> int:
    """Write frames to an open file and return how many were stored.

    Equal neighbours are stored once and shown for as long as both. Eight frames are held at a time.

    Args:
        file: open for writing bytes.
        frames: each (H, W, 3) uint8.
        delays: hundredths of a second a frame, at least 1 each; as many as frames.
        size: (W, H) in pixels, at most 65535 each.
        loop: play for ever rather than once.

    Raises:
        ShapeError: if a frame is not (H, W, 3) uint8 of this size.
        ArgumentError: if there are more or fewer frames than delays, or none.
    """
    width, height = size
    if not (0 < width < 2**16 and 0 < height < 2**16):
        raise ShapeError(f"a GIF is at most 65535 pixels wide and high, got {width} x {height}; use a smaller scale")
    seen = stored = waiting = 0
    shared = palette = pending = before = None
    canvas = np.empty((0, 0, 3), dtype=np.uint8)
    for segment in _segments(frames):
        for frame in segment:
            if frame.dtype != np.uint8 or frame.shape != (height, width, 3):
                raise ShapeError(f"frames must be ({height}, {width}, 3) uint8, got {frame.shape} {frame.dtype}")
        if seen + len(segment) > len(delays):
            raise ArgumentError(f"there are more frames than the {len(delays)} that were said")
        packed = [packed_colours(frame) for frame in segment]
        palette = palette_for(segment, packed, before, palette)
        for frame, pixels, delay in zip(segment, packed, delays[seen:], strict=False):
            if shared is None or before is None:
                shared, index = palette, palette.index(pixels)
                file.write(_header(size, palette.colours, loop))
                canvas = palette.colours[index]
                patch = _Patch(0, 0, width, height, _compressed(index), None, None)
            else:
                patch = _patch(frame, pixels, before, palette, canvas)
            before = pixels
            if patch is not None:
                stored += _store(file, pending, waiting)
                patch.colours = None if palette.colours is shared.colours else palette.colours
                pending, waiting = patch, 0
            waiting += delay
        seen += len(segment)
    if seen != len(delays) or seen == 0:
        raise ArgumentError(f"there are {seen} frames where {len(delays)} were said; at least one is needed")
    stored += _store(file, pending, waiting)
    file.write(b";")
    return stored


def _header(size: tuple[int, int], colours: Bytes, loop: bool) -> bytes:
    screen = np.array(size, dtype="<u2").tobytes()
    forever = b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00" if loop else b""
    return b"GIF89a" + screen + bytes((0xF0 | _bits(colours), 0, 0)) + colours.tobytes() + forever


def _bits(colours: Bytes) -> int:
    """Return how a GIF states the size of a table: 2 to the power of this plus one."""
    return len(colours).bit_length() - 2


def _store(file: IO[bytes], patch: _Patch | None, delay: int) -> int:
    """Write a frame, again and again if its delay is longer than one can be; return how many were written."""
    if patch is None:
        return 0
    times = max(1, -(-delay // LONGEST))
    for left in range(times, 0, -1):
        part = delay // left
        file.write(patch.stored(part))
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
