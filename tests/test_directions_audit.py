"""What an audit's numbers say."""

import math

import pytest
import torch

from latentkit.directions import Audit
from latentkit.errors import ArgumentError, NonFiniteError, ShapeError

NAMES = ("slant", "width", "area")


def audit(effects, random=None, **more):
    random = torch.zeros(0, 3) if random is None else random
    return Audit(NAMES, torch.tensor(effects), random, (-4.0, 5.0), **more)


def test_leakage_is_the_largest_other_effect_over_the_own_one():
    assert audit([2.0, -0.5, 0.1], own=0).leakage == pytest.approx(0.25)
    assert audit([2.0, -0.5, 0.1], own=1).leakage == pytest.approx(4.0)
    assert audit([2.0, 0.0, 0.0], own=0).leakage == 0
    assert audit([0.0, 1.0, 0.0], own=0).leakage == math.inf
    assert math.isnan(audit([0.0, 0.0, 0.0], own=0).leakage)
    assert math.isnan(audit([2.0, 1.0, 0.0]).leakage)
    alone = Audit(("slant",), torch.tensor([2.0]), torch.zeros(0, 1), (-1.0, 1.0), own=0)
    assert alone.leakage == 0


def test_z_scores_are_in_the_units_of_random_directions():
    random = torch.tensor([[0.3, 1.0, 2.0], [-0.3, -1.0, -2.0]])
    found = audit([3.0, 1.0, -1.0], random, own=0)
    torch.testing.assert_close(found.z_scores, torch.tensor([10.0, 1.0, -0.5]).double())
    assert found.z_score == pytest.approx(10.0)
    assert found.strongest == 0
    assert math.isnan(audit([3.0, 1.0, -1.0], random).z_score)
    assert math.isnan(audit([3.0, 1.0, -1.0], own=0).z_score)


def test_a_direction_beats_random_ones_if_it_surpasses_nearly_all(draw):
    random = torch.linspace(-1.0, 1.0, 40)[:, None] * torch.tensor([1.0, 0.1, 3.0])
    assert audit([1.1, 0.0, 0.0], random, own=0).beats_random
    assert audit([-1.1, 0.0, 0.0], random, own=0).beats_random
    assert not audit([0.9, 0.0, 9.0], random, own=0).beats_random
    # Found for no attribute: its largest effect, beside the largest of each random direction.
    assert not audit([1.1, 0.0, 0.0], random).beats_random
    assert audit([0.0, 0.0, 3.1], random).beats_random
    assert not audit([9.0, 0.0, 0.0], own=0).beats_random


def test_the_safe_range_is_where_quality_and_typicality_hold():
    assert audit([1.0, 0.0, 0.0], quality_range=(-6.0, 2.0)).safe_range == (-4.0, 2.0)
    assert audit([1.0, 0.0, 0.0], quality_range=(-1.0, 9.0)).safe_range == (-1.0, 5.0)
    assert audit([1.0, 0.0, 0.0]).safe_range == (-4.0, 5.0)


def test_audits_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"3 attributes takes effects \(3,\) .* got \(2,\)"):
        audit([1.0, 2.0])
    with pytest.raises(ShapeError, match=r"\(R, 3\), got \(3,\) and \(2, 2\)"):
        audit([1.0, 2.0, 3.0], torch.zeros(2, 2))
    with pytest.raises(ArgumentError, match="one of 3 attributes, got 3"):
        audit([1.0, 2.0, 3.0], own=3)
    with pytest.raises(NonFiniteError, match="effects must be finite"):
        audit([1.0, math.nan, 3.0])
