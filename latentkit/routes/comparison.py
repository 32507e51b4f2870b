"""What samples are like along curves: a route beside the other curves between its ends."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.checks import as_count
from latentkit.curves import Curve
from latentkit.errors import ArgumentError
from latentkit.projection import Features
from latentkit.protocols import Critic, Generator
from latentkit.quality import QualityMap
from latentkit.routes.route import Route
from latentkit.routes.trail import trail
from latentkit.routes.ways import ways_between

__all__ = ["Course", "CurveQuality", "along", "compare_routes", "curve_quality", "missing"]


@dataclass(frozen=True)
class CurveQuality:
    """What samples are like along a curve, at even times.

    Attributes: `name` of the curve; `mean_probability` and `least_probability`, calibrated, NaN without a map;
    `length`, the sum of the Euclidean distances between the samples of neighbours; `worst_jump`, the largest of these
    over their mean (1: the samples change evenly); `mean_typicality` and `least_typicality` of the latents under the
    prior; `note`, why there is no such curve (the figures are NaN then), or what to know of it.
    """

    name: str
    mean_probability: float
    least_probability: float
    length: float
    worst_jump: float
    mean_typicality: float
    least_typicality: float
    note: str = ""

    @property
    def missing(self) -> bool:
        """Whether there is no such curve."""
        return math.isnan(self.length)


@dataclass(frozen=True, eq=False)
class Course:
    """What a curve leads by, at T even times.

    Attributes: `probability` (T,) float64 of the samples, calibrated, NaN without a map; `typicality` (T,) float64 of
    the latents; `jumps` (T - 1,) float64, the Euclidean distances between the samples of neighbours; `note`, what to
    know of the curve.
    """

    probability: Tensor
    typicality: Tensor
    jumps: Tensor
    note: str = ""

    def summed(self, name: str) -> CurveQuality:
        """Return the figures of the curve under a name."""
        return CurveQuality(
            name=name,
            mean_probability=float(self.probability.mean()),
            least_probability=float(self.probability.min()),
            length=float(self.jumps.sum()),
            worst_jump=float(self.jumps.max() / self.jumps.mean()) if float(self.jumps.max()) > 0 else 1.0,
            mean_typicality=float(self.typicality.mean()),
            least_typicality=float(self.typicality.min()),
            note=self.note,
        )


def along(
    quality: QualityMap | None,
    generator: Generator,
    critic: Critic | None,
    curve: Curve,
    *,
    steps: int = 128,
    features: Features | None = None,
    batch_size: int = 64,
) -> Course:
    """Return what a curve leads by; the arguments are those of `curve_quality`.

    Raises:
        ArgumentError: if there are fewer than 2 steps, or only one of a map and its critic.
    """
    if (quality is None) != (critic is None):
        raise ArgumentError("a map and the critic that scored it go together; pass both quality= and critic=, or none")
    z = curve.steps(as_count(steps, "steps", least=2), closed=False)
    found = trail(generator, z, critic=critic, features=features, batch_size=batch_size)
    if quality is None or found.logits is None:
        probability = torch.full((len(z),), math.nan, dtype=torch.float64)
    else:
        probability = quality.calibration.probability(found.logits)
    note = curve.note if isinstance(curve, Route) else ""
    return Course(probability, generator.prior.typicality(z), found.lengths, note)


def curve_quality(
    quality: QualityMap | None,
    generator: Generator,
    critic: Critic | None,
    curve: Curve,
    *,
    name: str,
    steps: int = 128,
    features: Features | None = None,
    batch_size: int = 64,
) -> CurveQuality:
    """Return what samples are like along a curve.

    Args:
        quality: a map of the generator, for its calibration, or None: then there are no probabilities.
        generator: the model.
        critic: the one that scored the map, or None.
        curve: between two latents.
        name: what to call it.
        steps: how many samples to look at, at least 2.
        features: samples (N, *S) to features (N, F) in which lengths are measured; by default all numbers of a sample.
        batch_size: latents a call.

    Raises:
        ArgumentError: if there are fewer than 2 steps, or only one of a map and its critic.
    """
    course = along(quality, generator, critic, curve, steps=steps, features=features, batch_size=batch_size)
    return course.summed(name)


def compare_routes(
    quality: QualityMap,
    generator: Generator,
    critic: Critic,
    a: Tensor | int,
    b: Tensor | int,
    *,
    way: Route | None = None,
    threshold: float | None = None,
    features: Features | None = None,
    steps: int = 128,
    batch_size: int = 64,
) -> tuple[CurveQuality, ...]:
    """Compare the route from a to b with the other curves between them, one row each.

    The rows are "route", "lerp", "slerp", "prior-matched" and "geodesic"; lengths are those of all numbers of a sample.
    A curve that cannot be made, such as a great circle between opposite ends, has NaN for figures and says why.

    Args:
        quality: a map with a chart.
        generator: the model whose map it is; the geodesic needs its gradients.
        critic: the one that scored the map.
        a: (D,), where the curves start, or a row of the map.
        b: (D,), where they end, or a row of the map.
        way: the route between these ends, if it is known.
        threshold: the probability from which samples count as good; by default the map's.
        features: what the map was charted with.
        steps: samples along each curve, at least 2.
        batch_size: latents a call.

    Raises:
        ArgumentError: if the map has no chart, or an argument is out of range.
        CurveError: if the ends are equal.
    """
    ways = ways_between(
        generator,
        a,
        b,
        quality=quality,
        critic=critic,
        way=way,
        threshold=threshold,
        features=features,
        batch_size=batch_size,
    )
    return tuple(
        missing(name, found)
        if isinstance(found, str)
        else curve_quality(quality, generator, critic, found, name=name, steps=steps, batch_size=batch_size)
        for name, found in ways.items()
    )


def missing(name: str, reason: str) -> CurveQuality:
    """Return the row of a curve that there is not."""
    return CurveQuality(name, *[math.nan] * 6, note=reason)
