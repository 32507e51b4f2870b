"""The pace of a curve: when to be where on it so that samples change evenly, and where no pace helps."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentkit.curves import Curve

__all__ = ["Jump", "Pace", "even_pace", "jumps_of"]

#: Latents (T, D) in order to the distances (T - 1,) float64 between the samples of neighbours.
Lengths = Callable[[Tensor], Tensor]

#: A step so many times as long as the mean one may hold a jump; so many of them are looked into, the longest first.
SUSPECT, SUSPECTS = 3.0, 32

#: How often the stretch that may hold a jump is halved: a jump is what still happens within a 65,536th of it.
HALVINGS = 16


@dataclass(frozen=True)
class Jump:
    """Where samples change at once, at whatever pace.

    Attributes: `place` on the curve, from 0 to 1; `length`, the distance between the samples on its two sides.
    """

    place: float
    length: float


@dataclass(frozen=True, eq=False)
class Pace:
    """When to be where on a curve.

    Attributes: `times` (P,) and `places` (P,) float64, both rising from 0 to 1: at times[i] the curve should be where
    it is at places[i]; `length`, how far samples move along all of it; `jumps` in order.
    """

    times: Tensor
    places: Tensor
    length: float
    jumps: tuple[Jump, ...] = ()


def even_pace(
    curve: Curve, lengths: Lengths, *, points: int, rounds: int, slack: float, through: Tensor | None = None
) -> Pace:
    """Return the pace at which samples change evenly along a curve.

    Each round looks at so many points, the first at even places, the next ones at what is even by the round before:
    where samples change fast, places come to lie densely. What jumps takes no time, as none would smooth it.

    Args:
        curve: of single ends.
        lengths: how far samples of latents in order lie from each other.
        points: how many pieces a round looks at, at least 1.
        rounds: how often, at least 1. Jumps are looked for after the second.
        slack: the share of the pace, above 0 and at most 1, that goes by place on the curve, so that it doesn't leap
            over where samples do not change.
        through: places in [0, 1] that the table must hold, ends need not be among them.
    """
    fixed = torch.tensor([0.0, 1.0], dtype=torch.float64)
    fixed = torch.cat([fixed, through.double()]) if through is not None else fixed
    even = torch.linspace(0.0, 1.0, points + 1, dtype=torch.float64)
    places, times, jumps, held = even, even, (), fixed[:0]
    steps = torch.empty(0)
    for round_ in range(rounds):
        places = torch.from_numpy(np.interp(even.numpy(), times.numpy(), places.numpy())) if round_ else places
        places = _with(places, torch.cat([fixed, held]))
        steps = lengths(curve(places))
        if round_ == 1:
            jumps, held = jumps_of(curve, lengths, places, steps)
            places, steps = _split(curve, lengths, places, steps, held)
        # Both sides of a jump are neighbours in the table, and the way between them takes no time.
        smooth = torch.where(torch.isin(places[1:], held[1::2]) & torch.isin(places[:-1], held[::2]), 0.0, steps)
        pace = slack * places.diff()
        if float(smooth.sum()) > 0:
            pace = (1.0 - slack) * smooth / smooth.sum() + pace
        passed = torch.cat([fixed[:1], pace.cumsum(0)])
        times = passed / passed[-1]
    return Pace(times, places, float(steps.sum()), jumps)


def jumps_of(curve: Curve, lengths: Lengths, places: Tensor, steps: Tensor) -> tuple[tuple[Jump, ...], Tensor]:
    """Return the jumps of a curve and, two by two, the places (2 J,) just before and just after each.

    Args:
        curve: of single ends.
        lengths: how far samples of latents in order lie from each other.
        places: (P,) on the curve, rising.
        steps: (P - 1,), the distances between neighbours there.
    """
    suspects = (steps > SUSPECT * steps.mean()).nonzero()[:, 0]
    if len(suspects) > SUSPECTS:
        suspects = suspects[steps[suspects].argsort(descending=True)[:SUSPECTS]].sort().values
    low, high, whole = places[suspects], places[suspects + 1], steps[suspects]
    left = whole
    for _ in range(HALVINGS if len(suspects) else 0):
        middle = (low + high) / 2.0
        # Low, middle and high of each in turn; the steps from one stretch to the next are left out.
        found = lengths(curve(torch.stack([low, middle, high], 1).flatten()))
        first, second = found[0::3], found[1::3]
        earlier = first >= second
        low, high = torch.where(earlier, low, middle), torch.where(earlier, middle, high)
        left = torch.where(earlier, first, second)
    real = left > 0.5 * whole
    jumps = [Jump(*both) for both in zip(((low + high) / 2)[real].tolist(), left[real].tolist(), strict=True)]
    return tuple(jumps), torch.stack([low[real], high[real]], 1).flatten()


def _split(curve: Curve, lengths: Lengths, places: Tensor, steps: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
    """Return the places with both sides of each jump among them, and the steps between them."""
    if not len(held):
        return places, steps
    places = _with(places, held)
    return places, lengths(curve(places))


def _with(places: Tensor, kept: Tensor) -> Tensor:
    """Return the places, rising, with others that are to be kept among them in the stead of all that are as good."""
    apart = (places[:, None] - kept).abs().amin(1) > 1e-9
    return torch.cat([places[apart], kept]).unique()
