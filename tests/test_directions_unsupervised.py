"""Directions without labels: known spectra, known matrices, known factors."""

import math

import pytest
import torch

import latentkit as lk
from latentkit.directions import cosines, factorised, from_vectors, pca_directions, signed, typical_range
from latentkit.errors import ArgumentError, LatentkitError, NonFiniteError, ShapeError

BASIS = torch.linalg.qr(lk.Normal(6).sample(6, seed=3).double()).Q.T
SPREAD = torch.tensor([5.0, 3.0, 2.0, 1.0, 0.5, 0.2]).double()
PRIOR = lk.Normal(6)


def degrees(a, b):
    return math.degrees(math.acos(min(1.0, abs(float(a.double() @ b.double())))))


def test_components_of_latents_are_their_axes_and_shares():
    w = (lk.Normal(6).sample(20_000, seed=0).double() * SPREAD) @ BASIS + 7.0
    found = pca_directions(w, 5)
    for component, axis, spread in zip(found, BASIS, SPREAD, strict=False):
        assert degrees(component.vector, axis) < 2
        assert component.share == pytest.approx(float(spread**2 / SPREAD.square().sum()), rel=0.05)
        assert component.counts is None
        assert math.isnan(component.auc)
    assert [d.name for d in found] == [f"component {j}" for j in range(1, 6)]
    torch.testing.assert_close(cosines(found), torch.eye(5).double(), atol=1e-6, rtol=0)


def test_the_safe_range_of_components_is_in_the_units_of_the_latents():
    w = (lk.Normal(6).sample(5000, seed=0).double() * SPREAD) @ BASIS + 7.0
    wide, *_, narrow = pca_directions(w, 6)
    assert wide.safe_range[1] > 5 * narrow.safe_range[1] > 0
    given = pca_directions(w, 1, prior=lk.Normal(6, mean=7.0))[0]
    prior = lk.Normal(6, mean=7.0)
    assert given.safe_range == pytest.approx(typical_range(prior.sample(512, seed=0), given.vector, prior), abs=0.01)


@pytest.mark.parametrize("seed", [0, 1])
def test_directions_that_activations_answer_to_are_recovered(seed):
    """x = A z + c with orthogonal factors of distinct strengths, in 30 dimensions: the components are the factors."""
    into = torch.linalg.qr(lk.Normal(30).sample(6, seed=4).double().T).Q  # (30, 6)
    z = lk.Normal(6).sample(20_000, seed=seed)
    x = z.double() @ BASIS.T * SPREAD @ into.T + 2.0
    found = pca_directions(x, 6, latents=z, name="factor")
    for j, (factor, axis) in enumerate(zip(found, BASIS, strict=True)):
        assert degrees(factor.vector, axis) < 2
        assert factor.name == f"factor {j + 1}"
        assert factor.vector.dtype == z.dtype


def test_regression_finds_what_moves_a_component_through_a_curved_layer():
    z = lk.Normal(6).sample(20_000, seed=0)
    x = torch.tanh(z @ BASIS.T.float() * SPREAD.float())
    found = pca_directions(x[:, :1], 1, latents=z)[0]
    assert degrees(found.vector, BASIS[0]) < 2
    assert found.share == pytest.approx(1.0)


def test_many_rows_and_features_give_the_same_leading_components():
    """Above a thousand of both only the leading components are found, by another route."""
    scale = torch.cat([torch.tensor([30.0, 20.0, 12.0]), torch.ones(1010)])
    rows = lk.Normal(1013).sample(1100, seed=0) * scale
    found = pca_directions(rows, 3, prior=lk.Normal(1013))
    centred = rows.double() - rows.double().mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    for j, component in enumerate(found):
        assert degrees(component.vector, vectors[:, -1 - j]) < 0.1
        assert component.share == pytest.approx(float(values[-1 - j] / values.sum()), rel=1e-6)
        assert component.vector.abs().argmax() == j
        assert component.vector[j] > 0


def test_order_and_doubling_of_the_rows_do_not_matter():
    w = (lk.Normal(6).sample(500, seed=0).double() * SPREAD) @ BASIS
    wanted = pca_directions(w, 3, prior=PRIOR)
    for rows in (w.flip(0), torch.cat([w, w]), w + 100.0, -w):
        for a, b in zip(pca_directions(rows, 3, prior=PRIOR), wanted, strict=True):
            torch.testing.assert_close(a.vector, b.vector, atol=1e-8, rtol=0)
            assert a.share == pytest.approx(b.share)


def test_a_known_matrix_is_factorised():
    rotation = torch.linalg.qr(lk.Normal(20).sample(6, seed=8).double().T).Q
    weights = rotation * SPREAD @ BASIS  # (20, 6): singular values SPREAD, right singular vectors BASIS
    found = factorised(weights, 6)
    for factor, axis, spread in zip(found, signed(BASIS), SPREAD, strict=True):
        torch.testing.assert_close(factor.vector, axis, atol=1e-8, rtol=0)
        assert factor.share == pytest.approx(float(spread**2 / SPREAD.square().sum()))
    assert sum(d.share for d in found) == pytest.approx(1.0)
    for a, b in zip(factorised([weights[:7], weights[7:]], 6), found, strict=True):
        torch.testing.assert_close(a.vector, b.vector, atol=1e-8, rtol=0)
    # No step of the same length changes the layer's output more.
    steps = torch.nn.functional.normalize(lk.Normal(6).sample(200, seed=1).double(), dim=1)
    assert (steps @ weights.T).norm(dim=1).max() <= (weights @ found[0].vector).norm() + 1e-9


def test_signs_make_the_largest_coordinate_positive_and_ties_go_to_the_first():
    vectors = torch.tensor([[0.1, -0.9], [-0.5, 0.5], [0.5, -0.5 - 1e-8], [-0.2, 0.1]])
    torch.testing.assert_close(signed(vectors), torch.tensor([[-0.1, 0.9], [0.5, -0.5], [0.5, -0.5], [0.2, -0.1]]))
    assert signed(signed(vectors)).equal(signed(vectors))
    assert signed(-vectors).equal(signed(vectors))


def test_vectors_of_any_length_become_directions():
    vectors = torch.tensor([[3.0, 4.0], [0.0, -2.0]])
    first, second = from_vectors(vectors, ["a", "b"], "by hand", lk.Normal(2), shares=[0.7, 0.3])
    torch.testing.assert_close(first.vector, torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(second.vector, torch.tensor([0.0, -1.0]))
    assert (first.name, first.method, first.share, second.share) == ("a", "by hand", 0.7, 0.3)
    assert first.safe_range[0] < -1 < 1 < first.safe_range[1]
    assert math.isnan(from_vectors(vectors, ["a", "b"], "by hand", lk.Normal(2))[0].share)


W = lk.Normal(6).sample(20, seed=0)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: pca_directions(W, 7), ArgumentError, "at most 6 components, got k = 7"),
        (lambda: pca_directions(W[:3], 3), ArgumentError, "3 rows of 6 numbers have at most 2 components"),
        (lambda: pca_directions(W * torch.eye(6)[0], 2), ArgumentError, "vary along 1 components, got k = 2"),
        (lambda: pca_directions(torch.ones(9, 6), 1), ArgumentError, "vary along 0 components"),
        (lambda: pca_directions(W, 0), ArgumentError, "k must be"),
        (lambda: pca_directions(W[0], 1), ShapeError, r"rows must be \(N, D\), got \(6,\)"),
        (lambda: pca_directions(W / 0, 1), NonFiniteError, "rows must be finite"),
        (lambda: pca_directions(W, 1, latents=W[:9]), ShapeError, "equally many, got 20 and 9"),
        (lambda: pca_directions(W, 1, latents=torch.ones(20, 3)), ArgumentError, "component 1 .* does not go with"),
        (lambda: pca_directions(W, 1, prior=lk.Normal(5)), ShapeError, r"\(N, 5\), got \(1, 6\)"),
        (lambda: factorised(torch.zeros(4, 3), 1), ArgumentError, "let through 0 directions of 3"),
        (lambda: factorised(torch.ones(4, 3), 2), ArgumentError, "let through 1 directions of 3, got k = 2"),
        (lambda: factorised([], 1), ShapeError, "at least one weight"),
        (lambda: factorised([torch.ones(4, 3), torch.ones(4, 2)], 1), ShapeError, r"\(N, 3\), got \(4, 2\)"),
        (lambda: factorised(torch.ones(4, 3, 1, 1), 1), ShapeError, "weights must be"),
        (lambda: from_vectors(W, ["a"], "m", PRIOR), ShapeError, "20 vectors need as many names"),
        (lambda: from_vectors(W[:3], "abc", "m", PRIOR), ShapeError, "3 vectors need as many names, got 'abc'"),
        (lambda: from_vectors(W[:1], ["a"], "m", PRIOR, shares=[1, 2]), ShapeError, "as many shares, got 2"),
        (lambda: from_vectors(W[:2] * torch.eye(2)[:, :1], ["a", "b"], "m", PRIOR), ArgumentError, "vector 1 is zero"),
    ],
)
def test_bad_arguments_say_what_was_wanted(call, error, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        call()
    assert isinstance(caught.value, error)
