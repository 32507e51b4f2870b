"""What the report shows of a generator over several classes: a row a class, named beside it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.animation import from_frames
from latentkit.conditional import Marginal
from latentkit.curves import loop
from latentkit.render import LEAST_CELL, enlargement, save_png, sheet, to_rgb
from latentkit.reports.media import save_film
from latentkit.reports.page import Figure, Table
from latentkit.reports.study import Study
from latentkit.sampling.generate import generate, stream
from latentkit.scatter import points_rgb

__all__ = ["drawn", "note", "points_by_class", "probabilities", "ranked", "walked"]

COLUMNS = 8
LOOPS = 4  # side by side in a film
KEYS = 3  # latents that a loop visits
FRAMES, FPS = 48, 16
LEAST_FILMED = 32  # pixels: the page enlarges a film, and a file four times as large shows no more

Pixels = NDArray[np.uint8]


def note(study: Study) -> tuple[str, ...]:
    """Say what a page about several classes shows, and where the comparison with held-out samples is uneven."""
    generator, labels = study.marginal, study.checkpoint.holdout_labels
    if generator is None:
        return ()
    inner, count = generator.module.prior.dim, len(generator.classes)
    names = ", ".join(study.shown) + (", ..." if count > len(study.shown) else "")
    text = [
        f"This generator makes a sample of a latent and a class: {names}. The page shows all {count} classes together, "
        f"equally often: of the {inner + count} coordinates of a latent the first {inner} are the generator's, and the "
        f"largest of the other {count} chooses the class. Walks and arithmetic keep to a class, which is named; "
        "--class NAME makes a page about one."
    ]
    if labels is not None and len(labels):
        share = torch.bincount(labels, minlength=count) / len(labels)
        most, least = int(share.argmax()), int(share.argmin())
        if float(share.max()) > 1.5 / count or float(share.min()) < 0.5 / count:
            text.append(
                f"The held-out samples are not spread evenly over the classes ({generator.classes[most]} "
                f"{float(share[most]):.1%}, {generator.classes[least]} {float(share[least]):.1%}); generated ones are, "
                "and differ from them by that, too."
            )
    return tuple(text)


def _more(study: Study, generator: Marginal) -> str:
    left = len(generator.classes) - len(study.shown)
    return f" The first {len(study.shown)} of {len(generator.classes)} classes." if left else ""


def _rows(groups: Sequence[Tensor], columns: int, least: int = LEAST_CELL) -> Pixels:
    """Return a sheet with a row for each group of images (n, C, H, W), n up to `columns`; the rest stays white.

    Images are enlarged until their longer side has `least` pixels.
    """
    shape = next(group.shape[1:] for group in groups)
    cells = np.full((len(groups), columns, *shape[1:], 3), 255, dtype=np.uint8)
    for row, group in zip(cells, groups, strict=True):
        if len(group):
            row[: len(group)] = to_rgb(group)
    return sheet(cells.reshape(-1, *cells.shape[2:]), columns, scale=enlargement(shape[1:], least))


def drawn(study: Study, generator: Marginal, folder: Path) -> tuple[Figure, ...]:
    """Draw samples, the same latents in every class, beside held-out real ones of each class."""
    shown, keep = study.shown, len(study.shown)
    few = study.latents[:COLUMNS].repeat(keep, 1)
    latents = generator.in_class(few, torch.arange(keep).repeat_interleave(COLUMNS))
    samples = generate(generator, latents, batch_size=study.batch_size)
    save_png(_rows(samples.split(COLUMNS), COLUMNS), folder / "samples.png")
    figures = [
        Figure(
            "samples.png",
            "Random samples of each class, not chosen",
            f"Random samples, not chosen: a row each class, a column the same latent in all.{_more(study, generator)}",
            f"the first {COLUMNS} latents of seed {study.seed}, their class coordinates exchanged",
            True,
            shown,
        )
    ]
    real, labels = study.checkpoint.holdout, study.checkpoint.holdout_labels
    known = labels is not None
    groups = [real[labels == k][:COLUMNS] for k in range(keep)] if known else [*real[: 8 * COLUMNS].split(COLUMNS)]
    save_png(_rows(groups, COLUMNS), folder / "real.png")
    which = "held-out samples of each class" if known else f"{len(real[: 8 * COLUMNS])} held-out samples"
    figures.append(
        Figure(
            "real.png",
            "Real samples that training never saw",
            "Real samples that training never saw.",
            f"the first {which}",
            True,
            shown if known else (),
        )
    )
    return tuple(figures)


def ranked(study: Study, folder: Path) -> tuple[Figure, ...]:
    """Draw what the critic likes most and least of each class."""
    if study.quality is None or study.labels is None:
        return ()
    order = study.quality.top(1.0).index
    by_class = [order[study.labels[order] == k] for k in range(len(study.shown))]
    figures = []
    for name, what, word in (
        ("best.png", "The critic's favourites", "best"),
        ("worst.png", "What the critic believes least", "worst"),
    ):
        # Never more than half of a class: the best and the worst are not to overlap.
        counts = [min(COLUMNS, len(index) // 2) for index in by_class]
        ends = [
            index[:n] if word == "best" else index[len(index) - n :] for index, n in zip(by_class, counts, strict=True)
        ]
        save_png(_rows([study.samples[index] for index in ends], COLUMNS), folder / name)
        figures.append(
            Figure(
                name,
                f"{what}, class by class",
                f"{what}, class by class.",
                f"the {word} of each class by calibrated score, of {len(order)} samples of seed {study.seed}",
                True,
                study.shown,
            )
        )
    return tuple(figures)


def points_by_class(study: Study, folder: Path) -> Figure | None:
    """Draw generated points, coloured by their class."""
    if study.labels is None or study.marginal is None:
        return None
    some = slice(2_000)
    values = study.labels[some].double()
    save_png(points_rgb(study.samples[some], values=values, label="class number", size=420), folder / "classes.png")
    names = ", ".join(f"{k} {name}" for k, name in enumerate(study.marginal.classes))
    made = f"the first {len(values)} samples of seed {study.seed}"
    return Figure("classes.png", "Generated points, coloured by class", f"By class: {names}.", made)


def walked(study: Study, generator: Marginal, folder: Path) -> tuple[Figure, ...]:
    """Film loops through latents in every class, a row each: random ones, the same in all, and good ones."""
    classes = range(len(study.shown))
    same = [list(study.latents[: LOOPS * KEYS].split(KEYS))] * len(classes)
    films = [
        (
            "random",
            same,
            "Loops through random latents, a row each class; a column walks through the same latents in all.",
            f"the first {LOOPS * KEYS}",
        )
    ]
    good = [study.good_keys(LOOPS * KEYS, label) for label in classes]
    if all(keys is not None for keys in good):
        films.append(
            (
                "best",
                [list(keys.split(KEYS)) for keys in good if keys is not None],
                "Loops through good latents of each class, a row each.",
                f"of each class the first {LOOPS * KEYS} in its better quarter by calibrated score",
            )
        )
    figures = []
    for name, rows, what, which in films:
        ways = [[loop(keys, prior=generator.prior).steps(FRAMES) for keys in row] for row in rows]
        latents = torch.stack([torch.stack(row, 1) for row in ways], 1)  # (T, rows, LOOPS, D + K)
        film = from_frames(lambda z=latents: _frames(generator, z, study.batch_size), count=FRAMES, fps=FPS)
        best, gif = save_film(film, folder, f"walk-{name}", smooth=True)
        figures.append(
            Figure(
                best,
                f"Film: {what[0].lower()}{what[1:-1]}",
                what + _more(study, generator),
                f"loops of {KEYS} keyframes ({which} of seed {study.seed}), prior-matched, {FRAMES} frames at {FPS} a "
                "second, each frame's class coordinates exchanged so that the class stays",
                True,
                study.shown,
                gif=gif,
            )
        )
    return tuple(figures)


def _frames(generator: Marginal, latents: Tensor, batch_size: int) -> Iterator[Pixels]:
    """Yield sheets of the samples of latents (T, rows, columns, D + K), each row in the class of its number."""
    frames, rows, columns = latents.shape[:3]
    labels = torch.arange(rows).repeat_interleave(columns).repeat(frames)
    flat = generator.in_class(latents.flatten(0, 2), labels)
    each = rows * columns
    whole = max(batch_size // each, 1) * each
    for samples in stream(generator, flat, batch_size=whole):
        for one in samples.split(each):
            yield _rows(one.split(columns), columns, LEAST_FILMED)


def probabilities(study: Study) -> Table | None:
    """Compare each class's mean calibrated probability with that of its held-out real samples."""
    if study.quality is None or study.judged is None or study.labels is None or study.marginal is None:
        return None
    found, labels = study.quality, study.judged.labels
    real = found.calibration.probability(found.real_logits)
    rows = []
    for k, name in enumerate(study.marginal.classes):
        made = found.probability[study.labels == k]
        held = real[labels == k] if labels is not None else real[:0]
        rows.append((name, _mean(made), _mean(held), str(len(made)), str(len(held))))
    return Table(
        "Mean calibrated probability of being real, class by class: the nearer a class comes to its real samples, the "
        "less the critic tells them apart. It is not told the class.",
        ("class", "generated", "held-out real", "samples", "held-out samples"),
        tuple(rows),
    )


def _mean(values: Tensor) -> str:
    return f"{float(values.mean()):.3f}" if len(values) else "-"
