"""How well scores separate two groups: the area under the ROC curve and its error."""

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["auc", "auc_with_error"]

Array = NDArray[np.float64]


def auc(above: Array, below: Array) -> float:
    """Return the chance that a value of `above` (P,) exceeds one of `below` (Q,); ties count half."""
    return auc_with_error(above, below)[0]


def auc_with_error(above: Array, below: Array) -> tuple[float, float]:
    """Return the AUC of two groups of scores, (P,) and (Q,), and its standard error.

    References:
        DeLong, DeLong, Clarke-Pearson (1988), "Comparing the areas under two or more correlated
        receiver operating characteristic curves"; computed through midranks.
    """
    from scipy.stats import rankdata

    p, q = len(above), len(below)
    ranks = rankdata(np.concatenate([above, below]))
    of_above = (ranks[:p] - rankdata(above)) / q
    of_below = 1.0 - (ranks[p:] - rankdata(below)) / p
    variance = sum(part.var(ddof=1) / len(part) for part in (of_above, of_below) if len(part) > 1)
    return float(of_above.mean()), math.sqrt(variance)
