"""Building a report: the study once, then chapter after chapter, then the page; all or nothing."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_count, as_seed
from latentkit.conditional import Conditioned, Marginal, marginal
from latentkit.errors import ArgumentError, CheckpointError
from latentkit.files import write_text
from latentkit.folders import Marker, check_folder, writing_folder
from latentkit.reports import arithmetic, bakeoffs, chapters, classes, companions, directions, manifold, mapping, walks
from latentkit.reports.media import Shelf
from latentkit.reports.page import Chapter, render_page
from latentkit.reports.study import make_study
from latentkit.reports.verdict import verdict
from latentkit.series import sample_kind
from latentkit.texts import readable

__all__ = ["MARKER", "report"]

#: The file by which a folder is known to be a report of ours, so that the files that it lists may be replaced.
MARKER = Marker("report.json", "latentkit report")

_Made = TypeVar("_Made")

#: What the atlas of thumbnails holds: a WebP has at most 16,383 pixels a side.
MOST_IMAGES = 30_000


def report(
    checkpoint: Checkpoint,
    folder: str | os.PathLike[str],
    *,
    seed: int = 0,
    n: int | None = None,
    beside: str | os.PathLike[str] | None = None,
    single_file: bool = False,
    batch_size: int = 64,
    progress: bool = True,
    on_chapter: Callable[[str, float], object] | None = None,
) -> Path:
    """Write everything about a checkpoint on one page that opens from disk, and return the page's path.

    The report appears as a whole or not at all; an older one there is replaced, if nothing else is in its folder.

    Args:
        checkpoint: a trained model; its samples are images (N, C, H, W) or points (N, 2). A conditional one is
            shown through `marginal`, all classes together; for a page about one class pass it through `condition`.
        folder: where the report goes; new, empty, or an older report.
        seed: of everything that is drawn, 0 to 2**64 - 1.
        n: how many samples are mapped; by default 4,000 images or 10,000 points.
        beside: the checkpoint's folder, whose film of the training (movie.gif, .webp, .avif or .apng) and study of
            the latent size (study.json, there or in a folder above) are shown as well, where they are.
        single_file: put all pictures into the page, for sending it. Films are in it once, in their best format; the
            GIFs are only in a folder.
        batch_size: latents a call.
        progress: show a progress bar on standard error.
        on_chapter: called with the name of each chapter and the seconds that it took, the first of them "study": what
            all share.

    Raises:
        OutputError: if the folder is a file, is not writable, or holds other things.
        ArgumentError: if the samples are neither images nor points, n is below 500, or a conditional model's prior
            is not normal.
    """
    seed = as_seed(seed)
    n = None if n is None else as_count(n, "n", least=500)
    check_folder(folder, marker=MARKER)
    shape = tuple(checkpoint.holdout.shape[1:])
    if sample_kind(shape) is None:
        raise ArgumentError(
            "a report shows images (C, H, W), points (2,), series (T,) or (C, T) and rows (F,), not samples of shape "
            f"{shape}"
        )
    if len(checkpoint.holdout) == 0:
        raise ArgumentError("a report compares with held-out real samples, and this checkpoint has none")
    if len(shape) == 3 and n is not None and n > MOST_IMAGES:
        raise ArgumentError(f"a report maps at most {MOST_IMAGES:,} images, got {n:,}; use `project` for more")
    name = _name(checkpoint)
    checkpoint = marginal(checkpoint) if checkpoint.conditional else checkpoint
    from tqdm import tqdm

    companion = None if beside is None else Path(beside)
    steps: dict[str, Callable[..., Chapter | None]] = {
        "samples": chapters.samples,
        "walks": walks.chapter,
        "bakeoff": bakeoffs.chapter,
        "directions": directions.chapter,
        "arithmetic": arithmetic.chapter,
        "manifold": manifold.chapter,
        "map": mapping.chapter,
        "sizes": partial(companions.sizes, beside=companion),
        "training": partial(companions.training, beside=companion),
        "making": chapters.making,
    }
    with (
        writing_folder(folder, marker=MARKER) as part,
        _files_of(part, single_file) as files,
        tqdm(total=len(steps) + 1, desc="report", unit="chapter", disable=not progress, leave=False) as bar,
    ):
        timed = _Timed(bar.update, on_chapter)
        study = timed("study", lambda: make_study(checkpoint, seed=seed, n=n, batch_size=batch_size))
        written = [timed(key, partial(step, study, files.folder)) for key, step in steps.items()]
        page = render_page(
            title=f"{checkpoint.data}{_class(checkpoint)} · {checkpoint.trainer}",
            subtitle=(f"{_latents(checkpoint)}, {_shape(shape)}, {name}, seed {seed}"),
            note=classes.note(study),
            cards=verdict(study),
            chapters=tuple(chapter for chapter in written if chapter is not None),
            files=files,
        )
        write_text(part / "index.html", page)
        MARKER.write(part, checkpoint=name, data=readable(checkpoint.data), seed=seed, samples=len(study.samples))
    return Path(folder) / "index.html"


class _Timed:
    """Does one part of a report after another, and says how long each took."""

    def __init__(self, done: Callable[[], object], told: Callable[[str, float], object] | None) -> None:
        self._done, self._told = done, told

    def __call__(self, name: str, make: Callable[[], _Made]) -> _Made:
        start = time.perf_counter()
        made = make()
        if self._told is not None:
            self._told(name, time.perf_counter() - start)
        self._done()
        return made


@contextmanager
def _files_of(part: Path, single_file: bool) -> Iterator[Shelf]:
    """Give the place of the page's files: beside it, or, if they are to be inside of it, a folder that goes again."""
    if not single_file:
        yield Shelf(part)
        return
    with tempfile.TemporaryDirectory(prefix="latentkit-report-") as place:
        yield Shelf(Path(place), inside=True)


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
