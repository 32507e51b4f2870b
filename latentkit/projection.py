"""Projection to the plane, with a measure of how much of it to believe."""

import atexit
import os
import shutil
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_count, as_number, as_seed, floating, one_of, require_finite
from latentkit.errors import NonFiniteError, ShapeError
from latentkit.files import writing
from latentkit.neighbours import distances, nearest

__all__ = ["Projection", "project"]

METHODS = ("umap", "pca")

#: Below this trustworthiness a picture is called noise: Gaussian latents reach it in up to about 12 dimensions.
NOISE = 0.75

#: Fewer different rows than this are not judged: nearly every row is a neighbour of every other.
JUDGED = 50


@dataclass(frozen=True, eq=False)
class Projection:
    """Rows laid out in the plane.

    Attributes: `points` (N, 2); `features` (N, F), the rows; `method`; `seed`; `trustworthiness` in
    [0, 1], how far neighbours in the plane are neighbours among the rows (Venna & Kaski 2001);
    `distinct`, how many different rows there were (copies share one place); `note`, what to know
    before believing the picture.
    """

    points: Tensor
    features: Tensor
    method: str
    seed: int
    trustworthiness: float
    distinct: int
    note: str

    @property
    def verdict(self) -> str:
        """Whether the picture shows anything, in one sentence."""
        figure = f"trustworthiness {self.trustworthiness:.2f}"
        if self.distinct < 3:
            answer = f"nothing to see: only {self.distinct} different rows."
        elif self.distinct < JUDGED:
            answer = f"too few different rows ({self.distinct}) to say how far the picture can be believed."
        elif self.trustworthiness < NOISE:
            answer = f"little more than noise ({figure}): neighbours here are mostly not neighbours there."
        else:
            answer = f"neighbours can be believed ({figure}), distances, sizes and gaps cannot."
        return f"{answer} {self.note}".strip()

    def transform(self, features: Tensor) -> Tensor:
        """Return places (M, 2) for new rows (M, F): the weighted mean of their nearest rows' places.

        A row that was part of the fit gets its own place. Weights fall exponentially with the
        distance beyond the nearest row's, on the scale of the neighbourhood.

        Raises:
            ShapeError: if the rows do not have F values.
        """
        rows = _rows(features)
        if rows.shape[1] != self.features.shape[1]:
            raise ShapeError(f"rows must have {self.features.shape[1]} values, got {rows.shape[1]}")
        k = min(15, len(self.features))
        found, index = nearest(rows, self.features, k)
        beyond = found - found[:, :1]
        weights = torch.exp(-beyond / (0.25 * beyond.mean(1, keepdim=True)).clamp(min=1e-12))
        placed = (weights[..., None] * self.points[index]).sum(1) / weights.sum(1, keepdim=True)
        # Measured anew: the distances above come from a matrix product and are never quite zero.
        gap = (rows - self.features[index[:, 0]]).double().norm(dim=1)
        exact = gap <= 1e-3 * beyond.mean(1)
        return torch.where(exact[:, None], self.points[index[:, 0]], placed)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write points, method, seed and trustworthiness as `.npz` and return the path."""
        with writing(path) as file:
            np.savez_compressed(
                file,
                points=self.points.numpy(),
                method=np.array(self.method),
                seed=np.uint64(self.seed),
                trustworthiness=np.float64(self.trustworthiness),
            )
        return Path(path)


def project(
    features: Tensor, method: str = "umap", *, seed: int = 0, neighbours: int = 15, min_dist: float = 0.1
) -> Projection:
    """Lay rows (N, ...) out in the plane.

    UMAP of latents drawn from a Gaussian is a picture of noise, whatever the generator: project
    samples or their features to see what the generator makes. Equal rows share one place, and the
    layout is fitted on the distinct ones.

    Args:
        features: (N, ...) samples, features or latents; flattened to (N, F).
        method: "umap" or "pca".
        seed: 0 to 2**64 - 1; a seeded layout is the same each time on one machine and stack.
        neighbours: for UMAP, how many rows make a neighbourhood, at least 2.
        min_dist: for UMAP, how closely points may be packed, 0 to 1.

    Raises:
        ShapeError: if there are no rows.
        NonFiniteError: if a value is NaN or infinite; the text names the rows.
        ArgumentError: if an argument is out of range.

    References:
        McInnes, Healy, Melville (2018), "UMAP: uniform manifold approximation and projection"
        (arXiv 1802.03426).
    """
    one_of(method, "method", METHODS)
    seed, neighbours = as_seed(seed), as_count(neighbours, "neighbours", least=2)
    min_dist = as_number(min_dist, "min_dist", least=0.0, most=1.0)
    rows = _rows(features)
    unique, copy_of = torch.unique(rows, dim=0, return_inverse=True)
    # In the order of first appearance: sorting would make the layout depend on the values' order.
    first = torch.full((len(unique),), len(rows)).scatter_reduce(0, copy_of, torch.arange(len(rows)), "amin")
    order = first.argsort()
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    fitted = _scaled(rows[first[order]])

    notes = []
    if len(unique) < len(rows):
        notes.append(f"{len(rows) - len(unique)} of {len(rows)} rows are copies and share a place.")
    if method == "umap" and len(unique) <= 3 and len(unique) > 1:
        notes.append("Too few different rows for UMAP; this is PCA.")
    flat = _pca(fitted)
    if method == "umap" and len(unique) > 3:
        threads = torch.get_num_threads()
        try:
            flat, note = _umap(fitted, flat, seed, min(neighbours, len(unique) - 1), min_dist)
        finally:
            # Numba sets the number of OpenMP threads of the whole process, which is torch's too.
            torch.set_num_threads(threads)
        notes.extend([note] if note else [])
    trust = trustworthiness(fitted, flat, k=min(neighbours, (len(unique) - 1) // 2), seed=seed)
    return Projection(flat[place[copy_of]], rows, method, seed, trust, len(unique), " ".join(notes))


def _rows(features: Tensor) -> Tensor:
    rows = floating(features, "features")
    if rows.ndim < 2 or len(rows) == 0:
        raise ShapeError(f"features must be (N, ...) with at least one row, got {tuple(rows.shape)}")
    return require_finite(rows, "features").flatten(1).cpu()


def _scaled(rows: Tensor) -> Tensor:
    """Centre rows and divide by their largest value: the layout does not depend on the unit."""
    centred = rows.double() - rows.double().mean(0)
    return (centred / centred.abs().max().clamp(min=1e-300)).float()


def _pca(rows: Tensor) -> Tensor:
    if rows.shape[1] == 1:
        return torch.cat([rows, torch.zeros_like(rows)], dim=1)
    centred = rows.double()
    axes = _principal_axes(centred)
    # An eigenvector has no sign of its own: its largest coordinate is made positive.
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    return (centred @ axes).float()


def _principal_axes(centred: Tensor) -> Tensor:
    """Return the two directions (F, 2) of largest variance of centred rows (N, F) float64.

    Exact up to 1,024 values; beyond, by block power iteration from a fixed start, since the full
    decomposition of a 64 x 64 colour image's covariance takes many minutes.

    References:
        Halko, Martinsson, Tropp (2011), "Finding structure with randomness", algorithm 4.4.
    """
    width = centred.shape[1]
    if width <= 1024:
        return torch.linalg.eigh(centred.T @ centred)[1][:, [-1, -2]]
    block = torch.from_numpy(streams.normal(width, min(12, len(centred)), seed=0, stream=streams.SPLITS))
    for _ in range(30):
        block = torch.linalg.qr(centred.T @ (centred @ block))[0]
    within = torch.linalg.eigh((centred @ block).T @ (centred @ block))[1]
    return block @ within.flip(1)[:, :2]


def _umap(rows: Tensor, start: Tensor, seed: int, neighbours: int, min_dist: float) -> tuple[Tensor, str]:
    umap = _import_umap()
    found, index = nearest(rows, rows, neighbours - 1, same=True)
    # umap-learn counts a row as its own first neighbour.
    own = torch.arange(len(rows))[:, None]
    known = (
        torch.cat([own, index], 1).numpy().astype(np.int32),
        torch.cat([torch.zeros(len(rows), 1), found], 1).numpy(),
    )
    spread = start / start.std().clamp(min=1e-12)
    layout = np.empty(0)
    for init in (10.0 * spread.numpy() / max(float(spread.abs().max()), 1e-12), "random"):
        with warnings.catch_warnings():
            # With neighbours given umap-learn warns that it cannot transform; `transform` is ours.
            warnings.simplefilter("ignore")
            layout = umap.UMAP(
                n_neighbors=neighbours,
                min_dist=min_dist,
                init=init,
                random_state=streams.small_seed(seed),
                n_jobs=1,
                precomputed_knn=known,
            ).fit_transform(rows.numpy())
        if np.isfinite(layout).all():
            break
    else:
        raise NonFiniteError("UMAP gave places that are not finite, twice; use method='pca'")
    note = "UMAP failed from its PCA start and was begun at random." if isinstance(init, str) else ""
    return torch.from_numpy(np.asarray(layout, dtype=np.float32)), note


def _import_umap() -> Any:
    """Import umap-learn so that it works without a writable home and compiles only once a machine."""
    if "umap" in sys.modules:
        return sys.modules["umap"]
    if "numba" not in sys.modules and "NUMBA_CACHE_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latentkit" / "numba"
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=cache):
                pass
        except (OSError, RuntimeError):
            # Numba unpickles what it finds there: a folder with a known name in a shared place could be
            # somebody else's.
            cache = Path(tempfile.mkdtemp(prefix="latentkit-numba-"))
            atexit.register(shutil.rmtree, cache, ignore_errors=True)
        os.environ["NUMBA_CACHE_DIR"] = str(cache)
    import numba

    plain = numba.njit

    def cached(*arguments: Any, **options: Any) -> Any:
        return plain(*arguments, **{"cache": True, **options})

    # umap-learn leaves most of its kernels uncached, 10 seconds of compiling a process.
    numba.njit = cached
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import umap
    finally:
        numba.njit = plain
    return umap


def trustworthiness(rows: Tensor, points: Tensor, *, k: int, seed: int = 0, most: int = 1000) -> float:
    """Return the trustworthiness in [0, 1] of places (N, 2) for rows (N, F), over k neighbours.

    Neighbours in the plane that are not neighbours among the rows cost by how far down the ranks
    they are. At most `most` rows, chosen by the seed, are asked.

    References:
        Venna, Kaski (2001), "Neighborhood preservation in nonlinear projection methods", equation 1.
    """
    n = len(rows)
    if n < 4 or k < 1:
        return 1.0
    asked = torch.from_numpy(streams.permutation(n, seed=seed)[: min(n, most)])
    near = torch.empty((len(asked), k), dtype=torch.long)
    for part, block in distances(points[asked], points):
        block[torch.arange(block.shape[0]), asked[part]] = torch.inf
        near[part] = block.topk(k, largest=False).indices
    penalty = 0.0
    for part, block in distances(rows[asked], rows):
        block[torch.arange(block.shape[0]), asked[part]] = -1.0  # rank 0 is the row itself
        ranks = block.argsort(1).argsort(1).gather(1, near[part])
        penalty += float((ranks - k).clamp(min=0).sum())
    return 1.0 - penalty * 2.0 / (len(asked) * k * (2 * n - 3 * k - 1))
