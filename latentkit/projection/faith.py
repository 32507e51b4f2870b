"""How far a layout can be believed: which neighbours in the plane are neighbours among the rows, and which are lost."""

import numpy as np
import torch
from torch import Tensor

from latentkit import streams
from latentkit.neighbours import Neighbours, distances

__all__ = ["ASKED", "faithfulness", "sampled", "trustworthiness"]

#: Rows that an overall figure is the mean of, at most.
ASKED = 1000

#: Rows whose numbers are drawn at a time.
_DRAWN = 2**20


def faithfulness(rows: Tensor, points: Tensor, asked: Tensor, *, k: int) -> tuple[Tensor, Tensor]:
    """Return the trustworthiness and the neighbour preservation of some rows' places.

    A row's trustworthiness falls with each of its k neighbours in the plane that is not among its k nearest rows, by
    how far down their ranks it is; 1 is best, and places at random give a half on average. Its neighbour preservation
    is the share of its k nearest rows that are among its k neighbours in the plane.

    Args:
        rows: (N, F).
        points: (N, 2), their places.
        asked: (M,) long, the rows that are asked.
        k: neighbours, below N / 2.

    Returns:
        Trustworthiness (M,) float64, at most 1, and preservation (M,) float64 in [0, 1].

    References:
        Venna, Kaski (2001), "Neighborhood preservation in nonlinear projection methods", equation 1, here before its
        sum over rows.
    """
    n = len(rows)
    if n < 4 or k < 1:
        return torch.ones(len(asked), dtype=torch.float64), torch.ones(len(asked), dtype=torch.float64)
    near = Neighbours(points).nearest(points[asked], k, same=asked)[1]
    ranks = torch.empty((len(asked), k), dtype=torch.long)
    counts = ranks.numpy()
    for part, block in distances(rows[asked], rows):
        block[torch.arange(block.shape[0]), asked[part]] = -1.0  # the row itself, of rank 0
        found = block.gather(1, near[part]).numpy()
        # Counting what is nearer takes a hundredth of the time that sorting all distances does.
        for i, (all_distances, limits) in enumerate(zip(block.numpy(), found, strict=True), part.start):
            counts[i] = [np.count_nonzero(all_distances < limit) for limit in limits]
    penalty = (ranks - k).clamp(min=0).sum(1).double()
    return 1.0 - penalty * 2.0 / (k * (2 * n - 3 * k - 1)), (ranks <= k).double().mean(1)


def sampled(n: int, seed: int, most: int = ASKED) -> Tensor:
    """Return rows (M,) long of n in the order in which the seed chooses them: all, or the first `most`.

    They are the first of `streams.permutation`, found without holding all n of it.
    """
    keys, rows = np.empty(0), np.empty(0, dtype=np.int64)
    for start in range(0, n, _DRAWN):
        size = min(_DRAWN, n - start)
        drawn = streams.uniform(size, 1, seed=seed, start=start, stream=streams.SPLITS)[:, 0]
        keys, rows = np.concatenate([keys, drawn]), np.concatenate([rows, np.arange(start, start + size)])
        first = np.argsort(keys, kind="stable")[:most]
        keys, rows = keys[first], rows[first]
    return torch.from_numpy(rows)


def trustworthiness(rows: Tensor, points: Tensor, *, k: int, seed: int = 0, most: int = ASKED) -> float:
    """Return the trustworthiness in [0, 1] of places (N, 2) for rows (N, F), over k neighbours.

    At most `most` rows, chosen by the seed, are asked; `faithfulness` gives the formula and its reference.
    """
    return float(faithfulness(rows, points, sampled(len(rows), seed, most), k=k)[0].mean())
