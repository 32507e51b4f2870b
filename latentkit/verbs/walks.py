"""The verbs that walk through the latent space."""

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from latentkit.animation import FASTEST
from latentkit.animation import animate as film_of
from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_number
from latentkit.conditional import Marginal, blend
from latentkit.curves import Curve, anchor_grid, loop
from latentkit.drawn import draw, map_of, opened, shows
from latentkit.errors import ArgumentError, CriticError, LabelError
from latentkit.limits import (
    MOST_FRAMES,
    MOST_KEYS,
    check_drawable,
    check_frame,
    check_memory,
    check_sheet,
    count_of,
)
from latentkit.render import samples_sheet, save_png
from latentkit.verbs.curves import KEYS, MAPPED, TWO, Keys, check_pace, curve_of, keys_of, paced
from latentkit.verbs.latents import numbered
from latentkit.verbs.output import FILMS, generated, is_film, steps_of, told, write_samples
from latentkit.views import class_index, classes_of
from latentkit.views import curve_of as curve_facts
from latentkit.walks import bake_off, class_tour

__all__ = ["animate", "interpolate"]


def interpolate(arguments: argparse.Namespace) -> dict[str, Any]:
    """Go from one latent to another, or along any curve."""
    checkpoint, out = opened(arguments, (".png", ".npz", *FILMS))
    film = is_film(out)
    steps = count_of(steps_of(arguments, out, still=9, film=60), "--steps", most=MOST_FRAMES if film else None)
    fps = as_number(arguments.fps, "--fps", least=0.0, most=FASTEST, open_least=True)
    others = [name for name in ("classes", "grid", "compare") if getattr(arguments, name)]
    if len(others) > 1:
        raise ArgumentError(f"--{others[0]} and --{others[1]} are two different things to draw; give one of them")
    check_pace(arguments)
    check_memory(checkpoint, steps, "--steps", samples=not film)
    if film:
        check_drawable(checkpoint)
    elif not others:
        check_sheet(checkpoint, out, steps)
    if arguments.grid:
        return _between_anchors(checkpoint, arguments, out)
    if arguments.compare:
        return _compared(checkpoint, arguments, out, steps, fps)
    if arguments.classes:
        return _between_classes(checkpoint, arguments, out, steps, fps)
    numbers = keys_of(checkpoint, arguments, KEYS[arguments.curve], f"--curve {arguments.curve}")
    keys, inverted = numbered(checkpoint, arguments, numbers)
    generator, prior = checkpoint.generator, checkpoint.generator.prior
    curve, said = paced(generator, curve_of(checkpoint, arguments, keys), arguments)
    return {
        **_drawn(checkpoint, arguments, curve, out, steps, fps),
        "typicality_midway": float(prior.typicality(curve(0.5))[0]),
        "least_typicality": float(prior.typicality(curve.steps(max(steps, 65))).min()),
        **said,
        **inverted,
        **classes_of(generator, keys),
    }


def _drawn(
    checkpoint: Checkpoint, arguments: argparse.Namespace, curve: Curve, out: Path, steps: int, fps: float
) -> dict[str, Any]:
    """Write the samples along a curve as a film, a strip or arrays."""
    if is_film(out):
        made = film_of(
            checkpoint.generator,
            curve,
            frames=steps,
            fps=fps,
            batch_size=arguments.batch_size,
            about={**told(arguments), "curve": curve.kind},
        )
        made.save(out, progress=shows(arguments))
    else:
        latents = curve.steps(steps)
        samples = generated(checkpoint, latents, arguments)
        write_samples(checkpoint.generator, latents, samples, out, len(samples))
    return {"wrote": str(out), "curve": curve.kind, "steps": steps}


def _between_anchors(checkpoint: Checkpoint, arguments: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Write a sheet of what lies between three or four latents."""
    columns, rows = _grid(arguments.grid)
    if is_film(out):
        raise ArgumentError("--grid is a sheet, not a film; let --out end in .png or .npz")
    if min(columns, rows) < 2:
        raise ArgumentError(f"--grid needs at least 2 columns and 2 rows, got {arguments.grid}")
    check_sheet(checkpoint, out, columns * rows)
    numbers = keys_of(checkpoint, arguments, Keys(3, 4, (0, 1, 2, 3)), "--grid")
    if len(numbers) == 3 and columns != rows:
        raise ArgumentError(f"between three latents a grid is a triangle, as wide as high, got {arguments.grid}")
    keys, inverted = numbered(checkpoint, arguments, numbers)
    generator = checkpoint.generator
    found = anchor_grid(keys, (rows, columns) if len(keys) == 4 else rows, prior=generator.prior)
    samples = generated(checkpoint, found.latents, arguments)
    if out.suffix.lower() == ".npz":
        write_samples(generator, found.latents, samples, out, None)
    elif samples.ndim == 4:
        # A triangle leaves places empty, which are white.
        whole = samples.new_ones((rows * columns, *samples.shape[1:]))
        whole[found.row * columns + found.column] = samples
        save_png(samples_sheet(whole, columns=columns), out)
    else:
        save_png(samples_sheet(samples), out)
    return {
        "wrote": str(out),
        "latents": len(samples),
        "least_typicality": float(generator.prior.typicality(found.latents).min()),
        **inverted,
        **classes_of(generator, keys),
    }


def _compared(
    checkpoint: Checkpoint, arguments: argparse.Namespace, out: Path, steps: int, fps: float
) -> dict[str, Any]:
    """Write all curves between two latents, side by side."""
    if out.suffix.lower() == ".npz":
        raise ArgumentError("--compare is drawn; let --out be a film or a .png")
    check_drawable(checkpoint)
    steps = count_of(steps, "--steps", least=2)
    keys, inverted = numbered(checkpoint, arguments, keys_of(checkpoint, arguments, TWO, "--compare"))
    generator, size = checkpoint.generator, arguments.batch_size
    try:
        found, judged = map_of(checkpoint, arguments, MAPPED, charted=True)
        scored: dict[str, Any] = {"quality": found, "critic": judged.critic}
        verdict = found.verdict
    except CriticError as error:
        scored, verdict = {}, f"no route and no probabilities: {error}"
    made = bake_off(generator, keys[0], keys[1], batch_size=size, **scored)
    if is_film(out):
        made.film(generator, frames=steps, fps=fps, batch_size=size).save(out, progress=shows(arguments))
    else:
        save_png(made.picture(generator, columns=steps, batch_size=size), out)
    return {
        "wrote": str(out),
        "verdict": verdict,
        "best": made.best,
        "curves": {row.name: curve_facts(row) for row in made.rows},
        **inverted,
        **classes_of(generator, keys),
    }


def _between_classes(
    checkpoint: Checkpoint, arguments: argparse.Namespace, out: Path, steps: int, fps: float
) -> dict[str, Any]:
    """Walk one latent of a conditional model from class to class."""
    if arguments.label is not None:
        raise ArgumentError("--class keeps to one class and --classes goes from one to another; give one of them")
    if not isinstance(checkpoint.generator, Marginal):
        raise LabelError(
            f"--classes goes between the classes of a conditional model, and {arguments.checkpoint} has none"
        )
    if arguments.held_out:
        raise ArgumentError("--held-out inverts samples of any class; walk between classes from a latent by its number")
    between = blend(checkpoint.generator.module)
    names = [class_index(name, between.classes, "--classes") for name in arguments.classes]
    closed = arguments.curve in ("loop", "closed-spline")
    number = keys_of(checkpoint, arguments, Keys(1, 1, (0,)), "--classes")[0]
    z = between.module.prior.sample(1, seed=arguments.seed, start=number)[0]
    curve, said = paced(between, class_tour(between, z, names, closed=closed), arguments)
    shown = replace(checkpoint, generator=between)
    return {
        **_drawn(shown, arguments, curve, out, steps, fps),
        "classes": [between.classes[k] for k in names],
        **said,
    }


def _grid(text: str) -> tuple[int, int]:
    """Return columns and rows of a text such as 6x3."""
    found = re.fullmatch(r"([1-9][0-9]{0,2})x([1-9][0-9]{0,2})", text)
    if found is None:
        raise ArgumentError(f"--grid takes columns x rows, such as 6x3, got {text!r}")
    return int(found[1]), int(found[2])


def animate(arguments: argparse.Namespace) -> dict[str, Any]:
    """Film a loop through random latents."""
    checkpoint, out = opened(arguments, FILMS)
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
        about=told(arguments),
    )
    film.save(out, progress=shows(arguments))
    return {"wrote": str(out), "frames": film.count, "seconds": film.seconds, "bytes": out.stat().st_size}
