"""Laying rows out in the plane."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from latentkit.checks import as_count, as_number, as_seed, one_of
from latentkit.errors import ArgumentError, LabelError
from latentkit.projection.landmarks import FEWEST, by_landmarks, landmark_limit
from latentkit.projection.laying import Setting, lay_out, needed_neighbours
from latentkit.projection.projection import NAMES, Projection
from latentkit.projection.rapids import chosen_engine
from latentkit.projection.search import as_nearest_rows
from latentkit.projection.sources import ArraySource, Source

__all__ = ["as_setting", "project", "project_source"]


def project(
    features: Any,
    method: str = "umap",
    *,
    seed: int = 0,
    neighbours: int = 15,
    min_dist: float = 0.1,
    labels: Tensor | None = None,
    knn: Any = None,
    landmarks: int | None = None,
    engine: str = "auto",
    of: str = "features",
    progress: bool = False,
) -> Projection:
    """Lay rows (N, ...) out in the plane.

    UMAP of latents drawn from a Gaussian is a picture of noise, whatever the generator: project samples or their
    features to see what the generator makes (`project_samples` does). Equal rows share one place, and the layout is
    fitted on the distinct ones.

    Of more rows than `landmarks` the layout is fitted on so many, chosen evenly by the seed, and all others are placed
    among them as `Projection.transform` places new ones, read block by block: so that ten million rows may lie in a
    file. The note says how many, and how far their places can be believed.

    Args:
        features: (N, ...) samples, features or latents; flattened to (N, F). A tensor, an array such as `numpy.memmap`,
            or a column of a store: anything with a length that gives arrays for slices and for arrays of row numbers.
        method: "umap", "pca" or "tsne"; t-SNE keeps more neighbours and takes longer.
        seed: 0 to 2**64 - 1; a seeded layout is the same each time on one machine and stack.
        neighbours: how many rows make a neighbourhood, at least 2: UMAP's own, t-SNE's perplexity, and what any layout
            is judged by.
        min_dist: for UMAP, how closely points may be packed, 0 to 1.
        labels: for UMAP, class numbers (N,), -1 for unknown, which pull the classes apart; copies whose labels differ
            count as unknown.
        knn: the nearest rows (indices (N, k) long, distances (N, k)), if they are known, such as `nearest_rows` returns
            or another projection's `knn`; with k at least `neighbours` - 1, or 3 `neighbours` + 1 for t-SNE. They are
            found anew where some rows are equal. With them all rows are laid out.
        landmarks: how many rows are laid out, more than `neighbours`; by default 100,000, or of rows of more than 1,342
            values as many as hold 2**27 of them, at least 10,000.
        engine: what lays out a UMAP: "cpu"; "cuml", RAPIDS cuML on a GPU, which we have never run on one; or "auto",
            cuML where that and a GPU are there.
        of: what the rows are, in words, for titles.
        progress: show progress bars on standard error.

    Raises:
        ShapeError: if there are no rows, or `knn` does not fit them.
        NonFiniteError: if a value is NaN or infinite; the text names the rows.
        LabelError: if labels are not whole numbers (N,) of at least -1.
        ArgumentError: if an argument is out of range, or does not go with the method.
        MissingDependencyError: if `engine` is "cuml" and that or a GPU is not there.

    References:
        McInnes, Healy, Melville (2018), "UMAP: uniform manifold approximation and projection" (arXiv 1802.03426).
        van der Maaten, Hinton (2008), "Visualizing data using t-SNE".

    Examples:
        >>> import latentkit as lk
        >>> plane = lk.project(lk.Normal(64).sample(200, seed=0), "pca")
        >>> plane.points.shape, plane.shows_nothing
        (torch.Size([200, 2]), True)
        >>> lk.project(lk.Normal(64).sample(200, seed=0), "pca", landmarks=50).features.shape
        torch.Size([50, 64])
    """
    setting = as_setting(method, seed, neighbours, min_dist, engine, of, progress)
    return project_source(ArraySource(features), setting, labels=labels, knn=knn, landmarks=landmarks)


def as_setting(
    method: str, seed: int, neighbours: int, min_dist: float, engine: str, of: str, progress: bool
) -> Setting:
    """Return how rows are laid out, checked, with an engine that is there."""
    one_of(method, "method", tuple(NAMES))
    return Setting(
        method=method,
        seed=as_seed(seed),
        neighbours=as_count(neighbours, "neighbours", least=2),
        min_dist=as_number(min_dist, "min_dist", least=0.0, most=1.0),
        engine=chosen_engine(engine, method),
        of=of,
        progress=progress,
    )


def project_source(
    source: Source, setting: Setting, *, labels: Tensor | None, knn: Any, landmarks: int | None
) -> Projection:
    """Lay out rows that are read from a source; the arguments are those of `project`."""
    n, what = len(source), "copies and share a place"
    if landmarks is not None and as_count(landmarks, "landmarks") <= setting.neighbours:
        raise ArgumentError(
            f"landmarks must be more than the {setting.neighbours} neighbours, got {landmarks}; lay out more rows, or "
            "ask for fewer neighbours"
        )
    labels = None if labels is None else _labels(labels, n, setting.method)
    if knn is not None and landmarks is not None and landmarks < n:
        raise ArgumentError(f"knn are the neighbours of all {n} rows, and landmarks is {landmarks}; leave one out")
    if knn is None and landmarks is None and n > FEWEST:
        landmarks = landmark_limit(source.width)
    if landmarks is not None and landmarks < n:
        plane, what = (
            by_landmarks(source, landmarks, setting, labels=labels),
            "copies of landmarks and share their places",
        )
    else:
        rows, needed = source.whole(), needed_neighbours(setting.method, setting.neighbours, n)
        given = None if knn is None else as_nearest_rows(knn, n, needed)
        plane = lay_out(rows, setting, labels=labels, knn=given)
    copied = int((plane.copy_of != torch.arange(n)).sum())
    return plane if not copied else replace(plane, note=f"{copied} of {n} rows are {what}. {plane.note}".strip())


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
