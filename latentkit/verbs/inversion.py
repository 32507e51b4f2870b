"""The verb that finds latents for given samples."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentkit.checkpoint import Checkpoint
from latentkit.drawn import check_filling, filled_by, map_of, opened, shows
from latentkit.errors import ArgumentError
from latentkit.files import writing
from latentkit.images import read_images
from latentkit.inversion import (
    Inversion,
    editability,
    feature_loss,
    fit_encoder,
    invert,
    invert_to,
    invert_without_gradients,
    pixel_loss,
    pyramid_loss,
)
from latentkit.limits import check_memory, check_sheet, count_of
from latentkit.projection import critic_layer
from latentkit.protocols import Encoder
from latentkit.render import samples_sheet, save_png
from latentkit.series import sample_kind
from latentkit.stores import kind_of
from latentkit.verbs.latents import check_numbers
from latentkit.verbs.output import NAME_A_STORE, described
from latentkit.views import classes_of

__all__ = ["invert_samples"]

#: Latents that are scored to calibrate the critic that judges walks away from what was found.
MAPPED = 2_000

_NEEDS_GRADIENTS = "--encoder fit needs gradients, which --search evolution does without; leave it out"

#: Samples of a row of a sheet.
ACROSS = 16


def invert_samples(arguments: argparse.Namespace) -> dict[str, Any]:
    """Find latents that make given samples."""
    checkpoint, out = opened(arguments, (".png", ".npz"), stores=True)
    stored = kind_of(out) is not None
    check_filling(arguments, store=stored, hint=NAME_A_STORE)
    if stored:
        return _stored(checkpoint, out, arguments)
    wanted, names = _wanted(checkpoint, arguments)
    check_sheet(checkpoint, out, 2 * len(wanted))
    check_memory(checkpoint, len(wanted) + arguments.pool, "--pool", samples=True)
    pool = count_of(arguments.pool, "--pool", least=2)
    settings = {
        "starts": count_of(arguments.starts, "--starts", most=pool),
        "pool": pool,
        "seed": arguments.seed,
        "batch_size": arguments.batch_size,
        "progress": shows(arguments),
    }
    steps = count_of(arguments.steps, "--steps", least=0)
    loss = _loss(checkpoint, arguments)
    critic = None
    if arguments.editable:  # first, as the critic may turn out not to be worth asking
        scored, judged = map_of(checkpoint, arguments, MAPPED, charted=False)
        critic = scored.calibration.applied(judged.critic)
    if arguments.search == "evolution":
        if arguments.encoder == "fit":
            raise ArgumentError(_NEEDS_GRADIENTS)
        found = invert_without_gradients(checkpoint.generator, wanted, loss=loss, generations=steps, **settings)
    else:
        found = invert(
            checkpoint.generator,
            wanted,
            encoder=_encoder(checkpoint, arguments),
            loss=loss,
            steps=steps,
            **settings,
        )
    said: dict[str, Any] = {
        "wrote": str(out),
        "samples": names,
        "error": found.error.tolist(),
        "explained": found.explained.tolist(),
        "spread_over_starts": found.spread.tolist(),
        "typicality": found.typicality.tolist(),
    }
    if critic is not None:
        edited = editability(found, checkpoint.generator, critic, seed=arguments.seed, batch_size=arguments.batch_size)
        said |= {"editability": edited.score.tolist(), "verdict": edited.verdict}
    _write(found, wanted, out)
    return {**said, **classes_of(checkpoint.generator, found.latents)}


def _stored(checkpoint: Checkpoint, out: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Fill a store with what is found for many samples."""
    if arguments.editable:
        raise ArgumentError(
            "--editable looks at each latent for long, and a store is for many; write .npz, or leave it"
        )
    pool = count_of(arguments.pool, "--pool", least=2)
    check_memory(checkpoint, pool, "--pool", samples=True)
    if arguments.search == "evolution" and arguments.encoder == "fit":
        raise ArgumentError(_NEEDS_GRADIENTS)
    wanted = arguments.files
    if not wanted or arguments.held_out is not None:
        wanted, _ = _wanted(checkpoint, arguments)
    store = invert_to(
        out,
        checkpoint.generator,
        wanted,
        encoder=_encoder(checkpoint, arguments) if arguments.search == "gradient" else None,
        loss=_loss(checkpoint, arguments),
        search=arguments.search,
        steps=count_of(arguments.steps, "--steps", least=0),
        starts=count_of(arguments.starts, "--starts", most=pool),
        pool=pool,
        seed=arguments.seed,
        batch_size=arguments.batch_size,
        **filled_by(arguments),
    )
    explained = [float(store["explained"][slice(*store.span(k))].sum()) for k in range(store.blocks)]
    return {"wrote": str(out), "samples": len(store), "explained": sum(explained) / len(store), **described(store)}


def _wanted(checkpoint: Checkpoint, arguments: argparse.Namespace) -> tuple[Tensor, list[str]]:
    """Return the samples (N, *S) that are to be made, and what each is called."""
    if arguments.files:
        if arguments.held_out is not None:
            raise ArgumentError("--files and --held-out are two kinds of samples; give one of them, not both")
        return read_images(arguments.files, checkpoint.holdout.shape[1:]), [Path(file).name for file in arguments.files]
    numbers = arguments.held_out
    if numbers is None:
        numbers = range(min(count_of(arguments.n, "-n"), max(len(checkpoint.holdout), 1)))
    check_numbers(checkpoint, numbers, "--held-out", held_out=True)
    return checkpoint.holdout[list(numbers)], [f"held-out {k}" for k in numbers]


def _loss(checkpoint: Checkpoint, arguments: argparse.Namespace) -> Callable[[Tensor, Tensor], Tensor]:
    if arguments.loss == "features":
        seen = critic_layer(checkpoint.critic)
        if seen is None:
            raise ArgumentError("--loss features compares what a bundled critic sees, and this checkpoint has none")
        return feature_loss(seen.features)
    return pyramid_loss if arguments.loss == "pyramid" else pixel_loss


def _encoder(checkpoint: Checkpoint, arguments: argparse.Namespace) -> Encoder | None:
    if arguments.encoder == "fit":
        return fit_encoder(checkpoint.generator, seed=arguments.seed, progress=shows(arguments))
    return checkpoint.encoder if arguments.encoder == "own" else None


def _write(found: Inversion, wanted: Tensor, out: Path) -> None:
    """Write what was found: each sample over what the generator makes instead, or all arrays."""
    if out.suffix.lower() == ".npz":
        with writing(out) as file:
            np.savez_compressed(
                file,
                latents=found.latents.numpy(),
                samples=found.samples.numpy(),
                wanted=wanted.numpy(),
                error=found.error.numpy(),
                errors=found.errors.numpy(),
                typicality=found.typicality.numpy(),
            )
        return
    if sample_kind(wanted.shape[1:]) not in ("image", "series"):
        save_png(samples_sheet(torch.cat([wanted, found.samples])), out)
        return
    across = min(len(wanted), ACROSS)
    blank = wanted.new_ones((-len(wanted) % across, *wanted.shape[1:]))
    rows = [torch.cat([some, blank]).split(across) for some in (wanted, found.samples.to(wanted.dtype))]
    pairs = [part for pair in zip(*rows, strict=True) for part in pair]
    save_png(samples_sheet(torch.cat(pairs), columns=across), out)
