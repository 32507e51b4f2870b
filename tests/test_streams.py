import numpy as np
import pytest
from scipy import stats

from latentkit import streams
from latentkit.errors import ArgumentError

WIDTHS = [1, 3, 5, 8, 10, 15, 16, 64, 100, 128]
draws = pytest.mark.parametrize("draw", [streams.uniform, streams.normal], ids=["uniform", "normal"])


@draws
@pytest.mark.parametrize("width", WIDTHS)
def test_a_row_depends_on_seed_index_and_width_alone(draw, width):
    whole = draw(32, width, seed=0)
    for n in (1, 2, 3, 4, 8, 16):
        np.testing.assert_array_equal(draw(n, width, seed=0), whole[:n])
    parts = [draw(3, width, seed=0, start=start) for start in range(0, 12, 3)]
    np.testing.assert_array_equal(np.concatenate(parts), whole[:12])


@draws
@pytest.mark.parametrize("start", [2**32 - 2, 2**62 - 2, 2**64 - 2, 2**95])
def test_indices_of_any_size_carry_on(draw, start):
    whole = draw(4, 10, seed=3, start=start)
    singles = [draw(1, 10, seed=3, start=start + i) for i in range(4)]
    np.testing.assert_array_equal(whole, np.concatenate(singles))
    assert len(np.unique(whole[:, 0])) == 4


@draws
def test_seeds_and_streams_share_no_numbers(draw):
    keys = [(0, 0), (1, 0), (0, 1), (1, 1), (2**32, 0), (2**63, 0), (2**64 - 1, 0), (0, 6)]
    numbers = np.concatenate([draw(50, 4, seed=seed, stream=stream).ravel() for seed, stream in keys])
    assert len(np.unique(numbers)) == len(numbers)


def test_uniforms_are_uniform_inside_and_uncorrelated():
    u = streams.uniform(40_000, 5, seed=11)
    assert u.min() > 0
    assert u.max() < 1
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3
    assert (
        stats.kstest(stats.norm.sf(np.arctanh(np.corrcoef(u[:-1].T, u[1:].T)[5:, :5].ravel()) * 200), "uniform").pvalue
        > 1e-3
    )


def test_normals_are_normal():
    x = streams.normal(40_000, 5, seed=12)
    assert stats.kstest(x.ravel(), "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(x.T) - np.eye(5)).max() < 5 / np.sqrt(len(x))


def test_a_permutation_holds_every_number_once_and_differs_by_seed():
    order = streams.permutation(1000, seed=5)
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    assert (order != streams.permutation(1000, seed=6)).mean() > 0.9
    assert streams.permutation(0, seed=5).shape == (0,)


@draws
@pytest.mark.parametrize(
    "argument", [{"seed": -1}, {"seed": 2**64}, {"seed": 0, "start": -1}, {"seed": 0, "start": 2**96}]
)
def test_numbers_out_of_range_are_refused(draw, argument):
    with pytest.raises(ArgumentError, match="must"):
        draw(2, 3, **argument)
    with pytest.raises(ArgumentError, match="n must be a whole number"):
        draw(-1, 3, seed=0)
