"""Building a report: the study once, then chapter after chapter, then the page; all or nothing."""

import os
from pathlib import Path

from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_count, as_seed
from latentkit.conditional import Conditioned, Marginal, marginal
from latentkit.errors import ArgumentError, CheckpointError
from latentkit.files import write_text
from latentkit.folders import Marker, check_folder, writing_folder
from latentkit.reports import arithmetic, chapters, classes, manifold, mapping, walks
from latentkit.reports.page import render_page
from latentkit.reports.study import make_study
from latentkit.reports.verdict import verdict

__all__ = ["MARKER", "report"]

#: The file by which a folder is known to be a report of ours, so that the files that it lists may be replaced.
MARKER = Marker("report.json", "latentkit report")

#: What the atlas of thumbnails holds: a WebP has at most 16,383 pixels a side.
MOST_IMAGES = 30_000


def report(
    checkpoint: Checkpoint,
    folder: str | os.PathLike[str],
    *,
    seed: int = 0,
    n: int | None = None,
    batch_size: int = 64,
    progress: bool = True,
) -> Path:
    """Write everything about a checkpoint on one page that opens from disk, and return the page's path.

    The report appears as a whole or not at all; an older one there is replaced, if nothing else is in its folder.

    Args:
        checkpoint: a trained model; its samples are images (N, C, H, W) or points (N, 2). A conditional one is
            shown through `marginal`, all classes together; for a page about one class pass it through `condition`.
        folder: where the report goes; new, empty, or an older report.
        seed: of everything that is drawn, 0 to 2**64 - 1.
        n: how many samples are mapped; by default 4,000 images or 10,000 points.
        batch_size: latents a call.
        progress: show a progress bar on standard error.

    Raises:
        OutputError: if the folder is a file, is not writable, or holds other things.
        ArgumentError: if the samples are neither images nor points, n is below 500, or a conditional model's prior
            is not normal.
    """
    seed = as_seed(seed)
    n = None if n is None else as_count(n, "n", least=500)
    check_folder(folder, marker=MARKER)
    shape = tuple(checkpoint.holdout.shape[1:])
    if len(shape) != 3 and shape != (2,):
        raise ArgumentError(f"a report shows images (C, H, W) or points (2,), not samples of shape {shape}")
    if len(checkpoint.holdout) == 0:
        raise ArgumentError("a report compares with held-out real samples, and this checkpoint has none")
    if len(shape) == 3 and n is not None and n > MOST_IMAGES:
        raise ArgumentError(f"a report maps at most {MOST_IMAGES:,} images, got {n:,}; use `project` for more")
    name = _name(checkpoint)
    checkpoint = marginal(checkpoint) if checkpoint.conditional else checkpoint
    from tqdm import tqdm

    steps = (chapters.samples, walks.chapter, arithmetic.chapter, manifold.chapter, mapping.chapter, chapters.making)
    with (
        writing_folder(folder, marker=MARKER) as part,
        tqdm(total=len(steps) + 1, desc="report", unit="chapter", disable=not progress, leave=False) as bar,
    ):
        study = make_study(checkpoint, seed=seed, n=n, batch_size=batch_size)
        bar.update()
        written = []
        for step in steps:
            written.append(step(study, part))
            bar.update()
        page = render_page(
            title=f"{checkpoint.data}{_class(checkpoint)} · {checkpoint.trainer}",
            subtitle=(f"{_latents(checkpoint)}, {_shape(shape)}, {name}, seed {seed}"),
            note=classes.note(study),
            cards=verdict(study),
            chapters=tuple(written),
        )
        write_text(part / "index.html", page)
        MARKER.write(part, checkpoint=name, data=checkpoint.data, seed=seed, samples=len(study.samples))
    return Path(folder) / "index.html"


def _name(checkpoint: Checkpoint) -> str:
    """Return what tells this generator from others: a generator of your own has no stored form to hash."""
    try:
        return f"checkpoint {checkpoint.fingerprint}"
    except CheckpointError:
        return "a wrapped generator"


def _class(checkpoint: Checkpoint) -> str:
    generator = checkpoint.generator
    return f", class {generator.label}" if isinstance(generator, Conditioned) else ""


def _latents(checkpoint: Checkpoint) -> str:
    generator = checkpoint.generator
    if isinstance(generator, Marginal):
        return f"{generator.module.prior.dim} latent dimensions and {len(generator.classes)} classes"
    return f"{generator.prior.dim} latent dimensions"


def _shape(shape: tuple[int, ...]) -> str:
    if len(shape) == 1:
        return "points of the plane"
    channels = {1: "grey", 3: "colour"}.get(shape[0], f"{shape[0]}-channel")
    return f"{channels} images of {shape[2]}x{shape[1]} pixels"
