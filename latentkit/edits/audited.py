"""What an audit of several directions says, side by side."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from latentkit.directions import Audit, Direction
from latentkit.shown import Written
from latentkit.tables import aligned, markdown

__all__ = ["Audited", "verdict"]

#: An effect on another attribute counts as dragging it along from this share of the own one.
DRAGGED = 0.25


@dataclass(frozen=True, eq=False)
class Audited(Written):
    """Directions with their audits, and the cross-effect matrix: what moving along each does to each attribute.

    A step is one standard deviation of the latents' coordinates; an effect is the mean change of an attribute per step,
    in standard deviations of that attribute over the prior.

    Attributes: `directions` (K), each with its `audit`; `attributes`, the A names; `matrix` (K, A) float64, the
    effects, and `errors` (K, A) their standard errors; `random` (R, A), the effects of R random directions; `step`, in
    the latents' units.
    """

    directions: tuple[Direction, ...]
    attributes: tuple[str, ...]
    matrix: Tensor
    errors: Tensor
    random: Tensor
    step: float

    @property
    def audits(self) -> tuple[Audit, ...]:
        """The audit of each direction."""
        return tuple(direction.audit for direction in self.directions if direction.audit is not None)

    @property
    def chance(self) -> Tensor:
        """Root mean square effect (A,) of the random directions on each attribute."""
        return self.random.square().mean(0).sqrt()

    @property
    def verdicts(self) -> tuple[str, ...]:
        """A line about each direction."""
        return tuple(f"{d.name}: {audit.note}" for d, audit in zip(self.directions, self.audits, strict=True))

    def table(self) -> str:
        """Return the audit as text: a row a direction, the cross-effect matrix first, then a line about each."""
        return "\n".join([aligned(self.cells()), "", *self.verdicts])

    def markdown(self) -> str:
        """Return the table in Markdown, without the lines below it."""
        return markdown(self.cells())

    def cells(self) -> list[list[str]]:
        """Return the table's texts, its head first."""
        head = ["direction", *self.attributes, "x random", "leakage", "AUC", "accuracy", "stability", "safe strengths"]
        rows = []
        for k, (direction, audit) in enumerate(zip(self.directions, self.audits, strict=True)):
            best = audit.strongest if audit.own is None else audit.own
            rows.append(
                [
                    direction.name,
                    *(f"{effect:+.2f}" for effect in self.matrix[k].tolist()),
                    _number(abs(float(audit.z_scores[best])), 1),
                    _number(audit.leakage, 2),
                    _number(audit.auc, 2),
                    _number(audit.accuracy, 2),
                    _number(audit.stability, 2),
                    _range(audit.safe_range),
                ]
            )
        rest = ["-"] * 5
        rows.append(["largest standard error", *(f"{e:.2f}" for e in self.errors.amax(0).tolist()), "-", *rest])
        if len(self.random):
            chance = [f"±{effect:.2f}" for effect in self.chance.tolist()]
            rows.append([f"{len(self.random)} random ones", *chance, "1.0", *rest])
        return [head, *rows]


def verdict(direction: Direction, audit: Audit) -> str:
    """Return what an audit says, in a line: what the direction changes, beside chance, and what it drags along."""
    best = audit.strongest if audit.own is None else audit.own
    effect, sizes = float(audit.effects[best]), audit.effects.abs()
    name = audit.attributes[best]
    text = f"{'raises' if effect >= 0 else 'lowers'} {name} by {abs(effect):.2f} sd a step"
    if len(audit.random_effects):
        times = abs(float(audit.z_scores[best]))
        text += f", {times:.1f} times a random direction" if math.isfinite(times) else ""
        text += "" if audit.beats_random else ", which is within chance"
    dragged = [
        f"{audit.attributes[i]} by {float(audit.effects[i]):+.2f} sd"
        for i in sizes.argsort(descending=True).tolist()
        if i != best and float(sizes[i]) >= DRAGGED * float(sizes[best]) and float(sizes[i]) > 0
    ]
    if dragged:
        text += f"; drags {_listed(dragged)}"
    elif len(sizes) > 1:
        text += "; leaves the other attributes alone"
    low, high = audit.safe_range
    if not math.isnan(audit.quality_range[0]):
        return f"{text}; quality and typicality hold from {low:+.1f} to {high:+.1f}"
    return f"{text}; typicality holds from {low:+.1f} to {high:+.1f}"


def _listed(parts: Sequence[str]) -> str:
    shown = list(parts[:3]) + ([f"{len(parts) - 3} more"] if len(parts) > 3 else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _number(value: float, places: int) -> str:
    return f"{value:.{places}f}" if math.isfinite(value) else "-"


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:+.1f} to {ends[1]:+.1f}"
