"""A study of the latent size: what was measured at each size and seed, as a table, a plot and a film."""

import csv
import io
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from latentkit.animation import Animation
from latentkit.files import write_json, write_text
from latentkit.folders import Marker
from latentkit.render import save_png
from trainers.study_pictures import FIGURES, Pixels, study_film, study_picture

__all__ = ["MARKER", "Row", "Study"]

#: The file by which a study's folder is known.
MARKER = Marker("study.json", "latentkit study")


@dataclass(frozen=True)
class Row:
    """One trained generator, measured; or, with `size` 0, other real samples in place of its own.

    Attributes: `size` of the latents and `seed` of the training and the split; `coverage`, `recall`,
    `precision`, `density`, `separability` and `spread` of samples against as many held-out real ones, see
    `SampleQuality`; `probability`, the mean calibrated probability that a sample is real (0.5: the critic
    cannot tell), by the GAN's own critic, with its `auc`, the 95% interval `auc_low` to `auc_high` and its
    `verdict`, see `Calibration`; `inversion_error`, what is left of held-out samples after inversion, as a
    share of their variance (0: reproduced, 1: no better than their mean); `effective_rank`, the mean over
    draws of the prior, see `latentkit.effective_rank`; None of real samples.

    Of other real samples, `inversion_error` is what is left if each held-out sample is replaced by the
    nearest training sample: what a generator reaches that knows these by heart, and nothing between them.
    """

    size: int
    seed: int
    coverage: float
    recall: float
    precision: float
    density: float
    separability: float
    spread: float
    probability: float
    auc: float
    auc_low: float
    auc_high: float
    verdict: str
    inversion_error: float
    effective_rank: float | None


@dataclass(frozen=True, eq=False)
class Study:
    """How the generators of a study fare against the size of their latents.

    Attributes: `data`, the name of what they were trained on, and its `fingerprint`; `rows`, one a size and
    seed, in this order; `real`, one a seed: the same measured on other real samples; `compared`, how many
    samples a side; `settings`, the trainings' settings but for size and seed; `measures`, how it was
    measured; `samples` (sizes, n, *S) of the generators of the seed `filmed`, each from the first latents
    of one seed; `held_out` (m, *S), real samples to see beside them.
    """

    data: str
    fingerprint: str
    rows: tuple[Row, ...]
    real: tuple[Row, ...]
    compared: int
    settings: dict[str, Any]
    measures: dict[str, Any]
    samples: Tensor
    held_out: Tensor
    filmed: int

    @property
    def sizes(self) -> list[int]:
        """The sizes, smallest first."""
        return sorted({row.size for row in self.rows})

    def mean(self, field: str, size: int) -> tuple[float, float]:
        """Return the mean of a figure over a size's seeds, and half the distance from its least to its largest.

        Args:
            field: the figure, a field of `Row`.
            size: of the latents; 0 for other real samples.
        """
        values = [getattr(row, field) for row in (*self.rows, *self.real) if row.size == size]
        return sum(values) / len(values), (max(values) - min(values)) / 2

    def table(self) -> str:
        """Return the means over the seeds as a table of text, which is one in Markdown too."""
        seeds = len(self.real)
        lines = [[title for title, _, _ in _COLUMNS], ["---"] * len(_COLUMNS)]
        lines += [[self._cell(*column, size) for column in _COLUMNS] for size in (*self.sizes, 0)]
        widths = [max(len(line[k]) for line in lines) for k in range(len(_COLUMNS))]
        shown = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
            for line in lines
        ]
        over = f"mean ± half the range over {seeds} seeds" if seeds > 1 else "one seed"
        return "\n".join([*shown, "", f"{self.data}: {over}; {self.compared} samples against as many held-out ones."])

    def _cell(self, _title: str, field: str, show: Callable[[float], str], size: int) -> str:
        if field == "size":
            return str(size) if size else "real"
        if field == "verdict":
            return ", ".join(sorted({row.verdict for row in self.rows if row.size == size}))
        if not size and field == "effective_rank":
            return ""
        mean, half = self.mean(field, size)
        return f"{show(mean)} ± {show(half)}" if len(self.real) > 1 and field not in _EXACT[size == 0] else show(mean)

    def picture(self) -> Pixels:
        """Draw every figure against the size and return the plot (H, W, 3)."""
        figures = {name: [(row.size, getattr(row, name)) for row in self.rows] for name in FIGURES}
        real = {name: self.mean(name, 0)[0] for name in FIGURES if getattr(self.real[0], name) is not None}
        return study_picture(figures, real, believed=[row.verdict != "uninformative" for row in self.rows])

    def film(self) -> Animation | None:
        """Return a film of each size's samples in turn, or None if they are neither images nor points of the plane."""
        captions = [
            f"{row.size} latent dimension{'s' if row.size > 1 else ''}: coverage {row.coverage:.2f}, "
            f"effective rank {row.effective_rank:.1f}"
            for row in self.rows
            if row.seed == self.filmed
        ]
        return study_film(self.samples, self.held_out, captions)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write study.csv, study.png, study.gif where there is a film, and study.json; return the folder.

        Raises:
            OutputError: if one cannot be written; what was there before is untouched.
        """
        place = Path(folder)
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in (*self.rows, *self.real))
        write_text(place / "study.csv", text.getvalue())
        save_png(self.picture(), place / "study.png")
        film = self.film()
        if film is not None:
            film.save(place / "study.gif")
        write_json(place / MARKER.name, self.about())
        return place

    def about(self) -> dict[str, Any]:
        """Return the study's figures and settings as JSON values, as study.json holds them."""
        return {
            "kind": MARKER.kind,
            "format": MARKER.format,
            "data": self.data,
            "fingerprint": self.fingerprint,
            "compared": self.compared,
            "settings": self.settings,
            "measures": self.measures,
            "filmed": self.filmed,
            "rows": [asdict(row) for row in self.rows],
            "real": [asdict(row) for row in self.real],
        }


def _plain(value: float) -> str:
    return f"{value:.2f}"


_COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("size", "size", str),
    ("coverage", "coverage", _plain),
    ("recall", "recall", _plain),
    ("precision", "precision", _plain),
    ("density", "density", _plain),
    ("told apart", "separability", _plain),
    ("calibrated", "probability", _plain),
    ("AUC", "auc", _plain),
    ("critic", "verdict", str),
    ("inversion error", "inversion_error", "{:.3f}".format),
    ("effective rank", "effective_rank", "{:.1f}".format),
)
# Of real samples the critic's figures hold by definition.
_EXACT = {False: frozenset[str](), True: frozenset({"probability", "auc"})}
