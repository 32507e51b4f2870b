"""The curves from one latent to another, all of them, each made or with the reason why there is none."""

from collections.abc import Callable, Sequence

from torch import Tensor

from latentkit.checks import as_vector
from latentkit.curves import Curve, interpolate, lerp, slerp
from latentkit.errors import ArgumentError, CurveError
from latentkit.geometry import geodesic
from latentkit.projection import Features
from latentkit.protocols import Critic, Generator
from latentkit.quality import QualityMap
from latentkit.routes.route import Route, both_ends, route

__all__ = ["WAYS", "ends_of", "ways_between"]

#: The curves between two latents, in the order of the tables.
WAYS = ("route", "lerp", "slerp", "prior-matched", "geodesic")


def ways_between(
    generator: Generator,
    a: Tensor | int,
    b: Tensor | int,
    *,
    names: Sequence[str] = WAYS,
    quality: QualityMap | None = None,
    critic: Critic | None = None,
    way: Route | None = None,
    threshold: float | None = None,
    features: Features | None = None,
    points: int = 16,
    steps: int = 100,
    batch_size: int = 64,
) -> dict[str, Curve | str]:
    """Return the curves from a to b by name, or in the place of one that cannot be made the reason.

    Args:
        generator: the model; the geodesic needs its gradients.
        a: (D,), where the curves start, or a row of the map.
        b: (D,), where they end, or a row of the map.
        names: which curves, of `WAYS`, in which order; the route only where there is a map.
        quality: a map with a chart, for the route, or None.
        critic: the one that scored the map.
        way: the route between these ends, if it is known.
        threshold: the probability from which samples count as good; by default the map's.
        features: what the map was charted with.
        points: pieces of the geodesic.
        steps: of the geodesic's search.
        batch_size: latents a call.

    Raises:
        ArgumentError: if there is a map without chart or without critic, or an argument is out of range.
        ShapeError: if the ends are not (D,) with the prior's D.
        CurveError: if the ends are equal.
    """
    first, second = ends_of(generator, quality, a, b)

    def routed() -> Curve:
        if way is not None:
            return way
        if quality is None or critic is None:
            raise ArgumentError("a route needs a quality map and the critic that scored it; pass quality= and critic=")
        return route(
            quality, generator, critic, first, second, threshold=threshold, features=features, batch_size=batch_size
        )

    makers: dict[str, Callable[[], Curve]] = {
        "route": routed,
        "lerp": lambda: lerp(first, second),
        "slerp": lambda: slerp(first, second),
        "prior-matched": lambda: interpolate(first, second, generator.prior),
        "geodesic": lambda: _geodesic(generator, first, second, points, steps),
    }
    found: dict[str, Curve | str] = {}
    for name in names:
        try:
            found[name] = makers[name]()
        except CurveError as error:
            found[name] = str(error)
    return found


def ends_of(
    generator: Generator, quality: QualityMap | None, a: Tensor | int, b: Tensor | int
) -> tuple[Tensor, Tensor]:
    """Return both ends (D,), each given as a latent or, where there is a map, as a row of it.

    Raises:
        ArgumentError: if there is no such row.
        ShapeError: if a latent is not (D,) with the prior's D.
        CurveError: if they are equal.
    """
    if quality is not None:
        first, second = both_ends(quality, a, b)
        return first, second
    dim = generator.prior.dim
    first, second = as_vector(a, dim, "the first end"), as_vector(b, dim, "the second end")
    if first.equal(second):
        raise CurveError("the ends are equal, so there is no way between them; take two latents")
    return first, second


def _geodesic(generator: Generator, a: Tensor, b: Tensor, points: int, steps: int) -> Curve:
    try:
        return geodesic(generator, a, b, points=points, steps=steps)
    except ArgumentError as error:  # a generator without gradients has the other curves
        raise CurveError(str(error)) from error
