"""A generator filmed along curves through its latent space."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from latentkit.animation.film import Animation, speed
from latentkit.animation.records import recorded
from latentkit.animation.scenes import BACKDROP, LEAST_SIDE, Scene
from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_count, as_latents, as_number
from latentkit.curves import Curve
from latentkit.errors import ArgumentError, ShapeError
from latentkit.priors import Prior
from latentkit.protocols import Generator

__all__ = ["BACKDROP", "LEAST_SIDE", "animate"]


def animate(
    generator: Generator | Checkpoint,
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
    progress_strip: bool = False,
    about: Mapping[str, Any] | None = None,
) -> Animation:
    """Film what a generator makes along a curve, or along several at once.

    Images are shown as they are, enlarged to at least 128 pixels; points of the plane as a point that
    moves, with a fading trail, over random samples. A closed curve's film goes on into its start
    without a doubled frame; an open one's jumps back. Several curves are a sheet of images that move
    together. Saved at `scale=1`, small images are small files, which a page enlarges with `image-rendering: pixelated`.

    What the film says about itself (`provenance`) are the latents exactly, up to a megabyte, what drew them, and the
    name of the generator's weights, so that `replay` can make it again from its file.

    Args:
        generator: makes images (N, C, H, W) in [-1, 1] or points (N, 2); or the checkpoint of one.
        curve: a curve, latents (T, D) that are shown in order, or several curves, all closed or all open.
        frames: how many, for a curve; 90 by default. Latents are a frame each.
        fps: frames a second, above 0 and at most 50.
        hold: seconds for which the first and the last frame stand still as well, at most 600; for open curves.
        caption: `caption(i, t)` is the text below frame i, with t in [0, 1] its place on the curve; `captions_of`
            makes one of numbers.
        scale: by default the least that makes an image's longer side 128 pixels, or 64 on a sheet.
        columns: of a sheet; by default about as many as rows.
        batch_size: latents a call.
        loop: play for ever rather than once.
        progress_strip: draw a thin bar below each frame that says how far the film is.
        about: JSON values to keep in the film's file beside these: seeds, operations, whatever made the latents.

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
    fps, hold = speed(fps), as_number(hold, "hold", least=0.0, most=600.0)
    generator = generator.generator if isinstance(generator, Checkpoint) else generator
    # What holds no curve are latents, in whatever form they come.
    several = isinstance(curve, Sequence) and (not curve or any(isinstance(one, Curve) for one in curve))
    curves: list[Any] = [*curve] if isinstance(curve, Sequence) and several else [curve]
    closed = any(isinstance(one, Curve) and one.closed for one in curves)
    if closed and hold > 0:
        raise ArgumentError(f"a closed curve has no ends to hold, got hold={hold:g}; leave it out or film a tour")
    latents = _latents(generator, curves, frames)
    scene = Scene.of(generator, latents, scale=scale, columns=columns, batch_size=batch_size, closed=closed)
    count = len(latents)
    durations = [1000.0 / fps] * count
    durations[0] += 1000.0 * hold
    durations[-1] += 1000.0 * hold if count > 1 else 0.0
    captions: tuple[str, ...] = ()
    if caption is not None:
        captions = tuple(str(caption(i, i / max(count if closed else count - 1, 1))) for i in range(count))
    film = Animation(scene.film, count, scene.size, tuple(durations), captions, loop, bool(progress_strip))
    return replace(film, provenance=recorded(film, scene, about or {}))


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
