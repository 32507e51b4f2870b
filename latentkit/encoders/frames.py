"""What every writer of films asks of frames and times."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from latentkit.errors import ArgumentError, ShapeError

__all__ = ["Frame", "checked", "few", "rhythm", "ticks"]

Frame = NDArray[np.uint8]

#: A duration within so many ms of a multiple of another is one.
EXACT = 1e-3

#: The coarsest grid, in ms, on which a film of uneven times is laid where a format has one rate for all frames.
GRID = 20.0


def checked(frames: Iterable[Frame], count: int, size: tuple[int, int]) -> Iterator[Frame]:
    """Yield frames (H, W, 3), copied, if they are as many and as large as was said.

    Args:
        frames: each uint8; a maker of frames may draw all of them into one array.
        count: how many there must be.
        size: (W, H) of each in pixels.

    Raises:
        ShapeError: if a frame is not (H, W, 3) uint8 of this size.
        ArgumentError: if there are more or fewer frames than said, or none.
    """
    width, height = size
    seen = 0
    for frame in frames:
        if frame.dtype != np.uint8 or frame.shape != (height, width, 3):
            raise ShapeError(f"frames must be ({height}, {width}, 3) uint8, got {frame.shape} {frame.dtype}")
        seen += 1
        if seen > count:
            raise ArgumentError(f"there are more frames than the {count} that were said")
        yield np.array(frame)
    if seen != count or seen == 0:
        raise ArgumentError(f"there are {seen} frames where {count} were said; at least one is needed")


def few(frames: Iterable[Frame], count: int) -> Iterator[list[Frame]]:
    """Yield frames some at a time, the last ones fewer."""
    iterator = iter(frames)
    while part := list(islice(iterator, count)):
        yield part


def ticks(durations: Sequence[float], tick: float = 10.0) -> list[int]:
    """Return durations in milliseconds as whole numbers of ticks.

    Each takes the rounding of all before it into account, so that every frame begins within half a tick of its true
    time, however long the film.

    Args:
        durations: ms a frame.
        tick: ms; 10 for a GIF.

    Examples:
        >>> ticks([1000 / 30] * 6), ticks([1000 / 24] * 6)
        ([3, 4, 3, 3, 4, 3], [4, 4, 5, 4, 4, 4])
    """
    ends = np.floor(np.cumsum(np.asarray(durations, dtype=np.float64)) / tick + 0.5 + 1e-9).astype(np.int64)
    return np.diff(ends, prepend=0).tolist()


def rhythm(durations: Sequence[float]) -> tuple[Fraction, list[int]]:
    """Return a steady rate, in frames a second, and how often each frame is repeated at it to last its time.

    Exact where all durations are multiples of the shortest; else every frame begins within 10 ms of its time, and
    frames of the commonest duration are all repeated alike.

    Args:
        durations: ms a frame, at least 20 each.

    Examples:
        >>> rhythm([560.0, 40.0, 40.0]), rhythm([40.0, 40.0, 50.0])
        ((Fraction(25, 1), [14, 1, 1]), (Fraction(50, 1), [2, 2, 3]))
    """
    base = min(durations)
    if all(abs(duration / base - round(duration / base)) * base < EXACT for duration in durations):
        tick = base
    else:
        common = Counter(durations).most_common(1)[0][0]
        tick = common / math.ceil(common / GRID - 1e-9)
    return Fraction(1000.0 / tick).limit_denominator(10_000), ticks(durations, tick)
