"""Latents that a command names by number: draws of its seed, or inversions of held-out samples."""

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from latentkit import streams
from latentkit.checkpoint import Checkpoint
from latentkit.drawn import shows
from latentkit.errors import ArgumentError
from latentkit.inversion import invert

__all__ = ["check_numbers", "numbered"]


def check_numbers(checkpoint: Checkpoint, numbers: Sequence[int], option: str, *, held_out: bool) -> None:
    """Refuse numbers that no latent, or no held-out sample, has.

    Raises:
        ArgumentError: naming the option and the numbers that there are.
    """
    count = len(checkpoint.holdout)
    if held_out and count == 0:
        raise ArgumentError("--held-out needs held-out samples, and this checkpoint has none; leave it out")
    for k in numbers:
        if held_out and not 0 <= k < count:
            raise ArgumentError(f"{option} takes numbers of held-out samples from 0 to {count - 1}, got {k}")
        if not 0 <= k < streams.LONGEST:
            raise ArgumentError(f"{option} takes numbers of latents from 0 to 2**96 - 1, got {k}")


def numbered(
    checkpoint: Checkpoint, arguments: argparse.Namespace, numbers: Sequence[int]
) -> tuple[Tensor, dict[str, Any]]:
    """Return latents (K, D) by their numbers, and with `--held-out` how well they make those samples."""
    generator = checkpoint.generator
    if not numbers:
        return torch.empty(0, generator.prior.dim), {}
    if not arguments.held_out:
        return torch.cat([generator.prior.sample(1, seed=arguments.seed, start=k) for k in numbers]), {}
    found = invert(
        generator,
        checkpoint.holdout[list(numbers)],
        encoder=checkpoint.encoder,
        seed=arguments.seed,
        batch_size=arguments.batch_size,
        progress=shows(arguments),
    )
    return found.latents.float(), {"held_out": list(numbers), "explained": found.explained.tolist()}
