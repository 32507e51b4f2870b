"""Frames to an AVIF sequence, by Pillow: the smallest for photographs.

Pillow takes the frames one by one, but writes the compressed film in one piece at the end: that alone is held.

References:
    Alliance for Open Media (2024), "AV1 Image File Format (AVIF)", section 5 (image sequences).
    ISO/IEC 14496-12 (2022), "ISO base media file format", sections 8.2, 8.3 and 8.6.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from latentkit.encoders.frames import Frame, checked
from latentkit.errors import MissingDependencyError

__all__ = ["QUALITY", "available", "boxes", "write_avif"]

#: 0 to 100.
QUALITY = 75


def available() -> bool:
    """Whether this Pillow can write AVIF."""
    from PIL import features

    return bool(features.check("avif"))


def write_avif(
    file: IO[bytes],
    frames: Iterable[Frame],
    delays: Sequence[int],
    *,
    size: tuple[int, int],
    loop: bool,
    flat: bool,
    quality: int = QUALITY,
    note: bytes = b"",
) -> int:
    """Write frames to an open file and return how many were stored; one frame and the compressed film are held.

    Args:
        file: open for writing bytes.
        frames: each (H, W, 3) uint8.
        delays: ms a frame, as many as frames.
        size: (W, H) in pixels.
        loop: play for ever rather than once.
        flat: the frames have sharp edges between colours, which are kept sharp at the cost of bytes.
        quality: 0 to 100.
        note: metadata (XMP).

    Raises:
        ShapeError: if a frame is not (H, W, 3) uint8 of this size.
        ArgumentError: if there are more or fewer frames than delays, or none.
        MissingDependencyError: if this Pillow was built without AVIF.
    """
    if not available():
        raise MissingDependencyError("this Pillow cannot write AVIF; install it anew: pip install --upgrade pillow")
    reel = _reel(checked(frames, len(delays), size), len(delays), size)
    buffer = io.BytesIO()
    sampling = "4:4:4" if flat else "4:2:0"
    reel.save(buffer, "AVIF", save_all=True, duration=list(delays), quality=quality, subsampling=sampling, xmp=note)
    _settle(buffer, loop)
    file.write(buffer.getbuffer())
    return len(delays)


def _reel(frames: Iterator[Frame], count: int, size: tuple[int, int]):  # noqa: ANN202 - the class is made when Pillow is
    """Return a picture of Pillow's that has many frames and makes each when it is sought."""
    from PIL import Image

    class Reel(Image.Image):
        def __init__(self) -> None:
            super().__init__()
            self._mode, self._size = "RGB", size
            self.n_frames, self.is_animated = count, count > 1
            self._at = -1
            self.seek(0)

        def tell(self) -> int:
            return self._at

        def seek(self, frame: int) -> None:
            if frame == self._at + 1:
                made = next(frames, None)
                if made is None:
                    raise EOFError("no more frames")
                self._at, self.im = frame, Image.fromarray(made).im
            # Going back is what Pillow does at the end, to leave a picture as it was: nobody looks at this one again.

    return Reel()


def boxes(file: IO[bytes], start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each box of a file between two places, where its content begins, and where it ends."""
    end = file.seek(0, io.SEEK_END) if end is None else end
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        length, kind, inner = int.from_bytes(head[:4], "big"), head[4:8], start + 8
        if length == 1:
            length, inner = int.from_bytes(head[8:16], "big"), start + 16
        stop = end if length == 0 else start + length
        if stop < inner or stop > end:
            return
        yield kind, inner, stop
        start = stop


def _settle(file: io.BytesIO, loop: bool) -> None:
    """Take back the hour of the making, so that equal films are equal files, and, unless it loops, the repetition.

    Pillow always says that a film is repeated: by a flag of its edit list and endless durations.
    """
    lasting = bytes(8)
    for path in ((b"moov", b"trak", b"mdia", b"mdhd"), (b"moov", b"mvhd"), (b"moov", b"trak", b"tkhd")):
        for at in _places(file, path):
            file.seek(at)
            wide = 8 if file.read(1)[0] else 4
            file.seek(at + 4)
            file.write(bytes(2 * wide))
            file.seek(at + 4 + 2 * wide + (8 if path[-1] == b"tkhd" else 4))
            if path[-1] == b"mdhd":
                lasting = file.read(wide)
            elif not loop:
                file.write(lasting[-wide:].rjust(wide, b"\0"))
    for at in () if loop else _places(file, (b"moov", b"trak", b"edts", b"elst")):
        file.seek(at + 1)
        file.write(bytes(3))


def _places(file: IO[bytes], path: tuple[bytes, ...], start: int = 0, end: int | None = None) -> Iterator[int]:
    """Yield where the contents of the boxes of a path begin."""
    for kind, inner, stop in boxes(file, start, end):
        if kind == path[0]:
            if len(path) == 1:
                yield inner
            else:
                yield from _places(file, path[1:], inner, stop)
