"""The report's map: samples laid out in the plane, to be hovered over and chosen from, and a walk across it."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latentkit import plots
from latentkit.animation import from_frames
from latentkit.curves import loop
from latentkit.projection import Projection
from latentkit.render import save_image, save_png, sheet, thumbnails, to_rgb
from latentkit.reports.mapdata import map_data
from latentkit.reports.media import save_film
from latentkit.reports.page import Chapter, Figure
from latentkit.reports.study import Study
from latentkit.sampling.generate import generate

__all__ = ["chapter"]

SIDE = 32  # pixels of a thumbnail
COLUMNS = 64
FRAMES = 96
KEYS = 6

#: Frames of the walk's film for each of several classes.
FRAMES_EACH = 10


def chapter(study: Study, folder: Path) -> Chapter:
    """Lay the samples out in the plane."""
    chosen = (
        "Samples that are chosen, by a click, a box or the keyboard, are shown below the map with their latents: as a "
        "list to copy, and as a file that NumPy loads."
    )
    curves = _about_curves(study)
    if study.plane is None:
        text = ("The samples are points of the plane, so they need no projection.", chosen, *curves)
        return Chapter("map", "Map", text, map=map_data(study))
    points = study.plane.points
    text = [f"UMAP of {len(points)} samples, by their pixels: {study.plane.verdict} {chosen}", *curves]
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
    return Chapter("map", "Map", tuple(text), figures, map=map_data(study, atlas=atlas, side=SIDE, columns=COLUMNS))


def _about_curves(study: Study) -> tuple[str, ...]:
    """Say what is drawn over the map, if anything is."""
    if not study.rivals.mapped:
        return ()
    torn = " Where it is dotted, between two crosses, the layout is torn: the samples hardly change there."
    return ("The curves over it are those of the bake-off." + torn * (study.plane is not None),)


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
    best, gif = save_film(film, folder, "walk-map")
    return Figure(
        best,
        "Film of a walk through the latent space beside its trace on the map",
        "A walk through the latent space, and where its samples fall on the map.",
        f"{made}, {frames} frames; each sample is at the weighted mean of its 15 nearest ones' places",
        gif=gif,
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
