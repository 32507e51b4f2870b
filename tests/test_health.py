"""A training that goes wrong says so, and one that goes right says nothing."""

import warnings

import pytest
import torch
from torch import nn

from trainers.health import PATIENCE, Health


class Judge(nn.Module):
    """A critic that scores a sample by its first coordinate."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return self.scale * x.flatten(1)[:, 0]


def looks(health, samples, critic=None, *, count=PATIENCE):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for k in range(count):
            health.look(k + 1, samples(k), critic)
    return [str(one.message) for one in said]


@pytest.fixture
def real(draw):
    return draw(100, 6)


def test_samples_like_the_data_are_healthy(real, draw):
    health = Health(real)
    assert looks(health, lambda k: draw(100, 6, seed=k + 1), Judge(), count=10) == []
    assert health.values["spread"] == pytest.approx(1.0, abs=0.1)
    assert health.values["near_duplicates"] == 0.0
    assert 0.35 < health.values["critic_auc"] < 0.65


def test_spread_and_duplicates_have_their_stated_meaning(real):
    health = Health(real)
    health.look(1, real, None)
    assert health.values == {"spread": pytest.approx(1.0), "near_duplicates": 0.0}
    health.look(2, 3.0 * real, None)
    assert health.values["spread"] == pytest.approx(3.0)
    health.look(3, torch.cat([real[:50], real[:50]]), None)  # each has its copy
    assert health.values["near_duplicates"] == 1.0
    health.look(4, torch.cat([real[:75], real[:25]]), None)
    assert health.values["near_duplicates"] == 0.5


@pytest.mark.parametrize(
    ("said", "samples", "scale"),
    [
        ("nearly identical", lambda k, real: real[:1] + 1e-3 * k * torch.ones(100, 6) + 1e-4 * real, 1.0),
        ("have not changed", lambda k, real: real.flip(0), 1.0),
        ("gives all samples one score", lambda k, real: real.flip(0) + 0.01 * k, 0.0),
        ("tells every sample", lambda k, real: real.flip(0) - 100.0 - k, 1.0),
    ],
)
def test_each_illness_is_named_once_and_only_if_it_lasts(real, said, samples, scale):
    health = Health(real)
    assert looks(health, lambda k: samples(k, real), Judge(scale), count=PATIENCE - 1) == []
    found = looks(health, lambda k: samples(k + PATIENCE, real), Judge(scale), count=2 * PATIENCE)
    assert sum(said in text for text in found) == 1


def test_a_collapse_at_the_end_is_told_at_once(real):
    with pytest.warns(UserWarning, match="nearly identical"):
        Health(real).look(1, torch.zeros(100, 6), None, last=True)


def test_the_state_goes_on(real):
    """Two looks, a snapshot, and the third alarms as it would have."""
    first = Health(real)
    assert looks(first, lambda _: real.flip(0), Judge(), count=PATIENCE) == []
    again = Health(real)
    again.load_state_dict(first.state_dict())
    assert again.values == first.values
    with pytest.warns(UserWarning, match="have not changed"):
        again.look(9, real.flip(0), Judge())
