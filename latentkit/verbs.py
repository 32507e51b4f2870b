"""The verbs of the command `latentkit`: each takes the parsed arguments and returns what it did."""

import argparse
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentkit.animation import animate as film_of
from latentkit.attributes import attributes_of
from latentkit.checkpoint import Checkpoint, load
from latentkit.checks import as_count, as_number, as_seed, one_of
from latentkit.curves import interpolate as matched
from latentkit.curves import lerp, loop, slerp
from latentkit.directions import mean_difference
from latentkit.errors import ArgumentError
from latentkit.files import check_folder, check_target, writing
from latentkit.plots import plane_picture
from latentkit.projection import project as lay_out
from latentkit.quality import QualityMap, quality_map
from latentkit.render import samples_sheet, save_png
from latentkit.reports.build import MARKER
from latentkit.reports.build import report as write_report
from latentkit.sampling.generate import generate
from latentkit.sampling.truncate import truncated_sample

__all__ = ["animate", "edit", "info", "interpolate", "project", "quality", "report", "sample"]


def _load(arguments: argparse.Namespace, suffixes: Sequence[str] = ()) -> tuple[Checkpoint, Path]:
    """Return the checkpoint and the output's path; both are checked before any work."""
    out = Path(arguments.out)
    if suffixes:
        if out.suffix.lower() not in suffixes:
            raise ArgumentError(f"--out must end in {' or '.join(suffixes)}, got {arguments.out!r}")
        check_target(out)

    as_seed(arguments.seed)
    return load(arguments.checkpoint), out


def info(arguments: argparse.Namespace) -> dict[str, Any]:
    """Say what a checkpoint holds."""
    checkpoint = load(arguments.checkpoint)
    history = {key: values[-1] for key, values in checkpoint.history.items() if values}
    return {
        "checkpoint": str(arguments.checkpoint),
        "fingerprint": checkpoint.fingerprint,
        "trainer": checkpoint.trainer,
        "data": checkpoint.data,
        "prior": repr(checkpoint.generator.prior),
        "sample_shape": list(checkpoint.holdout.shape[1:]),
        "held_out": len(checkpoint.holdout),
        "classes": list(checkpoint.classes),
        "critic": checkpoint.critic is not None,
        "settings": checkpoint.settings,
        "last_step": history,
    }


def _draw(checkpoint: Checkpoint, arguments: argparse.Namespace, n: int, truncation: float | None = None) -> Tensor:
    """Return n latents as `--seed`, `--best` and `--truncation` ask."""
    n = as_count(n, "the number of latents")
    prior = checkpoint.generator.prior
    fraction = getattr(arguments, "best", None)
    if truncation is not None:
        if fraction is not None:
            raise ArgumentError("--truncation and --best are two ways to choose latents; give one of them")

        return truncated_sample(prior, n, threshold=truncation, seed=arguments.seed)
    if fraction is None:
        return prior.sample(n, seed=arguments.seed)

    fraction = as_number(fraction, "--best", least=0.0, most=1.0, open_least=True)
    best = _map(checkpoint, arguments, max(1000, int(2 * n / fraction) + 1)).top(fraction)
    # In the order of the draw, not of the score: the first n are a fair choice among the best.
    return best.rows(best.index.argsort()[:n]).latents


def _shows(arguments: argparse.Namespace) -> bool:
    """Whether a progress bar would be seen: not by a script, nor in a log file."""
    return not arguments.json and sys.stderr.isatty()


def _generate(checkpoint: Checkpoint, latents: Tensor, arguments: argparse.Namespace) -> Tensor:
    return generate(checkpoint.generator, latents, batch_size=arguments.batch_size, progress=_shows(arguments))


def _map(checkpoint: Checkpoint, arguments: argparse.Namespace, n: int) -> QualityMap:
    return quality_map(
        checkpoint.generator,
        checkpoint.critic,
        checkpoint.holdout,
        n=n,
        seed=arguments.seed,
        batch_size=arguments.batch_size,
        allow_uninformative=getattr(arguments, "allow_uninformative", False),
        progress=_shows(arguments),
    )


def _write_samples(latents: Tensor, samples: Tensor, out: Path, columns: int | None) -> None:
    """Write latents (N, D) with their samples as .npz, or the samples as a .png sheet."""
    if out.suffix.lower() == ".npz":
        with writing(out) as file:
            np.savez_compressed(file, latents=latents.numpy(), samples=samples.numpy())
        return

    save_png(samples_sheet(samples, columns=columns), out)


def sample(arguments: argparse.Namespace) -> dict[str, Any]:
    """Draw samples."""
    checkpoint, out = _load(arguments, (".png", ".npz"))
    latents = _draw(checkpoint, arguments, arguments.n, arguments.truncation)
    samples = _generate(checkpoint, latents, arguments)
    _write_samples(latents, samples, out, None)
    return {"wrote": str(out), "samples": len(samples)}


def interpolate(arguments: argparse.Namespace) -> dict[str, Any]:
    """Go from one latent to another."""
    checkpoint, out = _load(arguments, (".png", ".gif", ".npz"))
    prior = checkpoint.generator.prior
    if min(arguments.between) < 0:
        raise ArgumentError(f"--between takes numbers of latents from 0, got {min(arguments.between)}")
    a, b = (prior.sample(1, seed=arguments.seed, start=k)[0] for k in arguments.between)
    curve = {"interpolate": partial(matched, prior=prior), "slerp": slerp, "lerp": lerp}[arguments.curve](a, b)
    latents = curve.steps(arguments.steps)
    if out.suffix.lower() == ".gif":
        film_of(checkpoint.generator, curve, frames=arguments.steps, batch_size=arguments.batch_size).save(out)
    else:
        samples = _generate(checkpoint, latents, arguments)
        _write_samples(latents, samples, out, len(samples))
    middle = curve(0.5)
    return {"wrote": str(out), "steps": len(latents), "typicality_midway": float(prior.typicality(middle)[0])}


def edit(arguments: argparse.Namespace) -> dict[str, Any]:
    """Move latents along the direction of an attribute."""
    checkpoint, out = _load(arguments, (".png", ".npz"))
    prior = checkpoint.generator.prior
    known = attributes_of(checkpoint.holdout)
    measure = known[one_of(arguments.attribute, "--attribute", tuple(known))]
    steps, rows = as_count(arguments.steps, "--steps"), as_count(arguments.n, "-n")
    # Labels come from other latents than those that are edited.
    latents = prior.sample(2000, seed=arguments.seed, start=rows)
    values = measure(_generate(checkpoint, latents, arguments))
    direction = mean_difference(latents, values > values.median(), name=arguments.attribute, prior=prior)
    low, high = direction.safe_range
    if arguments.strength is not None:
        high = as_number(arguments.strength, "--strength", least=0.0, open_least=True)
        low = -high
    amounts = torch.linspace(low, high, steps)
    edited = prior.sample(rows, seed=arguments.seed)[:, None] + amounts[:, None] * direction.vector
    edited = edited.reshape(rows * steps, -1)
    samples = _generate(checkpoint, edited, arguments)
    _write_samples(edited, samples, out, steps)
    return {
        "wrote": str(out),
        "attribute": arguments.attribute,
        "strengths": [round(v, 3) for v in amounts.tolist()],
        "safe_range": list(direction.safe_range),
        "held_out_auc": direction.auc,
    }


def quality(arguments: argparse.Namespace) -> dict[str, Any]:
    """Score latents with the calibrated critic."""
    checkpoint, out = _load(arguments, (".npz",))
    scored = _map(checkpoint, arguments, arguments.n)
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
    }


def project(arguments: argparse.Namespace) -> dict[str, Any]:
    """Lay samples or latents out in the plane."""
    checkpoint, out = _load(arguments, (".png", ".npz"))
    latents = _draw(checkpoint, arguments, arguments.n)
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
    count = as_count(arguments.keys, "--keys")
    keys = _draw(checkpoint, arguments, columns * rows * count)
    loops = [loop(some, prior=checkpoint.generator.prior) for some in keys.split(count)]
    film = film_of(
        checkpoint.generator,
        loops,
        frames=arguments.frames,
        fps=arguments.fps,
        columns=columns,
        batch_size=arguments.batch_size,
    )
    film.save(out, progress=_shows(arguments))
    return {"wrote": str(out), "frames": film.count, "seconds": film.seconds, "bytes": out.stat().st_size}


def report(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the page with everything."""
    check_folder(arguments.out, marker=MARKER)
    checkpoint, out = _load(arguments)
    page = write_report(
        checkpoint,
        out,
        seed=arguments.seed,
        n=arguments.n,
        batch_size=arguments.batch_size,
        progress=_shows(arguments),
    )
    size = sum(file.stat().st_size for file in page.parent.iterdir())
    return {"wrote": str(page), "megabytes": round(size / 1e6, 2)}
