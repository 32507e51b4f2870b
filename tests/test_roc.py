import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from latentkit.roc import auc, auc_with_error


def brute(above, below):
    return np.mean((above[:, None] > below) + 0.5 * (above[:, None] == below))


@pytest.mark.parametrize("decimals", [0, 1, 8])
@pytest.mark.parametrize(("p", "q"), [(1, 1), (1, 30), (30, 1), (40, 70)])
def test_the_auc_is_the_chance_of_a_larger_score(p, q, decimals):
    rng = np.random.default_rng(p + q)
    above, below = (rng.normal(m, 1, n).round(decimals) for m, n in ((0.7, p), (0.0, q)))
    assert auc(above, below) == pytest.approx(brute(above, below))
    assert auc(above, below) == pytest.approx(roc_auc_score([1] * p + [0] * q, np.concatenate([above, below])))


def test_laws():
    rng = np.random.default_rng(0)
    above, below = rng.normal(1, 1, 50), rng.normal(0, 1, 60)
    value, error = auc_with_error(above, below)
    assert auc_with_error(below, above) == pytest.approx((1 - value, error))
    assert auc_with_error(-above, -below) == pytest.approx((1 - value, error))
    assert auc_with_error(np.exp(above), np.exp(below)) == pytest.approx((value, error))
    assert auc_with_error(rng.permutation(above), rng.permutation(below)) == pytest.approx((value, error))
    assert auc_with_error(np.zeros(9), np.zeros(7)) == (0.5, 0.0)
    assert auc_with_error(np.ones(9), np.zeros(7)) == (1.0, 0.0)


@pytest.mark.parametrize("gap", [0.0, 1.0, 2.5])
def test_value_and_error_are_those_of_two_gaussians(gap):
    """The AUC is Phi(gap / sqrt 2), and over repetitions its spread is the stated error."""
    rng = np.random.default_rng(3)
    found = np.array([auc_with_error(rng.normal(gap, 1, 60), rng.normal(0, 1, 90)) for _ in range(400)])
    truth = stats.norm.cdf(gap / math.sqrt(2))
    assert found[:, 0].mean() == pytest.approx(truth, abs=4 * found[:, 0].std() / 20)
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(), rel=0.12)
