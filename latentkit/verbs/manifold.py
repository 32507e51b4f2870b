"""The verbs that map the good part of the latent space."""

import argparse
from typing import Any

import torch

from latentkit import streams
from latentkit.animation import FASTEST
from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_number
from latentkit.conditional import Marginal
from latentkit.console import said
from latentkit.drawn import best_of, check_filling, map_of, opened, shows
from latentkit.errors import ArgumentError
from latentkit.journeys import journey
from latentkit.limits import MOST_FRAMES, MOST_SCORED, MOST_STORED, check_drawable, check_memory, count_of
from latentkit.metrics import sample_quality
from latentkit.projection import Projection
from latentkit.projection import project as lay_out
from latentkit.quality import QualityMap
from latentkit.quality.blocks import SCORES
from latentkit.render import save_png
from latentkit.routes import compare_routes
from latentkit.routes import route as find_route
from latentkit.stores import Table
from latentkit.stores.room import in_units
from latentkit.tides import tide as tide_of
from latentkit.verbs.output import FILMS, generated, is_film
from latentkit.views import classes_of, curve_of, island_of, probability_by_class

__all__ = ["quality", "route", "tide"]

#: Latents that a picture of a map can show, and samples that coverage is measured on.
MOST_DRAWN, MOST_COMPARED = 100_000, 2_000

#: Islands that are listed one by one.
LISTED = 12


def quality(arguments: argparse.Namespace) -> dict[str, Any]:
    """Score latents with the calibrated critic, and find their islands."""
    stored, written = arguments.store, arguments.out is not None
    if not written:
        if stored is None:
            raise ArgumentError("nothing says where to write; give --out FILE.npz, or --store DIR for a large map")
        arguments.out = stored
    check_filling(arguments, store=stored is not None, hint="give --store DIR")
    checkpoint, out = opened(arguments, (".npz",) if written else ())
    fraction = best_of(arguments)
    if fraction is not None and not written:
        raise ArgumentError("--best says which latents to write, so it needs --out FILE.npz; a store holds them all")
    n = count_of(arguments.n, "-n", most=MOST_SCORED if stored is None else MOST_STORED)
    if written or isinstance(checkpoint.generator, Marginal):  # all latents are looked at
        check_memory(checkpoint, n, "-n", samples=False)
    if stored is not None and shows(arguments):
        said("latentkit", f"{n:,} latents: {in_units(Table(n, n, SCORES).nbytes)} on disk")
    scored, judged = map_of(checkpoint, arguments, n, charted=True)
    labels = checkpoint.generator.labels(scored.latents) if isinstance(checkpoint.generator, Marginal) else None
    islands = scored.islands(labels=labels)
    kept = scored
    if fraction is not None:
        kept = scored.top_balanced(fraction, islands) if arguments.balanced else scored.top(fraction)
    if written:
        kept.save(out)
    calibration = scored.calibration
    return {
        "wrote": str(out),
        **({} if stored is None else {"store": str(stored)}),
        "latents": len(kept),
        "critic": "a second opinion" if judged.second else "the checkpoint's own",
        "verdict": scored.verdict,
        "auc": calibration.auc,
        "brier": calibration.brier,
        "calibration_error": calibration.ece,
        "z": calibration.z,
        "z_of_raw_logits": calibration.z_raw,
        "mean_probability": float(kept.probability.mean()),
        **probability_by_class(checkpoint.generator, scored),
        "threshold": islands.threshold,
        "good": islands.good / len(scored),
        "coverage": _coverage(checkpoint, scored, islands.threshold),
        "islands": {str(k + 1): island_of(checkpoint, scored, islands, k) for k in range(min(len(islands), LISTED))},
        "islands_in_all": len(islands),
    }


def _coverage(checkpoint: Checkpoint, scored: QualityMap, threshold: float) -> dict[str, float]:
    """Return the share of held-out samples that have a sample of the map nearby: one of all, or of the good latents.

    Both are of as many samples, so that they can be compared.
    """
    chart, real = scored.chart, checkpoint.holdout.flatten(1)[:MOST_COMPARED]
    if chart is None:
        return {}
    good = chart.features[chart.probability >= threshold]
    count = min(len(real), len(good))
    if count <= 5:
        return {}
    sides = {"of_all": chart.features, "of_good": good}
    return {name: sample_quality(real[:count], side[:count]).coverage for name, side in sides.items()}


def _plane(checkpoint: Checkpoint, scored: QualityMap, arguments: argparse.Namespace) -> Projection | None:
    """Lay the map's samples out in the plane, unless they or their latents are points of it."""
    if check_drawable(checkpoint) == "point" or scored.prior.dim == 2:
        return None
    return lay_out(generated(checkpoint, scored.latents, arguments), "umap", seed=arguments.seed)


def tide(arguments: argparse.Namespace) -> dict[str, Any]:
    """Film the rising tide."""
    checkpoint, out = opened(arguments, FILMS)
    check_drawable(checkpoint)
    n = count_of(arguments.n, "-n", most=MOST_DRAWN)
    frames = count_of(arguments.frames, "--frames", least=2, most=MOST_FRAMES)
    fps = as_number(arguments.fps, "--fps", least=0.0, most=FASTEST, open_least=True)
    scored, judged = map_of(checkpoint, arguments, n, charted=True)
    generator, critic = checkpoint.generator, judged.critic
    islands, plane = scored.islands(), _plane(checkpoint, scored, arguments)
    film = tide_of(
        scored,
        generator,
        critic,
        plane=plane,
        islands=islands,
        frames=frames,
        fps=fps,
        batch_size=arguments.batch_size,
    )
    film.save(out, progress=shows(arguments))
    return {
        "wrote": str(out),
        "frames": film.count,
        "seconds": film.seconds,
        "critic": "a second opinion" if judged.second else "the checkpoint's own",
        "verdict": scored.verdict,
        "islands": islands.summary,
    }


def route(arguments: argparse.Namespace) -> dict[str, Any]:
    """Lead from one latent to another through what the critic believes."""
    checkpoint, out = opened(arguments, (".png", *FILMS))
    check_drawable(checkpoint)
    n = count_of(arguments.n, "-n", most=MOST_DRAWN)
    steps = count_of(arguments.steps, "--steps", least=2, most=MOST_FRAMES)
    for k in (arguments.a, arguments.b):
        if not 0 <= k < streams.LONGEST:
            raise ArgumentError(f"A and B are numbers of latents from 0 to 2**96 - 1, got {k}")
    if arguments.a == arguments.b:
        raise ArgumentError(f"A and B are both {arguments.a}, so there is no way between them; take two latents")
    scored, judged = map_of(checkpoint, arguments, n, charted=True)
    generator, critic, size = checkpoint.generator, judged.critic, arguments.batch_size
    a, b = (generator.prior.sample(1, seed=arguments.seed, start=k)[0] for k in (arguments.a, arguments.b))
    plane = _plane(checkpoint, scored, arguments)
    way = find_route(scored, generator, critic, a, b, batch_size=size)
    trip = journey(scored, generator, critic, a, b, plane=plane, way=way, steps=steps, batch_size=size)
    if is_film(out):
        trip.film().save(out, progress=shows(arguments))
    else:
        save_png(trip.picture(), out)
    rows = compare_routes(scored, generator, critic, a, b, way=way, batch_size=size)
    return {
        "wrote": str(out),
        "critic": "a second opinion" if judged.second else "the checkpoint's own",
        "verdict": scored.verdict,
        "route": trip.note,
        "curves": {row.name: curve_of(row) for row in rows},
        **classes_of(generator, torch.stack([a, b])),
    }
