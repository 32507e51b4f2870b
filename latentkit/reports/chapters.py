"""Chapters of the report: each takes the study, writes its pictures and says what they show."""

from pathlib import Path

import numpy as np
import torch

from latentkit import plots
from latentkit.conditional import Marginal
from latentkit.render import samples_sheet, save_png
from latentkit.reports import classes
from latentkit.reports.page import Chapter, Figure, Table
from latentkit.reports.study import Study
from latentkit.scatter import plane_limits, points_rgb

__all__ = ["making", "samples"]

FAVOURITES = (
    "If the critic is worth its verdict, the favourites look better than the least believed. They may also look alike: "
    "a critic's favourites can be a single kind of sample."
)
NO_SIGNAL = "No best or worst samples are shown: the critic's scores carry no signal."


def samples(study: Study, folder: Path) -> Chapter:
    """Random samples beside held-out real ones, and what the critic likes most and least."""
    if study.marginal is not None and study.images:
        return _samples_by_class(study, study.marginal, folder)
    # Never more than a quarter: the best and the worst are not to overlap.
    shown = min(64 if study.images else 2_000, len(study.samples) // 4)
    real = study.checkpoint.holdout[:shown]
    groups = [
        ("samples.png", study.samples[:shown], "Random samples, not chosen", f"the first {shown} of seed {study.seed}"),
        ("real.png", real, "Real samples that training never saw", f"the first {len(real)} held-out samples"),
    ]
    text = ["What the generator makes of latents drawn from its prior, beside real samples that it never saw."]
    if study.quality is not None and study.believed:
        ranked = study.samples[study.quality.top(1.0).index]
        drawn = f"of {len(ranked)} samples of seed {study.seed} by calibrated score"
        groups += [
            ("best.png", ranked[:shown], "The critic's favourites", f"the {shown} best {drawn}"),
            ("worst.png", ranked[-shown:], "What the critic believes least", f"the {shown} worst {drawn}"),
        ]
        text.append(FAVOURITES)
    elif study.quality is not None:
        text.append(NO_SIGNAL)
    limits = None if study.images else plane_limits(study.samples, study.checkpoint.holdout)
    for name, group, _, _ in groups:
        picture = samples_sheet(group, columns=8) if study.images else points_rgb(group, limits=limits, size=420)
        save_png(picture, folder / name)
    figures = [Figure(name, what, f"{what}.", made, study.images) for name, _, what, made in groups]
    by_class = classes.points_by_class(study, folder)
    return Chapter("samples", "Samples", tuple(text), (*figures, *([by_class] if by_class else [])))


def _samples_by_class(study: Study, generator: Marginal, folder: Path) -> Chapter:
    text = ["What the generator makes of latents drawn from its prior, beside real samples that it never saw."]
    figures = classes.drawn(study, generator, folder)
    if study.quality is not None and study.believed:
        figures += classes.ranked(study, folder)
        text.append(f"{FAVOURITES} Each class is ranked by itself.")
    elif study.quality is not None:
        text.append(NO_SIGNAL)
    return Chapter("samples", "Samples", tuple(text), figures)


def making(study: Study, folder: Path) -> Chapter:
    """How the model was trained and the report was made, so that both can be made again."""
    checkpoint = study.checkpoint
    figures = []
    history = checkpoint.history
    steps = history.get("step")
    lines = {key: np.asarray(values) for key, values in history.items() if key.endswith("loss")}
    if steps and lines:
        save_png(plots.lines_picture(np.asarray(steps), lines, x_label="step", y_label="loss"), folder / "training.png")
        figures.append(
            Figure(
                "training.png",
                "Losses over the steps",
                "Losses over the training.",
                "the checkpoint's history of means",
            )
        )
    settings = Table(
        "How it was trained.",
        ("setting", "value"),
        tuple((key, str(value)) for key, value in checkpoint.settings.items()),
    )
    return Chapter(
        "making",
        "How it was made",
        (),
        tuple(figures),
        (settings, Table("What made this page.", ("part", "version"), _versions())),
    )


def _versions() -> tuple[tuple[str, str], ...]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    rows = [
        ("python", platform.python_version()),
        ("machine", platform.machine()),
        ("torch threads", str(torch.get_num_threads())),
    ]
    for name in ("latentkit", "torch", "numpy", "scikit-learn", "umap-learn", "numba", "pillow", "matplotlib"):
        try:
            rows.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return tuple(rows)
