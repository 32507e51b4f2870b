"""What a generator makes of latents in order: how far its samples move from one to the next, and how they turn."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.checks import require_finite
from latentkit.projection import Features, featured
from latentkit.protocols import Critic, Generator
from latentkit.quality.scoring import scored_samples
from latentkit.sampling.generate import stream

__all__ = ["Trail", "trail"]


@dataclass(frozen=True, eq=False)
class Trail:
    """The samples of T latents in order, as steps from each to the next.

    Attributes: `lengths` (T - 1,) float64, Euclidean distances between the features of neighbours; `cosines` (T - 3,)
    float64, between the step before a step and the one after it, NaN where one of them is 0; `logits` (T,) of the
    samples, or None without a critic; `size`, the largest norm of a sample's features, by which rounding is judged.
    """

    lengths: Tensor
    cosines: Tensor
    logits: Tensor | None
    size: float

    @property
    def still(self) -> bool:
        """Whether nothing moves but by rounding."""
        return not bool((self.lengths > 1e-6 * self.size).any())


def trail(
    generator: Generator,
    latents: Tensor,
    *,
    critic: Critic | None = None,
    features: Features | None = None,
    batch_size: int = 64,
) -> Trail:
    """Follow the samples of latents (T, D) in order, holding one batch at a time.

    Args:
        generator: the model.
        latents: (T, D), in order.
        critic: scores the samples, or None.
        features: samples (N, *S) to features (N, F) in which they are compared; by default all their numbers.
        batch_size: latents a call.

    Raises:
        ShapeError: if the latents are not (T, D) with the prior's D, or `features` does not return one row a sample.
        NonFiniteError: if a latent, a feature or a logit is not finite.
    """
    lengths, cosines, logits = [torch.empty(0, dtype=torch.float64)], [torch.empty(0, dtype=torch.float64)], []
    carried, size, done = torch.empty(0), 0.0, 0
    for samples, found in _scored(generator, critic, latents, batch_size):
        rows = featured(samples, features).double()
        require_finite(rows, f"the features of samples {done} to {done + len(rows) - 1}")
        size, done = max(size, float(rows.norm(dim=1).max())), done + len(rows)
        kept = len(carried)
        rows = torch.cat([carried, rows]) if kept else rows
        steps = rows.diff(dim=0)
        length = steps.norm(dim=1)
        lengths.append(length[max(kept - 1, 0) :])
        # The steps before the carried ones have been compared; those two apart that reach into this batch have not.
        cosines.append((steps[:-2] * steps[2:]).sum(1) / (length[:-2] * length[2:]))
        carried = rows[-3:]
        if found is not None:
            logits.append(found)
    return Trail(torch.cat(lengths), torch.cat(cosines), torch.cat(logits) if logits else None, size)


def _scored(
    generator: Generator, critic: Critic | None, latents: Tensor, batch_size: int
) -> Iterator[tuple[Tensor, Tensor | None]]:
    if critic is None:
        yield from ((samples, None) for samples in stream(generator, latents, batch_size=batch_size))
    else:
        yield from scored_samples(generator, critic, latents, batch_size=batch_size)
