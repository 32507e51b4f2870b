"""Journeys: a route on the map beside its samples, with the curves that ignore the map between the same two ends."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.animation import Animation, from_frames
from latentkit.checks import as_count
from latentkit.curves import Curve
from latentkit.planes import ground_of
from latentkit.projection import Features, Projection
from latentkit.protocols import Critic, Generator
from latentkit.quality import QualityMap
from latentkit.quality.scoring import scored_samples
from latentkit.render import samples_sheet, to_rgb
from latentkit.routes import Route, route, ways_between
from latentkit.sampling.generate import generate
from latentkit.scatter import Stage, plane_limits
from latentkit.series import as_images
from latentkit.shown import Pictured
from latentkit.style import GROUND, MUTED, SCALE, drawing, figure_rgb
from latentkit.walks.panels import held, inks_of, lines, now_line, point_windows, spoken, windows

__all__ = ["Journey", "journey"]

Image = NDArray[np.uint8]

#: Pixels of a picture, and of a film's frame.
PICTURE, FRAME = (1060, 560), (800, 440)

#: Samples of a strip.
STRIP = 8

#: The curves of a journey, in order.
NAMES = ("route", "prior-matched", "lerp")

#: What each curve is drawn in.
INKS = inks_of(NAMES)


@dataclass(frozen=True, eq=False)
class Journey(Pictured):
    """The route between two latents and the curves that ignore the map, at T even times each.

    Attributes: `names` (C,) of the curves, "route" first, then "prior-matched" and "lerp" as far as they exist;
    `latents` (C, T, D); `samples` (C, T, *S); `probability` (C, T) float64, calibrated; `places` (C, T, 2), in the
    plane of the map; `points` (N, 2), the map's latents there, and their `values` (N,), probabilities; `axes`, the
    labels of the plane's axes, empty where they mean nothing; `backdrop` (N, 2), the samples of the map's latents where
    they are points of another plane than the map's, or None; `threshold`, from which probability samples count as
    good; `note`, what became of the route.
    """

    names: tuple[str, ...]
    latents: Tensor
    samples: Tensor
    probability: Tensor
    places: Tensor
    points: Tensor
    values: Tensor
    axes: tuple[str, str]
    backdrop: Tensor | None
    threshold: float
    note: str

    def picture(self) -> Image:
        """Draw the curves on the map, strips of their samples, and the probability along them, as (H, W, 3)."""
        with drawing():
            stage = _Stage(self, PICTURE)
            for place, name in zip(self.places.numpy(), self.names, strict=True):
                stage.map.plot(*place.T, ".", color=INKS[name], markersize=3.0)
                stage.map.plot(*place[[0, -1]].T, "o", color=INKS[name], markersize=7, markeredgecolor=GROUND)
            if stage.samples is not None:
                self._strips(stage)
            return figure_rgb(stage.figure)

    def film(self, *, fps: float = 16.0) -> Animation:
        """Film the journey: on the map a marker for each curve, beside it the samples as they are at that time.

        Args:
            fps: frames a second, above 0 and at most 50; the first and the last frame stand for half a second more.
        """
        durations = held(self.places.shape[1], fps)
        captions = spoken(self.probability.numpy(), self.names, "probability")
        return from_frames(self._frames, durations=durations, captions=captions)

    def _strips(self, stage: "_Stage") -> None:
        """Draw samples at some even times: images in a row for each curve, or points in their own plane."""
        if self.samples.ndim != 5:
            for some, name in zip(self.samples.numpy(), self.names, strict=True):
                stage.samples.plot(*some.T, ".", color=INKS[name], markersize=3.0)
            return
        when = torch.linspace(0, self.samples.shape[1] - 1, STRIP).round().long()
        stage.samples.imshow(samples_sheet(self.samples[:, when].flatten(0, 1), columns=STRIP))
        stage.samples.set_anchor("W")
        height = 1.0 / len(self.names)
        for k, name in enumerate(self.names):
            place = (-0.01, 1.0 - (k + 0.5) * height)
            stage.samples.text(
                *place, name, transform=stage.samples.transAxes, ha="right", va="center", color=INKS[name]
            )

    def _frames(self) -> Iterator[Image]:
        with drawing():
            stage = _Stage(self, FRAME)
            moving: list[Any] = []
            for place, name in zip(self.places.numpy(), self.names, strict=True):
                stage.map.plot(*place.T, ".", color=INKS[name], markersize=1.5, alpha=0.6)
                style = {"color": INKS[name], "markersize": 10.0 if name == "route" else 7.0}
                moving += stage.map.plot([], [], "o", markeredgecolor=GROUND, **style)
            now, seen = now_line(stage.line), stage.windows(self)
            stage.keep([*moving[::-1], now, *seen])
        images = self.samples.ndim == 5
        pictures = [to_rgb(some) for some in self.samples] if images else []
        times = np.linspace(0.0, 1.0, self.places.shape[1])
        for t, time in enumerate(times):
            with drawing():
                for k in range(len(self.names)):
                    moving[k].set_data(*self.places[k, t : t + 1].numpy().T)
                    if images:
                        seen[k].set_data(pictures[k][t])
                    elif seen:
                        seen[k].set_data(*self.samples[k, t : t + 1].numpy().T)
                now.set_xdata([time, time])
                frame = stage.frame()
            yield frame


class _Stage(Stage):
    """The map on the left, the samples at the top right, where they have a place of their own, the lines below."""

    def __init__(self, about: Journey, size: tuple[int, int]) -> None:
        super().__init__(plane_limits(about.points, about.places.flatten(0, 1)), size[1])
        self.figure.set_size_inches(size[0] / self.figure.dpi, size[1] / self.figure.dpi)
        rows = self.figure.add_gridspec(2, 2, width_ratios=(1.0, 1.0), height_ratios=(1.15, 1.0))
        self.map, own = self.axes, about.samples.ndim == 5 or about.backdrop is not None
        self.map.set_subplotspec(rows[:, 0])
        self.map.set(xlabel=about.axes[0], ylabel=about.axes[1])
        if not about.axes[0]:
            self.map.set_axis_off()
        area = float(np.clip(12_000.0 / len(about.points), 1.5, 10.0))
        x, y = about.points.numpy().T
        dots = self.map.scatter(x, y, s=area, c=about.values.numpy(), cmap=SCALE, vmin=0.0, vmax=1.0, linewidths=0)
        dots.set_alpha(0.35)
        self.samples: Any = self.figure.add_subplot(rows[0, 1]) if own else None
        if own and about.samples.ndim == 5:
            self.samples.set_axis_off()
        elif about.backdrop is not None:
            self.samples.plot(*about.backdrop.numpy().T, ".", color=MUTED, markersize=1.5, alpha=0.5, markeredgewidth=0)
            limits = plane_limits(about.backdrop, about.samples.flatten(0, 1))
            self.samples.set(xlim=limits[:2], ylim=limits[2:], title="samples", aspect="equal")
        self.line = self.figure.add_subplot(rows[1, 1] if own else rows[:, 1])
        values = about.probability.numpy()
        lines(self.line, values, about.names, label="probability", threshold=about.threshold)

    def windows(self, about: Journey) -> list[Any]:
        """Return an artist for the current sample of each curve: images side by side, or points; none without room."""
        if self.samples is None:
            return []
        if about.samples.ndim != 5:
            return point_windows(self.samples, about.samples.numpy(), about.names)
        return windows(self.samples, about.names, (about.samples.shape[-2], about.samples.shape[-1]))


def journey(
    quality: QualityMap,
    generator: Generator,
    critic: Critic,
    a: Tensor | int,
    b: Tensor | int,
    *,
    plane: Projection | None = None,
    way: Route | None = None,
    threshold: float | None = None,
    steps: int = 72,
    features: Features | None = None,
    batch_size: int = 64,
) -> Journey:
    """Go from a to b by the route, by the prior-matched interpolation and by the straight line.

    Args:
        quality: a map with a chart.
        generator: the model whose map it is.
        critic: the one that scored it.
        a: (D,), where all curves start, or a row of the map.
        b: (D,), where they end, or a row of the map.
        plane: a projection of the map's samples, where neither latents nor samples are points of the plane.
        way: the route between these ends, if it is known.
        threshold: the probability from which samples count as good; by default the map's.
        steps: samples along each curve, at least 2.
        features: what the map was charted with.
        batch_size: latents a call.

    Raises:
        ArgumentError: if the map has no chart, an argument is out of range, or there is no plane.
        ShapeError: if the ends are not (D,), or the samples are neither images nor points.
        CurveError: if the ends are equal.
    """
    steps = as_count(steps, "steps", least=2)
    ground = ground_of(quality, generator, plane, batch_size=batch_size)
    if way is None:
        way = route(quality, generator, critic, a, b, threshold=threshold, features=features, batch_size=batch_size)
    first, second = way(torch.tensor([0.0, 1.0]))
    ways = ways_between(generator, first, second, names=NAMES, way=way)
    # Between opposite ends there is no prior-matched curve.
    curves = {name: curve for name, curve in ways.items() if isinstance(curve, Curve)}
    latents = torch.stack([curve.steps(steps, closed=False) for curve in curves.values()])
    parts = list(scored_samples(generator, critic, latents.flatten(0, 1), batch_size=batch_size))
    samples = torch.cat([batch for batch, _ in parts])
    shown = as_images(samples)
    probability = quality.calibration.probability(torch.cat([logits for _, logits in parts]))
    shape = (len(curves), steps)
    return Journey(
        names=tuple(curves),
        latents=latents,
        samples=shown.reshape(*shape, *shown.shape[1:]),
        probability=probability.reshape(shape),
        places=ground.places(latents.flatten(0, 1), samples).reshape(*shape, 2),
        points=ground.points,
        values=quality.probability,
        axes=ground.axes,
        backdrop=None if shown.ndim == 4 or ground.kind == "samples" else _samples_of(quality, generator, batch_size),
        threshold=way.threshold,
        note=way.note,
    )


def _samples_of(quality: QualityMap, generator: Generator, batch_size: int) -> Tensor:
    return generate(generator, quality.latents, batch_size=batch_size).float()
