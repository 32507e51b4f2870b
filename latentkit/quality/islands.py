"""Islands: the connected parts of what a critic believes in."""

from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.checks import floating
from latentkit.errors import ArgumentError, ShapeError
from latentkit.neighbours import distances
from latentkit.quality.chart import Chart
from latentkit.quality.choosing import best_rows, blocks_of, in_order

__all__ = ["Islands", "apportion", "best_of_islands", "find_islands"]

#: Members of an island that the others' mean distance is measured to.
_ASKED = 1000


@dataclass(frozen=True, eq=False)
class Islands:
    """The connected components of the good region, largest first.

    Two good latents are on one island if a chain of good samples leads from one to the other, each a neighbour of the
    next. Raising the threshold takes samples away and so splits islands, but never joins them.

    Attributes: `labels` (N,) long, the island of each latent of the map, -1 outside of the good region or on a part of
    it that is too small; `threshold`, the probability from which a latent counts as good; `least`, the fewest
    charted latents that make an island; `count` (K,) long, latents of each; `share` (K,) float64, of all good
    latents; `probability` (K,) float64, their mean; `makeup` (K, C) float64, the share of each class on each
    island, or None without labels; `representative` (K,) long, the row of the map whose sample is nearest to all
    others' of its island; `good`, how many good latents there are.
    """

    labels: Tensor
    threshold: float
    least: int
    count: Tensor
    share: Tensor
    probability: Tensor
    makeup: Tensor | None
    representative: Tensor
    good: int

    def __len__(self) -> int:
        """Return how many islands there are."""
        return len(self.count)

    def rows(self, island: int) -> Tensor:
        """Return which rows (M,) of the map lie on an island."""
        return (self.labels == island).nonzero()[:, 0]

    @property
    def summary(self) -> str:
        """What was found, in one sentence."""
        total = f"{self.good:,} of {len(self.labels):,} latents have a probability of at least {self.threshold:.3g}"
        if not len(self):
            return f"{total}; no {self.least} of those that were charted hang together."
        rest = 1.0 - float(self.share.sum())
        largest = ", ".join(f"{100 * share:.1f} %" for share in self.share[:5].tolist())
        return (
            f"{total}; they form {len(self)} island{'s' * (len(self) > 1)} (shares {largest}"
            f"{', ...' * (len(self) > 5)}), and {100 * rest:.1f} % lie on none."
        )


def find_islands(
    chart: Chart,
    places: Tensor,
    probability: Tensor,
    threshold: float,
    least: int,
    classes: Tensor | None,
) -> Islands:
    """Return the islands of latents, by the components of the chart's good region.

    Args:
        chart: the graph of samples.
        places: (N,) int, each latent's nearest row of the chart.
        probability: (N,) float64 of each latent.
        threshold: from which a latent counts as good.
        least: fewest charted latents of an island.
        classes: (N,) long, each latent's class, or None.
    """
    well = chart.probability >= threshold
    found = chart.graph.components(well, least=least)
    nearest = chart.graph.nearest_kept(found >= 0)
    found = torch.where(~well & (nearest >= 0), found[nearest], found)
    labels, good = torch.empty(len(places), dtype=torch.long), 0
    for part in blocks_of(len(places)):
        believed = probability[part] >= threshold
        labels[part] = torch.where(believed, found[places[part].long()], -1)
        good += int(believed.sum())
    names, labels, count = _by_size(labels)
    kinds = 0 if classes is None or not len(classes) else int(classes.max()) + 1
    makeup = torch.zeros((names, kinds), dtype=torch.float64)
    means, medoids = torch.empty(names, dtype=torch.float64), torch.empty(names, dtype=torch.long)
    for k in range(names):
        rows = (labels == k).nonzero()[:, 0]
        means[k] = probability[rows].mean()
        medoids[k] = rows[_medoid(places[rows].long(), chart.features)]
        if classes is not None:
            makeup[k] = classes[rows].bincount(minlength=kinds) / len(rows)
    return Islands(
        labels=labels,
        threshold=threshold,
        least=least,
        count=count,
        share=count.double() / max(good, 1),
        probability=means,
        makeup=None if classes is None else makeup,
        representative=medoids,
        good=good,
    )


def _by_size(labels: Tensor) -> tuple[int, Tensor, Tensor]:
    """Return how many numbers above -1 there are, and labels (N,) and counts (K,) with these by falling count."""
    names, inverse, count = labels.unique(return_inverse=True, return_counts=True)
    taken = (names >= 0).nonzero()[:, 0]
    taken = taken[count[taken].argsort(descending=True, stable=True)]
    number = torch.full((len(names),), -1)
    number[taken] = torch.arange(len(taken))
    return len(taken), number[inverse], count[taken]


def _medoid(places: Tensor, features: Tensor) -> int:
    """Return which of the places (M,) in features (G, F) is nearest to the others, on average.

    Exact on an island of up to 1,000 places; beyond, the mean is over the first 1,000.
    """
    distinct, inverse, weight = places.unique(return_inverse=True, return_counts=True)
    points, asked = features[distinct], distinct[:_ASKED]
    total = torch.cat([(block * weight[:_ASKED]).sum(1) for _, block in distances(points, features[asked])])
    return int((inverse == total.argmin()).nonzero()[0, 0])


def best_of_islands(islands: Islands, count: int, weights: Tensor, probability: Tensor, logits: Tensor) -> Tensor:
    """Return the best rows (M,) of each island, as many of each as its weight says, best first overall.

    Args:
        islands: K of them.
        count: how many rows, fewer only where the islands have no more.
        weights: (K,), not negative; only their proportions count.
        probability: (N,) of each latent.
        logits: (N,) of each latent, which decide among equal probabilities.

    Raises:
        ShapeError: if there is not one weight an island, or the islands are of another map.
        ArgumentError: if there are no islands, or a weight is negative.
    """
    if len(islands.labels) != len(probability):
        raise ShapeError(f"the islands are those of {len(islands.labels):,} latents, this map has {len(probability):,}")
    weights = floating(weights, "weights").double()
    if weights.shape != (len(islands),):
        raise ShapeError(f"weights must be one an island, ({len(islands)},), got {tuple(weights.shape)}")
    if not len(islands) or not bool((weights >= 0).all()) or not 0.0 < float(weights.sum()) < float("inf"):
        raise ArgumentError(
            f"there must be an island, and weights at least 0 and not all 0, got {weights.tolist()}; {islands.summary}"
        )
    quota = apportion(count, weights, islands.count)
    parts = [
        best_rows(probability, logits, int(quota[k]), islands.labels == k) for k in range(len(islands)) if quota[k] > 0
    ]
    return in_order(torch.cat(parts).sort().values, probability, logits)


def apportion(total: int, weights: Tensor, most: Tensor) -> Tensor:
    """Return whole numbers (K,) in proportion to weights (K,), none above `most` (K,), that sum to `total` if they can.

    Places that a full one cannot take go to the others, in proportion; the rounding goes by the largest remainders.
    """
    weights, most = weights.double(), most.double()
    total = min(total, int(most[weights > 0].sum()))
    exact, open_ = torch.zeros_like(weights), weights > 0
    while bool(open_.any()):
        left = total - float(exact[~open_].sum())
        exact[open_] = left * weights[open_] / weights[open_].sum()
        full = open_ & (exact > most)
        if not bool(full.any()):
            break
        exact[full] = most[full]
        open_ = open_ & ~full
    # A little up, so that a whole number that was rounded down is not cut by one.
    quota = (exact + 1e-9).floor()
    rest = torch.where(quota < most, exact - quota, -torch.inf)
    for k in rest.argsort(descending=True, stable=True)[: total - int(quota.sum())]:
        quota[k] += 1
    return quota.long()
