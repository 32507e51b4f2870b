"""Which critic maps: the own one where it is informative, a second opinion where that is better, none where none is."""

import pytest
import torch

import latentkit as lk
from latentkit.errors import CriticError

WIDE = lk.wrap(lambda z: 1.6 * z, lk.Normal(2))
REAL = lk.Normal(2).sample(1200, seed=1)


def true_ratio(x):
    """log N(x; 0, 1) - log N(x; 0, 1.6), up to its constant."""
    return -0.5 * x.square().sum(1) * (1 - 1 / 1.6**2)


def flat(x):
    return 0.0 * x[:, 0]


def test_an_informative_critic_is_taken_as_it_is():
    found = lk.judge(WIDE, true_ratio, REAL, seed=2)
    assert found.critic is true_ratio
    assert not found.second
    assert found.real.equal(REAL)
    assert found.calibration.verdict == "informative"


def test_a_critic_without_signal_gives_way_to_one_that_has_some():
    found = lk.judge(WIDE, flat, REAL, seed=2)
    assert found.second
    assert found.own is not None
    assert found.own.verdict == "uninformative"
    assert found.calibration.verdict == "informative"
    fresh = lk.Normal(2).sample(500, seed=9)
    estimate = found.calibration.applied(found.critic)(fresh)
    assert torch.corrcoef(torch.stack([estimate.detach().double(), true_ratio(fresh).double()]))[0, 1] > 0.8
    quality = lk.quality_map(
        WIDE, found.critic, found.real, n=500, seed=3, calibration=found.calibration, graph_limit=0
    )
    assert quality.calibration is found.calibration


def test_without_a_critic_one_is_trained_if_data_allow():
    assert lk.judge(WIDE, None, REAL, seed=2).second
    with pytest.raises(CriticError, match="399 held-out samples are too few to train one"):
        lk.judge(WIDE, None, REAL[:399])
    assert not lk.judge(WIDE, flat, REAL[:399], seed=2).second


def test_where_nothing_can_be_told_apart_nobody_is_believed():
    same = lk.wrap(lambda z: z, lk.Normal(2))
    assert lk.judge(same, flat, REAL, seed=2).calibration.verdict == "uninformative"
