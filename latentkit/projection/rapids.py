"""UMAP by RAPIDS cuML, where that and a GPU are there.

It was written from cuML's documentation and source, and tested against a stand-in that takes what cuML takes: nobody
has run it on a GPU for this library yet. Its layout is checked and judged as every other is.

References:
    Nolet, Lafargue, Raff, Nanditale, Oates, Zedlewski, Patterson (2021), "Bringing UMAP closer to the speed of light
    with GPU acceleration".
"""

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentkit.checks import one_of
from latentkit.errors import ArgumentError, MissingDependencyError

__all__ = ["ENGINES", "chosen_engine", "cuml_places"]

Array = NDArray[Any]

#: What lays rows out, and what each is called.
ENGINES = {"cpu": "this library, on the processor", "cuml": "RAPIDS cuML, on a GPU"}


def chosen_engine(engine: str, method: str) -> str:
    """Return which of `ENGINES` lays rows out: for "auto" cuML where it can, for UMAP.

    Raises:
        ArgumentError: if there is no such engine, or it does not know the method.
        MissingDependencyError: if cuML is asked for, and it or a GPU is not there.
    """
    one_of(engine, "engine", ("auto", *ENGINES))
    if engine == "cpu" or (engine == "auto" and method != "umap"):
        return "cpu"
    if method != "umap":
        raise ArgumentError(f"engine='cuml' lays out UMAP only, and method is {method!r}; use engine='auto'")
    missing = _missing()
    if not missing:
        return "cuml"
    if engine == "auto":
        return "cpu"
    raise MissingDependencyError(
        f"engine='cuml' needs RAPIDS cuML and an NVIDIA GPU: {missing}; pip install cuml-cu13 (or cuml-cu12, whichever "
        "CUDA is installed), or use engine='cpu'"
    )


def cuml_places(
    rows: Array,
    start: Array,
    knn: tuple[Array, Array],
    labels: Array | None,
    *,
    seed: int,
    epochs: int,
    min_dist: float,
) -> Array:
    """Return cuML's places (N, 2) float32.

    Args:
        rows: (N, F) float32.
        start: (N, 2) float32, where the layout starts.
        knn: each row's neighbours, itself first: indices (N, k) and distances (N, k).
        labels: (N,) whole numbers, -1 for unknown, or None.
        seed: 0 to 2**32 - 1; with one cuML repeats its layouts.
        epochs: of the descent.
        min_dist: how closely points may be packed.

    Raises:
        ArgumentError: if cuML does not take what it is given.
    """
    indices, distances = knn
    try:
        settled = import_module("cuml.manifold").UMAP(
            n_neighbors=indices.shape[1],
            n_components=2,
            metric="euclidean",
            n_epochs=epochs,
            min_dist=min_dist,
            init=np.ascontiguousarray(start, dtype=np.float32),
            random_state=seed,
            precomputed_knn=(indices.astype(np.int64), distances.astype(np.float32)),
            output_type="numpy",
        )
        return settled.fit_transform(rows, None if labels is None else labels.astype(np.float32))
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"cuML did not take these rows: {error}; update it, or use engine='cpu'") from error


def _missing() -> str:
    """Return why cuML cannot be used, nothing if it can."""
    try:
        import_module("cuml.manifold")
        # cuML's own arrays: whether they have a GPU, not whether torch has one.
        gpu = bool(import_module("cupy").cuda.is_available())
    except (ImportError, OSError, RuntimeError) as error:
        # A driver that is missing or too old is a RuntimeError of CUDA's.
        return str(error) or type(error).__name__
    return "" if gpu else "there is no GPU"
