"""Where real data lie, from the data alone: a critic that needs no training and no discriminator."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from latentkit.checks import as_count, as_latents, as_number, floating, require_finite
from latentkit.errors import ShapeError
from latentkit.neighbours import Neighbours

__all__ = ["Features", "Support", "compared", "fit_support", "flat"]

#: Samples (N, *S) to what is compared, (N, F).
Features = Callable[[Tensor], Tensor]

#: Fewest training samples.
FEWEST = 50

_BATCH = 1024


def flat(samples: Tensor) -> Tensor:
    """Return samples (N, *S) as rows (N, F) of their numbers."""
    return samples.flatten(1)


@torch.no_grad()
def compared(features: Features, samples: Tensor) -> Tensor:
    """Return the features (N, F) float32 of samples (N, *S), on the CPU, computed a batch at a time."""
    return torch.cat([features(part).float().cpu() for part in samples.detach().cpu().split(_BATCH)])


@dataclass(frozen=True, eq=False)
class Support:
    """A critic that is positive where the data lie: `support(x (N, *S)) -> logits (N,)`.

    A sample's distance to its k-th nearest training sample is divided by the mean of the same distance of those k,
    so that it counts in units of how far apart the data lie there; the logit is the log of what 99% of held-out real
    samples stay below (or another share) over that ratio. So 0 is the gate, and one real sample in a hundred lies
    outside of it. It sees neither modes nor weights: it is a gate, no density ratio.

    Attributes: `neighbours`, the training samples; `reach` (N,), each one's distance to its k-th nearest; `k`;
    `limit`, the ratio at the gate; `apart`, the median distance of a held-out real sample to the nearest training
    sample, and `typical`, the distance that 99.9% of them stay below; `features`, what is compared.

    References:
        Breunig, Kriegel, Ng, Sander (2000), "LOF: identifying density-based local outliers", definitions 5 to 7; here
        with distances where they have reachability distances.
    """

    neighbours: Neighbours
    reach: Tensor
    k: int
    limit: float
    apart: float
    typical: float
    features: Features = flat

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return logits (N,) float32 for samples (N, *S): at least 0 where data lie."""
        return self.of_rows(self.rows(x))

    def rows(self, x: Tensor) -> Tensor:
        """Return what is compared of samples (N, *S): (N, F) float32."""
        return compared(self.features, x)

    def of_rows(self, rows: Tensor) -> Tensor:
        """Return the logits (N,) float32 of samples whose features (N, F) are known."""
        known = as_latents(rows, self.neighbours.points.shape[1], "rows", least=0).float()
        return -torch.log(self._ratio(known) / self.limit).float()

    def _ratio(self, rows: Tensor) -> Tensor:
        values, indices = self.neighbours.nearest(rows, self.k)
        # A training sample with k copies has no reach; what lies on it is inside.
        return values[:, -1].clamp(min=1e-30) / self.reach[indices].mean(1).clamp(min=1e-30)


def fit_support(
    train: Tensor, held_out: Tensor, *, k: int | None = None, share: float = 0.99, features: Features = flat
) -> Support:
    """Learn where data lie from training samples, and where to draw the line from held-out ones.

    Args:
        train: (N, *S) real samples, at least 50.
        held_out: (M, *S) further real samples, at least 20.
        k: which neighbour's distance counts; by default a two hundredth of N, from 5 to 30.
        share: the share of held-out samples that lie inside, above 0 and below 1.
        features: samples to what is compared (N, F).

    Raises:
        ShapeError: if there are too few samples.
        ArgumentError: if k or the share is out of range.
        NonFiniteError: if a value is not finite.

    Examples:
        >>> import latentkit as lk
        >>> normal = lk.Normal(2)
        >>> support = fit_support(normal.sample(1000, seed=0), normal.sample(500, seed=1))
        >>> (support(torch.tensor([[0.0, 0.0], [9.0, 0.0]])) >= 0).tolist()
        [True, False]
    """
    share = as_number(share, "share", least=0.0, most=1.0)
    sides, shapes = [], set()
    for name, values, fewest in (("train", train, FEWEST), ("held_out", held_out, 20)):
        rows = floating(values, name)
        if rows.ndim < 2 or len(rows) < fewest or rows.numel() == 0:
            raise ShapeError(f"{name} must be (N, ...) with at least {fewest} real samples, got {tuple(rows.shape)}")
        shapes.add(tuple(rows.shape[1:]))
        if len(shapes) > 1:
            raise ShapeError(f"train and held_out must be samples of one shape, got {' and '.join(map(str, shapes))}")
        sides.append(require_finite(compared(features, rows), name))
    known, held = sides
    if known.shape[1:] != held.shape[1:]:
        raise ShapeError(f"train and held_out must be samples of one shape, got {train.shape} and {held_out.shape}")
    k = min(30, max(5, len(known) // 200)) if k is None else as_count(k, "k")
    neighbours = Neighbours(known)
    between = neighbours.nearest(held, 1)[0].double()
    apart, typical = float(between.median()), float(between.quantile(0.999))
    support = Support(neighbours, neighbours.nearest(known, k, same=True)[0][:, -1], k, 1.0, apart, typical, features)
    return replace(support, limit=float(support._ratio(held).double().quantile(share)))
