"""Frames to an MP4 film (H.264), by the ffmpeg that imageio brings, through a pipe: no frame is held here."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator as Stream
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from latentkit.encoders.frames import Frame, checked, rhythm
from latentkit.errors import ArgumentError, MissingDependencyError, OutputError, ShapeError

__all__ = ["QUALITY", "crf_of", "even", "imageio_ffmpeg", "read_mp4", "write_mp4"]

#: 0 to 100; 65 is x264's constant rate factor of 18, by common consent hard to tell from the frames.
QUALITY = 65

#: The longest side in pixels: of H.264's highest level, and of most decoders.
LARGEST = 8192

#: The longest film in frames, repeats included: eleven hours at 25 a second.
MOST = 1_000_000


def crf_of(quality: int) -> int:
    """Return x264's constant rate factor, 51 (worst) to 0, for a quality of 0 to 100.

    Examples:
        >>> crf_of(65), crf_of(100), crf_of(0)
        (18, 0, 51)
    """
    return round(51.0 * (1.0 - quality / 100.0))


def even(size: tuple[int, int]) -> tuple[int, int]:
    """Return the size (W, H) that a film of frames of a size has: the next even numbers."""
    return size[0] + size[0] % 2, size[1] + size[1] % 2


def imageio_ffmpeg() -> Any:
    """Return imageio's ffmpeg library, or raise `MissingDependencyError`."""
    try:
        import imageio_ffmpeg as library
    except ImportError as error:
        raise MissingDependencyError(
            'MP4 needs imageio\'s ffmpeg plug-in: pip install "latentkit[video]"; or save as .gif, .webp or .avif'
        ) from error
    return library


def write_mp4(
    file: IO[bytes],
    frames: Iterable[Frame],
    durations: Sequence[float],
    *,
    size: tuple[int, int],
    quality: int = QUALITY,
    comment: str = "",
    note: bytes = b"",
) -> int:
    """Write frames to an open file and return how many were stored, repeats included.

    The colours are those of BT.709 with half the resolution (4:2:0), which plays everywhere; a side of an odd number
    of pixels is made even by repeating its last line, never by resizing. The format does not say whether it loops:
    the page that shows it does.

    Args:
        file: open for writing bytes.
        frames: each (H, W, 3) uint8.
        durations: ms a frame, at least 20 each, as many as frames.
        size: (W, H) in pixels, at most 8192 each.
        quality: 0 to 100; see `crf_of`.
        comment: a line that players show.
        note: a box that is written at the end.

    Raises:
        ShapeError: if a frame is not (H, W, 3) uint8 of this size, or it is too large.
        ArgumentError: if there are more or fewer frames than durations, or none, or the film is too long.
        MissingDependencyError: if imageio's ffmpeg plug-in is not installed.
        OutputError: if ffmpeg fails.
    """
    ffmpeg = imageio_ffmpeg().get_ffmpeg_exe()
    if max(size) > LARGEST:
        raise ShapeError(f"MP4 is at most {LARGEST} pixels a side, got {size[0]} x {size[1]}; use a smaller scale")
    rate, repeats = rhythm(durations)
    if sum(repeats) > MOST:
        raise ArgumentError(
            f"this film would have {sum(repeats):,} frames at {float(rate):g} a second, more than {MOST:,}; "
            "make it shorter, or its times multiples of the shortest"
        )
    width, height = even(size)
    odd = ((0, height - size[1]), (0, width - size[0]), (0, 0))
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate), "-i", "-"]
    with tempfile.TemporaryDirectory(prefix="latentkit-") as folder, tempfile.TemporaryFile() as said:
        path = Path(folder) / "film.mp4"
        command = [ffmpeg, "-v", "error", *given, *_options(crf_of(quality), comment), str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said) as process:
            try:
                _feed(process, checked(frames, len(durations), size), repeats, odd)
            except BaseException:
                process.kill()
                with suppress(OSError):  # what the pipe still holds goes nowhere
                    process.communicate()
                raise
        if process.returncode:
            said.seek(0)
            last = said.read().decode("utf-8", "replace").strip().splitlines()[-1:]
            raise OutputError(f"ffmpeg could not write the film: {last[0] if last else 'it does not say why'}")
        with path.open("rb") as made:
            shutil.copyfileobj(made, file)
    file.write(note)
    return sum(repeats)


def _feed(
    process: "subprocess.Popen[bytes]", frames: Iterable[Frame], repeats: Sequence[int], odd: Sequence[tuple[int, int]]
) -> None:
    """Give frames to ffmpeg, each so many times, with what makes their sides even."""
    pipe = process.stdin
    if pipe is None:
        return
    for frame, times in zip(frames, repeats, strict=True):
        whole = np.ascontiguousarray(np.pad(frame, odd, mode="edge")).data
        try:
            for _ in range(times):
                pipe.write(whole)
        except BrokenPipeError:  # ffmpeg has stopped; why is seen when it is done
            break
    with suppress(BrokenPipeError):
        pipe.close()


def read_mp4(path: str | os.PathLike[str], size: tuple[int, int]) -> Stream[Frame, None, None]:
    """Yield the frames of a film (H, W, 3), as RGB, one held at a time; close it to stop early.

    Args:
        path: a film that `write_mp4` wrote.
        size: (W, H) that its frames have, both even.

    Raises:
        MissingDependencyError: if imageio's ffmpeg plug-in is not installed.
    """
    # The library's own reader leaves a pipe open for the garbage collector.
    head = [imageio_ffmpeg().get_ffmpeg_exe(), "-v", "error", "-protocol_whitelist", "file,pipe"]
    wanted = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}", "-"]
    length = 3 * size[0] * size[1]
    command = [*head, "-i", os.path.realpath(path), "-fps_mode", "passthrough", *wanted]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        try:
            while process.stdout is not None and len(data := process.stdout.read(length)) == length:
                yield np.frombuffer(data, dtype=np.uint8).reshape(size[1], size[0], 3)
        finally:
            process.kill()


def _options(crf: int, comment: str) -> list[str]:
    scale = "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int"
    said = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
    coded = ["-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", str(crf), "-movflags", "+faststart"]
    return [*coded, "-vf", f"{scale},{said}", *(("-metadata", f"comment={comment}") if comment else ())]
