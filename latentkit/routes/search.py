"""The best way over a map's charted latents, whose edges are only looked at where it leads over them.

References:
    Bohlin, Kavraki (2000), "Path planning using lazy PRM".
    Dellin, Srinivasa (2016), "A unifying formalism for shortest path problems with expensive edge evaluations via
    lazy best-first search over paths with edge selectors".
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.graphs import shortest, widest
from latentkit.neighbours import nearest
from latentkit.priors import normal_scores
from latentkit.projection import Features, featured
from latentkit.protocols import Critic, Generator
from latentkit.quality import QualityMap
from latentkit.quality.scoring import scored_samples
from latentkit.routes.smoothing import joined

__all__ = ["Scorer", "Search"]

#: How many points of an edge are looked at, its ends among them, and at most where it is long.
CHECKS, MOST_CHECKS = 8, 64

#: Probabilities that are divided by count as at least this.
LEAST = 1e-3

#: Ends are joined to so many of the chart's points with the nearest samples, and as many with the nearest latents.
JOINED = 20

#: Rounds of looking at the edges of the best way, after which what was found is taken.
ROUNDS = 300

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Scorer:
    """Latents to features and calibrated probabilities of their samples."""

    quality: QualityMap
    generator: Generator
    critic: Critic
    features: Features | None
    batch_size: int

    def __call__(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, F) and probabilities (N,) float64 for latents (N, D)."""
        rows, logits = [], []
        for batch, found in scored_samples(self.generator, self.critic, latents, batch_size=self.batch_size):
            rows.append(featured(batch, self.features))
            logits.append(found)
        return torch.cat(rows), self.quality.calibration.probability(torch.cat(logits))


class Search:
    """The best way over the chart's points and two ends, whose edges are checked where it leads over them.

    An edge's value is the least probability along it, its cost the change of its samples, each step divided by the
    square of its probability. Both are taken from its ends until it is checked; checking only lowers values, so that
    the largest least value is exact, and costs are hardly ever less than they seemed. One edge joins the ends directly,
    so that there always is a way.
    """

    def __init__(self, quality: QualityMap, scorer: Scorer, ends: Tensor) -> None:
        chart, _ = quality._charted()
        self.prior, self.scorer = quality.prior, scorer
        features, probability = scorer(ends)
        if features.shape[1] != chart.features.shape[1]:
            chart.nearest(features)  # says what is wrong
        self.latents = torch.cat([chart.latents, ends.to(chart.latents.dtype)])
        self.count, known = len(self.latents), len(chart)
        rows = torch.cat([chart.features, features])
        self.node_value = torch.cat([chart.probability, probability]).numpy()
        coordinates = normal_scores(self.prior, self.latents)
        near = min(JOINED, known)
        own = torch.arange(known, self.count).repeat_interleave(near)
        joined = [
            torch.stack([nearest(some[known:], some[:known], near)[1].reshape(-1), own], 1)
            for some in (rows, coordinates)
        ]
        pairs = torch.cat([chart.graph.edges, chart.latent_graph.edges, *joined, torch.tensor([[known, known + 1]])])
        self.pairs = np.unique(pairs.numpy(), axis=0)
        self.ends = known, known + 1
        # Latents that are the same are no step: an end that is on the chart takes the place of its row.
        apart, lengths = _lengths(coordinates, self.pairs), _lengths(rows, self.pairs)
        ends_mean = np.maximum(self.node_value[self.pairs].mean(1), LEAST)
        self.value = self.node_value[self.pairs].min(1)
        self.checked = apart == 0
        self.cost = np.where(self.checked, 0.0, lengths / ends_mean**2)
        self.checks = self._checks_for(lengths, apart)

    @staticmethod
    def _checks_for(*lengths: Array) -> Array:
        """Return how many points of each edge (E,) to look at: more where it is longer than most, by either length."""
        times = np.maximum.reduce([some / max(float(np.median(some)), 1e-300) for some in lengths])
        return np.minimum(CHECKS * 2 ** np.ceil(np.log2(np.maximum(times, 1.0))), MOST_CHECKS).astype(np.int64)

    def best(self, threshold: float) -> tuple[Tensor, float]:
        """Return the latents (T, D) of the best way, ends included, and the least probability that was seen on it.

        It is the cheapest of those that keep to the threshold, or else of those whose least probability is largest.
        """
        level, left = threshold, ROUNDS
        while True:
            way = self._way(level)
            if not len(way):
                level = min(level, self._widest())
                way = self._way(level)
            edges = self._edges(way)
            unknown = edges[~self.checked[edges]]
            self._check(unknown)
            left -= 1
            # When the rounds are spent it is not proved best, but what is returned has been seen.
            if not len(unknown) or not left:
                steps = self.latents[way]
                moved = torch.cat([torch.tensor([True]), steps.diff(dim=0).abs().amax(1) > 0])
                return steps[moved], float(self.value[edges].min())

    def _way(self, level: float) -> Array:
        """Return the points (T,) of the cheapest way over edges of at least this value; none if there is no way."""
        active = (self.value >= level).nonzero()[0]
        return shortest(self.count, self.pairs[active], self.cost[active], *self.ends).numpy()

    def _widest(self) -> float:
        """Return the largest, over all ways, of the least value along them."""
        a, b = (np.array([end]) for end in self.ends)
        return float(widest(self.count, self.pairs, self.value, a, b)[0])

    def _edges(self, way: Array) -> Array:
        """Return which edges (T - 1,) lead along the points (T,) of a way."""
        key = self.pairs[:, 0] * self.count + self.pairs[:, 1]  # sorted, as np.unique left the pairs
        low, high = np.minimum(way[:-1], way[1:]), np.maximum(way[:-1], way[1:])
        return np.searchsorted(key, low * self.count + high)

    def _check(self, edges: Array) -> None:
        """Generate and score what lies along edges (E,)."""
        for count in np.unique(self.checks[edges]).tolist():
            some = edges[self.checks[edges] == count]
            a, b = (self.latents[self.pairs[some, side]] for side in (0, 1))
            times = torch.linspace(0.0, 1.0, count, dtype=torch.float64).tolist()
            points = torch.cat([joined(self.prior, a, b, t) for t in times])
            rows, found = self.scorer(points)
            probability = found.reshape(count, -1)
            steps = rows.reshape(count, len(some), -1).double().diff(dim=0).norm(dim=2)
            middle = (probability[1:] + probability[:-1]) / 2.0
            self.cost[some] = (steps / middle.clamp(min=LEAST).square()).sum(0).numpy()
            self.value[some] = np.minimum(probability.amin(0).numpy(), self.value[some])
            self.checked[some] = True


def _lengths(rows: Tensor, pairs: Array) -> Array:
    """Return the distances (E,) float64 between pairs (E, 2) of rows (N, F), holding a part of them at a time."""
    parts = torch.from_numpy(pairs).split(max(2**22 // rows.shape[1], 1))
    return torch.cat([(rows[part[:, 0]] - rows[part[:, 1]]).double().norm(dim=1) for part in parts]).numpy()
