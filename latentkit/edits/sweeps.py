"""Strength sweeps: the same latents moved along a direction by several strengths, and what becomes of their samples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentkit.checks import as_latents, writable
from latentkit.directions import Direction
from latentkit.edits.ranges import probability_of, safe_strengths
from latentkit.errors import ArgumentError, ShapeError
from latentkit.protocols import Critic, Generator
from latentkit.sampling.generate import stream
from latentkit.shown import Pictured

__all__ = ["Sweep", "sweep"]


@dataclass(frozen=True, eq=False)
class Sweep(Pictured):
    """N latents moved along a direction by A strengths each.

    Attributes: `name` of the direction; `strengths` (A,) float64, in the latents' units, in the order in which they
    were asked for; `latents` (N, A, D); `samples` (N, A, *S); `typicality` (N, A) float64, of the latents under the
    prior; `probability` (N, A) float64 that the samples are real, or None without a critic.
    """

    name: str
    strengths: Tensor
    latents: Tensor
    samples: Tensor
    typicality: Tensor
    probability: Tensor | None


def sweep(
    generator: Generator,
    direction: Direction,
    latents: Tensor,
    strengths: Sequence[float] | Tensor | None = None,
    *,
    critic: Critic | Callable[[Tensor], Tensor] | None = None,
    batch_size: int = 64,
) -> Sweep:
    """Move latents along a direction by several strengths, kept on the prior's support, and generate their samples.

    Args:
        generator: the model.
        direction: of the generator's latents.
        latents: (N, D), at least one.
        strengths: (A,), at least one, in the latents' units; by default 7 over the direction's safe
            range (`safe_strengths` gives more, for films).
        critic: a calibrated one, as `Calibration.applied` makes it, or a function of samples that returns
            probabilities; or None.
        batch_size: latents a call.

    Raises:
        ShapeError: if the latents or the direction are not of the generator's D, or there are no latents.
        ArgumentError: if a strength is not a finite number, or there is none.

    Examples:
        >>> import latentkit as lk
        >>> plane = lk.wrap(lambda z: z, lk.Normal(2))
        >>> right = lk.mean_difference(plane.prior.sample(99, seed=0), plane.prior.sample(99, seed=0)[:, 0] > 0)
        >>> found = sweep(plane, right, torch.zeros(1, 2), [-1.0, 0.0, 1.0])
        >>> found.samples.shape, found.samples[0, :, 0].round(decimals=1).tolist()
        (torch.Size([1, 3, 2]), [-1.0, 0.0, 1.0])
    """
    prior = generator.prior
    latents = as_latents(latents, prior.dim, least=1)
    if len(direction.vector) != prior.dim:
        raise ShapeError(f"the direction must have the latents' {prior.dim} coordinates, got {len(direction.vector)}")
    if strengths is None:
        strengths = safe_strengths(direction, prior)
    amounts: Any = strengths.detach() if isinstance(strengths, Tensor) else writable(strengths)
    moved = direction.moved(latents, amounts, prior)
    if moved.ndim != 3 or not len(moved):
        raise ArgumentError(f"strengths must be one or more numbers in a row, got {' '.join(repr(amounts).split())}")
    moved = moved.transpose(0, 1).contiguous()  # (N, A, D)
    shape, rows = moved.shape[:2], moved.flatten(0, 1)
    samples, scores = [], []
    for batch in stream(generator, rows, batch_size=batch_size):
        samples.append(batch)
        if critic is not None:
            scores.append(probability_of(critic, batch))
    made = torch.cat(samples)
    return Sweep(
        name=direction.name,
        strengths=torch.as_tensor(amounts, dtype=torch.float64).cpu(),
        latents=moved,
        samples=made.reshape(*shape, *made.shape[1:]),
        typicality=prior.typicality(rows).reshape(shape),
        probability=torch.cat(scores).reshape(shape) if scores else None,
    )
