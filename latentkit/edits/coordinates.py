"""The coordinates that an edit may move: all of a latent, but those that choose the class of a `Marginal`."""

from dataclasses import replace

import torch
from torch import Tensor

from latentkit.conditional import Marginal
from latentkit.directions import Direction
from latentkit.priors import Prior
from latentkit.protocols import Generator

__all__ = ["class_numbers", "free_part", "free_prior", "padded"]


def free_prior(generator: Generator) -> Prior:
    """Return the prior of the coordinates that an edit may move."""
    return generator.module.prior if isinstance(generator, Marginal) else generator.prior


def free_part(generator: Generator, latents: Tensor) -> Tensor:
    """Return those coordinates (N, F) of latents (N, D); F is D unless the generator is a `Marginal`."""
    return generator.inner(latents) if isinstance(generator, Marginal) else latents


def class_numbers(generator: Generator, latents: Tensor) -> Tensor:
    """Return the class number (N,) of latents (N, D): 0 for all of them unless the generator is a `Marginal`."""
    if isinstance(generator, Marginal):
        return generator.labels(latents)
    return torch.zeros(len(latents), dtype=torch.long, device=latents.device)


def padded(generator: Generator, direction: Direction) -> Direction:
    """Return a direction of the coordinates that may be moved (F,) as one of whole latents (D,): 0 in the others."""
    missing = generator.prior.dim - len(direction.vector)
    if not missing:
        return direction
    return replace(direction, vector=torch.cat([direction.vector, direction.vector.new_zeros(missing)]))
