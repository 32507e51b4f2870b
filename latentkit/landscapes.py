"""The landscape of a quality map: its probability over the plane, its islands, and the passes between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.planes import Field, Ground, field_of, ground_of
from latentkit.plots import distinct_colours
from latentkit.projection import Features, Projection
from latentkit.protocols import Critic, Generator
from latentkit.quality import Islands, QualityMap
from latentkit.style import GROUND, INK, MUTED, SCALE, drawing, figure_rgb, new_axes

__all__ = [
    "Pass",
    "described",
    "islands_picture",
    "landscape",
    "numbered",
    "passes",
]

Image = NDArray[np.uint8]

#: Islands that have a number in pictures; more would hide what they name.
NUMBERED = 10

#: Islands whose passes are drawn, at most.
PASSES = 12


def numbered(quality: QualityMap, islands: Islands) -> Tensor:
    """Return the island (G,) long that each charted latent of a map lies on or is next to, by its number; -1 for none.

    A good sample anywhere, of a new latent as well, lies on the island of the charted latent with the nearest sample.
    """
    chart, places = quality._charted()
    good = chart.probability >= islands.threshold
    parts = chart.graph.components(good, least=islands.least)
    known = torch.cat([parts, torch.tensor([-1])])[places.long()]
    numbers = torch.full((int(parts.max()) + 2,), -1)  # the last for none
    for k in range(int(parts.max()) + 1):
        own = islands.labels[(known == k) & (islands.labels >= 0)]
        numbers[k] = int(own.mode().values) if len(own) else -1
    nearest = chart.graph.nearest_kept(parts >= 0)
    parts = torch.where(~good & (nearest >= 0), parts[nearest], parts)
    return numbers[parts]


@dataclass(frozen=True)
class Pass:
    """The best way between two islands at its worst: their numbers, its `probability`, and its charted `row`."""

    islands: tuple[int, int]
    probability: float
    row: int


def passes(quality: QualityMap, islands: Islands) -> tuple[Pass, ...]:
    """Return the passes that join islands of a map as the water falls, the highest first.

    At most one fewer than there are islands: those of a maximum spanning tree of their bottlenecks. Islands between
    which no chain of charted samples leads have none. Of more than 12 islands the largest 12 are looked at.
    """
    chart, places = quality._charted()
    ends = islands.representative[:PASSES]
    i, j = torch.triu_indices(len(ends), len(ends), 1)
    heights = quality.bottleneck(ends[i], ends[j]) if len(i) else torch.empty(0)
    root, found = list(range(len(ends))), []
    for n in heights.nan_to_num(nan=-1.0).argsort(descending=True, stable=True).tolist():
        a, b, height = int(i[n]), int(j[n]), float(heights[n])
        if height != height or root[a] == root[b]:
            continue
        root = [root[a] if r == root[b] else r for r in root]
        way = chart.graph.widest_path(chart.probability, int(places[ends[a]]), int(places[ends[b]]))
        found.append(Pass((a, b), height, int(way[chart.probability[way].argmin()])))
    return tuple(found)


def described(islands: Islands, island: int, names: Sequence[str] = ()) -> str:
    """Return an island's number, from 1 on, its share of the good latents, and the classes that it mostly holds."""
    text = f"{island + 1}: {100 * float(islands.share[island]):.1f} %"
    if islands.makeup is None or not names:
        return text
    share = islands.makeup[island]
    order = share.argsort(descending=True, stable=True)[:3].tolist()
    kinds = ", ".join(f"{names[k]} {100 * float(share[k]):.0f} %" for k in order if share[k] >= 0.1)
    return f"{text} ({kinds or 'of all classes'})"


def landscape(
    quality: QualityMap,
    generator: Generator,
    critic: Critic,
    *,
    plane: Projection | None = None,
    islands: Islands | None = None,
    features: Features | None = None,
    batch_size: int = 64,
) -> Image:
    """Draw a map's probability over the plane, with its islands and passes, as (H, W, 3).

    The plane of two-dimensional latents is filled: every latent of a grid is scored. In others the map's latents are
    points. An island has its number at its representative, and its outline where the plane is filled; a diamond is a
    pass, with the probability of the worst sample on the best way between two islands.

    Args:
        quality: a map with a chart.
        generator: the model whose map it is.
        critic: the one that scored it.
        plane: a projection of the map's samples, where neither latents nor samples are points of the plane.
        islands: of the map; by default those at its own threshold.
        features: what the map was charted with.
        batch_size: latents a call.

    Raises:
        ShapeError: if the projection is one of more or fewer rows.
        ArgumentError: if the map has no chart, or there is no plane to draw it in.
    """
    islands = quality.islands() if islands is None else islands
    ground = ground_of(quality, generator, plane, batch_size=batch_size)
    field = None
    if ground.kind == "latents":
        field = field_of(quality, generator, critic, features=features, batch_size=batch_size)
    with drawing():
        figure, axes = new_axes(640, 540, x=ground.axes[0], y=ground.axes[1])
        if field is None:
            shown: Any = _points(axes, ground, quality.probability.numpy())
        else:
            options: Any = {"extent": field.limits, "origin": "lower", "aspect": "equal", "interpolation": "bilinear"}
            shown = axes.imshow(field.probability.numpy(), cmap=SCALE, vmin=0.0, vmax=1.0, **options)
            axes.grid(False)
            _outlines(axes, field, numbered(quality, islands), islands)
        figure.colorbar(shown, ax=axes, label="calibrated probability of being real", shrink=0.8)
        axes.set_title(f"islands at a probability of at least {islands.threshold:.3f}")
        _passes(axes, quality, islands, ground)
        _numbers(axes, islands, ground)
        return figure_rgb(figure)


def islands_picture(points: Tensor, islands: Islands, *, names: Sequence[str] = (), axes: tuple[str, str]) -> Image:
    """Draw points (N, 2) of a map in the colours of their islands, with a legend, as (H, W, 3).

    Args:
        points: where the map's latents, or their samples, lie.
        islands: of that map.
        names: of classes, if the islands have a make-up.
        axes: labels of the axes; empty ones hide them.
    """
    with drawing():
        figure, drawn = new_axes(760, 540, x=axes[0], y=axes[1])
        ground = Ground(points, "projection" if not axes[0] else "samples")
        # Not good: pale; good, on no island or on one without a number: dark.
        _points(drawn, ground, None, MUTED, 0.35)
        colours = distinct_colours(NUMBERED)
        for k in range(min(len(islands), NUMBERED)):
            some = Ground(points[islands.labels == k], ground.kind)
            _points(drawn, some, None, colours[k], 0.8, label=described(islands, k, names), of=len(points))
        rest = islands.labels >= NUMBERED
        if bool(rest.any()):
            label = f"{len(islands) - NUMBERED} smaller"
            _points(drawn, Ground(points[rest], ground.kind), None, INK, 0.6, label=label, of=len(points))
        _numbers(drawn, islands, ground, aside=True)
        if len(islands):
            place = "outside lower left" if names else "outside right upper"  # names are long
            figure.legend(
                loc=place, title="share of good latents", markerscale=2.5, fontsize="medium", ncols=1 + bool(names)
            )
        return figure_rgb(figure)


def _points(
    axes: Any, ground: Ground, values: Any, colour: str = "", alpha: float = 1.0, *, label: str = "", of: int = 0
) -> Any:
    """Draw a plane's points, in a colour or by values, and hide axes that mean nothing."""
    size = float(np.clip(20_000.0 / max(of, len(ground.points), 1), 1.5, 14.0))
    x, y = ground.points.numpy().T
    coloured: dict[str, Any] = {"color": colour}
    if values is not None:
        coloured = {"c": values, "cmap": SCALE, "vmin": 0.0, "vmax": 1.0}
    dots = axes.scatter(x, y, s=size, linewidths=0, alpha=alpha, label=label or None, **coloured)
    axes.set_aspect("equal", adjustable="datalim")
    if ground.kind == "projection":
        axes.set_axis_off()
    return dots


def _outlines(axes: Any, field: Field, land: Tensor, islands: Islands) -> None:
    """Draw the shore of each numbered island in its colour."""
    side = len(field.probability)
    left, right, bottom, top = field.limits
    x = left + (np.arange(side) + 0.5) / side * (right - left)
    y = bottom + (np.arange(side) + 0.5) / side * (top - bottom)
    lying = torch.where(field.probability >= islands.threshold, land[field.places], -1)
    colours = distinct_colours(NUMBERED)
    for k in range(min(len(islands), NUMBERED)):
        inside = (lying == k).double().numpy()
        if 0.0 < inside.mean() < 1.0:
            axes.contour(x, y, inside, levels=[0.5], colors=[GROUND], linewidths=3.0)
            axes.contour(x, y, inside, levels=[0.5], colors=[colours[k]], linewidths=1.6)


def _numbers(axes: Any, islands: Islands, ground: Ground, *, aside: bool = False) -> None:
    """Write each island's number at its representative, or beside it, where it would hide a small island."""
    colours = distinct_colours(NUMBERED)
    for k in range(min(len(islands), NUMBERED)):
        place = ground.points[islands.representative[k]].tolist()
        box = {"boxstyle": "circle,pad=0.25", "facecolor": GROUND, "edgecolor": colours[k], "linewidth": 1.6}
        font = {"fontsize": 9, "fontweight": "bold", "ha": "center", "va": "center"}
        shift = (13.0, 11.0) if aside else (0.0, 0.0)
        axes.annotate(str(k + 1), place, xytext=shift, textcoords="offset points", bbox=box, zorder=6, **font)


def _passes(axes: Any, quality: QualityMap, islands: Islands, ground: Ground) -> None:
    places = quality._charted()[1]
    for found in passes(quality, islands):
        here = (places == found.row).nonzero()[:, 0]
        if not len(here):  # of a part of a map, whose chart is the whole's
            continue
        x, y = ground.points[here[0]].tolist()
        axes.plot([x], [y], "D", color=GROUND, markeredgecolor=INK, markersize=5.0, zorder=5)
        text = axes.annotate(
            f"{found.probability:.2f}", (x, y), xytext=(5, 4), textcoords="offset points", fontsize=7.5, zorder=6
        )
        text.set_bbox({"facecolor": GROUND, "alpha": 0.75, "pad": 0.6, "linewidth": 0})
