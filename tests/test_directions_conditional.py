"""What a direction can do: score, move, turn round, and leave others alone."""

import math

import pytest
import torch

import latentkit as lk
from latentkit.directions import Direction, cosines, logistic_boundary, orthogonalised, typical_range
from latentkit.errors import ArgumentError, CurveError, LatentkitError, NonFiniteError, ShapeError

PRIORS = {"normal": lk.Normal(8), "uniform": lk.Uniform(8), "sphere": lk.Sphere(8, 3.0)}
every_prior = pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)


def unit(values):
    return torch.nn.functional.normalize(torch.as_tensor(values, dtype=torch.float32), dim=0)


def direction(values, name="d", **more):
    return Direction(unit(values), name, "made", (-3.0, 4.0), **more)


RANDOM = [direction(v, f"other {i}") for i, v in enumerate(lk.Normal(8).sample(6, seed=2))]
D = direction(lk.Normal(8).sample(1, seed=5)[0], "smile", counts=(40, 60), auc=0.9, accuracy=0.8, intercept=-0.5)
Z = lk.Normal(8).sample(5, seed=1)


def test_scores_are_distances_from_the_boundary():
    torch.testing.assert_close(D.score(Z), Z @ D.vector - 0.5)
    assert D.score(Z.double()).dtype == torch.float64
    torch.testing.assert_close(RANDOM[0].score(Z), Z @ RANDOM[0].vector)
    torch.testing.assert_close(D.score(D.moved(Z, 1.5)), D.score(Z) + 1.5)
    on_boundary = D.moved(Z, 0.0) - D.score(Z)[:, None] * D.vector
    torch.testing.assert_close(D.score(on_boundary), torch.zeros(5), atol=1e-6, rtol=0)


def test_turning_round_twice_changes_nothing():
    turned = D.reversed()
    assert (turned.name, turned.counts, turned.safe_range) == ("less smile", (60, 40), (-4.0, 3.0))
    torch.testing.assert_close(turned.score(Z), -D.score(Z))
    torch.testing.assert_close(turned.moved(Z, -2.0), D.moved(Z, 2.0))
    again = turned.reversed()
    assert again.vector.equal(D.vector)
    assert (again.name, again.counts, again.safe_range, again.intercept, again.auc) == (
        "smile",
        (40, 60),
        (-3.0, 4.0),
        -0.5,
        0.9,
    )


@every_prior
def test_latents_are_moved_along_and_stay_where_the_prior_has_latents(prior):
    z = prior.sample(6, seed=0)
    strengths = torch.tensor([-2.0, 0.0, 0.5])
    moved = D.moved(z, strengths, prior)
    assert moved.shape == (3, 6, 8)
    assert bool(torch.isfinite(prior.log_prob(moved.reshape(-1, 8))).all())
    assert moved[1].equal(z)
    assert D.moved(z, 0.5, prior).equal(moved[2])
    assert D.moved(z[3], strengths, prior).equal(moved[:, 3])
    assert D.moved(z[3], 0.5, prior).equal(moved[2, 3])
    assert (moved[2] @ D.vector > z @ D.vector).all()


def test_what_a_support_does_to_a_step():
    plain = Z + 1.5 * D.vector
    torch.testing.assert_close(D.moved(Z, 1.5), plain)
    torch.testing.assert_close(D.moved(Z, 1.5, lk.Normal(8)), plain)
    box = lk.Uniform(8).sample(5, seed=1)
    torch.testing.assert_close(D.moved(box, 1.5, lk.Uniform(8)), (box + 1.5 * D.vector).clamp(-1, 1))
    ball = lk.Sphere(8).sample(5, seed=1)
    torch.testing.assert_close(D.moved(ball, 1.5, lk.Sphere(8)), unit((ball + 1.5 * D.vector).T).T)


@pytest.mark.parametrize(
    "strengths", [[0.5, -1], (0.5, -1.0), torch.tensor([0.5, -1.0]), torch.tensor([0.5, -1]).numpy()]
)
def test_strengths_of_any_kind(strengths):
    assert D.moved(Z, strengths).equal(torch.stack([D.moved(Z, 0.5), D.moved(Z, -1)]))
    assert D.moved(Z, torch.tensor(0.5)).equal(D.moved(Z, 0.5))
    assert D.moved(Z.half(), strengths).dtype == torch.float16


@pytest.mark.parametrize(
    ("strength", "error", "text"),
    [
        (math.nan, ArgumentError, "strength must be a finite number, got nan"),
        (math.inf, ArgumentError, "finite"),
        ("far", ArgumentError, "strength must be a number, got 'far'"),
        (None, ArgumentError, "strength must be a number, got None"),
        ([1.0, math.nan], ArgumentError, "finite numbers"),
        (["a", "b"], ArgumentError, "strengths must be numbers"),
        (torch.zeros(2, 2), ShapeError, r"\(A,\), got \(2, 2\)"),
    ],
)
def test_strengths_that_are_not_numbers(strength, error, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        D.moved(Z, strength)
    assert isinstance(caught.value, error)


def test_latents_and_priors_of_another_size_are_refused():
    for call in (lambda: D.moved(Z[:, :7], 1.0), lambda: D.score(Z[:, :7]), lambda: D.moved(Z[0, :7], 1.0)):
        with pytest.raises(ShapeError, match=r"8\)?,?\)?, got \((5, )?7"):
            call()
    with pytest.raises(ShapeError, match="8 coordinates, got 3"):
        D.moved(Z, 1.0, lk.Normal(3))
    with pytest.raises(CurveError, match="no direction"):
        D.moved(3.0 * D.vector, -3.0, lk.Sphere(8, 3.0))
    with pytest.raises(ShapeError, match="at least 2 rows"):
        typical_range(Z[:1], D.vector, lk.Normal(8))


def test_a_direction_is_a_unit_vector():
    for vector, error in (
        (torch.ones(4), ArgumentError),
        (torch.ones(2, 2), ShapeError),
        (torch.ones(2) / 0, NonFiniteError),
    ):
        with pytest.raises(error):
            Direction(vector, "d", "made", (0.0, 0.0))


@pytest.mark.parametrize("count", range(1, 7))
def test_an_orthogonalised_direction_is_a_unit_vector_orthogonal_to_all_others(count):
    others = RANDOM[:count]
    left = orthogonalised(D, others)
    assert left.vector.norm().item() == pytest.approx(1.0)
    for other in others:
        assert abs(left.vector.double() @ other.vector.double()) < 1e-6
        torch.testing.assert_close(other.score(left.moved(Z, 3.0)), other.score(Z), atol=1e-5, rtol=0)
    # What is left lies in the span, on the direction's own side.
    rank = torch.linalg.matrix_rank(torch.stack([d.vector for d in (D, *others, left)]).double(), tol=1e-5)
    assert rank == count + 1
    assert left.vector @ D.vector > 0
    assert (left.name, left.counts) == ("smile", (40, 60))
    assert left.method == "made, orthogonal to " + ", ".join(other.name for other in others)
    assert all(math.isnan(value) for value in (left.intercept, left.auc, left.accuracy))


def test_one_other_is_the_published_formula():
    other = RANDOM[0]
    wanted = D.vector - (D.vector @ other.vector) * other.vector
    torch.testing.assert_close(orthogonalised(D, other).vector, wanted / wanted.norm())


def test_order_repetition_dependence_and_sign_of_the_others_do_not_matter():
    wanted = orthogonalised(D, RANDOM[:3]).vector
    between = direction(RANDOM[0].vector + 0.3 * RANDOM[2].vector)
    for others in (
        RANDOM[2::-1],
        [*RANDOM[:3], RANDOM[1], RANDOM[1]],
        [*RANDOM[:3], between],
        [other.reversed() for other in RANDOM[:3]],
        [RANDOM[0], RANDOM[1], between],
    ):
        torch.testing.assert_close(orthogonalised(D, others).vector, wanted, atol=1e-6, rtol=0)
    again = orthogonalised(orthogonalised(D, RANDOM[:3]), RANDOM[:3])
    torch.testing.assert_close(again.vector, wanted, atol=1e-6, rtol=0)


def test_almost_equal_others_still_count_as_two():
    """One millionth apart is rounding and left out; a thousandth apart is another direction."""
    first = RANDOM[0]
    for apart, tolerance in ((1e-3, 1e-6), (1e-5, 1e-6), (1e-7, 1e-6)):
        second = direction(first.vector.double() + apart * RANDOM[1].vector.double())
        left = orthogonalised(D, [first, second])
        for other in (first, second):
            assert abs(left.vector.double() @ other.vector.double()) < tolerance


def test_no_others_change_nothing_and_orthogonal_ones_leave_the_vector():
    assert orthogonalised(D, []) is D
    other = orthogonalised(RANDOM[0], D)
    torch.testing.assert_close(orthogonalised(D, other).vector, D.vector, atol=1e-6, rtol=0)


def test_nothing_left_names_the_culprit():
    twin = direction(-D.vector, "grin")
    with pytest.raises(ArgumentError, match=r"nothing of 'smile' is left beside 'grin'.*-1\.000.*leave 'grin' out"):
        orthogonalised(D, [RANDOM[0], twin, RANDOM[1]])
    halves = [direction(D.vector + RANDOM[0].vector, "a"), direction(D.vector - RANDOM[0].vector, "b")]
    with pytest.raises(ArgumentError, match=r"in the span of 'a', 'b'; leave one of them out, such as '[ab]'"):
        orthogonalised(D, halves)
    everything = [direction(v, f"axis {i}") for i, v in enumerate(torch.eye(8))]
    with pytest.raises(ArgumentError, match="in the span of 'axis 0'"):
        orthogonalised(D, everything)
    with pytest.raises(ShapeError, match=r"'smile' of 8, 'flat' of 2"):
        orthogonalised(D, direction([1.0, 0.0], "flat"))


def test_the_safe_range_is_that_of_the_new_vector_if_the_prior_is_given():
    narrow = lk.Empirical.fit(lk.Normal(8).sample(4000, seed=0) * torch.linspace(0.2, 3.0, 8))
    left = orthogonalised(D, RANDOM[:2], prior=narrow)
    assert left.safe_range == typical_range(narrow.sample(512, seed=0), left.vector, narrow)
    assert orthogonalised(D, RANDOM[:2]).safe_range == D.safe_range
    with pytest.raises(ShapeError, match="8 coordinates, got 3"):
        orthogonalised(D, RANDOM[0], prior=lk.Normal(3))


def test_two_correlated_attributes_are_taken_apart():
    """Attributes a = z0 and b = 0.8 z0 + 0.6 z1: moving a alone must move along (0.6, -0.8), and b alone along z1."""
    z = lk.Normal(8).sample(8000, seed=0)
    a, b = z[:, 0], 0.8 * z[:, 0] + 0.6 * z[:, 1]
    of_a, of_b = (logistic_boundary(z, values > 0, name=name) for name, values in (("a", a), ("b", b)))
    assert cosines([of_a, of_b])[0, 1] == pytest.approx(0.8, abs=0.02)
    only_a, only_b = orthogonalised(of_a, of_b), orthogonalised(of_b, of_a)
    assert only_a.vector @ unit([0.6, -0.8, 0, 0, 0, 0, 0, 0]) > math.cos(math.radians(2))
    assert only_b.vector @ unit([0.0, 1.0, 0, 0, 0, 0, 0, 0]) > math.cos(math.radians(2))
    moved = only_a.moved(z, 1.0)
    assert (moved[:, 0] - a).mean() == pytest.approx(0.6, abs=0.03)
    assert (0.8 * moved[:, 0] + 0.6 * moved[:, 1] - b).mean() == pytest.approx(0.0, abs=0.03)


def test_cosines_are_a_symmetric_table_with_ones():
    table = cosines([D, *RANDOM])
    assert table.shape == (7, 7)
    assert table.equal(table.T)
    assert table.diagonal().equal(torch.ones(7).double())
    assert table[0, 3].item() == pytest.approx(float(D.vector @ RANDOM[2].vector), abs=1e-6)
    assert cosines([D, D.reversed()])[0, 1].item() == pytest.approx(-1.0)
    with pytest.raises(ShapeError, match="got none"):
        cosines([])
