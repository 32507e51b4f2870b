"""The quality map: latents with their calibrated scores, its islands, and the best of it."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from latentkit.calibration import Calibration
from latentkit.checks import as_count, as_latents, as_number
from latentkit.errors import ArgumentError, LabelError
from latentkit.priors import Prior
from latentkit.projection import Features, featured
from latentkit.protocols import Critic, Generator
from latentkit.quality.chart import GRAPH_LIMIT, Chart, charted
from latentkit.quality.choosing import BLOCK, best_rows, drawn_rows, rows_above, threshold_of
from latentkit.quality.islands import Islands, best_of_islands, find_islands
from latentkit.quality.scoring import scored_samples
from latentkit.quality.stored import write_map
from latentkit.shown import Pictured

__all__ = ["QualityMap"]


@dataclass(frozen=True, eq=False)
class QualityMap(Pictured):
    """Latents with their calibrated scores.

    A map of draws holds their numbers, not the latents: some 40 bytes a latent in any dimension.

    Attributes: `prior`; `seed` of the draw; `index` (N,) long, the latents' numbers in the seed's draw; `given` (N, D),
    the latents themselves where they are no draws, else None; `logits` (N,) of the critic; `probability` (N,) that
    the sample is real, real and generated being equally frequent; `density_ratio` (N,), p_real / p_model;
    `typicality` (N,) under the prior; `calibration`, how the scores came about; `real_logits` (M,) of held-out real
    samples, maybe none; `chart`, some of the latents with their samples' features, or None; `places` (N,) int32, the
    row of the chart whose sample is nearest to each latent's.
    """

    prior: Prior
    seed: int
    index: Tensor
    given: Tensor | None
    logits: Tensor
    probability: Tensor
    density_ratio: Tensor
    typicality: Tensor
    calibration: Calibration
    real_logits: Tensor
    chart: Chart | None = None
    places: Tensor | None = None

    def __len__(self) -> int:
        """Return how many latents the map holds."""
        return len(self.index)

    @property
    def verdict(self) -> str:
        """Whether the critic is worth believing, in one sentence."""
        return f"{self.calibration.verdict}: {self.calibration.explanation}"

    @property
    def exact_places(self) -> bool:
        """Whether each latent lies where the charted sample is that is nearest to its own.

        In maps of more than 200,000 latents with charts of at least 4,096 samples of 9 numbers or more, about one in
        ten lies where a sample is that is a few per cent further away; see `latentkit.quality.placing.Placing`, which
        says how good that is. Charted latents lie where they are in any case.
        """
        return self.chart is None or self.chart.exact

    @property
    def latents(self) -> Tensor:
        """The latents (N, D); draws are drawn anew each time, so keep them if you need them often."""
        return self.latents_of(torch.arange(len(self)))

    @property
    def threshold(self) -> float:
        """The probability that all but 5 % of the held-out real samples reach: from here on a latent counts as good.

        Raises:
            ArgumentError: if the map does not know the scores of real samples.
        """
        if not len(self.real_logits):
            raise ArgumentError(
                "this map does not know how real samples score; say from which probability on: threshold="
            )
        return threshold_of(self.calibration, self.real_logits)

    @classmethod
    def of(
        cls,
        prior: Prior,
        latents: Tensor,
        logits: Tensor,
        calibration: Calibration,
        seed: int,
        *,
        real_logits: Tensor | None = None,
    ) -> "QualityMap":
        """Return the map of given latents (N, D), such as 0 to N - 1 of a seed, whose samples have logits (N,)."""
        return cls(
            prior=prior,
            seed=seed,
            index=torch.arange(len(latents)),
            given=latents,
            logits=logits,
            probability=calibration.probability(logits),
            density_ratio=calibration.density_ratio(logits),
            typicality=prior.typicality(latents),
            calibration=calibration,
            real_logits=torch.empty(0) if real_logits is None else real_logits,
        )

    def latents_of(self, rows: Tensor) -> Tensor:
        """Return the latents (M, D) of some rows (M,) long, in their order, drawing little else."""
        if self.given is not None:
            return self.given[rows]
        return drawn_rows(self.prior, self.index[rows], self.seed)

    def rows(self, index: Tensor) -> "QualityMap":
        """Return the map of the latents at `index` (M,), in that order; its chart stays the same."""
        return replace(
            self,
            index=self.index[index],
            given=None if self.given is None else self.given[index],
            logits=self.logits[index],
            probability=self.probability[index],
            density_ratio=self.density_ratio[index],
            typicality=self.typicality[index],
            places=None if self.places is None else self.places[index],
        )

    def above(self, probability: float) -> "QualityMap":
        """Return the latents whose probability is at least `probability`, in the map's order."""
        threshold = as_number(probability, "probability", least=0.0, most=1.0)
        return self.rows(rows_above(self.probability, threshold))

    def top(self, fraction: float) -> "QualityMap":
        """Return the best `fraction` of the latents, best first; at least one.

        The best few per cent may all be alike: see `top_balanced`.

        Raises:
            ArgumentError: if the fraction is not above 0 and at most 1.
        """
        return self.rows(best_rows(self.probability, self.logits, self._count(fraction)))

    def top_balanced(self, fraction: float, islands: Islands | None = None) -> "QualityMap":
        """Return the best latents of each island, in proportion to its share, best first overall.

        As many as `top(fraction)` gives, or all that lie on islands if these are fewer.

        Args:
            fraction: of the map's latents, above 0 and at most 1.
            islands: of this map; by default those at the default threshold.

        Raises:
            ArgumentError: if the fraction is out of range, or there are no islands.
        """
        islands = self.islands() if islands is None else islands
        return self.top_weighted(fraction, islands, islands.count)

    def top_weighted(self, fraction: float, islands: Islands, weights: Tensor) -> "QualityMap":
        """Return the best latents of each island, as many of each as its weight says, best first overall.

        Args:
            fraction: of the map's latents, above 0 and at most 1.
            islands: of this map.
            weights: (K,), one an island, not negative; only their proportions count. An island with fewer latents
                gives all that it has, and the others fill up.

        Raises:
            ArgumentError: if the fraction is out of range, there are no islands, or a weight is negative.
            ShapeError: if there is not one weight an island, or the islands are of another map.
        """
        count = self._count(fraction)
        return self.rows(best_of_islands(islands, count, weights, self.probability, self.logits))

    def islands(
        self, threshold: float | None = None, *, least: int | None = None, labels: Tensor | None = None
    ) -> Islands:
        """Return the connected components of the good region, on the nearest-neighbour graph of the charted samples.

        A latent that is not charted lies where the charted one with the nearest sample does, or, if that one is bad,
        where the nearest good one along the graph does.

        Args:
            threshold: the probability from which a latent counts as good, 0 to 1; by default `self.threshold`.
            least: fewest charted latents of an island; by default one more than a point has neighbours.
            labels: (N,) class numbers of the latents, for the make-up of each island.

        Raises:
            ArgumentError: if the map has no chart, or an argument is out of range.
            LabelError: if there is not one label a latent.
        """
        chart, places = self._charted()
        threshold = self.threshold if threshold is None else as_number(threshold, "threshold", least=0.0, most=1.0)
        least = chart.graph.k + 1 if least is None else as_count(least, "least")
        if labels is not None:
            labels = torch.as_tensor(labels).long().cpu()
            if labels.shape != (len(self),) or bool((labels < 0).any()):
                raise LabelError(f"labels must be one class number a latent, ({len(self)},), got {tuple(labels.shape)}")
        return find_islands(chart, places, self.probability, threshold, least, labels)

    def bottleneck(self, i: Tensor | int, j: Tensor | int) -> Tensor:
        """Return how good all samples on the best way between latents can be: the largest least probability.

        Ways lead over the charted samples, each a neighbour of the next. Two latents have a bottleneck of at least p
        exactly if they hang together in the region above p, so that it is how high a tide parts them.

        Args:
            i: (M,) rows of the map, or one.
            j: (M,) rows of the map, or one.

        Returns:
            (M,) float64 probabilities; NaN where no chain of charted samples leads from one to the other, so that
            nothing is known: chart more latents.

        Raises:
            ArgumentError: if the map has no chart, or has no such row.
        """
        chart, places = self._charted()
        a, b = torch.broadcast_tensors(*(torch.atleast_1d(torch.as_tensor(rows)).long() for rows in (i, j)))
        for rows in (a, b):
            if len(rows) and not -len(self) <= int(rows.min()) <= int(rows.max()) < len(self):
                raise ArgumentError(
                    f"rows must lie in 0 to {len(self) - 1}, got {int(rows.min())} to {int(rows.max())}"
                )
        found = chart.graph.bottleneck(chart.probability, places[a].long(), places[b].long())
        ends = torch.minimum(self.probability[a], self.probability[b])
        return torch.where(found.isinf(), torch.nan, torch.where(a == b, ends, torch.minimum(found, ends)))

    def charted(
        self,
        generator: Generator,
        *,
        features: Features | None = None,
        graph_limit: int = GRAPH_LIMIT,
        batch_size: int = 64,
        progress: bool = False,
    ) -> "QualityMap":
        """Return this map with a chart, on which islands, bottlenecks and routes are found.

        Args:
            generator: the model whose map this is.
            features: samples (B, *S) to features (B, F), whose Euclidean distance says how alike samples are; by
                default all numbers of a sample.
            graph_limit: how many latents to chart, at most; fewer where their features would have more than 2**26
                numbers. If there are more, ten times as many of the first are looked through, and good ones come first
                but for half of the places; every other latent is told which charted sample its own is nearest to,
                which takes a second pass over all. `quality_map` charts first, and needs none.
            batch_size: latents a call.
            progress: show a progress bar on standard error.

        Raises:
            ArgumentError: if `graph_limit` is not a whole number of at least 1.
            ShapeError: if `features` does not return one row a sample.
        """
        limit = as_count(graph_limit, "graph_limit")
        threshold = self.threshold if len(self.real_logits) else 0.0
        chart, places = charted(
            self.prior, self.latents_of, self.probability, threshold, generator, features, limit, batch_size, progress
        )
        return replace(self, chart=chart, places=places)

    def scored(
        self,
        generator: Generator,
        critic: Critic,
        latents: Tensor,
        *,
        features: Features | None = None,
        batch_size: int = 64,
    ) -> "QualityMap":
        """Return the map of new latents (M, D), scored as these were, on the same chart.

        Args:
            generator: the model whose map this is.
            critic: the one that scored it.
            latents: (M, D).
            features: what this map was charted with, if anything.
            batch_size: latents a call.

        Raises:
            ShapeError: if the latents are not (M, D) with the prior's D.
            NonFiniteError: if a latent or a logit is not finite.
            ArgumentError: if the features are not those of the chart.
        """
        latents = as_latents(latents, self.prior.dim)
        logits, places = [], []
        for batch, found in scored_samples(generator, critic, latents, batch_size=batch_size):
            logits.append(found)
            if self.chart is not None:
                places.append(self.chart.nearest(featured(batch, features)))
        made = QualityMap.of(
            self.prior, latents.cpu(), torch.cat(logits), self.calibration, self.seed, real_logits=self.real_logits
        )
        return replace(made, chart=self.chart, places=torch.cat(places) if places else None)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the map as one `.npz`, which `load_quality` reads, and return the path.

        For other readers it holds `latents`, `index`, `logits`, `probability`, `density_ratio`, `typicality`, `seed`
        and `verdict` as well. Latents are written block by block.
        """
        blocks = (self.latents_of(rows) for rows in torch.arange(len(self)).split(BLOCK))
        return write_map(self, (len(self), self.prior.dim), blocks, path)

    def _count(self, fraction: float) -> int:
        fraction = as_number(fraction, "fraction", least=0.0, most=1.0, open_least=True)
        return max(1, round(fraction * len(self)))

    def _charted(self) -> tuple[Chart, Tensor]:
        if self.chart is None or self.places is None:
            raise ArgumentError(
                "this map has no chart, so it does not know which samples are alike; make it with "
                "quality_map(..., graph_limit=20_000), or take quality.charted(generator)"
            )
        return self.chart, self.places
