"""The verbs of the command `latentkit`: each takes the parsed arguments and returns what it did."""

import argparse
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentkit import streams
from latentkit.animation import FASTEST
from latentkit.animation import animate as film_of
from latentkit.attributes import attributes_of
from latentkit.bundled import found
from latentkit.checkpoint import Checkpoint, load
from latentkit.checks import as_number, one_of
from latentkit.conditional import Marginal
from latentkit.curves import interpolate as matched
from latentkit.curves import lerp, loop, slerp
from latentkit.drawn import best_of, draw, map_of, opened, shows
from latentkit.errors import ArgumentError
from latentkit.files import writing
from latentkit.folders import check_folder
from latentkit.journeys import journey
from latentkit.limits import (
    MOST_FRAMES,
    MOST_KEYS,
    MOST_SCORED,
    MOST_STRENGTH,
    check_drawable,
    check_frame,
    check_memory,
    check_sheet,
    count_of,
)
from latentkit.metrics import sample_quality
from latentkit.plots import plane_picture
from latentkit.projection import Projection
from latentkit.projection import project as lay_out
from latentkit.protocols import Generator
from latentkit.quality import QualityMap
from latentkit.render import samples_sheet, save_png
from latentkit.reports.build import MARKER
from latentkit.reports.build import report as write_report
from latentkit.routes import compare_routes
from latentkit.routes import route as find_route
from latentkit.sampling.generate import generate
from latentkit.tides import tide as tide_of
from latentkit.views import classes_of, curve_of, direction_of, island_of, probability_by_class

__all__ = ["animate", "edit", "info", "interpolate", "project", "quality", "report", "route", "sample", "tide"]

#: Latents that a picture of a map can show, and samples that coverage is measured on.
MOST_DRAWN, MOST_COMPARED = 100_000, 2_000

#: Islands that are listed one by one.
LISTED = 12


def info(arguments: argparse.Namespace) -> dict[str, Any]:
    """Say what a checkpoint holds."""
    checkpoint = load(arguments.checkpoint)
    history = {key: values[-1] for key, values in checkpoint.history.items() if values}
    return {
        "checkpoint": str(arguments.checkpoint),
        "folder": str(found(arguments.checkpoint).absolute()),
        "fingerprint": checkpoint.fingerprint,
        "trainer": checkpoint.trainer,
        "data": checkpoint.data,
        "prior": repr(checkpoint.generator.prior),
        "conditional": checkpoint.conditional,
        "sample_shape": list(checkpoint.holdout.shape[1:]),
        "held_out": len(checkpoint.holdout),
        "classes": list(checkpoint.classes),
        "critic": checkpoint.critic is not None,
        "encoder": checkpoint.encoder is not None,
        "settings": checkpoint.settings,
        "last_step": history,
    }


def _generate(checkpoint: Checkpoint, latents: Tensor, arguments: argparse.Namespace) -> Tensor:
    return generate(checkpoint.generator, latents, batch_size=arguments.batch_size, progress=shows(arguments))


def _write_samples(generator: Generator, latents: Tensor, samples: Tensor, out: Path, columns: int | None) -> None:
    """Write latents (N, D) with their samples, and labels of several classes, as .npz, or the samples as a sheet."""
    if out.suffix.lower() == ".npz":
        labels: dict[str, Any] = {}
        if isinstance(generator, Marginal):
            labels["labels"] = generator.labels(latents).numpy()
        with writing(out) as file:
            np.savez_compressed(file, latents=latents.numpy(), samples=samples.numpy(), **labels)
        return

    save_png(samples_sheet(samples, columns=columns), out)


def sample(arguments: argparse.Namespace) -> dict[str, Any]:
    """Draw samples."""
    checkpoint, out = opened(arguments, (".png", ".npz"))
    n = count_of(arguments.n, "-n")
    check_memory(checkpoint, n, "-n", samples=True)
    check_sheet(checkpoint, out, n)
    latents = draw(checkpoint, arguments, n, arguments.truncation)
    samples = _generate(checkpoint, latents, arguments)
    _write_samples(checkpoint.generator, latents, samples, out, None)
    return {"wrote": str(out), "samples": len(samples)}


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
        samples = _generate(checkpoint, latents, arguments)
        _write_samples(checkpoint.generator, latents, samples, out, len(samples))
    middle = curve(0.5)
    return {
        "wrote": str(out),
        "steps": steps,
        "typicality_midway": float(prior.typicality(middle)[0]),
        **classes_of(checkpoint.generator, torch.stack([a, b])),
    }


def edit(arguments: argparse.Namespace) -> dict[str, Any]:
    """Move latents along the direction of an attribute."""
    checkpoint, out = opened(arguments, (".png", ".npz"))
    prior = checkpoint.generator.prior
    known = attributes_of(checkpoint.holdout)
    measure = known[one_of(arguments.attribute, "--attribute", tuple(known))]
    rows = count_of(arguments.n, "-n")
    steps = count_of(arguments.steps, "--steps", least=2)  # one step would be the most extreme of all
    strength = arguments.strength
    if strength is not None:
        strength = as_number(strength, "--strength", least=0.0, most=MOST_STRENGTH, open_least=True)
    check_memory(checkpoint, rows * steps, "-n times --steps", samples=True)
    check_sheet(checkpoint, out, rows * steps)
    # Labels come from other latents than those that are edited.
    latents = prior.sample(2000, seed=arguments.seed, start=rows)
    values = measure(_generate(checkpoint, latents, arguments))
    direction = direction_of(checkpoint.generator, latents, values, arguments.attribute)
    low, high = direction.safe_range
    if strength is not None:
        low, high = -strength, strength
    amounts = torch.linspace(low, high, steps)
    first = prior.sample(rows, seed=arguments.seed)
    edited = (first[:, None] + amounts[:, None] * direction.vector).reshape(rows * steps, -1)
    samples = _generate(checkpoint, edited, arguments)
    _write_samples(checkpoint.generator, edited, samples, out, steps)
    return {
        "wrote": str(out),
        "attribute": arguments.attribute,
        "strengths": [round(v, 3) for v in amounts.tolist()],
        "safe_range": list(direction.safe_range),
        "held_out_auc": direction.auc,
        **classes_of(checkpoint.generator, first),
    }


def quality(arguments: argparse.Namespace) -> dict[str, Any]:
    """Score latents with the calibrated critic, and find their islands."""
    checkpoint, out = opened(arguments, (".npz",))
    fraction = best_of(arguments)
    scored, judged = map_of(checkpoint, arguments, count_of(arguments.n, "-n", most=MOST_SCORED), charted=True)
    labels = checkpoint.generator.labels(scored.latents) if isinstance(checkpoint.generator, Marginal) else None
    islands = scored.islands(labels=labels)
    kept = scored
    if fraction is not None:
        kept = scored.top_balanced(fraction, islands) if arguments.balanced else scored.top(fraction)
    kept.save(out)
    calibration = scored.calibration
    return {
        "wrote": str(out),
        "latents": len(kept),
        "critic": "a second opinion" if judged.second else "the checkpoint's own",
        "verdict": scored.verdict,
        "auc": calibration.auc,
        "brier": calibration.brier,
        "calibration_error": calibration.ece,
        "z": calibration.z,
        "z_of_raw_logits": calibration.z_raw,
        "mean_probability": float(kept.probability.mean()),
        **probability_by_class(checkpoint.generator, scored),
        "threshold": islands.threshold,
        "good": islands.good / len(scored),
        "coverage": _coverage(checkpoint, scored, islands.threshold),
        "islands": {str(k + 1): island_of(checkpoint, scored, islands, k) for k in range(min(len(islands), LISTED))},
        "islands_in_all": len(islands),
    }


def _coverage(checkpoint: Checkpoint, scored: QualityMap, threshold: float) -> dict[str, float]:
    """Return the share of held-out samples that have a sample of the map nearby: one of all, or of the good latents.

    Both are of as many samples, so that they can be compared.
    """
    chart, real = scored.chart, checkpoint.holdout.flatten(1)[:MOST_COMPARED]
    if chart is None:
        return {}
    good = chart.features[chart.probability >= threshold]
    count = min(len(real), len(good))
    if count <= 5:
        return {}
    sides = {"of_all": chart.features, "of_good": good}
    return {name: sample_quality(real[:count], side[:count]).coverage for name, side in sides.items()}


def _plane(checkpoint: Checkpoint, scored: QualityMap, arguments: argparse.Namespace) -> Projection | None:
    """Lay the map's samples out in the plane, unless they or their latents are points of it."""
    if not check_drawable(checkpoint) or scored.prior.dim == 2:
        return None
    return lay_out(_generate(checkpoint, scored.latents, arguments), "umap", seed=arguments.seed)


def tide(arguments: argparse.Namespace) -> dict[str, Any]:
    """Film the rising tide."""
    checkpoint, out = opened(arguments, (".gif",))
    check_drawable(checkpoint)
    n = count_of(arguments.n, "-n", most=MOST_DRAWN)
    frames = count_of(arguments.frames, "--frames", least=2, most=MOST_FRAMES)
    fps = as_number(arguments.fps, "--fps", least=0.0, most=FASTEST, open_least=True)
    scored, judged = map_of(checkpoint, arguments, n, charted=True)
    generator, critic = checkpoint.generator, judged.critic
    islands, plane = scored.islands(), _plane(checkpoint, scored, arguments)
    film = tide_of(
        scored,
        generator,
        critic,
        plane=plane,
        islands=islands,
        frames=frames,
        fps=fps,
        batch_size=arguments.batch_size,
    )
    film.save(out, progress=shows(arguments))
    return {
        "wrote": str(out),
        "frames": film.count,
        "seconds": film.seconds,
        "critic": "a second opinion" if judged.second else "the checkpoint's own",
        "verdict": scored.verdict,
        "islands": islands.summary,
    }


def route(arguments: argparse.Namespace) -> dict[str, Any]:
    """Lead from one latent to another through what the critic believes."""
    checkpoint, out = opened(arguments, (".png", ".gif"))
    check_drawable(checkpoint)
    n = count_of(arguments.n, "-n", most=MOST_DRAWN)
    steps = count_of(arguments.steps, "--steps", least=2, most=MOST_FRAMES)
    for k in (arguments.a, arguments.b):
        if not 0 <= k < streams.LONGEST:
            raise ArgumentError(f"A and B are numbers of latents from 0 to 2**96 - 1, got {k}")
    if arguments.a == arguments.b:
        raise ArgumentError(f"A and B are both {arguments.a}, so there is no way between them; take two latents")
    scored, judged = map_of(checkpoint, arguments, n, charted=True)
    generator, critic, size = checkpoint.generator, judged.critic, arguments.batch_size
    a, b = (generator.prior.sample(1, seed=arguments.seed, start=k)[0] for k in (arguments.a, arguments.b))
    plane = _plane(checkpoint, scored, arguments)
    way = find_route(scored, generator, critic, a, b, batch_size=size)
    trip = journey(scored, generator, critic, a, b, plane=plane, way=way, steps=steps, batch_size=size)
    if out.suffix.lower() == ".gif":
        trip.film().save(out, progress=shows(arguments))
    else:
        save_png(trip.picture(), out)
    rows = compare_routes(scored, generator, critic, a, b, way=way, batch_size=size)
    return {
        "wrote": str(out),
        "critic": "a second opinion" if judged.second else "the checkpoint's own",
        "verdict": scored.verdict,
        "route": trip.note,
        "curves": {row.name: curve_of(row) for row in rows},
        **classes_of(generator, torch.stack([a, b])),
    }


def project(arguments: argparse.Namespace) -> dict[str, Any]:
    """Lay samples or latents out in the plane."""
    checkpoint, out = opened(arguments, (".png", ".npz"))
    n = count_of(arguments.n, "-n")
    check_memory(checkpoint, n, "-n", samples=arguments.of == "samples")
    latents = draw(checkpoint, arguments, n)
    rows = latents
    if arguments.of == "samples":
        rows = _generate(checkpoint, latents, arguments)
    plane = lay_out(rows, arguments.method, seed=arguments.seed)
    if out.suffix.lower() == ".npz":
        plane.save(out)
    else:
        save_png(plane_picture(plane.points, title=f"{arguments.method.upper()} of {len(rows)} {arguments.of}"), out)
    return {"wrote": str(out), "points": len(rows), "trustworthiness": plane.trustworthiness, "verdict": plane.verdict}


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


def report(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the page with everything."""
    check_folder(arguments.out, marker=MARKER)
    n = None if arguments.n is None else count_of(arguments.n, "-n", least=500)
    checkpoint, out = opened(arguments)
    check_memory(checkpoint, n or 1, "-n", samples=True)
    page = write_report(
        checkpoint,
        out,
        seed=arguments.seed,
        n=n,
        batch_size=arguments.batch_size,
        progress=shows(arguments),
    )
    size = sum(file.stat().st_size for file in page.parent.iterdir())
    return {"wrote": str(page), "megabytes": round(size / 1e6, 2)}
