"""What the verbs make of latents: samples, and files of them."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from latentkit.checkpoint import Checkpoint
from latentkit.conditional import Marginal
from latentkit.drawn import shows
from latentkit.files import writing
from latentkit.protocols import Generator
from latentkit.render import samples_sheet, save_png
from latentkit.sampling.generate import generate
from latentkit.stores import Store

__all__ = ["FILMS", "NAME_A_STORE", "described", "generated", "is_film", "steps_of", "told", "write_samples"]

#: How to ask for a store where a file can be written as well.
NAME_A_STORE = "let --out name a folder without a suffix, .zarr or .parquet"

#: What a film can end in.
FILMS = (".gif", ".webp", ".avif", ".apng", ".mp4")


def is_film(out: Path) -> bool:
    """Return whether a file is a film by its name."""
    return out.suffix.lower() in FILMS


def told(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what a command was asked for, to be kept in the film that it makes: the verb, and the options given.

    Of the checkpoint's place only its last part, and nothing of the film's own: a film is sent to others.
    """
    left_out = ("verb", "out", "json", "threads", "checkpoint", "interrupted")
    given = sorted(vars(arguments).items())
    options = {name: value for name, value in given if value is not None and value is not False}
    kept = {name: value for name, value in options.items() if name not in left_out}
    return {"operations": [arguments.verb], "checkpoint": Path(arguments.checkpoint).name, "options": kept}


def steps_of(arguments: argparse.Namespace, out: Path, *, still: int, film: int) -> int:
    """Return what `--steps` asks for, or what is usual for a picture or a film."""
    usual = film if is_film(out) else still
    return usual if arguments.steps is None else arguments.steps


def generated(checkpoint: Checkpoint, latents: Tensor, arguments: argparse.Namespace) -> Tensor:
    """Return the samples of latents (N, D), as `--batch-size` and a progress bar ask."""
    precision = getattr(arguments, "precision", "float32")
    return generate(
        checkpoint.generator,
        latents,
        batch_size=arguments.batch_size,
        precision=precision,
        progress=shows(arguments),
    )


def described(store: Store) -> dict[str, Any]:
    """Return what a store holds, and its size."""
    columns = {name: f"{c.dtype} {list(c.shape) or ''}".strip() for name, c in store.columns.items()}
    return {"kind": store.kind, "columns": columns, "blocks": store.blocks, "bytes": store.nbytes}


def write_samples(generator: Generator, latents: Tensor, samples: Tensor, out: Path, columns: int | None) -> None:
    """Write latents (N, D) with their samples, and labels of several classes, as .npz, or the samples as a sheet."""
    if out.suffix.lower() == ".npz":
        labels: dict[str, Any] = {}
        if isinstance(generator, Marginal):
            labels["labels"] = generator.labels(latents).numpy()
        with writing(out) as file:
            np.savez_compressed(file, latents=latents.numpy(), samples=samples.numpy(), **labels)
        return

    save_png(samples_sheet(samples, columns=columns), out)
