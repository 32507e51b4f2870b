import math

import pytest
import torch

import latentkit as lk
from latentkit.errors import ArgumentError, LatentkitError, NonFiniteError, ShapeError

FIGURES = ("precision", "recall", "density", "coverage")


def oracle(real, generated, k):
    """Balls to the k-th neighbour, straight from the definitions, over all pairs in float64."""
    r, g = (x.flatten(1).double() for x in (real, generated))

    def pairs(a, b):
        return (a[:, None] - b[None]).square().sum(2).sqrt()

    def radius(x):
        return torch.stack([row.sort().values[k] for row in pairs(x, x)])  # 0 is the row itself

    between = pairs(r, g)
    in_real, in_generated = between <= radius(r)[:, None], between <= radius(g)[None]
    return {
        "precision": in_real.any(0).double().mean().item(),
        "recall": in_generated.any(1).double().mean().item(),
        "density": in_real.double().sum(0).mean().item() / k,
        "coverage": in_real.any(1).double().mean().item(),
    }


def spread(x):
    d = (x.flatten(1).double()[:, None] - x.flatten(1).double()[None]).square().sum(2).sqrt()
    return d.sum() / (len(x) * (len(x) - 1))


CASES = {
    "alike": lambda draw: (draw(120, 3), draw(150, 3, seed=1)),
    "shifted": lambda draw: (draw(150, 2), draw(120, 2, seed=1) + 1.0),
    "narrow": lambda draw: (draw(130, 2), 0.2 * draw(130, 2, seed=1)),
    "apart": lambda draw: (draw(100, 4), draw(100, 4, seed=1) + 50),
    "clusters": lambda draw: (
        2 * draw(150, 2).sign() + 0.02 * draw(150, 2, seed=2),
        2 * draw(150, 2, seed=1).sign() + 0.04 * draw(150, 2, seed=3),
    ),
    "images": lambda draw: (draw(90, 3, 8, 8).tanh(), draw(80, 3, 8, 8, seed=1).tanh()),
}


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_figures_are_those_of_the_definitions(case, k, draw):
    real, generated = case(draw)
    found, wanted = lk.sample_quality(real, generated, k=k), oracle(real, generated, k)
    for figure in FIGURES:
        assert getattr(found, figure) == pytest.approx(wanted[figure], abs=1e-6), figure
    assert found.spread == pytest.approx((spread(generated) / spread(real)).item(), rel=1e-4)
    assert (found.real, found.generated, found.k) == (len(real), len(generated), k)


def test_more_samples_than_one_block(draw):
    real, generated = draw(1500, 2), draw(1100, 2, seed=1)
    found, wanted = lk.sample_quality(real, generated), oracle(real, generated, 5)
    for figure in FIGURES:
        assert getattr(found, figure) == pytest.approx(wanted[figure], abs=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x + 1000,
        lambda x: -3 * x,
        lambda x: 1e25 * x,
        lambda x: 1e-25 * x,
        lambda x: x.flip(1),
        lambda x: x.double(),
    ],
    ids=["offset", "scale", "huge", "tiny", "axes", "float64"],
)
def test_a_common_motion_or_unit_changes_nothing(change, draw):
    real, generated = draw(200, 3), 0.8 * draw(200, 3, seed=1)
    found, moved = lk.sample_quality(real, generated), lk.sample_quality(change(real), change(generated))
    for figure in (*FIGURES, "spread"):
        assert getattr(moved, figure) == pytest.approx(getattr(found, figure), abs=0.006)


def test_the_order_of_samples_changes_nothing(draw):
    real, generated = draw(200, 3), draw(150, 3, seed=1)
    assert lk.sample_quality(real.flip(0), generated.roll(7, 0)).__dict__ == pytest.approx(
        lk.sample_quality(real, generated).__dict__
    )


def test_real_against_real_is_about_one_and_a_copy_is_one(draw):
    found = lk.sample_quality(draw(2000, 2), draw(2000, 2, seed=1))
    assert found.density == pytest.approx(1, abs=0.06)
    assert found.spread == pytest.approx(1, abs=0.06)
    # Naeem et al. (2020): the expected coverage of k balls is 1 - 1 / 2^k.
    assert found.coverage == pytest.approx(1 - 2**-5, abs=0.02)
    same = lk.sample_quality(draw(200, 2), draw(200, 2))
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)


def test_a_collapsed_generator_shows(draw):
    real = draw(300, 2)
    collapsed = lk.sample_quality(real, real[:1].expand(300, 2))
    assert collapsed.spread < 1e-5
    assert collapsed.recall < 0.05
    assert collapsed.coverage < 0.1
    assert collapsed.precision == 1
    for alike in (torch.zeros(30, 2), torch.ones(30, 2)):
        found = lk.sample_quality(alike, real)
        assert all(math.isfinite(getattr(found, figure)) for figure in (*FIGURES, "spread"))


X = torch.zeros(10, 2)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: lk.sample_quality(X[:5], X),
            ShapeError,
            r"real samples must be \(N, ...\) with more than k = 5 rows, got \(5, 2\)",
        ),
        (lambda: lk.sample_quality(X, X[:5]), ShapeError, "generated samples must be"),
        (lambda: lk.sample_quality(X, X[:, 0]), ShapeError, r"got \(10,\)"),
        (lambda: lk.sample_quality(X, X[:, :1]), ShapeError, "one shape, got 2 and 1 values"),
        (lambda: lk.sample_quality(X, X / 0), NonFiniteError, "generated samples must be finite.*10 of 10 rows"),
        (lambda: lk.sample_quality(X, X, k=0), ArgumentError, "k must be a whole number of at least 1, got 0"),
        (lambda: lk.sample_quality("x", X), ShapeError, "real samples must be a tensor of floats, got str"),
    ],
)
def test_bad_calls_say_what_was_wanted(call, error, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        call()
    assert isinstance(caught.value, error)


def test_separability_is_half_for_one_distribution_and_one_for_two_that_are_apart(draw):
    a, b = draw(400, 3), draw(400, 3, seed=1)
    assert lk.sample_quality(a, b).separability == pytest.approx(0.5, abs=0.05)
    assert lk.sample_quality(a, b + 50.0).separability == 1.0
    assert lk.sample_quality(a, a).separability < 0.01, "copies are nearer than any of their own kind"


def test_samples_that_keep_to_the_middle_show_in_density_and_recall(draw):
    """Averages of draws lie among the data and near all of it: precision and coverage forgive them."""
    real = draw(400, 8)
    ghosts = sum(draw(400, 8, seed=k) for k in range(1, 5)) / 4
    found, floor = lk.sample_quality(real, ghosts), lk.sample_quality(real, draw(400, 8, seed=9))
    assert found.precision > 0.95 * floor.precision
    assert found.density > 2.0 * floor.density
    assert found.recall < 0.3 * floor.recall


def test_separability_is_the_leave_one_out_accuracy_of_the_nearest_neighbour(draw):
    real, generated = draw(30, 2), 0.5 * draw(40, 2, seed=1)
    both, kind = torch.cat([real, generated]), torch.tensor([0] * 30 + [1] * 40)
    gaps = torch.cdist(both.double(), both.double()).fill_diagonal_(torch.inf)
    right = (kind[gaps.argmin(1)] == kind).double()
    wanted = (right[:30].mean() + right[30:].mean()) / 2
    assert lk.sample_quality(real, generated).separability == pytest.approx(wanted.item())
