"""The verbs of the command `latentkit`: each takes the parsed arguments and returns what it did."""

import argparse
import re
from collections.abc import Sequence
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
from latentkit.checks import as_number, as_seed, one_of
from latentkit.conditional import Marginal
from latentkit.console import watched
from latentkit.curves import interpolate as matched
from latentkit.curves import lerp, loop, slerp
from latentkit.errors import ArgumentError, CriticError
from latentkit.files import check_target, writing
from latentkit.folders import check_folder
from latentkit.limits import (
    MOST_AT_A_TIME,
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
from latentkit.plots import plane_picture
from latentkit.priors import Normal
from latentkit.projection import project as lay_out
from latentkit.protocols import Generator
from latentkit.quality import QualityMap, quality_map
from latentkit.render import samples_sheet, save_png
from latentkit.reports.build import MARKER
from latentkit.reports.build import report as write_report
from latentkit.sampling.generate import generate
from latentkit.sampling.truncate import truncated_sample
from latentkit.views import classes_of, direction_of, probability_by_class, viewed

__all__ = ["animate", "edit", "info", "interpolate", "project", "quality", "report", "sample"]


def _load(arguments: argparse.Namespace, suffixes: Sequence[str] = ()) -> tuple[Checkpoint, Path]:
    """Return the checkpoint as `--class` asks and the output's path; both are checked before any work."""
    out = Path(arguments.out)
    if suffixes:
        if out.suffix.lower() not in suffixes:
            raise ArgumentError(f"--out must end in {' or '.join(suffixes)}, got {arguments.out!r}")
        check_target(out)

    as_seed(arguments.seed)
    count_of(arguments.batch_size, "--batch-size", most=MOST_AT_A_TIME)
    return viewed(load(arguments.checkpoint), arguments.label, str(arguments.checkpoint)), out


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


def _draw(checkpoint: Checkpoint, arguments: argparse.Namespace, n: int, truncation: float | None = None) -> Tensor:
    """Return n latents as `--seed`, `--best` and `--truncation` ask."""
    prior = checkpoint.generator.prior
    fraction = getattr(arguments, "best", None)
    if truncation is not None:
        if fraction is not None:
            raise ArgumentError("--truncation and --best are two ways to choose latents; give one of them")

        truncation = as_number(truncation, "--truncation", least=0.0, open_least=True)
        if not isinstance(prior, Normal):
            raise ArgumentError(f"--truncation needs a model with a normal prior; this one's is {prior}")
        return truncated_sample(prior, n, threshold=truncation, seed=arguments.seed)
    if fraction is None:
        return prior.sample(n, seed=arguments.seed)

    fraction = as_number(fraction, "--best", least=0.0, most=1.0, open_least=True)
    # Twice as many as are needed, so that the n that are taken are a choice among the best.
    scored = max(1000.0, 2.0 * n / fraction + 1.0)
    if scored > MOST_SCORED:
        raise ArgumentError(
            f"--best {fraction:g} for {n:,} latents means to score {scored:,.0f}, more than {MOST_SCORED:,}; "
            "take a larger fraction or fewer latents"
        )
    best = _map(checkpoint, arguments, int(scored)).top(fraction)
    # In the order of the draw, not of the score: the first n are a fair choice among the best.
    return best.rows(best.index.argsort()[:n]).latents


def _shows(arguments: argparse.Namespace) -> bool:
    """Whether a progress bar would be seen: not by a script, nor in a log file."""
    return not arguments.json and watched()


def _generate(checkpoint: Checkpoint, latents: Tensor, arguments: argparse.Namespace) -> Tensor:
    return generate(checkpoint.generator, latents, batch_size=arguments.batch_size, progress=_shows(arguments))


def _map(checkpoint: Checkpoint, arguments: argparse.Namespace, n: int) -> QualityMap:
    if checkpoint.critic is None:
        raise CriticError(f"{arguments.checkpoint} has no critic, so its latents cannot be scored")
    check_memory(checkpoint, n, "scoring", samples=False)
    can_allow = hasattr(arguments, "allow_uninformative")
    try:
        return quality_map(
            checkpoint.generator,
            checkpoint.critic,
            checkpoint.holdout,
            n=n,
            seed=arguments.seed,
            batch_size=arguments.batch_size,
            allow_uninformative=can_allow and arguments.allow_uninformative,
            progress=_shows(arguments),
        )
    except CriticError as error:
        way_out = "give --allow-uninformative to see the scores all the same" if can_allow else "leave out --best"
        said = str(error).replace("pass allow_uninformative=True to see the scores all the same", way_out)
        raise CriticError(said) from error


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
    checkpoint, out = _load(arguments, (".png", ".npz"))
    n = count_of(arguments.n, "-n")
    check_memory(checkpoint, n, "-n", samples=True)
    check_sheet(checkpoint, out, n)
    latents = _draw(checkpoint, arguments, n, arguments.truncation)
    samples = _generate(checkpoint, latents, arguments)
    _write_samples(checkpoint.generator, latents, samples, out, None)
    return {"wrote": str(out), "samples": len(samples)}


def interpolate(arguments: argparse.Namespace) -> dict[str, Any]:
    """Go from one latent to another."""
    checkpoint, out = _load(arguments, (".png", ".gif", ".npz"))
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
        made.save(out, progress=_shows(arguments))
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
    checkpoint, out = _load(arguments, (".png", ".npz"))
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
    """Score latents with the calibrated critic."""
    checkpoint, out = _load(arguments, (".npz",))
    scored = _map(checkpoint, arguments, count_of(arguments.n, "-n", most=MOST_SCORED))
    scored.save(out)
    calibration = scored.calibration
    return {
        "wrote": str(out),
        "latents": len(scored),
        "verdict": scored.verdict,
        "auc": calibration.auc,
        "brier": calibration.brier,
        "calibration_error": calibration.ece,
        "z": calibration.z,
        "z_of_raw_logits": calibration.z_raw,
        "mean_probability": float(scored.probability.mean()),
        **probability_by_class(checkpoint.generator, scored),
    }


def project(arguments: argparse.Namespace) -> dict[str, Any]:
    """Lay samples or latents out in the plane."""
    checkpoint, out = _load(arguments, (".png", ".npz"))
    n = count_of(arguments.n, "-n")
    check_memory(checkpoint, n, "-n", samples=arguments.of == "samples")
    latents = _draw(checkpoint, arguments, n)
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
    checkpoint, out = _load(arguments, (".gif",))
    columns, rows = _grid(arguments.grid)
    check_frame(checkpoint, columns, rows)
    count = count_of(arguments.keys, "--keys", least=3, most=MOST_KEYS)
    frames = count_of(arguments.frames, "--frames", most=MOST_FRAMES)
    fps = as_number(arguments.fps, "--fps", least=0.0, most=FASTEST, open_least=True)
    check_memory(checkpoint, columns * rows * max(frames, count), "--grid times --frames", samples=False)
    keys = _draw(checkpoint, arguments, columns * rows * count)
    loops = [loop(some, prior=checkpoint.generator.prior) for some in keys.split(count)]
    film = film_of(
        checkpoint.generator,
        loops,
        frames=frames,
        fps=fps,
        columns=columns,
        batch_size=arguments.batch_size,
    )
    film.save(out, progress=_shows(arguments))
    return {"wrote": str(out), "frames": film.count, "seconds": film.seconds, "bytes": out.stat().st_size}


def report(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the page with everything."""
    check_folder(arguments.out, marker=MARKER)
    n = None if arguments.n is None else count_of(arguments.n, "-n", least=500)
    checkpoint, out = _load(arguments)
    check_memory(checkpoint, n or 1, "-n", samples=True)
    page = write_report(
        checkpoint,
        out,
        seed=arguments.seed,
        n=n,
        batch_size=arguments.batch_size,
        progress=_shows(arguments),
    )
    size = sum(file.stat().st_size for file in page.parent.iterdir())
    return {"wrote": str(page), "megabytes": round(size / 1e6, 2)}
