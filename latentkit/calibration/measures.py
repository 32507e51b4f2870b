"""How good probabilities are: log loss, Brier score, reliability with its noise floor, and the Z statistic."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Measures", "log_loss", "measured", "z_statistic"]

BINS = 10

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Measures:
    """What probabilities of being real are worth, judged by samples that are real or not.

    Attributes: `log_loss` in nats a sample (ln 2 = 0.693 says nothing); `brier`, the mean squared error (0.25 says
    nothing); `ece`, the expected calibration error over 10 equal bins; `ece_floor`, what a perfectly calibrated
    critic with these predictions would show by chance: an `ece` of about that size is no fault; `z`, the calibration
    statistic, beyond +-2 refutes calibration; `reliability` (B, 3), each bin's mean prediction, share of real
    samples and count.
    """

    log_loss: float
    brier: float
    ece: float
    ece_floor: float
    z: float
    reliability: Tensor


def measured(p: Array, y: Array) -> Measures:
    """Judge probabilities (N,) in (0, 1) by whether each sample is real, y = 1, or not, y = 0."""
    bins = _reliability(p, y)
    return Measures(
        log_loss=log_loss(p, y),
        brier=float(np.mean((p - y) ** 2)),
        ece=float((bins[:, 2] * np.abs(bins[:, 0] - bins[:, 1])).sum() / len(y)),
        ece_floor=float(_mean_deviations(bins[:, 2], bins[:, 0]).sum() / len(y)),
        z=z_statistic(p, y),
        reliability=torch.from_numpy(bins),
    )


def log_loss(p: Array, y: Array) -> float:
    """Return the mean negative log likelihood of y (N,) under probabilities (N,), in nats."""
    return float(-np.mean(np.where(y > 0, np.log(p), np.log1p(-p))))


def z_statistic(p: Array, y: Array) -> float:
    """Return Turner et al. (2019), equation 9: about standard normal for calibrated probabilities."""
    spread = float(np.sum(p * (1.0 - p)))
    total = float(np.sum(y - p))
    return total / math.sqrt(spread) if spread > 0 else math.copysign(1e9, total) if total else 0.0


def _reliability(p: Array, y: Array) -> Array:
    index = np.minimum((p * BINS).astype(int), BINS - 1)
    rows = [(p[index == b].mean(), y[index == b].mean(), (index == b).sum()) for b in range(BINS) if (index == b).any()]
    return np.array(rows, dtype=np.float64)


def _mean_deviations(counts: Array, p: Array) -> Array:
    """Return the mean absolute deviation of binomial counts from their mean, for each of (B,).

    A bin's samples have probabilities within a tenth of one another, which its mean may stand for.

    References:
        Diaconis, Zabell (1991), "Closed form summation for classical distributions", equation 1.1 (De Moivre 1730).
    """
    from scipy.stats import binom

    above = np.floor(counts * p) + 1.0
    return 2.0 * above * (1.0 - p) * binom.pmf(above, counts, p)
