"""Conditional edits: directions that leave other attributes alone."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from latentkit.directions.direction import Direction, typical_range
from latentkit.errors import ArgumentError, ShapeError
from latentkit.priors import Prior

__all__ = ["cosines", "orthogonalised"]

#: What a span of unit vectors holds by less than this is rounding, and what is left out by it is below 1e-6.
_ROUNDING = 5e-7

#: Norm of what is left of a direction below which it is rounding, not a direction.
_NOTHING = 1e-4


def orthogonalised(
    direction: Direction, against: Direction | Sequence[Direction], *, prior: Prior | None = None
) -> Direction:
    """Return a direction less its part in the span of others, so that moving along it changes none of their scores.

    Orthogonal in the plain (Euclidean) metric of the latent space, to 1e-6 with each (in float32 or
    finer): then the other boundaries'
    scores `other.score(z)` stay exactly as they are. Whether the attributes themselves stay is for an audit to say.
    The order of the others does not matter, and they may be equal or dependent.

    Args:
        direction: what is to be edited, (D,).
        against: any number of directions (D,) that are to be left alone; with none, the direction comes back.
        prior: the generator's prior, for the safe range of the new vector. Without, the old range is kept, which is
            right for priors that look the same in all directions, such as the standard normal one.

    Returns:
        A direction of norm 1 of the same name and counts. Intercept, scores and share are NaN and there is no audit:
        they were the other vector's.

    Raises:
        ShapeError: if the directions or the prior have different sizes.
        ArgumentError: if nothing of the direction is left; the text names what it lies in.

    References:
        Shen, Gu, Tang, Zhou (2020), "Interpreting the latent space of GANs for semantic face editing", section 2.3:
        n1 - (n1 . n2) n2 for one other direction. For several the span is projected out, as subtracting one after
        the other would not leave them all alone.
    """
    others = [against] if isinstance(against, Direction) else list(against)
    if not others:
        return direction
    vectors = _stacked([direction, *others])
    vector, span = vectors[0], vectors[1:]
    _, singular, basis = torch.linalg.svd(span, full_matrices=False)
    basis = basis[singular > _ROUNDING]
    # Twice: what rounding left of the span after the first time is taken away by the second.
    left = vector - (vector @ basis.T) @ basis
    left = left - (left @ basis.T) @ basis
    norm = float(left.norm())
    if norm < _NOTHING:
        raise ArgumentError(_nothing_left(direction, others, span @ vector))
    unit = left / norm
    kept = direction.safe_range
    if prior is not None:
        if prior.dim != len(unit):
            raise ShapeError(f"the prior must have the direction's {len(unit)} coordinates, got {prior.dim}")
        kept = typical_range(prior.sample(512, seed=0), unit, prior)
    return replace(
        direction,
        vector=unit.to(direction.vector.device, direction.vector.dtype),
        method=f"{direction.method}, orthogonal to {', '.join(other.name for other in others)}",
        safe_range=kept,
        auc=math.nan,
        accuracy=math.nan,
        intercept=math.nan,
        share=math.nan,
        audit=None,
    )


def _nothing_left(direction: Direction, others: Sequence[Direction], cosine: Tensor) -> str:
    nearest = int(cosine.abs().argmax())
    if float(cosine[nearest].abs()) > 1.0 - _NOTHING:
        culprit = others[nearest].name
        return (
            f"nothing of {direction.name!r} is left beside {culprit!r}, which is the same direction (cosine "
            f"{float(cosine[nearest]):+.3f}); leave {culprit!r} out"
        )
    return (
        f"nothing of {direction.name!r} is left: it lies in the span of {', '.join(repr(o.name) for o in others)}; "
        f"leave one of them out, such as {others[nearest].name!r}, the nearest (cosine {float(cosine[nearest]):+.3f})"
    )


def cosines(directions: Sequence[Direction]) -> Tensor:
    """Return the cosines (K, K) float64 in [-1, 1] between K directions, 1 on the diagonal.

    Raises:
        ShapeError: if there are none, or of different sizes.
    """
    vectors = _stacked(directions)
    table = (vectors @ vectors.T).clamp(-1.0, 1.0).tril(-1)
    return table + table.T + torch.eye(len(vectors), dtype=torch.float64)


def _stacked(directions: Sequence[Direction]) -> Tensor:
    """Return the vectors (K, D) of directions, float64 on the CPU and of norm 1."""
    sizes = sorted({len(direction.vector) for direction in directions})
    if len(sizes) != 1:
        found = ", ".join(f"{d.name!r} of {len(d.vector)}" for d in directions) or "none"
        raise ShapeError(f"directions must have one number of coordinates, got {found}")
    vectors = torch.stack([direction.vector.double().cpu() for direction in directions])
    return vectors / vectors.norm(dim=1, keepdim=True)
