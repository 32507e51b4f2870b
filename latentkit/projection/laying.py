"""Laying out rows that are all in memory."""

from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.projection.copies import copies
from latentkit.projection.faith import faithfulness, sampled
from latentkit.projection.layouts import tsne_layout, umap_layout
from latentkit.projection.linear import principal_plane
from latentkit.projection.projection import NAMES, Projection
from latentkit.projection.search import NearestRows, nearest_rows

__all__ = ["Setting", "lay_out", "needed_neighbours"]

#: Up to so many different rows there is nothing for a curved layout to unfold.
FLAT = 3


@dataclass(frozen=True)
class Setting:
    """How rows are laid out.

    Attributes: `method`, "umap", "pca" or "tsne"; `seed`; `neighbours`, how many rows make a neighbourhood; `min_dist`
    of UMAP; `engine`, "cpu" or "cuml"; `of`, what the rows are, in words; `progress`, whether bars are shown.
    """

    method: str
    seed: int
    neighbours: int
    min_dist: float
    engine: str
    of: str
    progress: bool


def lay_out(
    rows: Tensor, setting: Setting, *, labels: Tensor | None = None, knn: NearestRows | None = None
) -> Projection:
    """Return rows (N, F) laid out, equal ones at one place; its note says all but how many rows are copies.

    Args:
        rows: (N, F), finite, of at least float32.
        setting: how.
        labels: for UMAP, class numbers (N,) long, -1 for unknown, or None.
        knn: the nearest rows, or None; they are found anew where some rows are equal.
    """
    method, seed, neighbours = setting.method, setting.seed, setting.neighbours
    copy_of = copies(rows)
    first = (copy_of == torch.arange(len(rows))).nonzero()[:, 0]
    # Where no two are equal the rows themselves: a copy of them would be a second one in memory.
    different = rows if len(first) == len(rows) else rows[first]

    flat = principal_plane(different)
    points, notes, found = flat(different), [], knn if len(first) == len(rows) else None
    curved = method != "pca" and len(first) > FLAT
    if method != "pca" and 1 < len(first) <= FLAT:
        notes.append(f"Too few different rows for {NAMES[method]}; this is PCA.")
    # In a unit of its own size: distances of 1e30 would overflow in a layout, those of 1e-30 vanish.
    scaled = ((different.double() - flat.centre) / flat.unit).float()
    if curved:
        needed = needed_neighbours(method, neighbours, len(first))
        if found is None:
            near = nearest_rows(scaled, needed, seed=seed, progress=setting.progress)
            kind = rows.dtype
            found = NearestRows(near.indices, (near.distances.double() * flat.unit).to(kind))
        near = NearestRows(found.indices[:, :needed], (found.distances[:, :needed].double() / flat.unit).float())
        if method == "umap":
            points, note = umap_layout(
                scaled,
                points,
                near,
                seed=seed,
                min_dist=setting.min_dist,
                labels=None if labels is None else _agreed(labels, copy_of)[first],
                engine=setting.engine,
                progress=setting.progress,
            )
        else:
            points, note = tsne_layout(points, near, seed=seed, perplexity=_perplexity(neighbours, len(first)))
        notes += [note] if note else []
        if setting.engine == "cuml":
            notes.append("RAPIDS cuML laid it out.")
        if labels is not None:
            notes.append("Labels guided it: that classes lie apart is no finding.")
    k = min(neighbours, (len(first) - 1) // 2)
    trust, kept = faithfulness(scaled, points, sampled(len(first), seed), k=k)
    place = torch.zeros(len(rows), dtype=torch.long)
    place[first] = torch.arange(len(first))
    return Projection(
        points=points[place[copy_of]],
        features=rows,
        method=method,
        seed=seed,
        trustworthiness=float(trust.mean()),
        preservation=float(kept.mean()),
        neighbours=neighbours,
        copy_of=copy_of,
        note=" ".join(notes),
        of=setting.of,
        linear=None if curved else flat,
        knn=found if len(first) == len(rows) else None,
        engine=setting.engine if curved else "cpu",
    )


def needed_neighbours(method: str, neighbours: int, rows: int) -> int:
    """Return how many neighbours of each of so many rows a layout needs, less the row itself."""
    if method == "pca":
        return 1
    if method == "umap":
        return max(1, min(neighbours, rows - 1) - 1)
    return max(1, min(rows - 1, int(3.0 * _perplexity(neighbours, rows) + 1.0)))


def _perplexity(neighbours: int, rows: int) -> float:
    """Return what t-SNE can be asked for of so many rows: three times as many neighbours are looked at."""
    return min(float(neighbours), (rows - 1) / 3.0)


def _agreed(labels: Tensor, copy_of: Tensor) -> Tensor:
    """Return labels (N,) in which the first of equal rows is unknown unless all of them agree."""
    agreed = labels.clone()
    agreed[copy_of[labels != labels[copy_of]]] = -1
    return agreed
