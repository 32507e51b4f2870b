"""A film to an open file of a format, with what it says about itself."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import IO, Any

import numpy as np

from latentkit.animation.content import is_flat
from latentkit.checks import as_count
from latentkit.encoders import avif, mp4, webp
from latentkit.encoders.apng import write_apng
from latentkit.encoders.frames import Frame, ticks
from latentkit.encoders.gif import write_gif
from latentkit.encoders.notes import as_note, sign, text_of
from latentkit.errors import ArgumentError

__all__ = ["SUFFIXES", "Options", "digested", "write"]

#: The suffixes of films, and the formats that they mean.
SUFFIXES = {".gif": "gif", ".webp": "webp", ".apng": "png", ".png": "png", ".avif": "avif", ".mp4": "mp4"}

#: Frames by which a film is judged while it is saved.
_PEEKED = 3

_DEFAULTS = {"webp": webp.QUALITY, "avif": avif.QUALITY, "mp4": mp4.QUALITY}


class Options:
    """How a film is to be saved, checked.

    Args:
        suffix: of the file's name.
        quality: 0 to 100, or None.
        lossless: whether WebP is exact, None to decide by the frames.

    Raises:
        ArgumentError: if the suffix is no film's, or an option is not its format's.
        MissingDependencyError: if a library for the format is missing.
    """

    def __init__(self, suffix: str, quality: int | None, lossless: bool | None) -> None:
        form = SUFFIXES.get(suffix.lower())
        if form is None:
            raise ArgumentError(f"a film is written to a file that ends in {', '.join(SUFFIXES)}, got {suffix!r}")
        self.form, self.lossless = form, lossless
        if quality is not None and form not in _DEFAULTS:
            raise ArgumentError(f"quality= is for .webp, .avif and .mp4; a {suffix} has none, leave it out")
        if lossless is not None and form != "webp" and lossless != (form == "png"):
            raise ArgumentError(f"lossless={lossless} is for .webp (and .apng always is), not for {suffix}")
        if lossless and quality is not None:
            raise ArgumentError("a lossless film has no quality=; leave one of the two out")
        self.quality = _DEFAULTS.get(form, 0) if quality is None else as_count(quality, "quality", least=0)
        if self.quality > 100:
            raise ArgumentError(f"quality must be at most 100, got {quality}")
        if quality is not None and self.lossless is None:
            self.lossless = False
        if form == "mp4":
            mp4.imageio_ffmpeg()


def digested(frames: Iterable[Frame], digest: Any) -> Iterator[Frame]:
    """Yield frames and add each to a hash."""
    for frame in frames:
        digest.update(np.ascontiguousarray(frame))
        yield frame


def write(
    file: IO[bytes],
    frames: Iterable[Frame],
    durations: tuple[float, ...],
    options: Options,
    *,
    size: tuple[int, int],
    loop: bool,
    provenance: Mapping[str, Any] | None,
) -> None:
    """Write frames to an open file, which can be read too, and sign what it says about itself.

    Args:
        file: open for reading and writing bytes, at its start.
        frames: each (H, W, 3) uint8.
        durations: ms a frame.
        options: the format and its options.
        size: (W, H) in pixels.
        loop: play for ever rather than once.
        provenance: JSON values to keep in the file, or None.

    Raises:
        ShapeError: if a frame is not (H, W, 3) uint8 of this size.
        ArgumentError: if there are more or fewer frames than durations, or none.
        OutputError: if it cannot be written.
    """
    digest = hashlib.sha256()
    text = None if provenance is None else text_of(provenance)
    note = b"" if text is None else as_note(text, options.form)
    if text is not None:
        frames = digested(frames, digest)
    frames = iter(frames)
    first = list(islice(map(np.array, frames), _PEEKED if options.form in ("webp", "avif") else 0))
    frames = chain(first, frames)
    flat = bool(first) and all(frame.ndim == 3 for frame in first) and is_flat(first)
    if options.form == "gif":
        write_gif(file, frames, ticks(durations), size=size, loop=loop, note=note)
    elif options.form == "png":
        write_apng(file, frames, ticks(durations, 1.0), size=size, loop=loop, note=note)
    elif options.form == "mp4":
        comment = "" if text is None else "made by latentkit; `latentkit replay` reads how"
        mp4.write_mp4(file, frames, durations, size=size, quality=options.quality, comment=comment, note=note)
    elif options.form == "webp":
        exact = flat if options.lossless is None else options.lossless
        webp.write_webp(
            file,
            frames,
            ticks(durations, 1.0),
            size=size,
            loop=loop,
            lossless=exact,
            quality=options.quality,
            note=note,
        )
    else:
        avif.write_avif(
            file,
            frames,
            ticks(durations, 1.0),
            size=size,
            loop=loop,
            flat=flat,
            quality=options.quality,
            note=note,
        )
    file.flush()
    if text is not None:
        sign(file, digest.hexdigest())
