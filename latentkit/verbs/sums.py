"""What `edit` makes of latents without a direction: weighted sums of them, and what lies around them."""

import argparse
import re
from pathlib import Path
from typing import Any

import torch

from latentkit.arithmetic import calculate, vicinity
from latentkit.checkpoint import Checkpoint
from latentkit.errors import ArgumentError
from latentkit.verbs.latents import check_numbers, numbered
from latentkit.verbs.output import generated, write_samples
from latentkit.views import classes_of

__all__ = ["around", "calculated"]


def calculated(checkpoint: Checkpoint, arguments: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Write the terms of a formula, what it gives plainly, and what on the prior."""
    names = dict.fromkeys(re.findall(r"\bz([0-9]{1,29})\b", arguments.formula))
    numbers = [int(text) for text in names]
    check_numbers(checkpoint, numbers, "--formula", held_out=arguments.held_out)
    if not numbers:
        raise ArgumentError(f"--formula names latents by number, such as z3 - z5 + z8, got {arguments.formula!r}")
    generator, prior = checkpoint.generator, checkpoint.generator.prior
    # Read once on latents that cost nothing, so that a mistake in it comes before the work.
    calculate(
        arguments.formula,
        {f"z{text}": z for text, z in zip(names, prior.sample(len(names), seed=0), strict=True)},
        prior,
    )
    terms, inverted = numbered(checkpoint, arguments, numbers)
    found = calculate(arguments.formula, {f"z{text}": z for text, z in zip(names, terms, strict=True)}, prior)
    latents = torch.cat([terms, found.plain[None], found.latent[None]])
    samples = generated(checkpoint, latents, arguments)
    write_samples(generator, latents, samples, out, len(samples))
    return {
        "wrote": str(out),
        "shown": [*(f"z{text}" for text in names), "the sum as it is", "the sum on the prior"],
        "typicality_as_it_is": found.plain_typicality,
        "typicality_on_the_prior": found.typicality,
        **({"note": found.note} if found.note else {}),
        **inverted,
        **classes_of(generator, latents),
    }


def around(
    checkpoint: Checkpoint, arguments: argparse.Namespace, out: Path, numbers: tuple[int, ...], steps: int
) -> dict[str, Any]:
    """Write latents with others around them, a row each."""
    generator, prior = checkpoint.generator, checkpoint.generator.prior
    first, inverted = numbered(checkpoint, arguments, numbers)
    rows = [
        torch.cat([z[None], vicinity(z, steps - 1, scale=arguments.vicinity, seed=arguments.seed, prior=prior)])
        for z in first
    ]
    latents = torch.cat(rows)
    samples = generated(checkpoint, latents, arguments)
    write_samples(generator, latents, samples, out, steps)
    return {
        "wrote": str(out),
        "scale": arguments.vicinity,
        "least_typicality": float(prior.typicality(latents).min()),
        **inverted,
        **classes_of(generator, first),
    }
