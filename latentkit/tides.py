"""The tide: a film in which the water rises over a quality map, and its islands part, shrink and drown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.animation import Animation, from_frames
from latentkit.checks import as_count, as_number
from latentkit.errors import ArgumentError
from latentkit.landscapes import NUMBERED
from latentkit.planes import Field, Ground, field_of, ground_of
from latentkit.plots import distinct_colours
from latentkit.projection import Features, Projection
from latentkit.protocols import Critic, Generator
from latentkit.quality import Islands, QualityMap
from latentkit.scatter import Stage, plane_limits
from latentkit.style import GROUND, INK, drawing

__all__ = ["Shores", "shores", "tide", "tide_levels"]

Image = NDArray[np.uint8]

#: Good latents that hang together with too few others to be an island, and islands beyond the numbered ones.
CRUMB = "#8b8f96"

#: Water, where it is deepest and where it is shallowest.
DEEP, SHALLOW = (0.72, 0.80, 0.89), (0.93, 0.96, 0.99)


@dataclass(frozen=True, eq=False)
class Shores:
    """The islands of a map while the water rises.

    An island is known by its peak, its best charted latent: as long as that is above water the island is the same one.
    Where two join, the one with the higher peak lives on.

    Attributes: `levels` (T,) float64, the thresholds; `peaks` (T, G) int32, the peak, by its rank below, of the island
    that each charted latent lies on or next to, -1 for none; `rows` (P,) long, the charted latents that are peaks, by
    rank: first those of given islands, by their numbers, then the others by the most that they ever held; `count` (T,)
    long, how many islands there are; `share` (T,) float64, of the map's latents above water.
    """

    levels: Tensor
    peaks: Tensor
    rows: Tensor
    count: Tensor
    share: Tensor


def tide_levels(quality: QualityMap, count: int) -> Tensor:
    """Return thresholds (count,) float64 that rise from a map's lowest to its highest probability.

    Half of them are spread evenly over the probabilities, the others over the latents.
    """
    count = as_count(count, "count", least=2)
    values = quality.probability
    over = (
        torch.quantile(values, torch.linspace(0.0, 1.0, count // 2, dtype=torch.float64)) if count > 3 else values[:0]
    )
    even = torch.linspace(0.0, 1.0, count - len(over), dtype=torch.float64)
    levels = float(values.min()) + even * float(values.max() - values.min())
    levels[-1] = values.max()
    return torch.cat([over, levels]).sort().values


def shores(
    quality: QualityMap, levels: Tensor | Sequence[float], *, islands: Islands | None = None, least: int | None = None
) -> Shores:
    """Return the islands of a map at each of some thresholds.

    Args:
        quality: a map with a chart.
        levels: (T,) probabilities, in any order.
        islands: of this map, whose numbers come first.
        least: fewest charted latents of an island; by default as in `QualityMap.islands`.

    Raises:
        ArgumentError: if the map has no chart, or there is no level, or one is no probability.
    """
    chart = quality._charted()[0]
    levels = torch.as_tensor(levels, dtype=torch.float64)
    if levels.ndim != 1 or not len(levels) or not bool(((levels >= 0) & (levels <= 1)).all()):
        raise ArgumentError(f"levels must be (T,) probabilities from 0 to 1, at least one, got {levels.tolist()}")
    least = chart.graph.k + 1 if least is None else as_count(least, "least")
    # One order in which the higher comes first, so that joined islands have one of their two peaks.
    order = chart.probability.argsort(descending=True, stable=True)
    height = torch.empty_like(order)
    height[order] = torch.arange(len(order))
    peaks = torch.empty((len(levels), len(chart)), dtype=torch.int32)
    size: dict[int, int] = {}
    for t, level in enumerate(levels.tolist()):
        peaks[t] = _peaks(quality, level, least, height, size)
    first = [] if islands is None else _first(quality, islands, height)
    others = sorted(size.keys() - set(first), key=lambda row: (-size[row], row))
    rows = torch.tensor([*first, *others], dtype=torch.long)
    rank = torch.full((len(chart) + 1,), -1, dtype=torch.int32)  # the last one's for none
    rank[rows] = torch.arange(len(rows), dtype=torch.int32)
    ranked = rank[peaks.long()]
    return Shores(
        levels=levels,
        peaks=ranked,
        rows=rows,
        count=torch.tensor([len(row[row >= 0].unique()) for row in ranked]),
        share=torch.stack([(quality.probability >= level).double().mean() for level in levels]),
    )


def _peaks(quality: QualityMap, level: float, least: int, height: Tensor, size: dict[int, int]) -> Tensor:
    """Return the peak (G,) of each charted latent's island, -1 for none, and note how much each peak's island holds."""
    chart = quality._charted()[0]
    good = chart.probability >= level
    parts = chart.graph.components(good, least=least)
    found = torch.full((len(chart),), -1, dtype=torch.long)
    for k in range(int(parts.max()) + 1):
        own = (parts == k).nonzero()[:, 0]
        peak = int(own[height[own].argmin()])
        found[own] = peak
        size[peak] = max(size.get(peak, 0), len(own))
    nearest = chart.graph.nearest_kept(found >= 0)
    return torch.where(~good & (nearest >= 0), found[nearest], found)


def _first(quality: QualityMap, islands: Islands, height: Tensor) -> list[int]:
    """Return the peaks of given islands, as charted latents, by the islands' numbers."""
    chart, places = quality._charted()
    parts = chart.graph.components(chart.probability >= islands.threshold, least=islands.least)
    found: dict[int, int] = {}
    for k in range(int(parts.max()) + 1):
        own = (parts == k).nonzero()[:, 0]
        numbers = islands.labels[(parts[places.long()] == k) & (islands.labels >= 0)]
        if len(numbers):
            found.setdefault(int(numbers.mode().values), int(own[height[own].argmin()]))
    return [found[k] for k in sorted(found)]


def tide(
    quality: QualityMap,
    generator: Generator,
    critic: Critic,
    *,
    plane: Projection | None = None,
    islands: Islands | None = None,
    levels: Tensor | Sequence[float] | None = None,
    frames: int = 60,
    fps: float = 10.0,
    size: int = 460,
    features: Features | None = None,
    batch_size: int = 64,
) -> Animation:
    """Film a quality map while the water rises from its lowest to its highest probability.

    What is below the threshold is under water. What is above it has the colour of its island, which the island keeps
    for as long as its peak is dry; good latents that hang together with too few others are grey. The plane of
    two-dimensional latents is filled; in others the map's latents are points. Captions give the threshold, the
    share of latents above water and the number of islands. Nothing is random, and frames are made when they are asked
    for.

    Args:
        quality: a map with a chart.
        generator: the model whose map it is.
        critic: the one that scored it.
        plane: a projection of the map's samples, where neither latents nor samples are points of the plane.
        islands: of this map, whose numbers are kept; by default numbers go by size.
        levels: (T,) thresholds, a frame each, in the order in which they are shown; falling ones let the water fall. By
            default `frames` rising ones, see `tide_levels`.
        frames: how many, at least 2, without `levels`.
        fps: frames a second, above 0 and at most 50; the last one stands for a second.
        size: pixels a side.
        features: what the map was charted with.
        batch_size: latents a call.

    Raises:
        ShapeError: if the projection is one of more or fewer rows.
        ArgumentError: if the map has no chart, a number is out of range, or there is no plane to draw it in.
    """
    fps, size = as_number(fps, "fps", least=0.0, open_least=True), as_count(size, "size", least=128)
    levels = tide_levels(quality, as_count(frames, "frames", least=2)) if levels is None else levels
    found = shores(quality, levels, islands=islands)
    ground = ground_of(quality, generator, plane, batch_size=batch_size)
    field = None
    if ground.kind == "latents":
        field = field_of(quality, generator, critic, features=features, batch_size=batch_size)
    captions = [
        f"threshold {level:.3f} · {100 * share:.1f} % above water · {count} island{'s' * (count != 1)}"
        for level, share, count in zip(found.levels.tolist(), found.share.tolist(), found.count.tolist(), strict=True)
    ]
    durations = [1000.0 / fps] * len(captions)
    durations[-1] += 1000.0
    return from_frames(lambda: _frames(quality, found, ground, field, size), durations=durations, captions=captions)


def _frames(quality: QualityMap, found: Shores, ground: Ground, field: Field | None, size: int) -> Iterator[Image]:
    """Yield a frame (size, size, 3) for each level; what does not change is drawn once."""
    colours = [*distinct_colours(NUMBERED), CRUMB]
    places = quality._charted()[1].long()
    with drawing():
        limits = plane_limits(ground.points) if field is None else field.limits
        stage = Stage(limits, size, ground.points if field is None else None)
        axes = stage.axes
        axes.set(xlabel=ground.axes[0], ylabel=ground.axes[1])
        if ground.kind == "projection":
            axes.set_axis_off()
        sea: Any = None
        dots: list[Any] = []
        if field is not None:
            axes.grid(False)
            blank = np.ones((*field.probability.shape, 3))
            options: Any = {"extent": field.limits, "origin": "lower", "aspect": "auto", "interpolation": "nearest"}
            sea = axes.imshow(blank, **options)
        else:
            marker = float(np.clip(np.sqrt(20_000.0 / len(ground.points)), 1.6, 4.0))
            dots = [axes.plot([], [], ".", color=c, markersize=2 * marker, markeredgewidth=0)[0] for c in colours]
        numbers = [_number(axes, quality, ground, found, k) for k in range(min(len(found.rows), NUMBERED))]
        # Crumbs beneath the islands, numbers on top of all.
        stage.keep([*([sea] if sea is not None else dots[::-1]), *(text for text in numbers if text is not None)])
    for t, level in enumerate(found.levels.tolist()):
        land = found.peaks[t].clamp(max=NUMBERED)
        alive = set(land.unique().tolist())
        with drawing():
            if field is not None and sea is not None:
                sea.set_data(_coloured(field.probability, land[field.places].long(), level))
            else:
                lying = torch.where(land[places] < 0, NUMBERED, land[places])
                lying = torch.where(quality.probability >= level, lying, -1)
                for k, dot in enumerate(dots):
                    dot.set_data(*ground.points[lying == k].numpy().T)
            for k, text in enumerate(numbers):
                if text is not None:
                    text.set_visible(k in alive)
            frame = stage.frame()
        yield frame


def _number(axes: Any, quality: QualityMap, ground: Ground, found: Shores, k: int) -> Any:
    """Return the number of an island at its peak, or None where the map does not hold that latent."""
    here = (quality._charted()[1] == found.rows[k]).nonzero()[:, 0]
    if not len(here):
        return None
    best = here[quality.probability[here].argmax()]
    colour = distinct_colours(NUMBERED)[k]
    box = {"boxstyle": "circle,pad=0.2", "facecolor": GROUND, "edgecolor": colour, "linewidth": 1.4}
    return axes.text(
        *ground.points[best].tolist(), str(k + 1), ha="center", va="center", fontsize=8, color=INK, bbox=box
    )


def _coloured(probability: Tensor, land: Tensor, level: float) -> NDArray[np.float64]:
    """Return a field's colours (side, side, 3) in [0, 1], given each cell's island (side, side), -1 for none."""
    from matplotlib.colors import to_rgb

    table = np.array([to_rgb(c) for c in (*distinct_colours(NUMBERED), CRUMB)])
    p = probability.numpy()[..., None]
    depth = np.clip(p / max(level, 1e-9), 0.0, 1.0)
    water = (1.0 - depth) * np.array(DEEP) + depth * np.array(SHALLOW)
    # What is higher is more intense.
    ink = 0.55 + 0.45 * np.clip((p - level) / max(float(p.max()) - level, 1e-9), 0.0, 1.0)
    colours = table[np.where(land.numpy() < 0, NUMBERED, land.numpy())]
    return np.where(p >= level, ink * colours + (1.0 - ink), water)
