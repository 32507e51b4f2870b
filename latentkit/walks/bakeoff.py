"""A bake-off: the same two ends, all curves between them, one table and one film."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.animation import Animation
from latentkit.checks import as_count
from latentkit.curves import Curve
from latentkit.errors import ArgumentError, ShapeError
from latentkit.projection import Features
from latentkit.protocols import Critic, Generator
from latentkit.quality import QualityMap
from latentkit.routes import WAYS, CurveQuality, along, ends_of, missing, ways_between
from latentkit.shown import Written
from latentkit.tables import aligned, markdown
from latentkit.walks.sidebyside import side_by_side
from latentkit.walks.still import pictured

__all__ = ["BakeOff", "bake_off"]

#: Ends of a curve of the user's may miss the others by so much of their length, in a rounding.
SAME = 1e-5


@dataclass(frozen=True, eq=False)
class BakeOff(Written):
    """Curves between the same two ends, and what samples are like along each.

    Attributes: `names` (C,); `curves` (C,), None for one that cannot be made; `rows` (C,), their figures, whose notes
    say why; `probability` (C, T) float64 of samples at T even times along each, calibrated, NaN without a map;
    `typicality` (C, T) float64 of the latents there; `threshold`, from which probability samples count as good, NaN
    without a map.
    """

    names: tuple[str, ...]
    curves: tuple[Curve | None, ...]
    rows: tuple[CurveQuality, ...]
    probability: Tensor
    typicality: Tensor
    threshold: float

    @property
    def judged(self) -> bool:
        """Whether there was a map, so that samples have probabilities."""
        return not math.isnan(self.threshold)

    @property
    def best(self) -> str:
        """The name of the curve whose worst sample is most probable; without a map, whose worst latent most typical."""
        column = "least_probability" if self.judged else "least_typicality"
        found = {row.name: getattr(row, column) for row in self.rows if not row.missing}
        return max(found, key=found.__getitem__)

    def table(self) -> str:
        """Return the figures as aligned text, and below them what is to be known of each curve."""
        return "\n".join([aligned(self.cells()), *self._notes("{}: {}")])

    def markdown(self) -> str:
        """Return the figures as a Markdown table, and below it what is to be known of each curve."""
        notes = self._notes("- {}: {}")
        return "\n".join([markdown(self.cells()), *([""] if notes else []), *notes])

    def film(self, generator: Generator, *, frames: int = 90, fps: float = 25.0, batch_size: int = 64) -> Animation:
        """Film all curves at once: images side by side, or points on one stage over random samples.

        Below are their probabilities, or without a map their typicalities, read off linearly between the times of the
        table.

        Args:
            generator: the model.
            frames: how many, at least 2.
            fps: frames a second, above 0 and at most 50; the first and the last frame stand for half a second more.
            batch_size: latents a call.

        Raises:
            ArgumentError: if a number is out of range.
            ShapeError: if the samples are neither images nor points.
        """
        return side_by_side(generator, *self._made(), **self._known(), frames=frames, fps=fps, batch_size=batch_size)

    def picture(self, generator: Generator, *, columns: int = 9, batch_size: int = 64) -> NDArray[np.uint8]:
        """Draw all curves at once, (H, W, 3): rows of images at even times, or ways over the plane.

        Args:
            generator: the model.
            columns: images a row, at least 2.
            batch_size: latents a call.

        Raises:
            ArgumentError: if there are fewer than 2 columns.
            ShapeError: if the samples are neither images nor points.
        """
        return pictured(generator, *self._made(), **self._known(), columns=columns, batch_size=batch_size)

    def _made(self) -> tuple[list[Curve], list[str], Tensor]:
        """Return the curves that there are, their names, and what is known along each."""
        rows = [k for k, curve in enumerate(self.curves) if curve is not None]
        curves = [curve for curve in self.curves if curve is not None]
        return curves, [self.names[k] for k in rows], (self.probability if self.judged else self.typicality)[rows]

    def _known(self) -> dict[str, Any]:
        """Return what that is called, and from where on it is good."""
        return {
            "label": "probability" if self.judged else "typicality",
            "threshold": self.threshold if self.judged else None,
        }

    def cells(self) -> list[tuple[str, ...]]:
        """Return the table's texts, its head first."""
        columns = {
            "mean probability": "mean_probability",
            "least": "least_probability",
            "mean typicality": "mean_typicality",
            "least ": "least_typicality",
            "length": "length",
            "worst jump": "worst_jump",
        }
        if not self.judged:
            columns = {head: name for head, name in columns.items() if "probability" not in name}
        rows = [
            (row.name, *("-" if row.missing else f"{getattr(row, name):.3g}" for name in columns.values()))
            for row in self.rows
        ]
        return [("curve", *(head.strip() for head in columns)), *rows]

    def _notes(self, form: str) -> list[str]:
        return [form.format(row.name, row.note) for row in self.rows if row.note]


def bake_off(
    generator: Generator,
    a: Tensor | int,
    b: Tensor | int,
    *,
    quality: QualityMap | None = None,
    critic: Critic | None = None,
    threshold: float | None = None,
    features: Features | None = None,
    steps: int = 128,
    curves: Mapping[str, Curve] | None = None,
    batch_size: int = 64,
) -> BakeOff:
    """Compare all curves from a to b.

    They are the straight line, the great circle, the prior-matched curve, the geodesic and, where there is a map, the
    route, and what other ones you give.

    Args:
        generator: the model; the geodesic needs its gradients.
        a: (D,), where the curves start, or a row of the map.
        b: (D,), where they end, or a row of the map.
        quality: a map with a chart, or None: then there is no route, and samples have no probabilities.
        critic: the one that scored the map.
        threshold: the probability from which samples count as good; by default the map's.
        features: samples (N, *S) to features (N, F) in which lengths are measured, and what the map was charted with;
            by default all numbers of a sample.
        steps: samples along each curve, at least 2.
        curves: others by name, between the same ends.
        batch_size: latents a call.

    Raises:
        ArgumentError: if only one of a map and its critic is given, the map has no chart, or a curve of yours has the
            name of another or other ends.
        ShapeError: if an end is not (D,) with the prior's D.
        CurveError: if the ends are equal.

    Examples:
        >>> import latentkit as lk
        >>> from latentkit.walks import bake_off
        >>> z = lk.Normal(64).sample(2, seed=0)
        >>> found = bake_off(lk.wrap(lambda z: z, lk.Normal(64)), z[0], z[1])
        >>> [row.name for row in found.rows if row.least_typicality < 0.01]
        ['lerp', 'geodesic']
    """
    steps = as_count(steps, "steps", least=2)
    if (quality is None) != (critic is None):
        raise ArgumentError("a map and the critic that scored it go together; pass both quality= and critic=, or none")
    first, second = ends_of(generator, quality, a, b)
    others = _others(curves or {}, first, second)
    ways: dict[str, Curve | str] = ways_between(
        generator,
        first,
        second,
        names=WAYS if quality is not None else WAYS[1:],
        quality=quality,
        critic=critic,
        threshold=threshold,
        features=features,
        batch_size=batch_size,
    )
    ways |= others
    unknown = torch.full((steps,), math.nan, dtype=torch.float64)
    rows, probability, typicality = [], [], []
    for name, curve in ways.items():
        if isinstance(curve, str):
            rows.append(missing(name, curve))
            probability.append(unknown)
            typicality.append(unknown)
            continue
        course = along(quality, generator, critic, curve, steps=steps, features=features, batch_size=batch_size)
        rows.append(course.summed(name))
        probability.append(course.probability)
        typicality.append(course.typicality)
    return BakeOff(
        names=tuple(ways),
        curves=tuple(None if isinstance(curve, str) else curve for curve in ways.values()),
        rows=tuple(rows),
        probability=torch.stack(probability),
        typicality=torch.stack(typicality),
        threshold=math.nan if quality is None else quality.threshold if threshold is None else float(threshold),
    )


def _others(curves: Mapping[str, Curve], a: Tensor, b: Tensor) -> dict[str, Curve | str]:
    """Return curves of the user's, checked to be between the same ends under names of their own."""
    for name, curve in curves.items():
        if name in WAYS:
            raise ArgumentError(f"a curve called {name} is among the others already; give yours another name")
        if curve.dim != len(a):
            raise ShapeError(f"the curve {name} must go through latents of {len(a)} dimensions, got {curve.dim}")
        ends, wanted = curve([0.0, 1.0]).double().cpu(), torch.stack([a, b]).double().cpu()
        if ends.shape != wanted.shape or float((ends - wanted).abs().max()) > SAME * float(wanted.abs().max()):
            raise ArgumentError(f"the curve {name} must begin at a and end at b, as all others do")
    return dict(curves)
