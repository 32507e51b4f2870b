"""Frames to a GIF file: streamed, with play times that are right and a palette that fits the frames.

Pillow does the compression of one picture; the file around it is written here, because Pillow's own
film writer holds every frame. A palette is fitted to a few frames at a time and kept as long as it
serves: greys and films of few colours are stored exactly, a plot has one palette for the whole film,
a colour morph a new one every few frames. Nothing is dithered: dither flickers and compresses badly.

References:
    CompuServe (1990), "Graphics Interchange Format, version 89a".
"""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import IO

import numpy as np
from numpy.typing import NDArray

from latentkit.errors import ArgumentError, ShapeError

__all__ = ["GifInfo", "gif_info", "ticks", "write_gif"]

#: A GIF counts time in hundredths of a second.
TICK = 10.0

#: The longest delay of one stored frame, in ticks: 16 bits.
LONGEST = 2**16 - 1

#: Frames that share a palette, and that are held at a time.
SEGMENT = 8

#: A palette is kept while its squared error a channel stays below this (48 dB: no eye sees it) ...
UNSEEN = 1.0

#: ... or below this many times the error on the frames that it was fitted to.
WORSE = 1.2

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


@dataclass(frozen=True, eq=False)
class _Palette:
    """Colours (256, 3), a table from a colour's key to its index, and the error on the frames of its fit."""

    colours: Bytes
    table: Bytes
    error: float
    kind: str  # grey, exact or fitted

    def index(self, frame: Bytes) -> Bytes:
        """Return the index (H, W) of the nearest colour of each pixel of a frame (H, W, 3)."""
        if self.kind == "grey":
            return np.ascontiguousarray(frame[..., 0])
        if self.kind == "exact":
            known = _packed(self.colours[: int(self.table[0]) + 1])
            return np.searchsorted(known, _packed(frame)).astype(np.uint8)
        return self.table[_keys(frame)]


_GREYS = _Palette(np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1), np.empty(0, np.uint8), 0.0, "grey")


def _packed(frame: Bytes) -> NDArray[np.int32]:
    wide = frame.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _keys(frame: Bytes) -> NDArray[np.int32]:
    """Return the bins (H, W) of colours in a grid of 64 x 64 x 64: within a bin all go to one colour."""
    wide = (frame >> 2).astype(np.int32)
    return wide[..., 0] << 12 | wide[..., 1] << 6 | wide[..., 2]


def _is_grey(frame: Bytes) -> bool:
    return bool((frame[..., 0] == frame[..., 1]).all() and (frame[..., 1] == frame[..., 2]).all())


def _palette_for(frames: list[Bytes], current: _Palette | None) -> _Palette:
    """Return a palette for a few frames: the current one if it serves them, else a new one."""
    if all(map(_is_grey, frames)):
        return _GREYS
    keys = [_keys(frame).ravel() for frame in frames]
    counts = sum(np.bincount(part, minlength=2**18) for part in keys)
    bins = np.flatnonzero(counts)
    if len(bins) <= 256:
        exact = _exact(frames, current)
        if exact is not None:
            return exact
    weights = counts[bins].astype(np.float32)
    means = np.empty((len(bins), 3), dtype=np.float32)
    for c in range(3):
        sums = sum(np.bincount(part, frame[..., c].ravel(), 2**18) for part, frame in zip(keys, frames, strict=True))
        means[:, c] = sums[bins] / weights
    fitted = current if current is not None and current.kind == "fitted" else None
    if fitted is not None:
        label, error = _nearest(means, weights, fitted.colours.astype(np.float32))
        if error <= max(UNSEEN, WORSE * fitted.error):
            return _Palette(fitted.colours, _table(bins, label), fitted.error, "fitted")
        start = fitted.colours
    else:
        start = _first_guess(frames)
    colours = _cluster(means, weights, start.astype(np.float32), rounds=3 if fitted else 6)
    label, error = _nearest(means, weights, colours.astype(np.float32))
    return _Palette(colours, _table(bins, label), error, "fitted")


def _exact(frames: list[Bytes], current: _Palette | None) -> _Palette | None:
    """Return a palette of every colour in the frames, or None if there are more than 256."""
    found = np.unique(np.concatenate([np.unique(_packed(frame)) for frame in frames]))
    if current is not None and current.kind == "exact":
        known = _packed(current.colours[: int(current.table[0]) + 1])
        if np.isin(found, known).all():
            return current
        joined = np.union1d(known, found)  # what comes back later need not change the palette again
        found = joined if len(joined) <= 256 else found
    if len(found) > 256:
        return None
    colours = np.zeros((256, 3), dtype=np.uint8)
    colours[: len(found)] = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1)
    return _Palette(colours, np.array([len(found) - 1], dtype=np.uint8), 0.0, "exact")


def _table(bins: NDArray[np.intp], label: NDArray[np.intp]) -> Bytes:
    table = np.zeros(2**18, dtype=np.uint8)
    table[bins] = label
    return table


def _first_guess(frames: list[Bytes]) -> Bytes:
    from PIL import Image

    montage = Image.fromarray(np.concatenate([frame[::2, ::2] for frame in frames]))
    method = Image.Quantize.FASTOCTREE
    found = montage.quantize(256, method=method, dither=Image.Dither.NONE).getpalette() or []
    colours = np.zeros((256, 3), dtype=np.uint8)
    colours[: len(found) // 3] = np.array(found, dtype=np.uint8).reshape(-1, 3)[:256]
    return colours


def _nearest(
    means: NDArray[np.float32], weights: NDArray[np.float32], centres: NDArray[np.float32]
) -> tuple[NDArray[np.intp], float]:
    """Return the nearest centre of each colour and the mean squared error a channel."""
    label = np.empty(len(means), dtype=np.intp)
    # |p - c|^2 less |p|^2, as one product. In small blocks, which stay in the cache and which the matrix
    # library does not spread over threads: that costs it ten times the product itself.
    points = np.column_stack([means, np.ones(len(means), dtype=np.float32)])
    planes = np.column_stack([-2.0 * centres, (centres**2).sum(1)]).T.copy()
    for start in range(0, len(means), 512):
        label[start : start + 512] = (points[start : start + 512] @ planes).argmin(1)
    gaps = ((means - centres[label]) ** 2).sum(1)
    return label, float((gaps * weights).sum(dtype=np.float64) / (3.0 * weights.sum(dtype=np.float64)))


def _cluster(
    means: NDArray[np.float32], weights: NDArray[np.float32], centres: NDArray[np.float32], rounds: int
) -> Bytes:
    """Return 256 colours by weighted k-means: Lloyd's rounds; an idle centre goes to the worst colour."""
    for _ in range(rounds):
        label, _ = _nearest(means, weights, centres)
        mass = np.bincount(label, weights, 256)
        idle = np.flatnonzero(mass == 0)
        moved = np.stack([np.bincount(label, weights * means[:, c], 256) for c in range(3)], axis=1)
        centres = (moved / np.maximum(mass, 1e-9)[:, None]).astype(np.float32)
        if len(idle):
            worst = (((means - centres[label]) ** 2).sum(1) * weights).argsort()[::-1][: len(idle)]
            centres[idle[: len(worst)]] = means[worst]
    return np.clip(np.rint(centres), 0, 255).astype(np.uint8)


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
        table = b"" if self.colours is None else self.colours.tobytes()
        return b"".join(
            (
                bytes((0x21, 0xF9, 4, flags)) + delay.to_bytes(2, "little") + bytes((self.transparent or 0, 0)),
                b"," + place + bytes((0x87 if table else 0,)),
                table,
                self.data,
            )
        )


def _patch(frame: Bytes, palette: _Palette, canvas: Bytes) -> _Patch | None:
    """Return what must be stored to go from the canvas to the frame, None if nothing; update the canvas.

    A pixel stays as it is where the canvas is already as near to it as the palette comes.
    """
    index = palette.index(frame)
    shown = palette.colours[index]
    changed = _gap(frame, canvas) > _gap(frame, shown)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    if len(rows) == 0:
        return None
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    index, shown, changed = index[box], shown[box], changed[box]
    place = (int(columns[0]), int(rows[0]), index.shape[1], index.shape[0])
    data, transparent = _compressed(index), None
    free = np.flatnonzero(np.bincount(index[changed], minlength=256) == 0)
    if len(free) and not changed.all():
        sparse = _compressed(np.where(changed, index, np.uint8(free[-1])))
        if len(sparse) <= len(data):
            data, transparent = sparse, int(free[-1])
    target = canvas[box]
    target[...] = shown if transparent is None else np.where(changed[..., None], shown, target)
    return _Patch(*place, data, transparent, None)


def _segments(frames: Iterable[Bytes]) -> Iterator[list[Bytes]]:
    iterator = iter(frames)
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
    shared = palette = pending = None
    canvas = np.empty((0, 0, 3), dtype=np.uint8)
    for segment in _segments(frames):
        for frame in segment:
            if frame.dtype != np.uint8 or frame.shape != (height, width, 3):
                raise ShapeError(f"frames must be ({height}, {width}, 3) uint8, got {frame.shape} {frame.dtype}")
        if seen + len(segment) > len(delays):
            raise ArgumentError(f"there are more frames than the {len(delays)} that were said")
        palette = _palette_for(segment, palette)
        for frame, delay in zip(segment, delays[seen:], strict=False):
            if shared is None:
                shared = palette
                file.write(_header(size, palette.colours, loop))
                canvas = palette.colours[palette.index(frame)]
                patch = _Patch(0, 0, width, height, _compressed(palette.index(frame)), None, None)
            else:
                patch = _patch(frame, palette, canvas)
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
    return b"GIF89a" + screen + b"\xf7\x00\x00" + colours.tobytes() + forever


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

    with open(path, "rb") as file:
        if file.read(4) != b"GIF8":
            raise ArgumentError(f"{path} is no GIF file")
        file.seek(0)
        with Image.open(file) as image:
            loop = image.info.get("loop") == 0
            durations = tuple(int(frame.info.get("duration", 0)) for frame in ImageSequence.Iterator(image))
            return GifInfo(len(durations), durations, image.size, loop)
