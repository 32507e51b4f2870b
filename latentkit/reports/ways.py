"""The report's route: a way through good latents, on the map, beside the curves that ignore it."""

from pathlib import Path

import torch

from latentkit.journeys import journey
from latentkit.judges import Judged
from latentkit.landscapes import passes
from latentkit.planes import Ground
from latentkit.quality import Islands, QualityMap
from latentkit.render import save_png
from latentkit.reports.page import Figure, Table
from latentkit.reports.study import Study
from latentkit.routes import curve_quality, route, ways_between

__all__ = ["compared"]

#: Samples along a curve of the table.
STEPS = 96

#: Latents whose pairs are looked at for the ends of a route.
ENDS = 64


def compared(
    study: Study,
    found: QualityMap,
    judged: Judged,
    islands: Islands,
    ground: Ground,
    folder: Path,
    *,
    wide: bool,
) -> tuple[list[Figure], Table, str]:
    """Draw and film a route beside the curves that ignore the map, and compare them in a table."""
    generator, size = study.checkpoint.generator, study.batch_size
    a, b, which = _ends(study, found, islands, ground)
    way = route(found, generator, judged.critic, a, b, batch_size=size)
    trip = journey(found, generator, judged.critic, a, b, plane=study.plane, way=way, batch_size=size)
    save_png(trip.picture(), folder / "route.png")
    trip.film().save(folder / "route.gif")
    made = f"from latent {int(found.index[a])} to latent {int(found.index[b])} of seed {study.seed}, {which}"
    names = ("route", "prior-matched", "lerp", "slerp", "geodesic")
    ways = ways_between(
        generator,
        a,
        b,
        names=names,
        quality=found,
        critic=judged.critic,
        way=way,
        points=12,
        steps=40,
        batch_size=size,
    )
    rows = []
    for name, curve in ways.items():
        if isinstance(curve, str):
            rows.append((name, *["-"] * 5))
            continue
        line = curve_quality(found, generator, judged.critic, curve, name=name, steps=STEPS, batch_size=size)
        figures = (line.mean_probability, line.least_probability, line.length, line.worst_jump, line.mean_typicality)
        rows.append((name, *(f"{value:.3g}" for value in figures)))
    table = Table(
        f"The route and other curves {made}: what their samples are like at {STEPS} even times. The worst jump is the "
        "largest change from one sample to the next over the mean one.",
        ("curve", "mean probability", "least", "length", "worst jump", "mean typicality"),
        tuple(rows),
    )
    shown = "On the left the map, on the right samples along each curve" if study.images else "The map and the samples"
    pictures = [
        Figure(
            "route.gif",
            "Film of the route beside the curves that ignore the map",
            f"{shown}, below their probability; the dashed line is the threshold.",
            f"{made}; {trip.places.shape[1]} frames at 16 a second",
            wide=wide,
        ),
        Figure(
            "route.png",
            "A route on the map beside its samples",
            "The whole journey at once; markers are at even times.",
            f"{made}; {trip.places.shape[1]} samples a curve",
            wide=True,
        ),
    ]
    if not way.crosses:
        return pictures, table, f"The route leads {which}. It is {way.note}."
    why = "Good samples that are near each other need not have good latents between them, and no choice mends that."
    return pictures, table, f"The route leads {which}; {way.note}. {why}"


def _ends(study: Study, found: QualityMap, islands: Islands, ground: Ground) -> tuple[int, int, str]:
    """Return the rows of the map that the route joins, and what they are."""
    joined = passes(found, islands)
    if joined and joined[0].probability >= 0.5 * found.threshold:
        i, j = joined[0].islands
        ends = islands.representative[[i, j]].tolist()
        return (
            ends[0],
            ends[1],
            f"between the representatives of islands {i + 1} and {j + 1}, whose pass is the highest",
        )
    rows, within = islands.rows(0), ""
    if study.marginal is not None and study.labels is not None and study.scene.label is not None:
        own = rows[study.labels[rows] == study.marginal.classes.index(study.scene.label)]
        rows, within = (own, f" in class {study.scene.label}") if len(own) > 1 else (rows, "")
    rows = rows[:ENDS]
    places = ground.points[rows].double()
    i, j = divmod(int(torch.cdist(places, places).argmax()), len(rows))
    what = f"between two latents of island 1{within}: of its first {len(rows)} the two farthest apart on the map"
    if len(islands) > 1:
        what += " (between islands no way is half as good as the threshold)"
    return int(rows[i]), int(rows[j]), what
