"""The verb that moves latents along directions."""

import argparse
from typing import Any

import torch

from latentkit.attributes import attributes_of
from latentkit.checks import as_number, one_of
from latentkit.drawn import opened
from latentkit.limits import MOST_STRENGTH, check_memory, check_sheet, count_of
from latentkit.verbs.output import generated, write_samples
from latentkit.views import classes_of, direction_of

__all__ = ["edit"]


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
    values = measure(generated(checkpoint, latents, arguments))
    direction = direction_of(checkpoint.generator, latents, values, arguments.attribute)
    low, high = direction.safe_range
    if strength is not None:
        low, high = -strength, strength
    amounts = torch.linspace(low, high, steps)
    first = prior.sample(rows, seed=arguments.seed)
    edited = (first[:, None] + amounts[:, None] * direction.vector).reshape(rows * steps, -1)
    samples = generated(checkpoint, edited, arguments)
    write_samples(checkpoint.generator, edited, samples, out, steps)
    return {
        "wrote": str(out),
        "attribute": arguments.attribute,
        "strengths": [round(v, 3) for v in amounts.tolist()],
        "safe_range": list(direction.safe_range),
        "held_out_auc": direction.auc,
        **classes_of(checkpoint.generator, first),
    }
