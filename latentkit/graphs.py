"""Graphs of nearest neighbours: which points hang together, and how far down every way between two of them leads.

References:
    Maier, Hein, von Luxburg (2009), "Optimal construction of k-nearest-neighbor graphs for identifying noisy
    clusters": that k must grow with log N.
    Levina, Bickel (2004), "Maximum likelihood estimation of intrinsic dimension", equation 8, averaged as MacKay and
    Ghahramani (2005) propose.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.checks import as_count, floating, require_finite
from latentkit.errors import ShapeError
from latentkit.neighbours import nearest

__all__ = ["NeighbourGraph", "default_neighbours", "neighbour_graph", "shortest", "widest"]

#: The distance to this neighbour is the local scale of a point.
LOCAL = 4

#: An edge may reach as far as a ball that would hold LOCAL times so many points if the density went on.
CROWD = 25.0

#: An edge may always reach so many local scales: in many dimensions volumes grow too fast to be compared.
LEAST_REACH = 3.0

#: A point is a straggler where its neighbourhood is so many times as large as those of its neighbours...
SPARSE = 2.5

#: ...but never below this ratio of their radii.
LEAST_SPARSE = 1.5

Array = NDArray[Any]


def default_neighbours(count: int) -> int:
    """Return how many neighbours connect a cloud of `count` points: 2 log N, and at least 10."""
    return max(10, math.ceil(2.0 * math.log(max(count, 1))))


@dataclass(frozen=True, eq=False)
class NeighbourGraph:
    """Points joined to their nearest neighbours, but not across gaps.

    Attributes: `count`, the number of points N; `k`, how many neighbours each was asked for; `edges` (E, 2) long, each
    pair once, the smaller number first; `lengths` (E,) float64, their Euclidean lengths; `scale` (N,) float64, the
    local scale of each point; `dimension`, the intrinsic dimension of the cloud; `reach`, how many local scales an
    edge may be long.
    """

    count: int
    k: int
    edges: Tensor
    lengths: Tensor
    scale: Tensor
    dimension: float
    reach: float

    def components(self, keep: Tensor | None = None, *, least: int = 1) -> Tensor:
        """Return which connected component each point belongs to: (N,) long, the largest being 0.

        Args:
            keep: (N,) bool, the points that count; all by default.
            least: components of fewer points are left out.

        Returns:
            Numbers by falling size, then by the first point; -1 for points that are left out.
        """
        from scipy.sparse.csgraph import connected_components

        kept = np.ones(self.count, dtype=bool) if keep is None else keep.numpy()
        pairs = self.edges.numpy()
        inside = kept[pairs].all(1)
        _, raw = connected_components(_matrix(self.count, pairs[inside], np.ones(inside.sum())), directed=False)
        raw = np.where(kept, raw, -1)
        found, first, sizes = np.unique(raw[kept], return_index=True, return_counts=True)
        order = np.lexsort((first, -sizes))
        order = order[sizes[order] >= as_count(least, "least")]
        number = np.full(self.count + 1, -1)
        number[found[order]] = np.arange(len(order))
        return torch.from_numpy(number[raw])

    def bottleneck(self, values: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Return the highest level at which points can be joined: the largest, over all ways, of the least value.

        Both ends count. All pairs together cost little more than one.

        Args:
            values: (N,), a value for each point.
            a: (M,) long, where the ways begin.
            b: (M,) long, where they end.

        Returns:
            (M,) float64; minus infinity where no way leads from one to the other.
        """
        heights = values.double().numpy()
        found = widest(self.count, self.edges.numpy(), heights[self.edges.numpy()].min(1), a.numpy(), b.numpy())
        return torch.from_numpy(np.where(a.numpy() == b.numpy(), heights[a.numpy()], found))

    def shortest_path(self, a: int, b: int, *, cost: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """Return the points (T,) long of the shortest way from a to b, both among them; none if there is no way.

        Args:
            a: where the way begins.
            b: where it ends.
            cost: (N,), what a unit of length costs at each point, above 0; along an edge the mean of both. 1 by
                default.
            keep: (N,) bool, the points that it may go through; all by default.
        """
        pairs, lengths = self.edges.numpy(), self.lengths.numpy()
        if cost is not None:
            lengths = lengths * cost.double().numpy()[pairs].mean(1)
        if keep is not None:
            inside = keep.numpy()[pairs].all(1)
            pairs, lengths = pairs[inside], lengths[inside]
            if not bool(keep[a] & keep[b]):
                return torch.empty(0, dtype=torch.long)
        return shortest(self.count, pairs, lengths, a, b)

    def widest_path(self, values: Tensor, a: int, b: int) -> Tensor:
        """Return the points (T,) long of the way from a to b whose least value is largest: of these, the shortest.

        Args:
            values: (N,), a value for each point.
            a: where the way begins.
            b: where it ends.
        """
        level = float(self.bottleneck(values, torch.tensor([a]), torch.tensor([b])))
        return self.shortest_path(a, b, keep=values.double() >= level)

    def nearest_kept(self, keep: Tensor) -> Tensor:
        """Return the kept point (N,) long that is nearest along the graph to each point; -1 where none can be reached.

        Args:
            keep: (N,) bool.
        """
        from scipy.sparse.csgraph import dijkstra

        if not bool(keep.any()):
            return torch.full((self.count,), -1)
        sources = keep.nonzero()[:, 0].numpy()
        found = dijkstra(self._weights, directed=False, indices=sources, min_only=True, return_predecessors=True)[2]
        return torch.from_numpy(np.where(found < 0, -1, found).astype(np.int64))

    @cached_property
    def _weights(self) -> Any:
        return _matrix(self.count, self.edges.numpy(), _above_zero(self.lengths.numpy()))


def neighbour_graph(
    features: Tensor, k: int | None = None, *, knn: tuple[Tensor, Tensor] | None = None
) -> NeighbourGraph:
    """Join the points at features (N, F) to their k nearest neighbours, but not across gaps.

    Two rules keep islands apart, whatever their densities. Both count in volumes, by the dimension d of the cloud: a
    line has gaps by chance where a surface has none.

    - An edge is left out if it is longer than `reach` times the local scale of either of its ends, the distance to its
      fourth neighbour: neighbours of an island with fewer than k points lie on other islands. The reach is
      25 ** (1 / d), where a hundred points would be expected if the density went on; it is at least 3.
    - A straggler has one edge only, to the nearest point that is none: it hangs on to its island and makes no bridge
      to another. It is a point whose k-th neighbour is 2.5 ** (1 / d) times (at least 1.5 times) as far away as those
      of its neighbours within reach are from them, in the median.

    Args:
        features: (N, F), at least one point.
        k: how many neighbours; by default as many as connect a cloud of N points, 10 up to 148 of them and
            2 log N beyond.
        knn: indices (N, K) long and distances (N, K) of each point's nearest others, nearest first, where they are
            known, K at least k: then nothing is looked for.

    Raises:
        ShapeError: if the features are not (N, F) with at least one row, or the neighbours not those of N points.
        NonFiniteError: if a value is NaN or infinite.
        ArgumentError: if k is not a whole number of at least 1.
    """
    features = floating(features, "features")
    if features.ndim != 2 or features.numel() == 0:
        raise ShapeError(f"features must be (N, F) with at least one row, got {tuple(features.shape)}")
    require_finite(features, "features")
    count = len(features)
    k = min(default_neighbours(count) if k is None else as_count(k, "k"), count - 1)
    if k == 0:
        none = torch.empty(0, dtype=torch.float64)
        return NeighbourGraph(1, 0, torch.empty((0, 2), dtype=torch.long), none, torch.zeros(1).double(), 0.0, 0.0)
    if knn is None:
        lengths_of, of = nearest(features, features, k, same=True)
    else:
        of, lengths_of = knn[0][:, :k], knn[1][:, :k]
        if tuple(of.shape) != (count, k) or of.shape != lengths_of.shape:
            raise ShapeError(
                f"the neighbours of {count} points must be ({count}, {k} or more), got {tuple(knn[0].shape)}"
            )
    found, index = lengths_of.numpy(), of.numpy()
    scale = found[:, min(LOCAL, k) - 1].astype(np.float64)
    dimension = _intrinsic_dimension(found)
    reach = max(LEAST_REACH, CROWD ** (1.0 / dimension)) if dimension > 0 else LEAST_REACH

    pairs = np.stack([np.repeat(np.arange(count), k), index.reshape(-1)], 1)
    lengths = found.reshape(-1).astype(np.float64)
    near = lengths <= reach * scale[pairs].min(1)
    near = _without_bridges(near.reshape(count, k), found[:, -1], index, dimension).reshape(-1)
    pairs, first = np.unique(np.sort(pairs[near], 1), axis=0, return_index=True)
    edges, kept = torch.from_numpy(pairs.reshape(-1, 2)), torch.from_numpy(lengths[near][first])
    return NeighbourGraph(count, k, edges, kept, torch.from_numpy(scale), dimension, reach)


def _without_bridges(near: Array, radius: Array, index: Array, dimension: float) -> Array:
    """Return which of the edges (N, k) to the neighbours at `index` (N, k) stay, if stragglers keep one each.

    Args:
        near: (N, k) bool, the edges that are not too long.
        radius: (N,), how far each point's k-th neighbour is.
        index: (N, k), the neighbours, nearest first.
        dimension: of the cloud, 0 if unknown.
    """
    ratio = max(LEAST_SPARSE, SPARSE ** (1.0 / dimension)) if dimension > 0 else LEAST_SPARSE
    around = np.sort(np.where(near, radius[index], np.inf), axis=1)
    middle = np.take_along_axis(around, np.maximum(near.sum(1, keepdims=True) - 1, 0) // 2, axis=1)[:, 0]
    settled: Array = radius <= ratio * middle
    among = near & settled[index]
    only = np.zeros_like(near)
    rows = (among.any(1) & ~settled).nonzero()[0]
    only[rows, among[rows].argmax(1)] = True
    return np.where(settled[:, None], among, only)


def _intrinsic_dimension(found: Array) -> float:
    """Return the dimension that distances to the nearest neighbours (N, k) speak of; 0 if they say nothing."""
    inner, outer = found[:, :-1].astype(np.float64), found[:, -1:].astype(np.float64)
    usable = (inner > 0) & (outer > inner)
    if not usable.any():
        return 0.0
    return float(1.0 / np.log((outer / np.where(usable, inner, 1.0))[usable]).mean())


def _matrix(count: int, pairs: Array, weights: Array) -> Any:
    from scipy.sparse import csr_array

    return csr_array((weights, (pairs[:, 0], pairs[:, 1])), shape=(count, count))


def _above_zero(lengths: Array) -> Array:
    """Return lengths with copies a little apart: nought is no edge to some of SciPy's algorithms."""
    return np.maximum(lengths, 1e-12 * max(float(lengths.max(initial=0.0)), 1e-300))


def shortest(count: int, pairs: Array, lengths: Array, a: int, b: int) -> Tensor:
    """Return the nodes (T,) long of the shortest way from a to b over edges (E, 2) of lengths (E,), or none."""
    from scipy.sparse.csgraph import dijkstra

    matrix = _matrix(count, pairs, _above_zero(lengths))
    before = dijkstra(matrix, directed=False, indices=a, return_predecessors=True)[1]
    nodes = [b]
    while nodes[-1] != a:
        nodes.append(int(before[nodes[-1]]))
        if nodes[-1] < 0:
            return torch.empty(0, dtype=torch.long)
    return torch.tensor(nodes[::-1])


def widest(count: int, pairs: Array, values: Array, a: Array, b: Array) -> Array:
    """Return the largest, over all ways from a (M,) to b (M,), of the least value (E,) of their edges (E, 2).

    By a maximum spanning forest, along whose ways the least value is largest. Points are strung up in the order in
    which its edges join them, highest first; then the answer is the least value between two places on the string.

    Returns:
        (M,) float64: infinity where both ends are one point, minus infinity where there is no way.
    """
    from scipy.sparse.csgraph import minimum_spanning_tree

    order = np.argsort(-values, kind="stable")
    rank = np.empty(len(order))
    rank[order] = np.arange(1, len(order) + 1)
    forest = minimum_spanning_tree(_matrix(count, pairs, rank)).tocoo()
    taken = np.argsort(forest.data)
    steps = zip(
        forest.row[taken].tolist(),
        forest.col[taken].tolist(),
        values[order[forest.data[taken].astype(np.int64) - 1]].tolist(),
        strict=True,
    )
    place, joins = _strung(count, steps)
    low, high = np.minimum(place[a], place[b]), np.maximum(place[a], place[b])
    return _range_minimum(joins, low, high)


def _strung(count: int, steps: Any) -> tuple[Array, Array]:
    """Return each point's place (N,) on the string and the values (N - 1,) that join neighbours on it."""
    root, last = list(range(count)), list(range(count))
    after, join = [-1] * count, [-math.inf] * count

    def find(x: int) -> int:
        while root[x] != x:
            root[x] = root[root[x]]
            x = root[x]
        return x

    # A string's first point is its root, so that joining two takes no search for their ends.
    for i, j, value in steps:
        x, y = find(i), find(j)
        after[last[x]], join[last[x]] = y, value
        last[x], root[y] = last[y], x
    place, joins = np.empty(count, dtype=np.int64), np.empty(count)
    at = 0
    for start in range(count):
        if root[start] != start:
            continue
        x = start
        while x >= 0:
            place[x], joins[at] = at, join[x]
            at, x = at + 1, after[x]
    return place, joins[:-1]


def _range_minimum(values: Array, low: Array, high: Array) -> Array:
    """Return the least of values[low:high] for bounds (M,); infinity where there are none."""
    table = [values]
    while 2 ** len(table) <= len(values):
        half, above = 2 ** (len(table) - 1), table[-1]
        table.append(np.minimum(above[:-half], above[half:]))
    length = high - low
    found = np.full(len(low), math.inf)
    level = np.frexp(length)[1] - 1  # floor of the binary logarithm
    for k, row in enumerate(table):
        some = (length > 0) & (level == k)
        found[some] = np.minimum(row[low[some]], row[high[some] - 2**k])
    return found
