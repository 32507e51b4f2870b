"""Are generated samples new, or copies of what the generator was trained on?"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentkit.checks import as_count, as_seed
from latentkit.errors import DataError, ShapeError
from latentkit.metrics.bootstrap import bootstrap_interval
from latentkit.metrics.rows import as_rows
from latentkit.neighbours import nearest

__all__ = ["CopyRatio", "copy_ratio"]

_BLOCK = 16_384  # training samples that are looked at together


@dataclass(frozen=True)
class CopyRatio:
    """How near generated samples lie to training samples, compared with how near held-out ones do.

    Attributes: `ratio`, the median distance of a generated sample to its nearest training sample over that of a
    held-out one: 1 is right, near 0 means copies, far above 1 samples unlike any training sample; `interval`, its
    95 % bootstrap interval over generated and held-out samples; `train`, `held_out` and `generated`, how many.
    """

    ratio: float
    interval: tuple[float, float]
    train: int
    held_out: int
    generated: int


def copy_ratio(
    train: Tensor, held_out: Tensor, generated: Tensor, *, resamples: int = 1_000, seed: int = 0
) -> CopyRatio:
    """Return the median distance to the nearest training sample, generated over held-out: 1 is right, 0 are copies.

    Scores of quality, coverage and distribution do not see copies: the training set with a little noise passes
    them all. Report this beside them. It sees noise that is smaller than the gaps between training samples; copies
    with more than that are as new as held-out samples are. A generator whose samples keep to the middle of the
    data, or that lacks the rare ones, is also below 1, for there training samples lie dense.

    Args:
        train: (T, ...) all the samples that the generator was trained on, or their features.
        held_out: (M, ...) real samples that it was not trained on.
        generated: (N, ...) its samples.
        resamples: bootstrap resamples of the interval.
        seed: decides them.

    Raises:
        ShapeError: if a set is not (N, ...) with a row at least, or the widths differ.
        NonFiniteError: if a value is not finite.
        DataError: if half of the held-out samples are training samples, so that there is nothing to compare with.

    References:
        Meehan, Chaudhuri, Dasgupta (2020), "A non-parametric test to detect data-copying in generative models":
        distances to the training set, of generated against held-out samples.

    Examples:
        >>> train, held_out = torch.arange(100.0)[:, None], torch.arange(100.0)[:, None] + 0.5
        >>> copy_ratio(train, held_out, train + 0.25).ratio
        0.5
    """
    resamples, seed = as_count(resamples, "resamples", least=20), as_seed(seed)
    sides = {"training": train, "held-out": held_out, "generated": generated}
    t, h, g = (as_rows(values, f"{name} samples", least=1) for name, values in sides.items())
    if not t.shape[1] == h.shape[1] == g.shape[1]:
        raise ShapeError(
            "training, held-out and generated samples must have one shape, "
            f"got {t.shape[1]}, {h.shape[1]} and {g.shape[1]} values"
        )
    of_held_out, of_generated = (_to_nearest(rows, t) for rows in (h, g))
    scale = float(np.median(of_held_out))
    if scale == 0.0:
        raise DataError(
            "at least half of the held-out samples are equal to a training sample, so copies cannot be told from "
            "new samples; remove duplicates before the split, or pass samples that were really held out"
        )

    def ratio(generated: np.ndarray, held_out: np.ndarray) -> float:
        # A resample's median may be 0 where duplicates are many.
        return float(np.median(generated) / max(np.median(held_out), 1e-3 * scale))

    return CopyRatio(
        ratio=ratio(of_generated, of_held_out),
        interval=bootstrap_interval(ratio, (of_generated, of_held_out), resamples=resamples, seed=seed),
        train=len(t),
        held_out=len(h),
        generated=len(g),
    )


def _to_nearest(queries: Tensor, points: Tensor) -> np.ndarray:
    """Return the distance (N,) of each query (N, F) to its nearest point (T, F), some points at a time."""
    least = torch.full((len(queries),), torch.inf)
    for some in points.split(_BLOCK):
        least = torch.minimum(least, nearest(queries, some, 1)[0][:, 0])
    return least.double().numpy()
