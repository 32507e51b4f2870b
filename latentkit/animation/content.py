"""Which file format suits a film: sharp flat colours are kept exactly, photographs may lose a little."""

import io
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from latentkit.encoders.avif import available
from latentkit.encoders.frames import Frame
from latentkit.encoders.gif import write_gif
from latentkit.encoders.webp import write_webp

if TYPE_CHECKING:
    from latentkit.animation.film import Animation

__all__ = ["PEEKED", "best_format", "is_flat"]

#: Frames by which a film is judged: its first ones, so that a generator need not run for all of it.
PEEKED = 8

#: From which share of neighbours in a row that are equal a picture counts as one of flat colours. Plots have 0.85 and
#: more, images enlarged k times 1 - 1/k, photographs and smooth gradients less than 0.3.
FLAT = 0.5

#: The mean squared error, of 50 dB, that no eye sees.
UNSEEN = 255.0**2 / 10**5

#: Up to so many pixels a side images are shown enlarged with every pixel a square: there a blur would be seen.
SMALL = 64


def is_flat(frames: Sequence[Frame]) -> bool:
    """Whether frames (H, W, 3) are of flat colours with sharp edges, as plots and enlarged pixels are, or small."""
    if max(frames[0].shape[:2]) <= SMALL:
        return True
    equal = [np.mean((frame[:, 1:] == frame[:, :-1]).all(2)) for frame in frames]
    return float(np.mean(equal)) >= FLAT


def best_format(film: "Animation") -> str:
    """Return the suffix of the format that suits a film's first eight frames: ".gif", ".webp" or ".avif".

    Photographs and gradients become AVIF (without it in Pillow WebP), a tenth of a GIF's bytes and closer to the
    frames. Flat colours stay sharp: as a GIF if no eye sees what it loses (at least 50 dB) and it is smaller than a
    lossless WebP, else as that. `benchmarks/animation.py` prints what each format makes of each kind of film.

    Examples:
        >>> import numpy as np
        >>> from latentkit.animation import best_format, from_frames
        >>> ramp = np.arange(256, dtype=np.uint8)
        >>> best_format(from_frames([np.stack([np.add.outer(ramp, ramp)] * 3, axis=-1)]))
        '.avif'
    """
    frames = list(islice(film.pictures(), PEEKED))
    if not is_flat(frames):
        return ".avif" if available() else ".webp"
    size, delays = (frames[0].shape[1], frames[0].shape[0]), [4] * len(frames)
    gif, webp = io.BytesIO(), io.BytesIO()
    write_gif(gif, frames, delays, size=size, loop=True)
    write_webp(webp, frames, [10 * delay for delay in delays], size=size, loop=True, lossless=True)
    smaller = len(gif.getvalue()) <= len(webp.getvalue())
    return ".gif" if smaller and _error(gif, frames) <= UNSEEN else ".webp"


def _error(gif: io.BytesIO, frames: Sequence[Frame]) -> float:
    """Return the mean squared error of a GIF whose frames all last 40 ms."""
    from PIL import Image

    errors: list[float] = []
    with Image.open(gif) as image:
        for i in range(getattr(image, "n_frames", 1)):
            image.seek(i)
            shown = np.asarray(image.convert("RGB"), dtype=np.int32)
            for _ in range(image.info.get("duration", 40) // 40):
                errors.append(float(((shown - frames[len(errors)]) ** 2).mean()))
    return sum(errors) / len(errors)
