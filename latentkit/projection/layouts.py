"""The curved layouts: UMAP and t-SNE, both from a flat start and with neighbours that are known already."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentkit import streams
from latentkit.errors import NonFiniteError
from latentkit.projection.descent import descend
from latentkit.projection.kernels import one_thread, umap_learn
from latentkit.projection.rapids import cuml_places
from latentkit.projection.search import NearestRows

__all__ = ["tsne_layout", "umap_layout"]

#: Epochs for up to so many rows, and for more, as umap-learn has them.
MANY, MANY_EPOCHS, FEW_EPOCHS = 10_000, 500, 200

#: How wide a layout starts.
SIDE = 10.0


def umap_layout(
    rows: Tensor,
    start: Tensor,
    known: NearestRows,
    *,
    seed: int,
    min_dist: float,
    labels: Tensor | None = None,
    engine: str = "cpu",
    progress: bool = False,
) -> tuple[Tensor, str]:
    """Return UMAP's places (N, 2) float32 of different rows (N, F), and a note on how it went.

    Args:
        rows: (N, F) float32, in a unit of their own size.
        start: (N, 2), where the layout starts.
        known: each row's neighbours, as many as make a neighbourhood, less the row itself.
        seed: of the layout.
        min_dist: how closely points may be packed, 0 to 1.
        labels: (N,) long, -1 for unknown, or None.
        engine: "cpu", or "cuml" for that of RAPIDS.
        progress: show a progress bar on standard error, on the CPU.

    Raises:
        NonFiniteError: if the places are not finite, from the flat start and from a random one.
        ArgumentError: if cuML does not take what it is given.
    """
    own = torch.arange(len(rows))[:, None]
    # umap-learn counts a row as its own first neighbour.
    lists = (
        torch.cat([own, known.indices], 1).numpy().astype(np.int32),
        torch.cat([torch.zeros(len(rows), 1), known.distances.float()], 1).numpy(),
    )
    target = None if labels is None else labels.numpy()
    small, epochs = streams.small_seed(seed), MANY_EPOCHS if len(rows) <= MANY else FEW_EPOCHS
    if engine == "cuml":

        def laid_out_there(init: Any) -> Any:
            return cuml_places(rows.numpy(), init, lists, target, seed=small, epochs=epochs, min_dist=min_dist)

        return _finite(laid_out_there, _side(start), seed, "cuML's UMAP")
    umap = umap_learn()

    def laid_out(init: Any) -> Any:
        with warnings.catch_warnings():
            # With neighbours given umap-learn warns that it cannot transform; `Projection.transform` is ours.
            warnings.simplefilter("ignore")
            graph = umap.UMAP(
                n_neighbors=known.indices.shape[1] + 1,
                random_state=small,
                n_jobs=1,
                precomputed_knn=lists,
                transform_mode="graph",
            ).fit_transform(rows.numpy(), target)
        a, b = umap.umap_.find_ab_params(1.0, min_dist)
        return descend(
            init, graph, epochs=epochs, a=a, b=b, seed=streams.derived_seed(seed, streams.SPLITS), progress=progress
        )

    return _finite(laid_out, _side(start), seed, "UMAP")


def tsne_layout(start: Tensor, known: NearestRows, *, seed: int, perplexity: float) -> tuple[Tensor, str]:
    """Return the places (N, 2) float32 of different rows by t-SNE, and a note on how it went.

    Args:
        start: (N, 2), where the layout starts.
        known: each row's neighbours, three times the perplexity or all others.
        seed: of the layout.
        perplexity: the effective number of neighbours, below N.

    Raises:
        NonFiniteError: if the places are not finite, from the flat start and from a random one.

    References:
        van der Maaten (2014), "Accelerating t-SNE using tree-based algorithms".
        Kobak, Berens (2019), "The art of using t-SNE for single-cell transcriptomics" (the start).
    """
    from scipy.sparse import csr_matrix

    with streams.python_state_kept():
        from sklearn.manifold import TSNE

    n, k = known.indices.shape
    # scikit-learn, too, expects each row at the head of its own list.
    index = torch.cat([torch.arange(n)[:, None], known.indices], 1).numpy().reshape(-1)
    distance = torch.cat([torch.zeros(n, 1), known.distances.float()], 1).numpy().reshape(-1)
    graph = csr_matrix((distance, index, np.arange(0, n * (k + 1) + 1, k + 1)), shape=(n, n))
    small = streams.small_seed(seed)

    def laid_out(init: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            settled = TSNE(perplexity=perplexity, init=init, metric="precomputed", random_state=small, n_jobs=1)
            return settled.fit_transform(graph)

    return _finite(laid_out, 1e-4 * start / start[:, 0].std().clamp(min=1e-12), seed, "t-SNE")


def _side(start: Tensor) -> Tensor:
    """Return a start whose axes are each SIDE long, as UMAP's step lengths are made for."""
    low = start.min(0).values
    return SIDE * (start - low) / (start.max(0).values - low).clamp(min=1e-12)


def _finite(run: Callable[[Any], Any], start: Tensor, seed: int, name: str) -> tuple[Tensor, str]:
    """Return a layout from the flat start, or from a random one of the same size if that fails, and a note on it."""
    for attempt in range(2):
        if attempt:
            random = streams.uniform(len(start), 2, seed=seed, stream=streams.SPLITS)
            start = float(start.abs().max()) * torch.from_numpy(random)
        with one_thread():
            layout = np.asarray(run(start.float().numpy()), dtype=np.float32)
        if np.isfinite(layout).all():
            return torch.from_numpy(layout), f"{name} failed from its PCA start and was begun at random." * attempt
    raise NonFiniteError(f"{name} gave places that are not finite, twice; use method='pca'")
