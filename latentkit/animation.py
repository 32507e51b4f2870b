"""Films of a generator: a curve through the latent space, frame by frame, to a GIF."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.captions import CAPTION_HEIGHT, captioned
from latentkit.checks import as_count, as_latents, as_number, require_finite
from latentkit.curves import Curve
from latentkit.errors import ArgumentError, ShapeError
from latentkit.files import check_target, writing
from latentkit.gif import ticks, write_gif
from latentkit.priors import Prior
from latentkit.protocols import Generator
from latentkit.render import LEAST_CELL, enlargement, render_samples, samples_sheet
from latentkit.sampling.generate import generate, stream

__all__ = ["Animation", "animate", "from_frames"]

Frame = NDArray[np.uint8]

#: Viewers show frames of less than 20 ms for about 100 ms.
FASTEST = 50.0

#: An image is enlarged until its longer side has so many pixels.
LEAST_SIDE = 128

#: Random samples that a moving point is shown over.
BACKDROP = 1500


@dataclass(frozen=True, eq=False)
class Animation:
    """A film whose frames are made when they are asked for, so that its length costs no memory.

    Args:
        frames: returns an iterator over the frames, each (H, W, 3) uint8, anew at every call.
        count: how many frames there are.
        size: (W, H) of a frame in pixels.
        durations: how long each frame is shown, in ms, at least 20.
        captions: a line of text for each frame, or empty; it is drawn below the frame when saved.
        loop: play for ever rather than once.

    Raises:
        ArgumentError: if there are not as many durations or captions as frames, or one is too short.
    """

    frames: Callable[[], Iterator[Frame]]
    count: int
    size: tuple[int, int]
    durations: tuple[float, ...]
    captions: tuple[str, ...] = ()
    loop: bool = True

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

    def save(self, path: str | os.PathLike[str], *, progress: bool = False) -> Path:
        """Write the film as a GIF and return the path; `progress` shows a bar on standard error.

        Every frame begins within 5 ms of its time. Neighbours that look equal are stored as one frame
        that is shown for as long as both: `gif_info(path).frames` says how many are stored.

        Raises:
            ArgumentError: if the path does not end in .gif, or the frames are not as many as said.
            ShapeError: if a frame is not (H, W, 3) uint8 of the film's size.
            OutputError: if it cannot be written; what was there is untouched.
        """
        if Path(path).suffix.lower() != ".gif":
            raise ArgumentError(f"a film is written to a file that ends in .gif, got {os.fspath(path)}")
        target = check_target(path)
        width, height = self.size
        whole = (width, height + CAPTION_HEIGHT) if self.captions else self.size
        from tqdm import tqdm

        frames = self._whole_frames()
        shown = tqdm(frames, total=self.count, desc="filming", unit="frame", disable=not progress, leave=False)
        with writing(target) as file, shown:
            write_gif(file, shown, ticks(self.durations), size=whole, loop=self.loop)
        return target

    def _whole_frames(self) -> Iterator[Frame]:
        if not self.captions:
            yield from self.frames()
            return
        for i, frame in enumerate(self.frames()):
            yield captioned(frame, self.captions[min(i, self.count - 1)])


def _fps(fps: float) -> float:
    fps = as_number(fps, "fps", least=0.0, open_least=True)
    if fps > FASTEST:
        raise ArgumentError(f"fps must be at most {FASTEST:g} (viewers slow faster films down), got {fps:g}")
    return fps


def animate(
    generator: Generator,
    curve: Curve | Tensor | Sequence[Curve],
    *,
    frames: int | None = None,
    fps: float = 25.0,
    hold: float = 0.0,
    caption: Callable[[int, float], str] | None = None,
    scale: int | None = None,
    columns: int | None = None,
    batch_size: int = 64,
    loop: bool = True,
) -> Animation:
    """Film what a generator makes along a curve, or along several at once.

    Images are shown as they are, enlarged to at least 128 pixels; points of the plane as a point that
    moves, with a fading trail, over random samples. A closed curve's film goes on into its start
    without a doubled frame; an open one's jumps back. Several curves are a sheet of images that move
    together.

    Args:
        generator: makes images (N, C, H, W) in [-1, 1] or points (N, 2).
        curve: a curve, latents (T, D) that are shown in order, or several curves, all closed or all open.
        frames: how many, for a curve; 90 by default. Latents are a frame each.
        fps: frames a second, above 0 and at most 50.
        hold: seconds for which the first and the last frame stand still as well, at most 600; for open curves.
        caption: `caption(i, t)` is the text below frame i, with t in [0, 1] its place on the curve.
        scale: by default the least that makes an image's longer side 128 pixels, or 64 on a sheet.
        columns: of a sheet; by default about as many as rows.
        batch_size: latents a call.
        loop: play for ever rather than once.

    Raises:
        ArgumentError: if a number is out of range, or the curve was made for another prior.
        ShapeError: if the latents are not (T, D) with the generator's D, or the samples cannot be drawn.
        NonFiniteError: if a latent or a sample holds NaN or infinity.

    Examples:
        >>> import latentkit as lk
        >>> generator = lk.wrap(lambda z: z.tanh().reshape(-1, 1, 2, 2), lk.Normal(4))
        >>> z = generator.prior.sample(3, seed=0)
        >>> film = lk.animate(generator, lk.loop(z, prior=generator.prior), frames=30)
        >>> film.count, film.size, film.seconds
        (30, (128, 128), 1.2)
    """
    fps, hold = _fps(fps), as_number(hold, "hold", least=0.0, most=600.0)
    curves = [curve] if isinstance(curve, (Curve, Tensor)) else list(curve)
    closed = any(isinstance(one, Curve) and one.closed for one in curves)
    if closed and hold > 0:
        raise ArgumentError(f"a closed curve has no ends to hold, got hold={hold:g}; leave it out or film a tour")
    latents = _latents(generator, curves, frames)
    batch_size = as_count(batch_size, "batch_size")
    # One frame's samples now: an error here is better than one in the middle of a film.
    first = require_finite(generate(generator, latents[0], batch_size=batch_size), "a sample of frame 0")
    backdrop = None
    if first.ndim == 2 and first.shape[1] == 2:
        if len(curves) > 1:
            raise ArgumentError(f"points are filmed along one curve, got {len(curves)}; images along several")
        backdrop = generate(generator, generator.prior.sample(BACKDROP, seed=0), batch_size=batch_size)
        scale = 1 if scale is None else scale
    elif scale is None:
        least = LEAST_SIDE if len(curves) == 1 else LEAST_CELL
        scale = enlargement(first.shape[2:], least) if first.ndim == 4 and first.numel() else 1
    scale = as_count(scale, "scale")
    columns = None if columns is None else as_count(columns, "columns")
    picture = next(_pictures(first, scale, columns, backdrop, closed))

    def film() -> Iterator[Frame]:
        if backdrop is not None:  # two numbers a sample: the whole way is needed for the axes and the trail
            points = generate(generator, latents[:, 0], batch_size=batch_size)
            yield from _pictures(points, scale, columns, backdrop, closed)
            return
        together = latents.shape[1]
        whole = max(batch_size // together, 1) * together
        done = 0
        for samples in stream(generator, latents.flatten(0, 1), batch_size=whole):
            made = len(samples) // together
            require_finite(samples, f"the samples of frames {done} to {done + made - 1}")
            done += made
            for one in samples.split(together):
                yield from _pictures(one, scale, columns, None, closed)

    count = len(latents)
    durations = [1000.0 / fps] * count
    durations[0] += 1000.0 * hold
    durations[-1] += 1000.0 * hold if count > 1 else 0.0
    captions: tuple[str, ...] = ()
    if caption is not None:
        captions = tuple(str(caption(i, i / max(count if closed else count - 1, 1))) for i in range(count))
    return Animation(film, count, (picture.shape[1], picture.shape[0]), tuple(durations), captions, loop)


def _pictures(
    samples: Tensor, scale: int, columns: int | None, backdrop: Tensor | None, closed: bool
) -> Iterator[Frame]:
    """Yield one frame a sample, or of several images one frame with all of them."""
    if samples.ndim == 4 and len(samples) > 1:
        yield samples_sheet(samples, columns=columns, scale=scale)
        return
    yield from render_samples(samples, scale=scale, backdrop=backdrop, closed=closed)


def _latents(generator: Generator, curves: Sequence[Curve | Tensor], frames: int | None) -> Tensor:
    """Return the latents (T, N, D) of a film along N curves."""
    if not curves:
        raise ArgumentError("a film needs a curve, got none")
    prior = generator.prior
    if len(curves) == 1 and not isinstance(curves[0], Curve):
        latents = as_latents(curves[0], prior.dim)
        if frames is not None and as_count(frames, "frames") != len(latents):
            raise ArgumentError(f"{len(latents)} latents are as many frames, got frames={frames}; leave frames out")
        return latents[:, None]
    ways = [one for one in curves if isinstance(one, Curve)]
    if len(ways) != len(curves) or len({way.closed for way in ways}) != 1:
        raise ArgumentError("several curves are filmed together if all are curves, and all closed or all open")
    count = as_count(90 if frames is None else frames, "frames")
    return torch.stack([_steps(way, prior, count) for way in ways], dim=1)


def _steps(curve: Curve, prior: Prior, count: int) -> Tensor:
    if curve.dim != prior.dim:
        raise ShapeError(f"the curve must go through latents of {prior.dim} dimensions, got {curve.dim}")
    if curve.prior is not None and curve.prior != prior:
        raise ArgumentError(
            f"the curve was made for the prior {curve.prior}, but the generator's is {prior}; "
            f"pass prior=generator.prior where you make the curve"
        )
    latents = curve.steps(count)
    if latents.ndim != 2:
        raise ShapeError(f"a film shows curves of single ends (D,), got one between {latents.shape[1]} pairs of ends")
    return latents


def from_frames(
    frames: Sequence[Frame] | Frame | Callable[[], Iterator[Frame]],
    *,
    count: int | None = None,
    fps: float | None = None,
    durations: Sequence[float] | None = None,
    captions: Sequence[str] = (),
    loop: bool = True,
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
    times = [1000.0 / _fps(25.0 if fps is None else fps)] * count if durations is None else map(float, durations)
    return Animation(make, count, (first.shape[1], first.shape[0]), tuple(times), tuple(map(str, captions)), loop)
