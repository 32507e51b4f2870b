"""What was measured about a direction after it was found."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.checks import floating, require_finite
from latentkit.errors import ArgumentError, ShapeError

__all__ = ["Audit"]

#: Share of random directions that a direction must surpass to count as more than chance.
BEATEN = 0.95


@dataclass(frozen=True, eq=False)
class Audit:
    """The record of an audit: what moving along one direction does, and how far that can be believed.

    A step is one standard deviation of the prior's coordinates; an effect is the mean change of an attribute per
    step, in standard deviations of that attribute over the prior.

    Args:
        attributes: the A names of what was measured.
        effects: (A,) the direction's effects.
        random_effects: (R, A) the same for R random directions; R may be 0.
        typical_range: strengths (in the latents' units) in which the moved latents stay typical of the prior.
        own: index of the attribute that the direction was found for, or None.
        stability: mean absolute cosine in [0, 1] between the direction and its refits on bootstrap resamples; NaN
            where there was no refit.
        stability_range: 5th and 95th percentile of those cosines.
        accuracy: balanced accuracy in [0, 1] of the boundary on latents that it was not fitted on, or NaN.
        auc: area under the ROC curve in [0, 1] on such latents, or NaN.
        quality_range: strengths in which the samples' quality stays above 90 % of what it is at 0; NaN without a
            critic.
        note: the verdict, in a line.

    Raises:
        ShapeError: if effects and names are not equally many.
        NonFiniteError: if an effect is NaN or infinite.
        ArgumentError: if `own` is no attribute.
    """

    attributes: tuple[str, ...]
    effects: Tensor
    random_effects: Tensor
    typical_range: tuple[float, float]
    own: int | None = None
    stability: float = math.nan
    stability_range: tuple[float, float] = (math.nan, math.nan)
    accuracy: float = math.nan
    auc: float = math.nan
    quality_range: tuple[float, float] = (math.nan, math.nan)
    note: str = ""

    def __post_init__(self) -> None:
        a = len(self.attributes)
        effects, random = (
            floating(values, name).double().cpu()
            for values, name in ((self.effects, "effects"), (self.random_effects, "random effects"))
        )
        if a < 1 or tuple(effects.shape) != (a,) or random.ndim != 2 or random.shape[1] != a:
            raise ShapeError(
                f"an audit of {a} attributes takes effects ({a},) and random effects (R, {a}), got "
                f"{tuple(effects.shape)} and {tuple(random.shape)}"
            )
        if self.own is not None and not 0 <= self.own < a:
            raise ArgumentError(f"own must be None or the index of one of {a} attributes, got {self.own!r}")
        require_finite(random, "random effects")
        object.__setattr__(self, "effects", require_finite(effects, "effects"))
        object.__setattr__(self, "random_effects", random)
        object.__setattr__(self, "attributes", tuple(self.attributes))

    @property
    def strongest(self) -> int:
        """Index of the attribute that the direction changes most."""
        return int(self.effects.abs().argmax())

    @property
    def leakage(self) -> float:
        """Largest absolute effect on another attribute over that on the own one: 0 is a clean edit.

        It is 0 where nothing else was measured, infinite where the own attribute doesn't change and another does,
        and NaN for a direction that was found for no attribute.
        """
        if self.own is None:
            return math.nan
        others = self.effects.abs()
        wanted = float(others[self.own])
        others = torch.cat([others[: self.own], others[self.own + 1 :]])
        most = float(others.max()) if len(others) else 0.0
        if wanted > 0.0:
            return most / wanted
        return math.inf if most > 0.0 else math.nan

    @property
    def z_scores(self) -> Tensor:
        """Effects (A,) in root mean squares of the random directions' effects on the same attribute.

        Random directions come as often with one sign as with the other, so the mean of their effects is 0.
        """
        spread = self.random_effects.square().mean(0).sqrt() if len(self.random_effects) else self.effects * math.nan
        return self.effects / spread

    @property
    def z_score(self) -> float:
        """The own attribute's `z_scores`; NaN for a direction that was found for none."""
        return math.nan if self.own is None else float(self.z_scores[self.own])

    @property
    def beats_random(self) -> bool:
        """Whether the effect is larger in size than that of at least 95 % of the random directions.

        The effect is that on the own attribute. A direction that was found for none is judged by its largest
        effect, beside the largest of each random direction: the best of many is large by chance as well.
        """
        if not len(self.random_effects):
            return False
        sizes, random = self.effects.abs(), self.random_effects.abs()
        if self.own is None:
            return float((random.amax(1) < sizes.max()).double().mean()) >= BEATEN
        return float((random[:, self.own] < sizes[self.own]).double().mean()) >= BEATEN

    @property
    def safe_range(self) -> tuple[float, float]:
        """Strengths in which both quality and typicality hold; typicality alone where there is no quality."""
        if any(math.isnan(end) for end in self.quality_range):
            return self.typical_range
        return (
            max(self.typical_range[0], self.quality_range[0]),
            min(self.typical_range[1], self.quality_range[1]),
        )
