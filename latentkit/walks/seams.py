"""Seams: whether a film of a curve shows where it starts again."""

from dataclasses import dataclass

import torch

from latentkit.checks import as_count
from latentkit.curves import Curve
from latentkit.projection import Features
from latentkit.protocols import Generator
from latentkit.routes.trail import trail
from latentkit.walks.pacing import single

__all__ = ["Seam", "seam"]

#: A step over the seam so many times as long as the longest other one is a jump; below so much of the median a halt.
JUMP, HALT = 1.25, 0.1

#: A turn shows where its cosine is so much below those of all other frames.
TURN = 0.1


@dataclass(frozen=True)
class Seam:
    """How the step from a film's last frame to its first compares with its other steps, in decoded samples.

    Attributes: `step`, its length; `median` and `largest` of the others; `turn`, the cosine between the step before it
    and the one after it (1: straight on, -1: back); `usual_turn`, the median of the same cosine at the other frames,
    and `sharpest_turn`, the least of them; `verdict`, in one line. Cosines are NaN where a step is 0.
    """

    step: float
    median: float
    largest: float
    turn: float
    usual_turn: float
    sharpest_turn: float
    verdict: str

    @property
    def to_median(self) -> float:
        """The step over the median of the others; infinite where these are 0."""
        return _ratio(self.step, self.median)

    @property
    def to_largest(self) -> float:
        """The step over the largest of the others; infinite where these are 0."""
        return _ratio(self.step, self.largest)


def seam(
    generator: Generator, curve: Curve, *, steps: int = 120, features: Features | None = None, batch_size: int = 64
) -> Seam:
    """Measure the seam of a curve whose film is played in a loop.

    Args:
        generator: the model.
        curve: of single ends; closed, or an open one, whose film jumps from its end to its start.
        steps: frames of the film, at least 6.
        features: samples (N, *S) to features (N, F) in which steps are measured; by default all numbers of a sample.
        batch_size: latents a call.

    Raises:
        ArgumentError: if there are too few steps.
        ShapeError: if the curve joins batches, or has another dimension than the prior.
        NonFiniteError: if a sample or a feature is not finite.
    """
    steps = as_count(steps, "steps", least=6)
    single(curve)
    z = curve.steps(steps)
    # On past the seam: the last two steps are the one over it and the first one again.
    found = trail(generator, torch.cat([z, z[:2]]), features=features, batch_size=batch_size)
    others, own = found.lengths[: steps - 1], float(found.lengths[steps - 1])
    # cosines[i] compares steps i and i + 2. A corner at the seam shows beside it too: those two do not count as others.
    turns, turn = found.cosines[: steps - 3], found.cosines[steps - 2]
    known = turns[~turns.isnan()]
    usual, sharpest = (float(known.median()), float(known.min())) if len(known) else (float("nan"),) * 2
    figures = own, float(others.median()), float(others.max()), float(turn), usual, sharpest
    return Seam(*figures, _verdict(*figures) if not found.still else "no seam: the samples do not change at all")


def _verdict(step: float, median: float, largest: float, turn: float, usual: float, sharpest: float) -> str:
    if step > JUMP * largest:
        return (
            f"a jump of {_ratio(step, median):.3g} times the median step, {_ratio(step, largest):.3g} times the largest"
        )
    if step < HALT * median:
        return f"a halt: the last frame is nearly the first again ({_ratio(step, median):.2g} times the median step)"
    if turn < sharpest - TURN:
        return f"a turn sharper than any other: cosine {turn:.2f}, where the median is {usual:.2f}"
    return "no seam"


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else float("inf") if a > 0 else 1.0
