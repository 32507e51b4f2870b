"""Frames to an animated WebP: streamed, exact or lossy.

Pillow compresses some frames at a time as an animation of their own, differences and all; the file around those is
written here, because Pillow's encoder holds what it has compressed until the end.

References:
    Zern, Massimino, Alakuijala (2024), RFC 9649, "WebP Image Format", section 2.7.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from latentkit.encoders.frames import Frame, checked, few
from latentkit.errors import ArgumentError, ShapeError

__all__ = ["QUALITY", "chunk", "write_webp"]

#: Frames that are compressed, and held, together.
TOGETHER = 16

#: Of lossy frames, 0 to 100.
QUALITY = 90

#: The longest side in pixels, and the longest time of a frame in ms.
LARGEST, LONGEST = 2**14 - 1, 2**24 - 1

#: Of a frame: do not blend with what is below, and do not clear it afterwards.
OPAQUE = bytes((2,))

#: Of a file: frames are partly transparent, it has metadata (XMP), and it is an animation. Browsers take the frames of
#: a file that does not say the first for opaque, and show what should have let the one below through.
HAS_ALPHA, HAS_XMP, ANIMATED = 16, 4, 2

#: Where a file has these flags.
_FLAGS_AT = 20


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a RIFF file: its kind, length and data, padded to an even length."""
    return kind + len(data).to_bytes(4, "little") + data + b"\0" * (len(data) % 2)


def write_webp(
    file: IO[bytes],
    frames: Iterable[Frame],
    delays: Sequence[int],
    *,
    size: tuple[int, int],
    loop: bool,
    lossless: bool,
    quality: int = QUALITY,
    note: bytes = b"",
) -> int:
    """Write frames to an open file and return how many were stored; sixteen are held at a time.

    Args:
        file: open for writing bytes, at its start; one that can seek.
        frames: each (H, W, 3) uint8.
        delays: ms a frame, as many as frames.
        size: (W, H) in pixels, at most 16383 each.
        loop: play for ever rather than once.
        lossless: store the frames exactly.
        quality: of lossy frames, 0 to 100.
        note: a chunk of metadata that is written at the end.

    Raises:
        ShapeError: if a frame is not (H, W, 3) uint8 of this size, or the format knows no such size.
        ArgumentError: if there are more or fewer frames than delays, or none, or one is shown for more than 4.6 hours.
    """
    if max(size) > LARGEST:
        raise ShapeError(f"WebP is at most {LARGEST} pixels a side, got {size[0]} x {size[1]}; use a smaller scale")
    if max(delays) > LONGEST:
        raise ArgumentError(f"a frame of WebP is shown for at most {LONGEST} ms, got {max(delays)}; show it twice")
    whole = _below(*size)
    flags = ANIMATED | (HAS_XMP if note else 0)
    times = b"\0\0" if loop else b"\1\0"
    head = chunk(b"VP8X", bytes((flags, 0, 0, 0)) + whole)
    file.write(b"RIFF\0\0\0\0WEBP" + head + chunk(b"ANIM", b"\xff" * 4 + times))
    options = {"lossless": lossless, "quality": 80 if lossless else quality}
    stored = done = 0
    for part in few(checked(frames, len(delays), size), TOGETHER):
        lasting = list(delays[done : done + len(part)])
        done += len(part)
        for alpha, data in _compressed(part, lasting, size, options):
            file.write(chunk(b"ANMF", data))
            flags |= alpha
            stored += 1
    file.write(note)
    length = file.tell()
    file.seek(4)
    file.write((length - 8).to_bytes(4, "little"))
    file.seek(_FLAGS_AT)
    file.write(bytes((flags,)))
    file.seek(0, io.SEEK_END)
    return stored


def _below(width: int, height: int) -> bytes:
    """Return how the format states a size: one less, in three bytes each."""
    return (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


def _compressed(
    frames: list[Frame], delays: list[int], size: tuple[int, int], options: dict[str, object]
) -> Iterator[tuple[int, bytes]]:
    """Yield the data of the stored frames of a few, each with its place and time, and `HAS_ALPHA` or 0."""
    from PIL import Image

    first, *rest = map(Image.fromarray, frames)
    buffer = io.BytesIO()
    first.save(buffer, "WEBP", save_all=True, append_images=rest, duration=delays, method=2, kmin=0, kmax=0, **options)
    picture, alpha = [], 0
    for kind, data in _chunks(buffer.getvalue()):
        if kind == b"VP8X":
            alpha = data[0] & HAS_ALPHA
        elif kind == b"ANMF":
            yield alpha, data
        elif kind in (b"VP8 ", b"VP8L", b"ALPH"):
            picture.append(chunk(kind, data))
    if picture:  # all frames were equal, or there was one: then it is no animation
        yield 0, bytes(6) + _below(*size) + sum(delays).to_bytes(3, "little") + OPAQUE + b"".join(picture)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
