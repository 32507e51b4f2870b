"""The report's route: a way through good latents, on the map, beside the curves that ignore it."""

from pathlib import Path

from latentkit.journeys import journey
from latentkit.render import save_png
from latentkit.reports.media import save_film
from latentkit.reports.page import Figure
from latentkit.reports.study import Study
from latentkit.reports.terrain import Terrain

__all__ = ["routed"]

#: Samples along each curve, and frames of the film.
STEPS = 56


def routed(study: Study, terrain: Terrain, folder: Path, *, wide: bool) -> tuple[list[Figure], str]:
    """Draw and film the route of the bake-off on the map, beside the curves that ignore it, and say what became of it.

    There are no pictures where it could not be made.
    """
    generator, rivals, way = study.checkpoint.generator, study.rivals, study.rivals.route
    if way is None:
        return [], "There is no route between the latents of the bake-off."
    trip = journey(
        terrain.found,
        generator,
        terrain.judged.critic,
        way([0.0])[0],
        way([1.0])[0],
        plane=study.plane,
        way=way,
        steps=STEPS,
        batch_size=study.batch_size,
    )
    save_png(trip.picture(), folder / "route.png")
    best, gif = save_film(trip.film(), folder, "route")
    made = f"from latent {rivals.a} to latent {rivals.b} of seed {study.seed}, {rivals.which}"
    shown = "On the left the map, on the right samples along each curve" if study.images else "The map and the samples"
    pictures = [
        Figure(
            best,
            "Film of the route beside the curves that ignore the map",
            f"{shown}, below their probability; the dashed line is the threshold.",
            f"{made}; {trip.places.shape[1]} frames at 16 a second",
            wide=wide,
            gif=gif,
        ),
        Figure(
            "route.png",
            "A route on the map beside its samples",
            "The whole journey at once; markers are at even times.",
            f"{made}; {trip.places.shape[1]} samples a curve",
            wide=True,
        ),
    ]
    note = f"The route of the bake-off joins {rivals.which}"
    if not way.crosses:
        return pictures, f"{note}. It is {way.note}."
    why = "Good samples that are near each other need not have good latents between them, and no choice mends that."
    return pictures, f"{note}; {way.note}. {why}"
