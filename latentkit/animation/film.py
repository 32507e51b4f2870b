"""A film whose frames are made when they are asked for, and how it is saved."""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentkit.animation.content import best_format
from latentkit.animation.saving import Options, write
from latentkit.captions import CAPTION_HEIGHT, STRIP_HEIGHT, captioned, stripped
from latentkit.checks import as_count, as_number
from latentkit.errors import ArgumentError, ShapeError
from latentkit.files import check_target, writing
from latentkit.shown import Written

__all__ = ["FASTEST", "Animation", "from_frames", "speed"]

Frame = NDArray[np.uint8]

#: Viewers show frames of less than 20 ms for about 100 ms.
FASTEST = 50.0


@dataclass(frozen=True, eq=False)
class Animation(Written):
    """A film whose frames are made when they are asked for, so that its length costs no memory.

    Args:
        frames: returns an iterator over the frames, each (H, W, 3) uint8, anew at every call.
        count: how many frames there are.
        size: (W, H) of a frame in pixels.
        durations: how long each frame is shown, in ms, at least 20.
        captions: a line of text for each frame, or empty; it is drawn below the frame when saved.
        loop: play for ever rather than once.
        strip: draw a thin bar below each frame that says how far the film is.
        provenance: JSON values that say how the film was made, kept in its file, or None.

    Raises:
        ArgumentError: if there are not as many durations or captions as frames, or one is too short.
    """

    frames: Callable[[], Iterator[Frame]]
    count: int
    size: tuple[int, int]
    durations: tuple[float, ...]
    captions: tuple[str, ...] = ()
    loop: bool = True
    strip: bool = False
    provenance: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        as_count(self.count, "the number of frames")
        if len(self.durations) != self.count:
            raise ArgumentError(f"{self.count} frames need as many durations, got {len(self.durations)}")
        if self.captions and len(self.captions) != self.count:
            raise ArgumentError(f"{self.count} frames need as many captions or none, got {len(self.captions)}")
        shortest = 1000.0 / FASTEST
        for duration in self.durations:
            if not (math.isfinite(duration) and duration >= shortest - 1e-9):
                raise ArgumentError(
                    f"a frame must last at least {shortest:g} ms (viewers slow shorter ones down), got {duration}"
                )

    @property
    def seconds(self) -> float:
        """How long the film plays once."""
        return math.fsum(self.durations) / 1000.0

    @property
    def whole_size(self) -> tuple[int, int]:
        """(W, H) of a frame as it is saved, with its caption and its strip."""
        below = (CAPTION_HEIGHT if self.captions else 0) + (STRIP_HEIGHT if self.strip else 0)
        return self.size[0], self.size[1] + below

    def pictures(self) -> Iterator[Frame]:
        """Yield the frames as they are saved, (H, W, 3) uint8: with captions and the strip below."""
        for i, frame in enumerate(self.frames()):
            if self.strip:
                frame = stripped(frame, (i + 1) / self.count)
            yield captioned(frame, self.captions[min(i, self.count - 1)]) if self.captions else frame

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        quality: int | None = None,
        lossless: bool | None = None,
        progress: bool = False,
    ) -> Path:
        """Write the film in the format of the path's suffix and return the path.

        Frames are written as they are made. Every frame begins within 5 ms of its time in a GIF, within 1 ms in WebP,
        APNG and AVIF, and within 10 ms in MP4, where times that are no multiples of the shortest are repeats of frames.
        Neighbours that look equal may be stored as one frame that is shown for as long as both. Whether a film loops
        is kept in all but MP4, which has no place for it. What `provenance` holds is kept in the file, with the digests
        of the frames and of the file: see `replay`.

        | suffix | what it is | best for |
        |---|---|---|
        | .gif | up to 255 colours at a time; greys and few colours exact | plots, and where nothing else is taken |
        | .webp | exact, or lossy with a quality (default 90) | plots, enlarged pixels |
        | .apng, .png | exact | little films that must be exact everywhere |
        | .avif | lossy (default 75), the compressed film is held in memory | photographs |
        | .mp4 | H.264, lossy (65: constant rate factor 18), even sides | long films; needs `latentkit[video]` |

        Args:
            path: its suffix says the format.
            quality: of .webp, .avif and .mp4, 0 to 100.
            lossless: of .webp; by default films of flat colours are exact, others lossy.
            progress: show a bar on standard error.

        Raises:
            ArgumentError: if the suffix is none of these, an option is not the format's, or the frames are not as many
                as said.
            ShapeError: if a frame is not (H, W, 3) uint8 of the film's size, or the format knows no such size.
            OutputError: if it cannot be written; what was there is untouched.
            MissingDependencyError: if a library for the format is missing.
        """
        options = Options(Path(path).suffix, quality, lossless)
        target = check_target(path)
        from tqdm import tqdm

        frames = self.pictures()
        shown = tqdm(frames, total=self.count, desc="filming", unit="frame", disable=not progress, leave=False)
        with writing(target) as file, shown:
            write(
                file,
                shown,
                self.durations,
                options,
                size=self.whole_size,
                loop=self.loop,
                provenance=self.provenance,
            )
        return target

    def save_best(self, stem: str | os.PathLike[str], *, progress: bool = False) -> tuple[Path, ...]:
        """Write the film in the format that `best_format` finds, and as a GIF, and return the paths, the best first.

        Args:
            stem: the path without a suffix.
            progress: show a bar on standard error.
        """
        suffixes = dict.fromkeys((best_format(self), ".gif"))
        return tuple(self.save(f"{os.fspath(stem)}{suffix}", progress=progress) for suffix in suffixes)


def speed(fps: float) -> float:
    """Return frames a second if a film can have so many, above 0 and at most 50."""
    fps = as_number(fps, "fps", least=0.0, open_least=True)
    if fps > FASTEST:
        raise ArgumentError(f"fps must be at most {FASTEST:g} (viewers slow faster films down), got {fps:g}")
    return fps


def from_frames(
    frames: Sequence[Frame] | Frame | Callable[[], Iterator[Frame]],
    *,
    count: int | None = None,
    fps: float | None = None,
    durations: Sequence[float] | None = None,
    captions: Sequence[str] = (),
    loop: bool = True,
    progress_strip: bool = False,
    provenance: Mapping[str, Any] | None = None,
) -> Animation:
    """Make a film of frames from elsewhere: of training, of maps, of plots.

    Args:
        frames: (T, H, W, 3) uint8, a sequence of such frames, or a function that returns an iterator
            over them anew at every call; the function's first frame is made now to learn its size.
        count: how many frames a function makes; needed only for one.
        fps: frames a second, above 0 and at most 50; 25 by default.
        durations: ms for each frame, at least 20, instead of fps.
        captions: a line of text for each frame, or none.
        loop: play for ever rather than once.
        progress_strip: draw a thin bar below each frame that says how far the film is.
        provenance: JSON values that say how the film was made, kept in its file.

    Raises:
        ArgumentError: if there are no frames, their number is not known, or the times are out of range.
        ShapeError: if the first frame is not (H, W, 3) uint8.
    """
    if fps is not None and durations is not None:
        raise ArgumentError("the times of frames are either fps or durations, got both")
    if callable(frames):
        make, known = frames, len(durations) if durations is not None else None
        if count is None and known is None:
            raise ArgumentError("frames made by a function need count=, how many there are")
        count = as_count(known if count is None else count, "count")
    else:
        held = frames

        def make() -> Iterator[Frame]:
            return iter(held)

        if count is not None and count != len(held):
            raise ArgumentError(f"there are {len(held)} frames, got count={count}; leave count out")
        count = as_count(len(held), "the number of frames")
    first = next(iter(make()), None)
    if first is None:
        raise ArgumentError("the function made no frame; at least one is needed")
    if isinstance(first, torch.Tensor) or first.dtype != np.uint8 or first.ndim != 3 or first.shape[2] != 3:
        raise ShapeError(f"frames must be (H, W, 3) uint8 arrays, got {tuple(first.shape)} {first.dtype}")
    times = [1000.0 / speed(25.0 if fps is None else fps)] * count if durations is None else map(float, durations)
    return Animation(
        make,
        count,
        (first.shape[1], first.shape[0]),
        tuple(times),
        tuple(map(str, captions)),
        loop,
        progress_strip,
        provenance,
    )
