"""The report's directions: what can be measured on samples, moved along, with sheets of strengths and an audit."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from latentkit.attributes import attributes_of
from latentkit.directions import Direction, mean_difference
from latentkit.directions.audit import BEATEN
from latentkit.edits import Audited, audit, fit_direction, sefa, sweep
from latentkit.errors import ArgumentError, LabelError
from latentkit.render import save_png
from latentkit.reports.page import Chapter, Figure, Table
from latentkit.reports.study import Study
from latentkit.strengths import sweep_sheet

__all__ = ["chapter", "measured_on"]

#: Attributes that take longer to measure than all others together.
SLOW = frozenset({"stroke_width"})

#: Latents that the audit moves, draws, random directions, refits.
MOVED, DRAWN, RANDOM, REFITS = 128, 512, 12, 6

#: Directions that need no labels; sheets that are shown, and latents on each.
FACTORS, SHEETS, ROWS = 2, 4, 4

#: The first latent of the sheets; others are shown elsewhere on the page.
FIRST = 2

#: Cosine from which two directions are much the same, and one sheet shows both.
ALIKE = 0.7

#: Effects from which a cell of the table is fully shaded, in standard deviations a step.
FULL = 1.0


def measured_on(samples: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return the attributes of samples (N, *S) that a report has the time to measure on all of them, by name."""
    return {name: measure for name, measure in attributes_of(samples).items() if name not in SLOW}


def chapter(study: Study, folder: Path) -> Chapter:
    """Find directions of what can be measured, audit them beside random ones, and show the strongest."""
    scene, size = study.scene, study.batch_size
    measures, directions = measured_on(scene.samples), list[Direction]()
    for name, measure in measures.items():
        with suppress(LabelError):  # the same on all samples
            values = measure(scene.samples)
            directions.append(fit_direction(scene.generator, scene.latents, values, name=name))
    with suppress(ArgumentError):  # a generator that the latent does not enter linearly
        directions += sefa(scene.generator, min(FACTORS, scene.generator.prior.dim))
    try:
        found = audit(
            scene.generator,
            directions,
            attributes=measures,
            n=MOVED,
            draws=DRAWN,
            random=RANDOM,
            seed=study.seed,
            refit=mean_difference,
            resamples=REFITS,
            batch_size=size,
        )
    except (ArgumentError, LabelError):
        text = "All samples measure the same, so there is no direction along which anything grows."
        return Chapter("directions", "Directions", (text,))
    text = [
        "A direction is found by comparing latents whose samples have more of an attribute than the median with the "
        "others; the factors are those that the generator's first layer stretches most, found without any "
        "measurement. Each is then audited on latents that it was not found on: what does a step along it change, "
        "what does it drag along, and would a random direction do the same?",
    ]
    if scene.label is not None:
        text.append(
            f"All of it is done in one class, {scene.label}, whose samples differ most: over several, an attribute "
            "would mostly say which class a sample is of. Another class's directions differ."
        )
    shown = _strongest(found)
    if not any(one.beats_random for one in found.audits):
        text.append(
            f"None of them changes more than {BEATEN:.0%} of the random directions do, as is to be expected in a few "
            "dimensions; the strongest are shown all the same."
        )
    figures = [_sheet(study, direction, k, folder) for k, direction in enumerate(shown)]
    return Chapter(
        "directions",
        "Directions",
        tuple(text),
        tuple(figures),
        (_table(study, found),),
    )


def _strongest(found: Audited) -> list[Direction]:
    """Return the directions that change most beside random ones, but no two that are much the same.

    Only those that are more than chance, unless none is.
    """
    strength, any_beats = [], any(one.beats_random for one in found.audits)
    for one in found.audits:
        scores = one.z_scores.abs()
        strength.append(float(scores[one.strongest if one.own is None else one.own].nan_to_num(nan=0.0)))
    kept: list[Direction] = []
    for k in torch.tensor(strength).argsort(descending=True, stable=True).tolist():
        one = found.directions[k]
        worth = not any_beats or (one.audit is not None and one.audit.beats_random)
        if worth and all(abs(float(one.vector.double() @ other.vector.double())) < ALIKE for other in kept):
            kept.append(one)
    return kept[:SHEETS]


def _sheet(study: Study, direction: Direction, number: int, folder: Path) -> Figure:
    """Draw latents moved along a direction by strengths over its safe range."""
    scene, judged = study.scene, study.judged
    critic = judged.calibration.applied(judged.critic) if judged is not None and study.believed else None
    latents = scene.latents[FIRST : FIRST + ROWS]
    made = sweep(scene.generator, direction, latents, critic=critic, batch_size=study.batch_size)
    file = f"direction-{number + 1}.png"
    save_png(sweep_sheet(made), folder / file)
    low, high = float(made.strengths.min()), float(made.strengths.max())
    below = "typicality and probability" if critic is not None else "typicality"
    found = "" if direction.audit is None else f" It {direction.audit.note}."
    shown = (
        f"a row a latent, the middle column as it is; below, {below} of each column"
        if study.images
        else "the ways that points take, from dark to light"
    )
    caption = f"{direction.name}, from {low:+.1f} to {high:+.1f}{scene.where}: {shown}.{found}"
    return Figure(
        file,
        f"Samples of {len(latents)} latents moved along {direction.name}",
        caption,
        f"latents {FIRST} to {FIRST + ROWS - 1} of seed {study.seed}{scene.where}; {direction.method}",
    )


def _table(study: Study, found: Audited) -> Table:
    """Return the cross-effects, with what is known of each direction, and those of random ones below."""
    rows, shares = [], []
    for direction, one, effects in zip(found.directions, found.audits, found.matrix.tolist(), strict=True):
        best = one.strongest if one.own is None else one.own
        times = abs(float(one.z_scores[best]))
        low, high = one.safe_range
        known = [f"{value:.2f}" if value == value else "-" for value in (one.auc, one.stability)]
        rows.append(
            (
                direction.name,
                *(f"{effect:+.2f}" for effect in effects),
                f"{times:.1f}" if times == times else "-",
                *known,
                f"{low:+.1f} to {high:+.1f}",
            )
        )
        shares.append(tuple(max(-1.0, min(1.0, effect / FULL)) for effect in effects))
    rows.append((f"{len(found.random)} random ones", *(f"±{e:.2f}" for e in found.chance.tolist()), "1.0", *["-"] * 3))
    shares.append(())
    return Table(
        f"What a step along each direction{study.scene.where} changes: a step is one standard deviation of a "
        f"coordinate ({found.step:.2g}), an effect is in standard deviations of the attribute over the prior (standard "
        f"errors up to {float(found.errors.max()):.2f}). Then how many times a random direction's effect it has on "
        "its own attribute (of a factor: on the one that it changes most), its AUC on held-out latents, how stable it "
        "is when found anew (mean cosine), and between which strengths latents stay typical.",
        ("direction", *found.attributes, "times random", "AUC", "stability", "strengths"),
        tuple(rows),
        tuple(shares),
    )
