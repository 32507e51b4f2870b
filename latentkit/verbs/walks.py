"""The verbs that walk through the latent space."""

import argparse
import re
from functools import partial
from typing import Any

import torch

from latentkit import streams
from latentkit.animation import FASTEST
from latentkit.animation import animate as film_of
from latentkit.checks import as_number
from latentkit.curves import interpolate as matched
from latentkit.curves import lerp, loop, slerp
from latentkit.drawn import draw, opened, shows
from latentkit.errors import ArgumentError
from latentkit.limits import (
    MOST_FRAMES,
    MOST_KEYS,
    check_drawable,
    check_frame,
    check_memory,
    check_sheet,
    count_of,
)
from latentkit.verbs.output import generated, write_samples
from latentkit.views import classes_of

__all__ = ["animate", "interpolate"]


def interpolate(arguments: argparse.Namespace) -> dict[str, Any]:
    """Go from one latent to another."""
    checkpoint, out = opened(arguments, (".png", ".gif", ".npz"))
    prior = checkpoint.generator.prior
    film = out.suffix.lower() == ".gif"
    steps = count_of(arguments.steps, "--steps", most=MOST_FRAMES if film else None)
    for k in arguments.between:
        if not 0 <= k < streams.LONGEST:
            raise ArgumentError(f"--between takes numbers of latents from 0 to 2**96 - 1, got {k}")
    check_memory(checkpoint, steps, "--steps", samples=not film)
    if film:
        check_drawable(checkpoint)
    else:
        check_sheet(checkpoint, out, steps)
    a, b = (prior.sample(1, seed=arguments.seed, start=k)[0] for k in arguments.between)
    curve = {"interpolate": partial(matched, prior=prior), "slerp": slerp, "lerp": lerp}[arguments.curve](a, b)
    if film:
        made = film_of(checkpoint.generator, curve, frames=steps, batch_size=arguments.batch_size)
        made.save(out, progress=shows(arguments))
    else:
        latents = curve.steps(steps)
        samples = generated(checkpoint, latents, arguments)
        write_samples(checkpoint.generator, latents, samples, out, len(samples))
    middle = curve(0.5)
    return {
        "wrote": str(out),
        "steps": steps,
        "typicality_midway": float(prior.typicality(middle)[0]),
        **classes_of(checkpoint.generator, torch.stack([a, b])),
    }


def _grid(text: str) -> tuple[int, int]:
    """Return columns and rows of a text such as 6x3."""
    found = re.fullmatch(r"([1-9][0-9]{0,2})x([1-9][0-9]{0,2})", text)
    if found is None:
        raise ArgumentError(f"--grid takes columns x rows, such as 6x3, got {text!r}")
    return int(found[1]), int(found[2])


def animate(arguments: argparse.Namespace) -> dict[str, Any]:
    """Film a loop through random latents."""
    checkpoint, out = opened(arguments, (".gif",))
    columns, rows = _grid(arguments.grid)
    check_frame(checkpoint, columns, rows)
    count = count_of(arguments.keys, "--keys", least=3, most=MOST_KEYS)
    frames = count_of(arguments.frames, "--frames", most=MOST_FRAMES)
    fps = as_number(arguments.fps, "--fps", least=0.0, most=FASTEST, open_least=True)
    check_memory(checkpoint, columns * rows * max(frames, count), "--grid times --frames", samples=False)
    keys = draw(checkpoint, arguments, columns * rows * count)
    loops = [loop(some, prior=checkpoint.generator.prior) for some in keys.split(count)]
    film = film_of(
        checkpoint.generator,
        loops,
        frames=frames,
        fps=fps,
        columns=columns,
        batch_size=arguments.batch_size,
    )
    film.save(out, progress=shows(arguments))
    return {"wrote": str(out), "frames": film.count, "seconds": film.seconds, "bytes": out.stat().st_size}
