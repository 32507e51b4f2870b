"""The report's arithmetic: directions of measured attributes, and sums of latents."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from latentkit.arithmetic import analogy, combine
from latentkit.attributes import attributes_of
from latentkit.directions import Direction, mean_difference
from latentkit.errors import LabelError
from latentkit.render import samples_sheet, save_png
from latentkit.reports.page import Chapter, Figure, Table
from latentkit.reports.study import Scene, Study
from latentkit.sampling.generate import generate

__all__ = ["chapter"]


def chapter(study: Study, folder: Path) -> Chapter:
    """Directions of measured attributes, swept, and sums of latents with and without the prior."""
    scene, generator, prior = study.scene, study.scene.generator, study.scene.generator.prior
    directions, figures, rows = [], [], []
    for name, measure in attributes_of(scene.samples).items():
        values = measure(scene.samples)
        try:
            found = mean_difference(scene.latents, values > values.median(), name=name, prior=prior)
        except LabelError:
            continue
        directions.append(found)
        rows.append(_effect(scene, found, measure, values, study.batch_size))
    swept = [direction for direction in directions if direction.safe_range[1] > direction.safe_range[0]]
    if study.images and swept:
        amounts = [
            torch.cat([torch.linspace(low, 0, 5), torch.linspace(0, high, 5)[1:]])
            for low, high in (d.safe_range for d in swept)
        ]
        moved = [a[:, None] * direction.vector for a, direction in zip(amounts, swept, strict=True)]
        grid = scene.latents[2] + torch.cat(moved)
        sheet = samples_sheet(generate(generator, grid, batch_size=study.batch_size), columns=9)
        save_png(sheet, folder / "directions.png")
        names = ", ".join(f"{d.name} ({d.safe_range[0]:.1f} to {d.safe_range[1]:.1f})" for d in swept)
        figures.append(
            Figure(
                "directions.png",
                f"One sample moved along the directions of its attributes{scene.where}",
                f"One latent moved along each direction{scene.where}, a row each: {names}. The middle column is the "
                "sample itself.",
                f"latent 2 of seed {study.seed}{scene.where}; directions by mean difference of {len(scene.latents)} "
                "latents",
                pixelated=True,
            )
        )
    if study.images:
        figures.append(_sums(study, folder))
    table = Table(
        f"Directions{scene.where}, found on what can be measured on the samples themselves.",
        ("attribute", "held-out AUC", "change per step of 1", "in standard deviations", "safe range"),
        tuple(rows),
    )
    text = [
        "A direction is a difference of means: latents whose samples score above the median of an attribute, less "
        "the others. The held-out AUC says how well it ranks latents that it was not found on; 0.5 is chance, and "
        "then the direction means nothing. The safe range is how far the prior lets latents go: at its ends half of "
        "them still have a typicality of 0.01.",
    ]
    if scene.label is not None:
        text.append(
            f"All of it is done in one class, {scene.label}, whose samples differ most: over several, an attribute "
            "would mostly say which class a sample is of. Another class's directions differ."
        )
    return Chapter("arithmetic", "Arithmetic", tuple(text), tuple(figures), (table,) if rows else ())


def _effect(
    scene: Scene, found: Direction, measure: Callable[[Tensor], Tensor], values: Tensor, batch_size: int
) -> tuple[str, ...]:
    """Return a table's row: what a step of one along the direction changes, measured on 256 samples."""
    moved = generate(scene.generator, scene.latents[:256] + found.vector, batch_size=batch_size)
    change = float((measure(moved) - values[:256]).mean())
    low, high = found.safe_range
    spread = float(values.std())
    return (
        found.name,
        f"{found.auc:.2f}",
        f"{change:+.3g}",
        f"{change / spread:+.2f}" if spread > 0 else "-",
        f"{low:.1f} to {high:.1f}",
    )


def _sums(study: Study, folder: Path) -> Figure:
    """Draw a - b + c and the mean of four latents, plainly and on the prior."""
    scene, generator, prior = study.scene, study.scene.generator, study.scene.generator.prior
    a, b, c, d = scene.latents[3:7]
    plain = [a - b + c, (a + b + c + d) / 4.0]
    matched = [analogy(a, b, c, prior), combine([a, b, c, d], [0.25] * 4, prior)]
    rows = torch.stack([a, b, c, d, plain[0], matched[0], plain[1], matched[1]])
    save_png(samples_sheet(generate(generator, rows, batch_size=study.batch_size), columns=8), folder / "sums.png")
    typical = prior.typicality(rows[4:]).tolist()
    first = "" if scene.label is None else f"In class {scene.label}: "
    caption = (
        f"{first}a, b, c, d; then a - b + c plainly (typicality {typical[0]:.3f}) and on the prior ({typical[1]:.3f}); "
        f"then the mean of all four plainly ({typical[2]:.3f}) and on the prior ({typical[3]:.3f})."
    )
    made = f"latents 3 to 6 of seed {study.seed}{scene.where}"
    return Figure("sums.png", f"Sums of latents, plainly and on the prior{scene.where}", caption, made, True)
