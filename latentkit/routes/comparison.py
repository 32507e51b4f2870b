"""What samples are like along curves: a route beside the other curves between its ends."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from latentkit.checks import as_count
from latentkit.curves import Curve, interpolate, lerp, slerp
from latentkit.errors import CurveError
from latentkit.geometry import geodesic
from latentkit.protocols import Critic, Generator
from latentkit.quality import QualityMap
from latentkit.quality.scoring import Features
from latentkit.routes.route import Route, both_ends, route
from latentkit.routes.search import Scorer

__all__ = ["CurveQuality", "compare_routes", "curve_quality"]


@dataclass(frozen=True)
class CurveQuality:
    """What samples are like along a curve, at even times.

    Attributes: `name` of the curve; `mean_probability` and `least_probability`, calibrated; `length`, the sum of the
    Euclidean distances between the samples of neighbours; `worst_jump`, the largest of these over their mean (1: the
    samples change evenly); `mean_typicality` and `least_typicality` of the latents under the prior; `note`, why there
    is no such curve (the figures are NaN then), or what to know of it.
    """

    name: str
    mean_probability: float
    least_probability: float
    length: float
    worst_jump: float
    mean_typicality: float
    least_typicality: float
    note: str = ""


def curve_quality(
    quality: QualityMap,
    generator: Generator,
    critic: Critic,
    curve: Curve,
    *,
    name: str,
    steps: int = 128,
    batch_size: int = 64,
) -> CurveQuality:
    """Return what samples are like along a curve.

    Args:
        quality: a map of the generator, for its calibration.
        generator: the model.
        critic: the one that scored the map.
        curve: between two latents.
        name: what to call it.
        steps: how many samples to look at, at least 2.
        batch_size: latents a call.

    Raises:
        ArgumentError: if there are fewer than 2 steps.
    """
    z = curve.steps(as_count(steps, "steps", least=2), closed=False)
    rows, probability = Scorer(quality, generator, critic, None, batch_size)(z)
    jumps = rows.diff(dim=0).double().norm(dim=1)
    typicality = quality.prior.typicality(z)
    return CurveQuality(
        name=name,
        mean_probability=float(probability.mean()),
        least_probability=float(probability.min()),
        length=float(jumps.sum()),
        worst_jump=float(jumps.max() / jumps.mean()) if float(jumps.max()) > 0 else 1.0,
        mean_typicality=float(typicality.mean()),
        least_typicality=float(typicality.min()),
        note=curve.note if isinstance(curve, Route) else "",
    )


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

    The rows are "route", "lerp", "slerp", "prior-matched" and "geodesic"; a curve that cannot be made, such as a great
    circle between opposite ends, has NaN for figures and says why.

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
    first, second = both_ends(quality, a, b)
    makers: dict[str, Callable[[], Curve]] = {
        "route": lambda: (
            way
            or route(
                quality,
                generator,
                critic,
                first,
                second,
                threshold=threshold,
                features=features,
                batch_size=batch_size,
            )
        ),
        "lerp": lambda: lerp(first, second),
        "slerp": lambda: slerp(first, second),
        "prior-matched": lambda: interpolate(first, second, quality.prior),
        "geodesic": lambda: geodesic(generator, first, second),
    }
    rows = []
    for name, make in makers.items():
        try:
            curve = make()
        except CurveError as error:
            rows.append(CurveQuality(name, *[math.nan] * 6, note=str(error)))
            continue
        rows.append(curve_quality(quality, generator, critic, curve, name=name, steps=steps, batch_size=batch_size))
    return tuple(rows)
