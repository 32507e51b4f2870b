"""A projection: rows laid out in the plane, and how much of it to believe."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from latentkit.errors import ShapeError
from latentkit.neighbours import nearest
from latentkit.projection.faith import faithfulness, sampled
from latentkit.projection.linear import Linear
from latentkit.projection.placing import AROUND, PlacedCurve, placed, reach_of, torn_steps
from latentkit.projection.search import Nearby, NearestRows
from latentkit.projection.sources import rows_of
from latentkit.shown import Pictured

__all__ = ["JUDGED", "NAMES", "NOISE", "Projection"]

#: The methods and what they are called.
NAMES = {"umap": "UMAP", "pca": "PCA", "tsne": "t-SNE"}

#: Below this trustworthiness a picture shows nothing. Measured over 15 neighbours, of isotropic normal rows:
#:
#:     method    rows        8-D         16-D        64-D        digits   critic features
#:     UMAP      100..4,000  .80 to .87  .70 to .76  .58 to .68  .988     .947
#:     PCA       100..4,000  .69 to .76  .63 to .71  .58 to .68  .831     .817
#:     t-SNE     100..2,000  .81 to .89  .76 to .82  below .70   .988     .958
#:
#: Uniform rows give up to .05 more. `python -m benchmarks.projection --null` measures it anew.
NOISE = {"umap": 0.82, "pca": 0.75, "tsne": 0.85}

#: Fewer different rows than this are not judged: nearly every row is a neighbour of every other.
JUDGED = 100


@dataclass(frozen=True, eq=False, repr=False)
class Projection(Pictured):
    """Rows laid out in the plane.

    Where `landmarks` is not None only these rows were laid out, and all others placed among them: then nothing else of
    the rows is kept but their places, and `transform` works from the landmarks.

    Attributes: `points` (N, 2) float32; `features` (N, F), the rows, or (L, F), those of the landmarks; `method`;
    `seed`; `trustworthiness`, at most 1, how far neighbours in the plane are neighbours among the rows, and
    `preservation` in [0, 1], the share of a row's neighbours that are its neighbours in the plane: both over
    `neighbours` neighbours, and means over the different rows that were laid out or, of more than 1,000, over 1,000
    that the seed chooses; `copy_of` (N,) long, the first row that each is equal to, or the landmark, or the row itself;
    `note`, what to know before believing the picture; `of`, what the rows are; `linear`, the map to the plane of a PCA;
    `knn`, each row's nearest rows where the layout needed them, all rows were laid out and no two are equal;
    `landmarks` (L,) long, ascending, or None; `placed_trustworthiness` and `placed_preservation`, the same two of up to
    1,000 rows that were placed, among the landmarks and each other, None where none was; `engine`, what laid them out:
    "cpu", or "cuml" for RAPIDS cuML on a GPU.
    """

    points: Tensor
    features: Tensor
    method: str
    seed: int
    trustworthiness: float
    preservation: float
    neighbours: int
    copy_of: Tensor
    note: str
    of: str
    linear: Linear | None = None
    knn: NearestRows | None = None
    landmarks: Tensor | None = None
    placed_trustworthiness: float | None = None
    placed_preservation: float | None = None
    engine: str = "cpu"

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.points)

    def __repr__(self) -> str:
        """Say what it is a picture of, and how far to believe it."""
        rows = f"{len(self):,} row{'s' * (len(self) != 1)}"
        return f"{NAMES[self.method]} of {rows} ({self.of}): {self.verdict}"

    @cached_property
    def fitted(self) -> Tensor:
        """The different rows (U,) long that were laid out: of equal ones the first."""
        if self.landmarks is not None:
            return self.landmarks
        return (self.copy_of == torch.arange(len(self))).nonzero()[:, 0]

    @property
    def distinct(self) -> int:
        """How many different rows were laid out; copies share one place."""
        return len(self.fitted)

    @property
    def shows_nothing(self) -> bool:
        """Whether the picture is no better than one of rows that have no structure.

        Trustworthiness of layouts of rows without any, isotropic normal ones, falls with their dimension and depends
        little on their number. The limit lies above that of 16 dimensions, so that it is said of these and all more.
        """
        return self.distinct < 3 or (self.distinct >= JUDGED and self._least < NOISE[self.method])

    @property
    def _least(self) -> float:
        """The lower trustworthiness of what was laid out and what was placed."""
        if self.placed_trustworthiness is None:
            return self.trustworthiness
        return min(self.trustworthiness, self.placed_trustworthiness)

    @property
    def verdict(self) -> str:
        """Whether the picture shows anything, in one sentence, with its trustworthiness."""
        figure = f"trustworthiness {self._least:.2f}"
        if self.distinct < 3:
            answer = f"nothing to see: only {self.distinct} different rows."
        elif self.distinct < JUDGED:
            answer = f"too few different rows ({self.distinct}) to say how far the picture can be believed."
        elif self.shows_nothing:
            answer = f"little more than noise ({figure}): neighbours here are mostly not neighbours there."
        else:
            answer = f"neighbours can be believed ({figure}), distances, sizes and gaps cannot."
        return f"{answer} {self.note}".strip()

    @cached_property
    def trust_of_each(self) -> Tensor:
        """The trustworthiness (N,) float64 of each row's place, at most 1; computed when first asked for.

        A row that was placed has that of the landmark nearest to it in the plane.
        """
        return self._of_each[0]

    @cached_property
    def preservation_of_each(self) -> Tensor:
        """The share (N,) float64 of each row's neighbours that are its neighbours in the plane, in [0, 1].

        A row that was placed has that of the landmark nearest to it in the plane.
        """
        return self._of_each[1]

    @cached_property
    def _of_each(self) -> tuple[Tensor, Tensor]:
        rows, points = self._laid_out
        trust, kept = faithfulness(rows, points, torch.arange(len(rows)), k=self._judged_over)
        if self.landmarks is not None:
            like = nearest(self.points, points, 1)[1][:, 0]
            like[self.landmarks] = torch.arange(len(rows))
        else:
            place = torch.zeros(len(self), dtype=torch.long)
            place[self.fitted] = torch.arange(len(rows))
            like = place[self.copy_of]
        return trust[like], kept[like]

    @property
    def _judged_over(self) -> int:
        return min(self.neighbours, (self.distinct - 1) // 2)

    @cached_property
    def _laid_out(self) -> tuple[Tensor, Tensor]:
        if self.landmarks is not None:
            return self.features, self.points[self.landmarks]
        if self.distinct == len(self):
            return self.features, self.points
        return self.features[self.fitted], self.points[self.fitted]

    @cached_property
    def _reach(self) -> float:
        rows, points = self._laid_out
        return reach_of(rows, points, sampled(len(rows), self.seed))

    @cached_property
    def _nearby(self) -> Nearby:
        rows = self._laid_out[0]
        return Nearby(rows, min(AROUND, len(rows)), seed=self.seed)

    def _like_these(self, features: Tensor) -> Tensor:
        rows = rows_of(features)
        if rows.shape[1] != self.features.shape[1]:
            raise ShapeError(
                f"rows must have {self.features.shape[1]} values, got {rows.shape[1]}; it is a projection of {self.of}"
            )
        return rows

    def transform(self, features: Tensor) -> Tensor:
        """Return places (M, 2) float32 for new rows (M, ...).

        A PCA is continued as the linear map that it is. Elsewhere a row that was laid out gets its own place, and any
        other the weighted mean of its nearest rows' places, of those that the layout has not torn apart. The nearest
        are found exactly among up to 20,000 rows, and among more as `nearest_rows` finds them.

        Raises:
            ShapeError: if the rows do not have F values.
            NonFiniteError: if a value is not finite.
        """
        rows = self._like_these(features)
        if self.linear is not None:
            return self.linear(rows)
        return placed(rows, self._nearby, self._laid_out[1], self._reach)

    def transform_curve(self, features: Tensor) -> PlacedCurve:
        """Return where a curve (T, ...) of rows lies, and over which of its steps it jumps.

        A step is marked as torn where it is no longer than the distance between neighbouring rows but leads far across
        the plane: there the layout has torn apart what hangs together, and the jump is none of the generator's. Steps
        that are longer are not judged. A PCA tears nothing.

        Raises:
            ShapeError: if the rows do not have F values.
            NonFiniteError: if a value is not finite.
        """
        rows, points = self._like_these(features), self.transform(features)
        if self.linear is not None:
            return PlacedCurve(points, torch.zeros(len(rows) - 1, dtype=torch.bool))
        return PlacedCurve(points, torn_steps(rows, points, self._laid_out[0], self._reach))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write all of it as `.npz`, which `load_projection` reads, and return the path.

        Raises:
            OutputError: if the file cannot be written; an earlier one is untouched.
        """
        from latentkit.projection.stored import write_projection

        return write_projection(self, path)
