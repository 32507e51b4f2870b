"""The verb that draws samples."""

import argparse
from pathlib import Path
from typing import Any

from latentkit.checkpoint import Checkpoint
from latentkit.console import said
from latentkit.drawn import check_filling, draw, filled_by, opened, shows
from latentkit.errors import ArgumentError
from latentkit.limits import check_memory, check_sheet, count_of
from latentkit.sampling.stored import estimate_samples, sample_to
from latentkit.stores import kind_of
from latentkit.verbs.output import NAME_A_STORE, described, generated, write_samples

__all__ = ["sample"]


def sample(arguments: argparse.Namespace) -> dict[str, Any]:
    """Draw samples."""
    checkpoint, out = opened(arguments, (".png", ".npz"), stores=True)
    n = count_of(arguments.n, "-n")
    stored = kind_of(out) is not None
    check_filling(arguments, store=stored, hint=NAME_A_STORE)
    if stored:
        return _stored(checkpoint, out, n, arguments)
    for name in ("latents", "float"):
        if getattr(arguments, name):
            raise ArgumentError(f"--{name} is for a store; a .npz holds latents and floats anyhow")
    check_memory(checkpoint, n, "-n", samples=True)
    check_sheet(checkpoint, out, n)
    latents = draw(checkpoint, arguments, n, arguments.truncation)
    samples = generated(checkpoint, latents, arguments)
    write_samples(checkpoint.generator, latents, samples, out, None)
    return {"wrote": str(out), "samples": len(samples)}


def _stored(checkpoint: Checkpoint, out: Path, n: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Fill a store with samples."""
    if arguments.truncation is not None or arguments.best is not None or arguments.balanced:
        raise ArgumentError(
            "--truncation, --best and --balanced choose latents, and a store holds all of a seed in order; leave them "
            "out, or write .npz"
        )
    wanted = {
        "batch_size": arguments.batch_size,
        "dtype": "float32" if arguments.float else None,
        "latents": arguments.latents,
        "precision": arguments.precision,
    }
    if shows(arguments):
        said("latentkit", estimate_samples(checkpoint.generator, n, **wanted).summary)
    store = sample_to(out, checkpoint.generator, n, seed=arguments.seed, **wanted, **filled_by(arguments))
    return {"wrote": str(out), "samples": len(store), **described(store)}
