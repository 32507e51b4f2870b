"""Constant speed: a curve re-timed so that what is decoded along it changes evenly."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from latentkit.checks import as_count
from latentkit.curves import Curve, retimed
from latentkit.errors import ShapeError
from latentkit.projection import Features
from latentkit.protocols import Generator
from latentkit.routes.pace import Jump, even_pace
from latentkit.routes.trail import trail

__all__ = ["Paced", "constant_speed"]

#: Steps at even times whose lengths are the speeds. A prime: no table is made on these times.
MEASURED = 151

#: Rounds in which the pace is looked for, each over places that are even by the one before.
ROUNDS = 4

#: The share of the pace that stays the curve's own, so that its time never stands still.
SLACK = 1e-3


@dataclass(frozen=True, eq=False)
class Paced:
    """A curve at constant speed, and how even it was and is.

    Attributes: `curve`, with the ends, and the keyframes at other times; `length`, the distance that decoded samples
    cover along it; `variation_before` and `variation_after`, the standard deviation of decoded steps at even times over
    their mean (0: constant speed; NaN where nothing moves), not measured where the pace was made; `speed_before` and
    `speed_after` (T,) float64, those steps as distance a unit of time, from i / T to (i + 1) / T; `key_times` (K,)
    float64, when the curve's K keyframes are shown now, both ends among them; `jumps`, where samples change at once,
    which no pace can mend, with their `place` as time on the new curve; `note`, what to know, or empty.
    """

    curve: Curve
    length: float
    variation_before: float
    variation_after: float
    speed_before: Tensor
    speed_after: Tensor
    key_times: Tensor
    jumps: tuple[Jump, ...] = ()
    note: str = ""


def constant_speed(
    generator: Generator, curve: Curve, *, features: Features | None = None, samples: int = 256, batch_size: int = 64
) -> Paced:
    """Re-time a curve so that its samples change at constant speed.

    Speed is the Euclidean distance between samples, or between their features, a unit of time. The curve leads by the
    same latents in the same order; ends stay exact, keyframes are still visited (at `key_times`), and a closed curve
    stays closed and has the same speed on both sides of its seam. Its pace is looked for in four rounds over `samples`
    places each, which move to where samples change fast. At a jump, such as where `marginal` changes its class, speed
    has no meaning: it is named, and the pace is even before and after it.

    Args:
        generator: the model.
        curve: of single ends.
        features: samples (N, *S) to features (N, F) in which speed is measured; by default all numbers of a sample.
        samples: places that each round looks at, at least 8.
        batch_size: latents a call.

    Raises:
        ShapeError: if the curve joins batches, has another dimension than the prior, or `features` does not return
            one row a sample.
        NonFiniteError: if a sample or a feature is not finite.
        ArgumentError: if there are too few samples.

    Examples:
        >>> import latentkit as lk
        >>> from latentkit.walks import constant_speed
        >>> cube = lk.wrap(lambda z: z**3, lk.Normal(1))
        >>> paced = constant_speed(cube, lk.lerp(torch.tensor([0.0]), torch.tensor([2.0])))
        >>> cube(paced.curve([0.25, 0.5, 1.0])).round(decimals=2).flatten().tolist()
        [2.0, 4.0, 8.0]
        >>> paced.variation_before > 0.8, paced.variation_after < 0.01
        (True, True)
    """
    samples = as_count(samples, "samples", least=8)
    single(curve)

    def lengths(z: Tensor) -> Tensor:
        return trail(generator, z, features=features, batch_size=batch_size).lengths

    def speeds(of: Curve) -> Tensor:
        return MEASURED * lengths(of.steps(MEASURED + 1, closed=False))

    keys = torch.arange(curve.segments + 1, dtype=torch.float64) / curve.segments
    before = trail(generator, curve.steps(MEASURED + 1, closed=False), features=features, batch_size=batch_size)
    if before.still:
        nothing = torch.zeros(MEASURED, dtype=torch.float64)
        note = "the samples are all equal along this curve, so it has no speed and is left as it was"
        return Paced(curve, 0.0, math.nan, math.nan, nothing, nothing, keys, note=note)
    pace = even_pace(curve, lengths, points=samples, rounds=ROUNDS, slack=SLACK, through=keys)
    even = retimed(curve, pace.times, pace.places)
    found, after = MEASURED * before.lengths, speeds(even)
    when = pace.times.numpy()
    jumps = tuple(replace(jump, place=float(np.interp(jump.place, pace.places, when))) for jump in pace.jumps)
    return Paced(
        curve=even,
        length=pace.length,
        variation_before=_variation(found),
        variation_after=_variation(after),
        speed_before=found,
        speed_after=after,
        key_times=torch.from_numpy(np.interp(keys, pace.places, when)),
        jumps=jumps,
        note=_note(jumps, after, pace.length),
    )


def single(curve: Curve) -> None:
    """Raise `ShapeError` for a curve between batches of ends."""
    shape = tuple(curve([0.0]).shape[1:])
    if len(shape) != 1:
        raise ShapeError(f"the curve must join single latents (D,), got one between {shape[0]} pairs of ends")


def _variation(speeds: Tensor) -> float:
    return float(speeds.std(correction=0) / speeds.mean())


def _note(jumps: tuple[Jump, ...], speeds: Tensor, length: float) -> str:
    if not jumps:
        return ""
    # A jump at a step's edge may fall into either neighbour, by rounding.
    at = torch.tensor([jump.place for jump in jumps], dtype=torch.float64) * len(speeds)
    clear = torch.ones(len(speeds), dtype=torch.bool)
    for edge in (at - 1e-3, at + 1e-3):
        clear[edge.floor().long().clamp(0, len(speeds) - 1)] = False
    places = ", ".join(f"{jump.place:.3g}" for jump in jumps)
    share = sum(jump.length for jump in jumps) / length
    rest = f"; but for them the variation is {_variation(speeds[clear]):.2g}" if bool(clear.any()) else ""
    return (
        f"samples jump {len(jumps)} time{'s' * (len(jumps) > 1)}, at {places}: {share:.0%} of the length, at no pace "
        f"to be smoothed{rest}"
    )
