"""UMAP's stochastic descent: neighbours attract each other, and rows at random push each other away.

References:
    McInnes, Healy, Melville (2018), "UMAP: uniform manifold approximation and projection", algorithm 5. Here the slopes
    of attraction and repulsion, each a power of the squared distance, are looked up in tables of 256 steps an octave.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentkit.projection.kernels import numba_kernels

__all__ = ["descend", "slopes"]

Array = NDArray[Any]

#: Rows drawn at random for each attraction, and the strongest pull along an axis.
REPELLED, STRONGEST = 5, 4.0

#: Squared distances of the tables: from 2**-24 to 2**16, as biased exponents of a float32, and bits of its mantissa.
LOWEST, OCTAVES, BITS = 103, 40, 8

_SHIFT = 23 - BITS
_OFFSET = LOWEST << BITS
_LAST = (OCTAVES << BITS) - 1


def descend(
    start: Array, graph: Any, *, epochs: int, a: float, b: float, seed: int, progress: bool, name: str = "UMAP"
) -> Array:
    """Return the places (N, 2) float32 that a graph's rows settle at.

    Args:
        start: (N, 2), where they start.
        graph: (N, N) SciPy array, how much each row belongs to each other's neighbourhood, 0 to 1.
        epochs: how often the strongest pairs attract each other; others less often, in proportion.
        a: of similarity 1 / (1 + a d^2b) at distance d in the plane.
        b: of the same.
        seed: below 2**64, of the rows that are pushed away.
        progress: show a progress bar on standard error.
        name: of the bar.
    """
    from tqdm import tqdm

    edges = graph.tocoo()
    edges.sum_duplicates()
    strength = edges.data.astype(np.float64)
    kept = strength * epochs >= strength.max(initial=0.0)
    every = (strength.max(initial=0.0) / strength[kept]).astype(np.float32)
    head, tail, due = edges.row[kept].astype(np.int32), edges.col[kept].astype(np.int32), every.copy()
    _, attract, repel = slopes(a, b)
    places, state, step = np.array(start, dtype=np.float32, order="C"), np.uint64(seed), _compiled()
    for epoch in tqdm(range(epochs), desc=name, unit="epoch", disable=not progress, leave=False):
        rate = np.float32(1.0 - epoch / epochs)
        state = np.uint64(step(places, head, tail, every, due, np.float32(epoch), rate, attract, repel, state))
    return places


def slopes(a: float, b: float) -> tuple[Array, Array, Array]:
    """Return squared distances (M,) float32 and what rows so far apart are moved by, in units of their difference.

    These are the slopes of log q for a pair that belongs together and, softened near 0, of log(1 - q) for one that does
    not, where q = 1 / (1 + a d^2b) is the similarity at distance d.

    Returns:
        Squared distances, the attraction (M,), below 0, and the repulsion (M,), above 0, all float32.
    """
    middles = (np.arange(_LAST + 1) + _OFFSET << _SHIFT) + (1 << _SHIFT - 1)
    squared = middles.astype(np.int32).view(np.float32)
    power = squared.astype(np.float64) ** b
    attract = -2.0 * a * b * power / squared / (1.0 + a * power)
    repel = 2.0 * b / ((0.001 + squared) * (1.0 + a * power))
    return squared, attract.astype(np.float32), repel.astype(np.float32)


@lru_cache(maxsize=1)
def _compiled() -> Any:
    return numba_kernels().njit(cache=True, fastmath=True)(_epoch)


def _epoch(
    places: Array,
    head: Array,
    tail: Array,
    every: Array,
    due: Array,
    epoch: Any,
    rate: Any,
    attract: Array,
    repel: Array,
    state: Any,
) -> Any:
    """Move `places` by one epoch of the edges that are due, and return the state of the random stream after it."""
    n, most, none = np.uint64(len(places)), np.float32(STRONGEST), np.float32(0.0)
    for e in range(len(head)):
        if due[e] > epoch:
            continue
        due[e] += every[e]
        i, j = head[e], tail[e]
        x, y = places[i, 0], places[i, 1]
        dx, dy = x - places[j, 0], y - places[j, 1]
        squared = np.float32(dx * dx + dy * dy)
        if squared > none:
            slope = attract[min(max((squared.view(np.int32) >> _SHIFT) - _OFFSET, 0), _LAST)]
            gx, gy = rate * min(max(slope * dx, -most), most), rate * min(max(slope * dy, -most), most)
            x, y = x + gx, y + gy
            places[j, 0] -= gx
            places[j, 1] -= gy
        for _ in range(REPELLED):
            # Knuth's linear congruential stream; its high bits are the random ones.
            state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
            k = (state >> np.uint64(33)) % n
            dx, dy = x - places[k, 0], y - places[k, 1]
            squared = np.float32(dx * dx + dy * dy)
            if squared > none and k != np.uint64(i):
                slope = repel[min(max((squared.view(np.int32) >> _SHIFT) - _OFFSET, 0), _LAST)]
                x += rate * min(max(slope * dx, -most), most)
                y += rate * min(max(slope * dy, -most), most)
        places[i, 0], places[i, 1] = x, y
    return state
