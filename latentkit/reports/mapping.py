"""The report's map: samples laid out in the plane, to be hovered over, and a walk across it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentkit import plots
from latentkit.animation import from_frames
from latentkit.attributes import attributes_of
from latentkit.curves import loop
from latentkit.projection import Projection
from latentkit.render import save_image, save_png, sheet, thumbnails, to_rgb
from latentkit.reports.page import Chapter, Figure, MapData
from latentkit.reports.study import Study
from latentkit.sampling.generate import generate

__all__ = ["chapter"]

SIDE = 32  # pixels of a thumbnail
COLUMNS = 64
FRAMES = 96
KEYS = 6

#: Frames of the walk's film for each of several classes.
FRAMES_EACH = 12


def chapter(study: Study, folder: Path) -> Chapter:
    """Lay the samples out in the plane."""
    if study.plane is None:
        return _points(study, folder)
    points = study.plane.points
    text = [
        f"UMAP of {len(points)} samples, by their pixels: {study.plane.verdict} Hover over the map, or move with the "
        "arrow keys, to see a sample."
    ]
    if study.marginal is None:
        text.append(
            "The film walks through the latent space and marks where each sample falls on the map. A marker that jumps "
            "while the sample hardly changes shows where the layout, not the latent space, is torn."
        )
    else:
        text[0] += " The button of a class shows it alone."
        text.append(
            "The film walks through the latents of one class after another, each named below, and marks where each "
            "sample falls on the map. Between two classes the marker must jump; one that jumps within a class while "
            "the sample hardly changes shows where the layout, not the latent space, is torn."
        )
    atlas = "atlas.webp"
    small = thumbnails(study.samples, SIDE)
    save_image(sheet(small, COLUMNS, gap=0), folder / atlas)
    figures = (_walk(study, study.plane, folder), _thumbnail_map(study, points, small, folder))
    return Chapter("map", "Map", tuple(text), figures, map=MapData(atlas, _values(study, points)))


def _points(study: Study, folder: Path) -> Chapter:
    """Samples that are points of the plane are their own map."""
    score = study.quality.probability if study.quality is not None and study.believed else None
    coloured = "" if score is None else ", coloured by its calibrated score"
    picture = plots.plane_picture(
        study.samples, score, title="generated points", label="probability of being real", axes_labels=("x", "y")
    )
    save_png(picture, folder / "plane.png")
    figure = Figure(
        "plane.png",
        f"Generated points{coloured}",
        f"Every generated point{coloured}.",
        f"{len(study.samples)} samples of seed {study.seed}",
    )
    return Chapter("map", "Map", ("The samples are points of the plane, so they need no projection.",), (figure,))


def _field(name: str, values: list[float], low: float, high: float, *, cut: bool = False) -> dict[str, Any]:
    """Return what the map can be coloured by: values (N,), lowest and highest shown, can it be a threshold."""
    return {"name": name, "values": values, "low": low, "high": high, "cut": cut}


def _rounded(values: Tensor) -> list[float]:
    return [round(v, 3) for v in values.tolist()]


def _fields(study: Study) -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = []
    if study.marginal is not None and study.labels is not None:
        names = study.marginal.classes
        kinds = {"names": names, "colours": plots.distinct_colours(len(names))}
        fields.append(_field("class", study.labels.tolist(), 0.0, len(names) - 1.0) | kinds)
    if study.quality is not None:
        for name in ("probability", "typicality"):
            fields.append(_field(name, _rounded(getattr(study.quality, name)), 0.0, 1.0, cut=True))
    for name, measure in attributes_of(study.samples).items():
        values = measure(study.samples)
        low, high = torch.quantile(values, torch.tensor([0.02, 0.98], dtype=values.dtype)).tolist()
        fields.append(_field(name, _rounded(values), low, high))
    return fields


def _values(study: Study, points: Tensor) -> dict[str, Any]:
    low = points.min(0).values
    extent = (points.max(0).values - low).clamp(min=1e-6)
    scale = 1000.0 / float(extent.max())
    placed = ((points - low) * scale).round()
    return {
        "x": placed[:, 0].long().tolist(),
        "y": placed[:, 1].long().tolist(),
        "width": float(extent[0] * scale),
        "height": float(extent[1] * scale),
        "seed": study.seed,
        "side": SIDE,
        "columns": COLUMNS,
        "fields": _fields(study),
    }


def _walk(study: Study, plane: Projection, folder: Path) -> Figure:
    """Film a loop: the sample on the left, its place on the map on the right."""
    latents, names, made = _way(study)
    moving = generate(study.checkpoint.generator, latents, batch_size=study.batch_size)
    places = plane.transform(moving)
    values = study.quality.probability if study.quality is not None and study.believed else None
    stage = plots.MapStage(plane.points, values)
    pictures = to_rgb(moving)
    frames, fps = len(latents), 24 if not names else 16
    film = from_frames(lambda: stage.frames(pictures, places.numpy()), count=frames, fps=fps, captions=names)
    film.save(folder / "walk-map.gif")
    return Figure(
        "walk-map.gif",
        "Film of a walk through the latent space beside its trace on the map",
        "A walk through the latent space, and where its samples fall on the map.",
        f"{made}, {frames} frames; each sample is at the weighted mean of its 15 nearest ones' places",
    )


def _way(study: Study) -> tuple[Tensor, list[str], str]:
    """Return the latents (T, D) of the film, the classes that they go through, one a frame, and how they were made."""
    generator = study.marginal
    good = study.good_keys(KEYS) if generator is None else None
    keys = study.latents[:KEYS] if good is None else good
    way = loop(keys, prior=study.checkpoint.generator.prior)
    which = "the first" if good is None else "the first in the critic's better quarter"
    made = f"loop of {KEYS} latents of seed {study.seed} ({which})"
    if generator is None:
        return way.steps(FRAMES), [], made
    labels = torch.arange(len(study.shown)).repeat_interleave(FRAMES_EACH)
    latents = generator.in_class(way.steps(len(labels)), labels)
    return latents, [generator.classes[k] for k in labels.tolist()], f"{made}, {FRAMES_EACH} frames in each class"


def _thumbnail_map(study: Study, points: Tensor, small: np.ndarray, folder: Path) -> Figure:
    save_png(plots.thumbnail_picture(points.numpy(), small), folder / "map.png")
    return Figure(
        "map.png",
        "Map of samples drawn as thumbnails",
        "The same map with samples in place of points; one is drawn wherever there is room.",
        f"UMAP of {len(study.samples)} samples of seed {study.seed}",
    )
