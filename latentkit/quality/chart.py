"""The chart of a quality map: the samples of some of its latents, and how they hang together."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from latentkit.errors import ArgumentError
from latentkit.graphs import NeighbourGraph, default_neighbours, neighbour_graph
from latentkit.neighbours import nearest
from latentkit.priors import Prior, normal_scores
from latentkit.projection import Features, NearestRows, nearest_rows, sample_features
from latentkit.protocols import Generator
from latentkit.quality.placing import Placing, exact_places

__all__ = ["GRAPH_LIMIT", "NUMBERS", "Chart", "chart_size", "charted", "chosen", "looked_through", "settled"]

#: Latents whose samples are charted, by default.
GRAPH_LIMIT = 20_000

#: Numbers that the features of a chart may have in all: 256 MB.
NUMBERS = 2**26

#: A chart is chosen among so many times as many latents as it has: enough to find good ones where one in 20 is.
SEEN = 10


@dataclass(frozen=True, eq=False)
class Chart:
    """Latents with their samples' features: the points of the graph on which islands and ways are found.

    Attributes: `prior` of the latents; `latents` (G, D); `features` (G, F) float32, whose Euclidean distance is that of
    the samples; `probability` (G,) float64 of the samples; `custom`, whether the features are those of a function
    rather than all numbers of a sample; `exact`, whether other samples are placed at the very nearest of these, or by a
    `Placing`, which is many times faster and now and then takes one that is hardly further away.
    """

    prior: Prior
    latents: Tensor
    features: Tensor
    probability: Tensor
    custom: bool
    exact: bool = True

    def __len__(self) -> int:
        """Return how many points there are."""
        return len(self.latents)

    @property
    def at_once(self) -> int:
        """How many samples are placed at once: enough to be worth a pass over the chart, few enough for the memory."""
        return max(64, min(4096, NUMBERS // (8 * self.features.shape[1])))

    @cached_property
    def knn(self) -> NearestRows:
        """The nearest other points of each, in the features: what the graph is made of, and a projection can be.

        `project(chart.features, knn=chart.knn)` does not look for them again.
        """
        return nearest_rows(self.features, min(default_neighbours(len(self)), len(self) - 1))

    @cached_property
    def graph(self) -> NeighbourGraph:
        """The points joined to those with the nearest samples; made once, when first asked for.

        Where good samples lie scattered among bad ones, few of a good one's nearest neighbours are good. So the better
        half of the points is joined to its own nearest neighbours as well, and the better quarter, and so on: in
        whatever region above a threshold, a point has about as many neighbours as the region alone would give it.
        """
        whole = neighbour_graph(self.features, knn=self.knn if len(self) > 1 else None)
        order = self.probability.argsort(descending=True, stable=True)
        pairs, lengths, size = [whole.edges], [whole.lengths], len(self) // 2
        while size > 4 * default_neighbours(size):
            best = order[:size]
            level = neighbour_graph(self.features[best])
            pairs.append(best[level.edges].sort(1).values)
            lengths.append(level.lengths)
            size //= 2
        edges, place = torch.cat(pairs).unique(dim=0, return_inverse=True)
        found = torch.empty(len(edges), dtype=torch.float64)
        found[place] = torch.cat(lengths)
        return replace(whole, edges=edges, lengths=found)

    @cached_property
    def latent_graph(self) -> NeighbourGraph:
        """The points joined to those with the nearest latents, in the prior's own coordinates; made once."""
        return neighbour_graph(normal_scores(self.prior, self.latents))

    @cached_property
    def placing(self) -> Placing:
        """The short way to a sample's place; made once, when first asked for, in a second or so."""
        return Placing.of(self.features)

    def nearest(self, features: Tensor) -> Tensor:
        """Return the point (M,) int32 whose sample is nearest to each row of features (M, F), if not `exact` almost.

        Raises:
            ArgumentError: if these are other features than the chart's.
        """
        if features.shape[1] != self.features.shape[1]:
            what = "of a function" if self.custom else "all numbers of a sample"
            raise ArgumentError(
                f"the chart's features ({what}) have {self.features.shape[1]} numbers, these have "
                f"{features.shape[1]}; pass the same features= that the map was charted with"
            )
        if not self.exact:
            return torch.cat([self.placing.nearest([part]) for part in features.split(self.at_once)])
        parts = [nearest(part, self.features, 1)[1][:, 0] for part in features.split(self.at_once)]
        return torch.cat(parts).to(torch.int32) if parts else torch.empty(0, dtype=torch.int32)


def chart_size(limit: int, width: int) -> int:
    """Return how many points a chart has at most, given the limit that was asked for and the numbers of a feature."""
    return min(limit, max(NUMBERS // width, 1))


def looked_through(size: int, count: int) -> int:
    """Return among how many of the first of `count` latents a chart of `size` is chosen."""
    return min(count, SEEN * size)


def settled(good: Tensor, limit: int) -> bool:
    """Whether more latents than those of `good` (N,) bool would leave `chosen(good, limit)` as it is."""
    found = int(good.sum())
    return found >= limit - limit // 2 and len(good) - found >= limit // 2


def chosen(good: Tensor, limit: int) -> Tensor:
    """Return which rows (G,) of a map are charted: the first `limit`, but good ones (N,) bool come first.

    Others get the places that good ones leave, and half of them in any case: ways between islands lead over them.
    """
    rows = [side.nonzero()[:, 0] for side in (good, ~good)]
    others = min(len(rows[1]), max(limit // 2, limit - len(rows[0])))
    return torch.cat([rows[0][: limit - others], rows[1][:others]]).sort().values


def charted(
    prior: Prior,
    latents_of: Callable[[Tensor], Tensor],
    probability: Tensor,
    threshold: float,
    generator: Generator,
    features: Features | None,
    limit: int,
    batch_size: int,
    progress: bool,
) -> tuple[Chart, Tensor]:
    """Return the chart of a map whose scores are known, and each latent's place (N,) int32 on it.

    Args:
        prior: of the latents.
        latents_of: rows (M,) long of the map to latents (M, D).
        probability: (N,) of each latent.
        threshold: from which a latent counts as good.
        generator: the model.
        features: samples (B, *S) to features (B, F), or None for all numbers of a sample.
        limit: how many latents to chart, at most.
        batch_size: latents a call.
        progress: show a progress bar on standard error.
    """
    from tqdm import tqdm

    def featured_rows(rows: Tensor) -> Tensor:
        return sample_features(generator, latents_of(rows), features or "samples", batch_size=batch_size)

    count = len(probability)
    size = chart_size(limit, featured_rows(torch.arange(1)).shape[1])
    picked = chosen(probability[: looked_through(size, count)] >= threshold, size)
    found = featured_rows(picked)
    exact = exact_places(count, *found.shape)
    chart = Chart(prior, latents_of(picked), found, probability[picked], features is not None, exact)
    places = torch.full((count,), -1, dtype=torch.int32)
    places[picked] = torch.arange(len(picked), dtype=torch.int32)
    others = (places < 0).nonzero()[:, 0]
    with tqdm(total=len(others), desc="placing", unit="latent", disable=not progress, leave=False) as bar:
        for rows in others.split(chart.at_once) if len(others) else ():
            places[rows] = chart.nearest(featured_rows(rows))
            bar.update(len(rows))
    return chart, places
