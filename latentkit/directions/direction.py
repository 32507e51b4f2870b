"""Directions: where in the latent space an attribute grows."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentkit.checks import as_latents, as_number, as_vector, floating
from latentkit.directions.audit import Audit
from latentkit.errors import ArgumentError, ShapeError
from latentkit.priors import Prior

__all__ = ["Direction", "typical_range"]

#: Strengths that are tried, in standard deviations of the latents' coordinates.
_STRENGTHS = torch.arange(0.25, 20.25, 0.25)

#: Least median typicality of latents that were moved within the safe range.
_TYPICAL = 0.01

_OPPOSITE = "less "


@dataclass(frozen=True, eq=False)
class Direction:
    """A unit vector in the latent space along which an attribute grows: `z + 2.0 * d.vector`.

    Args:
        vector: (D,) of norm 1, pointing to the positive side.
        name: what grows along it.
        method: how it was found.
        safe_range: the strengths (in the latents' units) between which the moved latents stay typical of the
            prior; see `typical_range`.
        counts: how many latents were negative and positive, or None if there were no labels.
        auc: how well the direction found on 70 % of the latents ranks the labels of the other 30 % (0.5 is chance,
            1 is perfect); NaN without labels.
        accuracy: balanced accuracy of the boundary found on 70 % of the latents, on the other 30 %: the mean of the
            shares of negative and positive ones that lie on their side (0.5 is chance, 1 is perfect); NaN without
            labels.
        intercept: the boundary between the sides is where `vector . z + intercept` is 0; NaN where there is none.
        share: of the variance, or of the spectrum, that an unsupervised direction holds, in [0, 1]; else NaN.
        audit: what was measured about it, or None.

    Raises:
        ShapeError: if the vector is not (D,).
        NonFiniteError: if it holds NaN or infinity.
        ArgumentError: if its norm is not 1.
    """

    vector: Tensor
    name: str
    method: str
    safe_range: tuple[float, float]
    counts: tuple[int, int] | None = None
    auc: float = math.nan
    accuracy: float = math.nan
    intercept: float = math.nan
    share: float = math.nan
    audit: Audit | None = None

    def __post_init__(self) -> None:
        vector = as_vector(self.vector, name="a direction's vector")
        norm = float(vector.double().norm())
        if abs(norm - 1.0) > 0.01:
            raise ArgumentError(f"a direction's vector must have norm 1, got {norm:g}; divide it by its norm")
        object.__setattr__(self, "vector", vector)

    def score(self, z: Tensor) -> Tensor:
        """Return vector . z + intercept (N,) for latents (N, D): how far they lie on the positive side.

        In the latents' units and dtype. Without an intercept it is vector . z alone.

        Raises:
            ShapeError: if the latents are not (N, D).
        """
        z = as_latents(z, len(self.vector))
        intercept = 0.0 if math.isnan(self.intercept) else self.intercept
        return (z.double() @ self.vector.to(z.device).double() + intercept).to(z.dtype)

    def moved(self, z: Tensor, strength: float | Sequence[float] | Tensor, prior: Prior | None = None) -> Tensor:
        """Return latents moved along the direction: z + strength * vector, kept where the prior has latents.

        Args:
            z: (N, D), or one latent (D,).
            strength: how far, in the latents' units: a number, or A of them for a sweep.
            prior: whose support the result is kept on: a sphere's latents are scaled back to its radius, a box's
                are clamped to its bounds, a normal one's stay as they are. None leaves all as they are.

        Returns:
            Of the shape of z for one strength; (A, N, D) or (A, D) for A of them. Latents that were moved by
            exactly 0 are those that came.

        Raises:
            ArgumentError: if a strength is not a finite number.
            ShapeError: if the latents have another size than the direction or the prior.
            CurveError: if a latent on a sphere is moved to its centre.
        """
        single = getattr(z, "ndim", 0) == 1
        start = as_vector(z, len(self.vector), "a latent")[None] if single else as_latents(z, len(self.vector))
        if prior is not None and prior.dim != len(self.vector):
            raise ShapeError(f"the prior must have the direction's {len(self.vector)} coordinates, got {prior.dim}")
        amounts, several = _amounts(strength)
        amounts = amounts.to(start.device)[:, None, None]
        moved = (start.double() + amounts * self.vector.to(start.device).double()).to(start.dtype)
        if prior is not None:
            moved = prior.match(moved, torch.ones(1, dtype=torch.float64, device=start.device))
            moved = torch.where(amounts == 0.0, start, moved)
        moved = moved[:, 0] if single else moved
        return moved if several else moved[0]

    def reversed(self) -> "Direction":
        """Return the direction of less of it: the other sign, the same boundary; its audit is not kept."""
        name = self.name.removeprefix(_OPPOSITE) if self.name.startswith(_OPPOSITE) else _OPPOSITE + self.name
        return replace(
            self,
            vector=-self.vector,
            name=name,
            safe_range=(-self.safe_range[1], -self.safe_range[0]),
            counts=None if self.counts is None else self.counts[::-1],
            intercept=-self.intercept,
            audit=None,
        )


def _amounts(strength: float | Sequence[float] | Tensor) -> tuple[Tensor, bool]:
    """Return strengths as (A,) float64, and whether several were asked for."""
    if not isinstance(strength, Tensor | Sequence) or isinstance(strength, str):
        several = getattr(strength, "ndim", 0) == 1
        if not several:
            return torch.tensor([as_number(strength, "strength")], dtype=torch.float64), False
    given: Any = strength
    if not isinstance(strength, Tensor):
        # Python's numbers in full, as one alone is taken.
        with suppress(TypeError, ValueError, RuntimeError):  # of which `floating` says what is wrong
            given = np.asarray(strength)
    try:
        amounts = floating(given, "strengths").double().cpu()
    except ShapeError:
        raise ArgumentError(f"strengths must be numbers, got {type(strength).__name__}") from None
    if amounts.ndim > 1:
        raise ShapeError(f"strengths must be a number or (A,), got {tuple(amounts.shape)}")
    if not bool(torch.isfinite(amounts).all()):
        raise ArgumentError(f"strengths must be finite numbers, got {', '.join(map(str, amounts.tolist()[:9]))}")
    return amounts.reshape(-1), amounts.ndim == 1


def typical_range(latents: Tensor, vector: Tensor, prior: Prior) -> tuple[float, float]:
    """Return the strengths between which half of the latents keep a typicality of 0.01 under the prior.

    Steps are straight, z + strength * vector. For a standard normal prior the range depends on D alone; on a sphere
    it is (0, 0): any straight step leaves it (`Direction.moved` with the prior comes back to it).

    Args:
        latents: (N, D) draws of the prior, at least 2; the first 512 count.
        vector: (D,) of norm 1.
        prior: the generator's prior.

    Returns:
        The lowest and the highest strength, in the latents' units: steps of a quarter of a standard deviation, at
        most 20 of them.

    Raises:
        ShapeError: if shapes do not belong together, or there is one latent.
    """
    z = as_latents(latents, prior.dim, least=2)[:512].double().cpu()
    unit = as_vector(vector, prior.dim).double().cpu()
    spread = float(z.std(0).mean())
    ends = []
    for sign in (-1.0, 1.0):
        safe = 0.0
        for strength in (spread * _STRENGTHS).tolist():
            if float(prior.typicality(z + sign * strength * unit).median()) < _TYPICAL:
                break
            safe = strength
        ends.append(sign * safe if safe else 0.0)
    return ends[0], ends[1]
