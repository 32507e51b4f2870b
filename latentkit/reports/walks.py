"""The report's walks: films of loops through random and through good latents."""

from pathlib import Path

from latentkit.animation import animate
from latentkit.curves import loop
from latentkit.reports import classes
from latentkit.reports.media import save_film
from latentkit.reports.page import Chapter, Figure
from latentkit.reports.study import Study

__all__ = ["chapter"]

KEYS = 6
FRAMES = 96


def chapter(study: Study, folder: Path) -> Chapter:
    """Loops through random and through good latents."""
    marginal = study.marginal
    figures = classes.walked(study, marginal, folder) if marginal and study.images else _films(study, folder)
    text = [
        "What the generator makes along closed curves that keep to the prior, so that it is asked only for what it was "
        "trained on."
    ]
    if len(figures) > 1:
        text.append("The second film keeps to latents of the better quarter by the critic's calibrated score.")
    return Chapter("walks", "Walks", tuple(text), tuple(figures))


def _films(study: Study, folder: Path) -> list[Figure]:
    """Film loops through random and through good latents."""
    scene, marginal = study.scene, study.marginal
    label = None if marginal is None or scene.label is None else marginal.classes.index(scene.label)
    tours = [("random", scene.latents[:KEYS], "random latents", f"the first {KEYS} of seed {study.seed}")]
    good = study.good_keys(KEYS, label)
    if good is not None:
        keys = good if marginal is None else marginal.inner(good)
        tours.append(("best", keys, "good latents", f"the first {KEYS} in the critic's better quarter"))
    figures = []
    for name, keys, what, which in tours:
        way = loop(keys, prior=scene.generator.prior)
        # As small as they are: the page enlarges them.
        scale = 1 if study.images else None
        film = animate(scene.generator, way, frames=FRAMES, fps=24, scale=scale, batch_size=study.batch_size)
        best, gif = save_film(film, folder, f"walk-{name}")
        figures.append(
            Figure(
                best,
                f"Film of a walk through {what}{scene.where}",
                f"A loop through {what}{scene.where}.",
                f"loop of {KEYS} keyframes ({which}{scene.where}), prior-matched, {FRAMES} frames at 24 a second",
                study.images,
                gif=gif,
            )
        )
    return figures
