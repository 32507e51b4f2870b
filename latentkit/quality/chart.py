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

__all__ = ["GRAPH_LIMIT", "NUMBERS", "Chart", "chosen", "places_of"]

#: Latents whose samples are charted, by default.
GRAPH_LIMIT = 20_000

#: Numbers that the features of a chart may have in all: 256 MB.
NUMBERS = 2**26


@dataclass(frozen=True, eq=False)
class Chart:
    """Latents with their samples' features: the points of the graph on which islands and ways are found.

    Attributes: `prior` of the latents; `latents` (G, D); `features` (G, F) float32, whose Euclidean distance is that of
    the samples; `probability` (G,) float64 of the samples; `custom`, whether the features are those of a function
    rather than all numbers of a sample.
    """

    prior: Prior
    latents: Tensor
    features: Tensor
    probability: Tensor
    custom: bool

    def __len__(self) -> int:
        """Return how many points there are."""
        return len(self.latents)

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

    def nearest(self, features: Tensor) -> Tensor:
        """Return the point (M,) int32 whose sample is nearest to each row of features (M, F).

        Raises:
            ArgumentError: if these are other features than the chart's.
        """
        if features.shape[1] != self.features.shape[1]:
            what = "of a function" if self.custom else "all numbers of a sample"
            raise ArgumentError(
                f"the chart's features ({what}) have {self.features.shape[1]} numbers, these have "
                f"{features.shape[1]}; pass the same features= that the map was charted with"
            )
        rows = max(64, NUMBERS // (16 * max(features.shape[1], len(self))))
        parts = [nearest(part, self.features, 1)[1][:, 0] for part in features.split(rows)]
        return torch.cat(parts).to(torch.int32) if parts else torch.empty(0, dtype=torch.int32)


def chosen(good: Tensor, limit: int) -> Tensor:
    """Return which rows (G,) of a map are charted: the first `limit`, but good ones (N,) bool come first.

    Others get the places that good ones leave, and half of them in any case: ways between islands lead over them.
    """
    rows = [side.nonzero()[:, 0] for side in (good, ~good)]
    others = min(len(rows[1]), max(limit // 2, limit - len(rows[0])))
    return torch.cat([rows[0][: limit - others], rows[1][:others]]).sort().values


def places_of(
    chart: Chart,
    picked: Tensor,
    count: int,
    latents_of: Callable[[Tensor], Tensor],
    generator: Generator,
    features: Features | None,
    *,
    batch_size: int,
    progress: bool,
) -> Tensor:
    """Return the row of the chart (N,) int32 whose sample is nearest to each latent's.

    Args:
        chart: the chart.
        picked: (G,) long, which of the latents its rows are.
        count: how many latents N there are.
        latents_of: rows (M,) long to latents (M, D).
        generator: the model.
        features: what the chart was made with.
        batch_size: latents a call.
        progress: show a progress bar on standard error.
    """
    from tqdm import tqdm

    places = torch.full((count,), -1, dtype=torch.int32)
    places[picked] = torch.arange(len(picked), dtype=torch.int32)
    others = (places < 0).nonzero()[:, 0]
    each = max(64, min(4096, NUMBERS // (8 * chart.features.shape[1])))
    with tqdm(total=len(others), desc="placing", unit="latent", disable=not progress, leave=False) as bar:
        for rows in others.split(each) if len(others) else ():
            places[rows] = chart.nearest(
                sample_features(generator, latents_of(rows), features or "samples", batch_size=batch_size)
            )
            bar.update(len(rows))
    return places
