"""The route: a smooth curve from latent to latent through what a critic believes."""

import operator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from latentkit.checks import as_number, as_vector
from latentkit.curves import Curve
from latentkit.errors import ArgumentError, CurveError
from latentkit.projection import Features
from latentkit.protocols import Critic, Generator
from latentkit.quality import QualityMap
from latentkit.routes.search import Scorer, Search
from latentkit.routes.smoothing import FINE, evenly, fewer, pieces, spline

__all__ = ["Route", "both_ends", "route"]


@dataclass(frozen=True, eq=False)
class Route(Curve):
    """A curve through the good region of a quality map.

    Attributes: those of a `Curve`; `nodes` (T, D), the latents of the graph that it leads by, ends included, before
    smoothing; `knots`, through how many of them the smooth curve goes; `probability` (F,) float64, of samples at even
    times along the curve; `threshold`, from which probability on the region counts as good; `crosses`, whether the
    route had to leave it; `note`, what became of it in one sentence.
    """

    nodes: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    knots: int = 0
    probability: Tensor = field(default_factory=lambda: torch.empty(0))
    threshold: float = 0.0
    crosses: bool = False
    note: str = ""


def route(
    quality: QualityMap,
    generator: Generator,
    critic: Critic,
    a: Tensor | int,
    b: Tensor | int,
    *,
    threshold: float | None = None,
    margin: float = 0.05,
    features: Features | None = None,
    batch_size: int = 64,
) -> Route:
    """Return a curve from a to b whose samples stay good all the way, or as good as they can.

    The way leads over the map's charted latents, from each to one with a near sample or a near latent. Of the ways
    whose samples have at least the threshold's probability, between its points too, it is the shortest one, where
    length is how much samples change, each step divided by the square of its probability; every stretch of it has been
    generated and scored at eight points or more. If no such way is found, it is the one whose worst sample is best, and
    `crosses` and `note` say so. Then it is smoothed: a spline through as few of its points as keep its worst sample
    within `margin` of the worst that was seen on the way. It runs so that samples change evenly. Between its points it
    keeps to the prior's shell for a normal prior, to the sphere, and within the bounds of a uniform one.

    Args:
        quality: a map with a chart; see `QualityMap.charted`.
        generator: the model whose map it is.
        critic: the one that scored it.
        a: (D,), where the route starts, or a row of the map.
        b: (D,), where it ends, or a row of the map.
        threshold: the probability from which samples count as good, 0 to 1; by default the map's.
        margin: how much probability the worst sample may lose by smoothing, 0 to 1.
        features: what the map was charted with.
        batch_size: latents a call.

    Raises:
        ArgumentError: if the map has no chart, or an argument is out of range.
        ShapeError: if the ends are not (D,) with the prior's D.
        NonFiniteError: if an end holds NaN or infinity.
        CurveError: if the ends are equal.
    """
    margin = as_number(margin, "margin", least=0.0, most=1.0)
    threshold = quality.threshold if threshold is None else as_number(threshold, "threshold", least=0.0, most=1.0)
    ends = torch.stack(both_ends(quality, a, b))
    scorer = Scorer(quality, generator, critic, features, batch_size)
    nodes, level = Search(quality, scorer, ends).best(threshold)
    times = torch.linspace(0.0, 1.0, FINE, dtype=torch.float64)
    for knots in fewer(len(nodes)):
        picked = torch.from_numpy(np.linspace(0, len(nodes) - 1, knots).round().astype(np.int64))
        curve = evenly(spline(quality.prior, nodes[picked]), lambda z: scorer(z)[0])
        probability = scorer(curve(times))[1]
        if float(probability.min()) >= level - margin:
            break
    else:
        # The way itself, whose points have been looked at.
        knots = len(nodes)
        curve = evenly(pieces(quality.prior, nodes), lambda z: scorer(z)[0])
        probability = scorer(curve(times))[1]
    crosses = level < threshold
    return Route(
        curve.at,
        "route",
        curve.dim,
        knots - 1,
        prior=quality.prior,
        nodes=nodes,
        knots=knots,
        probability=probability,
        threshold=threshold,
        crosses=crosses,
        note=_note(crosses, threshold, float(probability.min()), len(nodes)),
    )


def _note(crosses: bool, threshold: float, least: float, points: int) -> str:
    if crosses:
        return (
            f"the ends do not hang together at a probability of {threshold:.3g}: the best way found between them, over "
            f"{points} latents, has a worst sample of {least:.3g}"
        )
    return (
        f"within the good region (probability {threshold:.3g}), over {points} latents; its worst sample has {least:.3g}"
    )


def both_ends(quality: QualityMap, a: Tensor | int, b: Tensor | int) -> list[Tensor]:
    """Return both ends (D,), each given as a latent or as a row of the map.

    Raises:
        ArgumentError: if the map has no such row.
        CurveError: if they are equal.
    """
    ends = [_end(quality, end, name) for end, name in ((a, "the first end"), (b, "the second end"))]
    if torch.equal(ends[0], ends[1]):
        raise CurveError("the ends are equal, so there is no way between them; take two latents")
    return ends


def _end(quality: QualityMap, end: Tensor | int, name: str) -> Tensor:
    """Return the latent (D,) of an end, given itself or as a row of the map."""
    try:
        row = operator.index(end)
    except TypeError:
        return as_vector(end, quality.prior.dim, name).cpu()
    if not -len(quality) <= row < len(quality):
        raise ArgumentError(f"{name} must be a latent (D,) or a row from 0 to {len(quality) - 1}, got {row}")
    return quality.latents_of(torch.tensor([row % len(quality)]))[0]
