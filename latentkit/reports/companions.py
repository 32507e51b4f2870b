"""What lies beside a checkpoint: the film of its training, and the study of the latent size that it is part of."""

import json
import os
from pathlib import Path
from typing import Any

from latentkit.files import write_bytes
from latentkit.folders import Marker
from latentkit.reports.media import KINDS
from latentkit.reports.page import Chapter, Figure, Table
from latentkit.reports.study import Study

__all__ = ["sizes", "training"]

#: How the film of a training is called, and the kinds of it that a page can show.
MOVIE, FILMS = "movie", (".webp", ".avif", ".apng", ".gif")

#: The file by which a study of the latent size is known.
STUDY = Marker("study.json", "latentkit study")

#: Larger pictures are not for a page.
LARGEST = 32 * 2**20

#: The figures of the study's table: their heads, and what they are called in its file.
FIGURES = {
    "coverage": "coverage",
    "recall": "recall",
    "precision": "precision",
    "told apart": "separability",
    "AUC of the critic": "auc",
    "inversion error": "inversion_error",
    "effective rank": "effective_rank",
}


def training(study: Study, folder: Path, *, beside: Path | None) -> Chapter | None:
    """Show the film of the training, if there is one beside the checkpoint."""
    names = [f"{MOVIE}{suffix}" for suffix in FILMS]
    found = [name for name in names if beside is not None and _taken(beside / name, folder)]
    if not found:
        return None
    gif = f"{MOVIE}.gif"
    figure = Figure(
        found[0],
        "Film of the training",
        "The training, early steps more closely than late ones: what the generator makes, beside what the critic says.",
        f"{found[0]} beside the checkpoint, as it was filmed",
        gif=gif if gif in found else found[0],
    )
    for name in found[1:]:
        if name != gif:
            (folder / name).unlink()
    return Chapter("training", "Training", ("How the generator came to be.",), (figure,))


def sizes(study: Study, folder: Path, *, beside: Path | None) -> Chapter | None:
    """Show the study of the latent size that the checkpoint is part of, if there is one."""
    # A training of a study lies in its folder, in runs/ and a folder of its own.
    places = () if beside is None else (beside, *Path(os.path.realpath(beside)).parents[:2])
    place = next((place for place in places if STUDY.read(place) is not None), None)
    if place is None:
        return None
    about = json.loads((place / STUDY.name).read_bytes())
    pictures = (
        Figure(
            "study.png",
            "Figures against the latent size",
            "What other latent sizes reach: points are trainings, the dashed line is what other real samples reach.",
            "study.png of the study",
            wide=True,
        ),
        Figure(
            "study.gif",
            "Film of the samples of each size",
            "Samples of each latent size in turn.",
            "study.gif of the study",
            gif="study.gif",
        ),
    )
    figures = [picture for picture in pictures if _taken(place / picture.file, folder)]
    table = _table(about)
    if not figures and table is None:
        return None
    text = f"The generator is one of a study of how many latent dimensions {_text(about.get('data'))} needs."
    return Chapter("sizes", "Latent size", (text,), tuple(figures), () if table is None else (table,))


def _taken(path: Path, folder: Path) -> bool:
    """Copy a picture to the report under its own name, if there is one and it is what its suffix says."""
    from PIL import Image, UnidentifiedImageError

    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return False
        with Image.open(path) as picture:
            kind = (picture.get_format_mimetype() or "").replace("apng", "png")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError):
        return False
    if kind != KINDS[path.suffix]:
        return False
    write_bytes(folder / path.name, path.read_bytes())
    return True


def _table(about: dict[str, Any]) -> Table | None:
    """Return the study's figures, a row a training; None if its file does not hold them."""
    rows = about.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or not rows:
        return None
    return Table(
        f"Trainings by their latent size; {_text(about.get('compared'))} samples against as many held-out ones.",
        ("latent size", "seed", *FIGURES),
        tuple(tuple(_text(row.get(name)) for name in ("size", "seed", *FIGURES.values())) for row in rows),
    )


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "-" if value is None else str(value)
