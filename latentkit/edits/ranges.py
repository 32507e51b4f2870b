"""How far a direction can be followed: typicality under the prior, and a critic's probability, strength by strength."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from latentkit.calibration import CalibratedCritic, score_batch
from latentkit.checks import as_count
from latentkit.directions import Direction
from latentkit.errors import ArgumentError
from latentkit.priors import Prior
from latentkit.protocols import Critic, Generator
from latentkit.sampling.generate import stream

__all__ = ["held_ranges", "kept_range", "probability_of", "safe_strengths"]

#: How far strengths go where the safe range is empty, in standard deviations of the latents' coordinates.
FARTHEST = 5.0

#: The share of the quality at strength 0 that must be left, and the least median typicality of moved latents.
KEPT, TYPICAL = 0.9, 0.01


def probability_of(critic: Critic | Callable[[Tensor], Tensor], samples: Tensor) -> Tensor:
    """Return the probability (N,) float64 that samples (N, *S) are real, by a calibrated critic.

    Args:
        critic: what `Calibration.applied` made, or a function of samples that returns probabilities in [0, 1].
        samples: one batch.

    Raises:
        ShapeError: if the critic does not return one number a sample.
        NonFiniteError: if it returns NaN or infinity.
        ArgumentError: if a number is no probability, as a critic's bare logits are not.
    """
    values = score_batch(critic, samples).double()
    if isinstance(critic, CalibratedCritic):
        return torch.sigmoid(values)
    if len(values) and not 0.0 <= float(values.min()) <= float(values.max()) <= 1.0:
        raise ArgumentError(
            f"critic must be calibrated, or return probabilities from 0 to 1, got {float(values.min()):.3g} to "
            f"{float(values.max()):.3g}; calibrate(critic, real, generated).applied(critic) makes one of a bare critic"
        )
    return values


def safe_strengths(direction: Direction, prior: Prior, count: int = 7) -> Tensor:
    """Return strengths (count,) float64 over a direction's safe range: its audit's if it has one.

    They are in the latents' units. Half of them are even from the low end to 0 and half from 0 to the high end, so that
    0 is always there. Where the range is empty, as on a sphere, which any straight step leaves, it is 5 standard
    deviations of the latents' coordinates each way: `Direction.moved` comes back to the prior's support.

    Raises:
        ArgumentError: if `count` is even or below 3.
    """
    if as_count(count, "count", least=3) % 2 == 0:
        raise ArgumentError(f"count must be odd, so that 0 is in the middle, got {count}")
    low, high = direction.safe_range if direction.audit is None else direction.audit.safe_range
    if not low < high:
        high = FARTHEST * float(prior.sample(512, seed=0).std(0).mean())
        low = -high
    below, above = (torch.linspace(0.0, end, count // 2 + 1, dtype=torch.float64) for end in (low, high))
    return torch.cat([below.flip(0), above[1:]])


def held_ranges(
    generator: Generator,
    direction: Direction,
    latents: Tensor,
    strengths: Sequence[float] | Tensor,
    critic: Critic | Callable[[Tensor], Tensor] | None = None,
    *,
    batch_size: int = 64,
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the strengths around 0 in which typicality holds, and those in which quality does.

    Typicality holds while half of the moved latents have at least 0.01 under the prior, quality while the mean
    probability is at least 0.9 of that at strength 0. Between tried strengths both are taken to change evenly, and no
    range goes beyond the outermost of them.

    Args:
        generator: the model.
        direction: along which the latents are moved, kept on the prior's support.
        latents: (N, D) draws.
        strengths: (T,), in the latents' units; 0 is tried as well.
        critic: a calibrated one, or None, for which the second range is NaN.
        batch_size: latents a call.
    """
    prior = generator.prior
    if direction.moved(latents[:1], strengths, prior).ndim != 3:
        raise ArgumentError(f"strengths must be several numbers, got {strengths!r}")
    tried = torch.cat([torch.as_tensor(strengths, dtype=torch.float64).reshape(-1), torch.zeros(1)]).unique()
    moved = direction.moved(latents, tried, prior)
    typical = torch.stack([prior.typicality(some).median() for some in moved])
    typical_range = kept_range(tried, typical, TYPICAL)
    if critic is None:
        return typical_range, (float("nan"), float("nan"))
    scores = [probability_of(critic, x) for x in stream(generator, moved.flatten(0, 1), batch_size=batch_size)]
    mean = torch.cat(scores).reshape(len(tried), -1).mean(1)
    return typical_range, kept_range(tried, mean, KEPT * float(mean[tried == 0.0]))


def kept_range(strengths: Tensor, values: Tensor, least: float) -> tuple[float, float]:
    """Return the ends of the strengths around 0 in which values stay at or above `least`.

    Args:
        strengths: (T,), rising, one of them 0.
        values: (T,), taken to change evenly between neighbours.
        least: what must be kept.

    Returns:
        (low, high) with low <= 0 <= high; both are 0 if the value at 0 is below.

    Examples:
        >>> kept_range(torch.tensor([-1.0, 0.0, 1.0, 2.0]), torch.tensor([1.0, 1.0, 1.0, 0.0]), 0.5)
        (-1.0, 1.5)
    """
    middle = int((strengths == 0.0).nonzero()[0])
    if float(values[middle]) < least:
        return 0.0, 0.0
    ends = []
    for rows in (range(middle, -1, -1), range(middle, len(strengths))):
        end, value = 0.0, float(values[middle])
        for row in rows:
            here, now = float(strengths[row]), float(values[row])
            if now < least:
                end += (here - end) * (value - least) / (value - now)
                break
            end, value = here, now
        ends.append(end)
    return ends[0], ends[1]
