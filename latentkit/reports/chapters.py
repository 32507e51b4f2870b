"""The report's chapters: each takes the study, writes its pictures and says what they show."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latentkit import plots
from latentkit.animation import animate
from latentkit.curves import Curve, interpolate, lerp, loop, slerp
from latentkit.render import samples_sheet, save_png
from latentkit.reports.page import Chapter, Figure, Table
from latentkit.reports.study import Study
from latentkit.reports.verdict import believed
from latentkit.sampling.generate import generate
from latentkit.scatter import plane_limits, points_rgb

__all__ = ["making", "quality", "samples", "walks"]

KEYS = 6
FRAMES = 96
PAIRS = 200


def samples(study: Study, folder: Path) -> Chapter:
    """Random samples beside held-out real ones, and what the critic likes most and least."""
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
        text.append(
            "If the critic is worth its verdict, the favourites look better than the least believed. They may also "
            "look alike: a critic's favourites can be a single kind of sample."
        )
    elif study.quality is not None:
        text.append("No best or worst samples are shown: the critic's scores carry no signal.")
    limits = None if study.images else plane_limits(study.samples, study.checkpoint.holdout)
    for name, group, _, _ in groups:
        picture = samples_sheet(group, columns=8) if study.images else points_rgb(group, limits=limits, size=420)
        save_png(picture, folder / name)
    figures = tuple(Figure(name, what, f"{what}.", made, study.images) for name, _, what, made in groups)
    return Chapter("samples", "Samples", tuple(text), figures)


def walks(study: Study, folder: Path) -> Chapter:
    """Loops through random and through good latents, and the three ways to go from one to another."""
    prior, generator = study.checkpoint.generator.prior, study.checkpoint.generator
    tours = [("random", study.latents[:KEYS], "random latents", f"the first {KEYS} of seed {study.seed}")]
    good = study.good_keys(KEYS)
    if good is not None:
        tours.append(("best", good, "good latents", f"the first {KEYS} in the critic's better quarter"))
    figures = []
    for name, keys, what, which in tours:
        film = animate(generator, loop(keys, prior=prior), frames=FRAMES, fps=24, batch_size=study.batch_size)
        film.save(folder / f"walk-{name}.gif")
        made = f"loop of {KEYS} keyframes ({which}), prior-matched, {FRAMES} frames at 24 a second"
        figures.append(
            Figure(f"walk-{name}.gif", f"Film of a walk through {what}", f"A loop through {what}.", made, study.images)
        )
    ways, lines, times = _ways(study)
    drawn = float(study.checkpoint.generator.prior.typicality(study.latents).mean())
    chart = plots.lines_picture(
        times, lines, x_label="way from one latent to the other", y_label="mean typicality", top=1.0
    )
    save_png(chart, folder / "typicality.png")
    figures.append(
        Figure(
            "typicality.png",
            "Typicality of the latents along three kinds of curves",
            "How typical the latents on the way are for the prior. Near 0 the generator is asked for something that it "
            "practically never saw in training.",
            f"{PAIRS} pairs of latents, seed {study.seed}, 33 steps each, mean typicality",
        )
    )
    if study.images:
        i, j = _far_apart(study.samples[:12])
        rows = [make(study.latents[i], study.latents[j]).steps(9) for make in ways.values()]
        strip = generate(generator, torch.cat(rows), batch_size=study.batch_size)
        save_png(samples_sheet(strip, columns=9), folder / "curves.png")
        figures.append(
            Figure(
                "curves.png",
                "Samples along three curves between the same two latents",
                f"The same two ends, rows from above: {', '.join(ways)}.",
                f"latents {i} and {j} of seed {study.seed}, of the first 12 those whose samples differ most; 9 steps",
                pixelated=True,
            )
        )
    halfway = {name: values[len(values) // 2] for name, values in lines.items()}
    text = (
        "Typicality says how usual a latent's distance from the prior's centre is, from 0 (no draw lies so far in or "
        "out) to 1: over draws it is even, so 0.5 on average. A curve that keeps it asks the generator only for "
        "what it was trained on.",
        f"What is filmed here is prior-matched: halfway between two latents of {prior.dim} dimensions the typicality "
        f"averages {halfway['interpolate']:.2f}, that of draws from the prior {drawn:.2f}. On a straight line it is "
        f"{halfway['lerp']:.2f}. On a great circle it is {halfway['slerp']:.2f}: its length is the mean of two draws' "
        "lengths, and means keep to the middle.",
    )
    return Chapter("walks", "Walks", text, tuple(figures))


def _far_apart(samples: Tensor) -> tuple[int, int]:
    """Return which two of a few samples (N, ...) differ most."""
    rows = samples.flatten(1)
    return divmod(int(torch.cdist(rows, rows).argmax()), len(rows))


def _ways(study: Study) -> tuple[dict[str, Callable[..., Curve]], dict[str, np.ndarray], np.ndarray]:
    """Return three kinds of curves by name, their mean typicality (T,) over pairs of latents, and the times (T,)."""
    prior = study.checkpoint.generator.prior
    ways: dict[str, Callable[..., Curve]] = {
        "interpolate": partial(interpolate, prior=prior),
        "slerp": slerp,
        "lerp": lerp,
    }
    a, b = study.latents[:PAIRS], study.latents[PAIRS : 2 * PAIRS]
    times = torch.linspace(0.0, 1.0, 33)
    lines = {}
    for name, make in ways.items():
        z = make(a, b)(times)
        lines[name] = prior.typicality(z.flatten(0, 1)).reshape(len(times), -1).mean(1).numpy()
    return ways, lines, times.numpy()


def quality(study: Study, folder: Path) -> Chapter:
    """What the critic says of samples it never saw, how far it can be believed, and where it is high."""
    if study.quality is None:
        return Chapter("quality", "Quality", (believed(study).detail,))
    found = study.quality
    calibration = found.calibration
    figures = []
    real = calibration.probability(study.real_logits).numpy()
    picture = plots.histogram_picture(
        {"held-out real": real, "generated": found.probability.numpy()}, x_label="calibrated probability of being real"
    )
    save_png(picture, folder / "scores.png")
    figures.append(
        Figure(
            "scores.png",
            "Histogram of calibrated scores of real and generated samples",
            "Calibrated scores of held-out real and of generated samples. Where both lie together the critic cannot "
            "tell them apart.",
            f"{len(real)} held-out, {len(found)} generated, seed {study.seed}; {calibration.method} calibration",
        )
    )
    save_png(plots.reliability_picture(calibration.reliability.numpy()), folder / "reliability.png")
    figures.append(
        Figure(
            "reliability.png",
            "Reliability of the calibrated scores",
            "Of the samples that got a probability, what share was real? On the diagonal the scores mean what they "
            "say. The larger the dot, the more samples.",
            f"5-fold cross-validated, {calibration.count} held-out and as many generated samples of seed {study.seed}",
        )
    )
    if study.latents.shape[1] == 2:
        picture = plots.plane_picture(
            study.latents,
            found.probability,
            title="latent plane",
            label="probability of being real",
            axes_labels=("z1", "z2"),
        )
        save_png(picture, folder / "latent-plane.png")
        figures.append(
            Figure(
                "latent-plane.png",
                "The latent plane coloured by score",
                "The latent space itself, coloured by the score of what each latent makes.",
                f"{len(found)} latents of seed {study.seed}",
            )
        )
    kept = found.top(0.25)
    rows = (
        ("AUC on held-out samples", f"{calibration.auc:.3f}", "0.5 is chance"),
        ("95% interval of the AUC", f"{calibration.auc_interval[0]:.3f} to {calibration.auc_interval[1]:.3f}", ""),
        ("Brier score", f"{calibration.brier:.3f}", "0.25 says nothing, 0 is perfect"),
        ("expected calibration error", f"{calibration.ece:.3f}", "0 is perfect"),
        ("Z of the raw logits", f"{calibration.z_raw:+.1f}", "beyond +-2 they are no probabilities"),
        (
            "mean probability, all latents",
            f"{float(found.probability.mean()):.3f}",
            f"held-out real: {real.mean():.3f}",
        ),
        ("mean probability, better quarter", f"{float(kept.probability.mean()):.3f}", f"{len(kept)} latents"),
        (
            "typicality, better quarter",
            f"{float(kept.typicality.mean()):.3f}",
            f"all latents: {float(found.typicality.mean()):.3f}",
        ),
    )
    text = [
        "The discriminator's logits, compared on real samples that it never saw with as many generated ones, become "
        "probabilities.",
        calibration.explanation,
    ]
    return Chapter(
        "quality",
        "Quality",
        tuple(text),
        tuple(figures),
        (Table("The critic, measured.", ("figure", "value", "to compare"), rows),),
    )


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
