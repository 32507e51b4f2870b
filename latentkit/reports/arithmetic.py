"""The report's arithmetic: sums of latents, plainly and mapped back onto the prior."""

from pathlib import Path

import torch

from latentkit.arithmetic import Sum, weigh
from latentkit.render import save_png
from latentkit.reports.page import Chapter, Figure, Table
from latentkit.reports.study import Study
from latentkit.sampling.generate import generate
from latentkit.strips import Line, strips

__all__ = ["chapter"]

#: The first of the latents that are added; others are shown elsewhere on the page.
FIRST = 3

#: The sums, by how they are written: what each of four latents counts.
SUMS = {"a - b + c": (1.0, -1.0, 1.0, 0.0), "mean of all": (0.25,) * 4, "a + b": (1.0, 1.0, 0.0, 0.0)}


def chapter(study: Study, folder: Path) -> Chapter:
    """Add latents with and without the way back to the prior."""
    scene, generator, prior = study.scene, study.scene.generator, study.scene.generator.prior
    letters = scene.latents[FIRST : FIRST + 4]
    sums = {}
    for name, weights in SUMS.items():
        used = [k for k, weight in enumerate(weights) if weight]
        sums[name] = weigh([letters[k] for k in used], [weights[k] for k in used], prior)
    named = f"latents {FIRST} to {FIRST + 3} of seed {study.seed}{scene.where}"
    text = (
        "A sum of draws is no draw: a - b + c is too long, a mean too short. Mapped back onto the prior "
        "it is distributed as draws are, and keeps what its terms say. Typicality says which is which: over draws it "
        "is even between 0 and 1, and near 0 the generator is asked for what it never saw.",
    )
    if not study.images:
        return Chapter("arithmetic", "Arithmetic", text, tables=(_table(study, sums, named),))
    rows = torch.stack([*letters, *(z for one in sums.values() for z in (one.plain, one.latent))])
    made = generate(generator, rows, batch_size=study.batch_size)
    titles = ["a", "b", "c", "d", *(kind for _ in sums for kind in ("plain", "on prior"))]
    over = ["", "", "", "", *(text for name in sums for text in (name, ""))]
    typical = [f"{t:.3f}" for t in prior.typicality(rows).tolist()]
    picture = strips(
        made[None], above=[Line("", over, strong=True), Line("", titles)], below=[Line("typicality", typical)]
    )
    save_png(picture, folder / "sums.png")
    figure = Figure(
        "sums.png",
        f"Sums of latents, plainly and on the prior{scene.where}",
        f"Four latents{scene.where}, and sums of them: plainly, then mapped back onto the prior.",
        named,
        wide=True,
    )
    return Chapter("arithmetic", "Arithmetic", text, (figure,))


def _table(study: Study, sums: dict[str, Sum], named: str) -> Table:
    """Return the sums of points, plainly and on the prior, with what the generator makes of them."""
    rows = []
    for name, one in sums.items():
        made = generate(study.scene.generator, torch.stack([one.plain, one.latent]), batch_size=study.batch_size)
        plain, matched = ("(" + ", ".join(f"{v:.2f}" for v in point.tolist()) + ")" for point in made)
        rows.append((name, f"{one.plain_typicality:.3f}", plain, f"{one.typicality:.3f}", matched))
    return Table(
        f"Sums of {named} (a to d), and the points that are made of them.",
        ("sum", "typicality, plainly", "its point", "typicality, on the prior", "its point"),
        tuple(rows),
    )
