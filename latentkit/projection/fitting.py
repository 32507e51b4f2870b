"""Laying rows out in the plane."""

from typing import Any

import torch
from torch import Tensor

from latentkit.checks import as_count, as_number, as_seed, one_of
from latentkit.errors import ArgumentError, LabelError
from latentkit.projection.faith import faithfulness, sampled
from latentkit.projection.layouts import tsne_layout, umap_layout
from latentkit.projection.linear import principal_plane
from latentkit.projection.projection import NAMES, Projection, rows_of
from latentkit.projection.search import NearestRows, as_nearest_rows, nearest_rows

__all__ = ["project"]

#: Up to so many different rows there is nothing for a curved layout to unfold.
FLAT = 3


def project(
    features: Tensor,
    method: str = "umap",
    *,
    seed: int = 0,
    neighbours: int = 15,
    min_dist: float = 0.1,
    labels: Tensor | None = None,
    knn: Any = None,
    of: str = "features",
    progress: bool = False,
) -> Projection:
    """Lay rows (N, ...) out in the plane.

    UMAP of latents drawn from a Gaussian is a picture of noise, whatever the generator: project samples or their
    features to see what the generator makes (`project_samples` does). Equal rows share one place, and the layout is
    fitted on the distinct ones.

    Args:
        features: (N, ...) samples, features or latents; flattened to (N, F).
        method: "umap", "pca" or "tsne"; t-SNE keeps more neighbours and takes longer.
        seed: 0 to 2**64 - 1; a seeded layout is the same each time on one machine and stack.
        neighbours: how many rows make a neighbourhood, at least 2: UMAP's own, t-SNE's perplexity, and what any layout
            is judged by.
        min_dist: for UMAP, how closely points may be packed, 0 to 1.
        labels: for UMAP, class numbers (N,), -1 for unknown, which pull the classes apart; copies whose labels differ
            count as unknown.
        knn: the nearest rows (indices (N, k) long, distances (N, k)), if they are known, such as `nearest_rows` returns
            or another projection's `knn`; with k at least `neighbours` - 1, or 3 `neighbours` + 1 for t-SNE. They are
            found anew where some rows are equal.
        of: what the rows are, in words, for titles.
        progress: show progress bars on standard error.

    Raises:
        ShapeError: if there are no rows, or `knn` does not fit them.
        NonFiniteError: if a value is NaN or infinite; the text names the rows.
        LabelError: if labels are not whole numbers (N,) of at least -1.
        ArgumentError: if an argument is out of range, or does not go with the method.

    References:
        McInnes, Healy, Melville (2018), "UMAP: uniform manifold approximation and projection" (arXiv 1802.03426).
        van der Maaten, Hinton (2008), "Visualizing data using t-SNE".

    Examples:
        >>> import latentkit as lk
        >>> plane = lk.project(lk.Normal(64).sample(200, seed=0), "pca")
        >>> plane.points.shape, plane.shows_nothing
        (torch.Size([200, 2]), True)
    """
    one_of(method, "method", tuple(NAMES))
    seed, neighbours = as_seed(seed), as_count(neighbours, "neighbours", least=2)
    min_dist = as_number(min_dist, "min_dist", least=0.0, most=1.0)
    rows = rows_of(features)
    labels = None if labels is None else _labels(labels, len(rows), method)
    needed = _needed(method, neighbours, len(rows))
    given = None if knn is None else as_nearest_rows(knn, len(rows), needed)
    copy_of = _copies(rows)
    first = (copy_of == torch.arange(len(rows))).nonzero()[:, 0]

    flat = principal_plane(rows[first])
    points, notes, found = flat(rows[first]), [], given if len(first) == len(rows) else None
    if len(first) < len(rows):
        notes.append(f"{len(rows) - len(first)} of {len(rows)} rows are copies and share a place.")
    curved = method != "pca" and len(first) > FLAT
    if method != "pca" and 1 < len(first) <= FLAT:
        notes.append(f"Too few different rows for {NAMES[method]}; this is PCA.")
    # In a unit of its own size: distances of 1e30 would overflow in a layout, those of 1e-30 vanish.
    scaled = ((rows[first].double() - flat.centre) / flat.unit).float()
    if curved:
        needed = _needed(method, neighbours, len(first))
        if found is None:
            near = nearest_rows(scaled, needed, seed=seed, progress=progress)
            kind = rows.dtype
            found = NearestRows(near.indices, (near.distances.double() * flat.unit).to(kind))
        near = NearestRows(found.indices[:, :needed], (found.distances[:, :needed].double() / flat.unit).float())
        if method == "umap":
            target = None if labels is None else _agreed(labels, copy_of)[first]
            points, note = umap_layout(
                scaled, points, near, seed=seed, min_dist=min_dist, labels=target, progress=progress
            )
        else:
            points, note = tsne_layout(points, near, seed=seed, perplexity=_perplexity(neighbours, len(first)))
        notes += [note] if note else []
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
        of=of,
        linear=None if curved else flat,
        knn=found if len(first) == len(rows) else None,
    )


def _perplexity(neighbours: int, rows: int) -> float:
    """Return what t-SNE can be asked for of so many rows: three times as many neighbours are looked at."""
    return min(float(neighbours), (rows - 1) / 3.0)


def _needed(method: str, neighbours: int, rows: int) -> int:
    """Return how many neighbours of each of so many rows a layout needs, less the row itself."""
    if method == "pca":
        return 1
    if method == "umap":
        return max(1, min(neighbours, rows - 1) - 1)
    return max(1, min(rows - 1, int(3.0 * _perplexity(neighbours, rows) + 1.0)))


def _labels(labels: Tensor, rows: int, method: str) -> Tensor:
    if method != "umap":
        raise ArgumentError(f"labels guide UMAP only, and method is {method!r}; leave them out and colour by them")
    numbers = torch.as_tensor(labels).detach().cpu()
    if numbers.is_floating_point() or numbers.is_complex() or numbers.shape != (rows,):
        raise LabelError(
            f"labels must be whole numbers ({rows},), one a row and -1 for unknown, got {numbers.dtype} "
            f"{tuple(numbers.shape)}"
        )
    numbers = numbers.long()
    if int(numbers.min()) < -1:
        raise LabelError(f"labels must be class numbers of at least 0, or -1 for unknown, got {int(numbers.min())}")
    return numbers


def _agreed(labels: Tensor, copy_of: Tensor) -> Tensor:
    """Return labels (N,) in which the first of equal rows is unknown unless all of them agree."""
    agreed = labels.clone()
    agreed[copy_of[labels != labels[copy_of]]] = -1
    return agreed


def _copies(rows: Tensor) -> Tensor:
    """Return the first row (N,) long that each is equal to."""
    _, group = torch.unique(rows, dim=0, return_inverse=True)
    first = torch.full((len(rows),), len(rows)).scatter_reduce(0, group, torch.arange(len(rows)), "amin")
    return first[group]
