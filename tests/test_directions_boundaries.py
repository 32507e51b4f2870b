"""Directions from labels: truths and laws that every fit has, and those of boundaries alone."""

import math

import numpy as np
import pytest
import torch

import latentkit as lk
from latentkit.directions import extremes, logistic_boundary, mean_difference, stability, svm_boundary
from latentkit.errors import ArgumentError, LabelError, LatentkitError, NonFiniteError

FITS = {"means": mean_difference, "svm": svm_boundary, "logistic": logistic_boundary}
BOUNDARIES = {name: FITS[name] for name in ("svm", "logistic")}
every_fit = pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
every_boundary = pytest.mark.parametrize("fit", BOUNDARIES.values(), ids=BOUNDARIES)


def degrees(a, b):
    a, b = a.double(), b.double()
    return math.degrees(math.acos(min(1.0, (a @ b / a.norm() / b.norm()).item())))


def scores_of(n, truth, seed=0):
    z = lk.Normal(len(truth)).sample(n, seed=seed)
    return z, z @ truth


@pytest.fixture(scope="module")
def factors():
    """A linear generator x = z A^T of orthogonal factors: 60,000 latents, what they make, and the factors (6, 8)."""
    matrix = torch.linalg.qr(lk.Normal(8).sample(8, seed=3)).Q[:6]
    z = lk.Normal(8).sample(60_000, seed=0)
    return z, z @ matrix.T, matrix


@every_fit
def test_every_factor_of_a_linear_generator_is_recovered(fit, factors):
    z, x, matrix = factors
    if fit is not mean_difference:  # whose error falls more slowly: by 1 / sqrt(N)
        z, x = z[:10_000], x[:10_000]
    for j, factor in enumerate(matrix):
        found = fit(z, x[:, j] > 0)
        assert degrees(found.vector, factor) < 2
        assert found.auc > 0.99
        assert found.accuracy > 0.97


@every_fit
@pytest.mark.parametrize("shift", [-0.8, 0.5])
def test_the_intercept_of_a_shifted_boundary_is_right(fit, shift, factors):
    z, x = factors[0][:20_000], factors[1][:20_000]
    found = fit(z, x[:, 0] > shift)
    assert found.intercept == pytest.approx(-shift, abs=0.05)
    crossing = found.score(z) > 0
    assert (crossing == (x[:, 0] > shift)).double().mean() > 0.97


@every_fit
def test_rows_in_another_order_change_nothing(fit, factors):
    z, labels = factors[0][:1000], factors[1][:1000, 0] > 0.3
    wanted, order = fit(z, labels), torch.arange(999, -1, -1)
    found = fit(z[order], labels[order])
    torch.testing.assert_close(found.vector, wanted.vector, atol=2e-5, rtol=0)
    assert found.intercept == pytest.approx(wanted.intercept, abs=2e-5)


@every_fit
def test_swapped_sides_turn_vector_and_intercept(fit, factors):
    z, labels = factors[0][:1000], factors[1][:1000, 0] > 0.3
    wanted, found = fit(z, labels), fit(z, ~labels)
    torch.testing.assert_close(found.vector, -wanted.vector, atol=2e-5, rtol=0)
    assert found.intercept == pytest.approx(-wanted.intercept, abs=2e-5)
    assert found.counts == wanted.counts[::-1]
    assert found.auc == pytest.approx(wanted.auc, abs=1e-4)
    assert found.accuracy == pytest.approx(wanted.accuracy, abs=0.01)
    turned = wanted.reversed()
    torch.testing.assert_close(turned.score(z), found.score(z), atol=2e-4, rtol=0)
    assert turned.counts == found.counts


@every_fit
def test_the_boundary_moves_and_grows_with_the_latents(fit, factors):
    z, labels = factors[0][:1000].double(), factors[1][:1000, 0] > 0.3
    wanted = fit(z, labels)
    moved = 3.0 * z + torch.linspace(-20.0, 30.0, 8)
    found = fit(moved, labels)
    torch.testing.assert_close(found.vector, wanted.vector, atol=2e-5, rtol=0)
    torch.testing.assert_close(found.score(moved), 3.0 * wanted.score(z), atol=2e-3, rtol=0)


@every_boundary
def test_a_boundary_is_not_misled_by_the_spread_of_the_coordinates(fit):
    """The label depends on one narrow coordinate; a wide one goes along with it."""
    z = lk.Normal(6).sample(8000, seed=0)
    z[:, 1] = 10.0 * (0.6 * z[:, 0] + 0.8 * z[:, 1])
    labels = z[:, 0] > 0.2
    truth = torch.eye(6)[0]
    assert degrees(fit(z, labels).vector, truth) < 2
    assert fit(z, labels).intercept == pytest.approx(-0.2, abs=0.05)
    # The class means differ most along the wide coordinate: 10 * 0.6 times as much.
    assert degrees(mean_difference(z, labels).vector, truth) == pytest.approx(math.degrees(math.atan(6.0)), abs=2)


@every_boundary
def test_stretched_coordinates_stretch_the_normal_back(fit, factors):
    """The same latents in other units have the same boundary: each coordinate of its normal in the other unit."""
    z, labels = factors[0][:2000].double(), factors[1][:2000, 0] > 0.3
    units = torch.logspace(-3, 3, 8).double()
    wanted, found = fit(z, labels), fit(z * units, labels)
    normal = found.vector * units
    torch.testing.assert_close(normal / normal.norm(), wanted.vector, atol=1e-4, rtol=0)
    assert found.intercept / normal.norm().item() == pytest.approx(wanted.intercept, abs=1e-4)


def test_the_logistic_boundary_is_that_of_another_solver(factors):
    from sklearn.linear_model import LogisticRegression

    z = factors[0][:1500].double()
    labels = (factors[1][:1500, 0] + 0.5 * factors[1][:1500, 1]).double() > 0.6
    u = ((z - z.mean(0)) / z.std(0)).numpy()
    model = LogisticRegression(C=0.7, class_weight="balanced", tol=1e-8, max_iter=5000).fit(u, labels.numpy())
    weights = torch.from_numpy(model.coef_[0]) / z.std(0)
    found = logistic_boundary(z, labels, c=0.7)
    torch.testing.assert_close(found.vector, weights / weights.norm(), atol=1e-4, rtol=0)
    intercept = (model.intercept_[0] - weights @ z.mean(0)) / weights.norm()
    assert found.intercept == pytest.approx(intercept.item(), abs=1e-4)


def test_the_svm_boundary_is_a_minimum(factors):
    """No small change of vector or intercept lowers what the docstring says is minimised."""
    z, labels = factors[0][:400].double(), factors[1][:400, 0] > 0.6
    found = svm_boundary(z, labels, c=0.3)
    middle, spread = z.mean(0), z.std(0)
    y = torch.where(labels, 1.0, -1.0).double()
    share = 400 / (2 * torch.where(labels, labels.sum(), (~labels).sum()))

    def objective(scale, vector, intercept):
        w, b = scale * vector * spread, scale * (intercept + vector @ middle)
        short = (1 - y * ((z - middle) / spread @ w + b)).clamp(min=0)
        return 0.5 * (w @ w) + 0.3 * (share * short.square()).sum()

    scales = torch.linspace(0.2, 5.0, 1000)
    values = torch.stack([objective(scale, found.vector, found.intercept) for scale in scales])
    scale = scales[values.argmin()]
    assert 0.2 < scale < 5.0
    for step in lk.Normal(9).sample(20, seed=1).double():
        near = objective(scale, found.vector + 0.03 * step[:8], found.intercept + 0.03 * step[8])
        assert near > values.min()


@every_boundary
def test_a_smaller_c_is_smoother(fit, factors):
    """Strong regularisation leaves the class means alone to decide."""
    z, labels = factors[0][:300], factors[1][:300, 0] > 0
    means = mean_difference(z / z.std(0), labels).vector
    assert degrees(fit(z, labels, c=1e-7).vector * z.std(0), means) < 1
    assert degrees(fit(z, labels, c=10.0).vector * z.std(0), means) > 2
    for bad in (0.0, -1.0, math.nan, "much"):
        with pytest.raises(ArgumentError, match="c must be a"):
            fit(z, labels, c=bad)


@every_fit
def test_a_planted_direction_is_found_among_uneven_noisy_labels(fit):
    truth = torch.nn.functional.normalize(lk.Normal(16).sample(1, seed=77)[0], dim=0)
    z, scores = scores_of(6000, truth)
    labels = scores + 0.5 * lk.Normal(1).sample(6000, seed=4)[:, 0] > 1.6
    found = fit(z, labels, name="rare")
    assert 0.05 < found.counts[1] / 6000 < 0.12
    assert degrees(found.vector, truth) < 8
    assert found.accuracy > 0.85  # always saying "no" would be right nine times in ten, and balanced once in two
    assert found.name == "rare"


@every_fit
def test_meaningless_labels_score_as_chance(fit):
    z = lk.Normal(16).sample(3000, seed=0)
    found = fit(z, lk.Normal(1).sample(3000, seed=5)[:, 0] > 0.5)
    assert found.auc == pytest.approx(0.5, abs=0.06)
    assert found.accuracy == pytest.approx(0.5, abs=0.06)


@every_fit
def test_few_latents_in_many_dimensions_are_fitted_but_not_believed(fit):
    z = lk.Normal(256).sample(40, seed=0)
    found = fit(z, torch.arange(40) % 2 == 0)
    assert found.vector.norm().item() == pytest.approx(1.0)
    assert found.accuracy < 0.9


@every_fit
def test_a_coordinate_that_never_varies_gets_no_weight(fit, factors):
    z, labels = factors[0][:500].clone(), factors[1][:500, 0] > 0
    z[:, 2] = 7.0
    assert fit(z, labels).vector[2].abs() < 1e-6


@every_fit
def test_the_same_latents_on_both_sides_say_nothing(fit):
    z = lk.Normal(4).sample(20, seed=0)
    with pytest.raises(LabelError, match="the labels say nothing about the latents"):
        fit(torch.cat([z, z]), torch.arange(40) < 20)


@every_fit
@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (torch.ones(20), "at least 5 latents a side, got 0 negative and 20 positive"),
        (torch.arange(20) < 1, "got 19 negative and 1 positive"),
        (torch.arange(19) % 2, r"one a latent, \(20,\), got \(19,\)"),
        (torch.tensor([math.nan] * 3 + [0.0] * 8 + [1.0] * 9), "NaN in 3 of 20"),
        (torch.arange(20) % 3, r"got 0 \(7\), 1 \(7\), 2 \(6\); turn other values into a question"),
        (torch.arange(20), r"5 \(1\) and 14 more values"),
        (["yes", "no"] * 10, "got list"),
    ],
)
def test_bad_labels_are_counted(fit, labels, text):
    with pytest.raises(LabelError, match=text):
        fit(lk.Normal(4).sample(20, seed=0), labels)


def test_extremes_are_the_lowest_and_the_highest():
    values = lk.Normal(1).sample(1000, seed=0)[:, 0]
    rows, labels = extremes(values, 0.02)
    assert len(rows) == len(labels) == 40
    assert labels.sum() == 20
    ranked = values.sort().values
    assert values[rows[~labels]].equal(ranked[:20])
    assert values[rows[labels]].equal(ranked[-20:])
    assert len(extremes(values[:100], 0.02)[0]) == 10  # never fewer than 5 a side
    halves, sides = extremes(values, 0.5)
    assert halves.sort().values.equal(torch.arange(1000))
    assert values[halves[~sides]].max() < values[halves[sides]].min()


@every_fit
def test_extremes_give_a_better_direction_than_as_many_noisy_halves(fit):
    truth = torch.nn.functional.normalize(lk.Normal(16).sample(1, seed=77)[0], dim=0)
    z, scores = scores_of(20_000, truth)
    values = scores + 2.0 * lk.Normal(1).sample(20_000, seed=4)[:, 0]
    rows, labels = extremes(values, 0.02)
    halves = fit(z[: len(rows)], values[: len(rows)] > 0)
    assert degrees(fit(z[rows], labels).vector, truth) < 0.7 * degrees(halves.vector, truth)


@pytest.mark.parametrize(
    ("values", "fraction", "error", "text"),
    [
        (torch.arange(9.0), 0.1, LabelError, "at least 5 values each, got 9 in all"),
        (torch.ones(100), 0.1, LabelError, "10 lowest and the 10 highest of 100 values share the value 1"),
        (torch.arange(100.0) / 0, 0.1, NonFiniteError, "values must be finite"),
        (torch.zeros(10, 2), 0.1, LabelError, r"one a latent, \(N,\), got \(10, 2\)"),
        (torch.arange(100.0), 0.0, ArgumentError, "fraction must be"),
        (torch.arange(100.0), 0.6, ArgumentError, "at most 0.5"),
        (torch.arange(100.0), math.nan, ArgumentError, "fraction must be"),
    ],
)
def test_bad_extremes_say_what_was_wanted(values, fraction, error, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        extremes(values, fraction)
    assert isinstance(caught.value, error)


@every_fit
def test_stability_grows_with_the_latents(fit, factors):
    z, x, _ = factors
    noisy = x[:, 0] + lk.Normal(1).sample(len(z), seed=6)[:, 0] > 0
    few = stability(fit, z[:60], noisy[:60], resamples=10)
    many = stability(fit, z[:3000], noisy[:3000], resamples=10)
    for mean, low, high in (few, many):
        assert 0 <= low <= mean <= high <= 1
    assert few[0] < 0.97 < many[0]


def test_stability_is_a_function_of_the_seed(factors):
    z, labels = factors[0][:100], factors[1][:100, 0] > 0
    assert stability(mean_difference, z, labels, seed=3) == stability(mean_difference, z, labels, seed=3)
    assert stability(mean_difference, z, labels, seed=3) != stability(mean_difference, z, labels, seed=4)
    with pytest.raises(LabelError, match="got 100 negative and 0 positive"):
        stability(mean_difference, z, labels & False)
    with pytest.raises(ArgumentError, match="resamples must be"):
        stability(mean_difference, z, labels, resamples=0)


def test_stability_is_the_cosine_that_theory_gives(factors):
    """A mean difference in D dimensions has noise of variance 4 D / N; refits share the sample, not the noise."""
    z = factors[0][:2000]
    labels = torch.arange(2000) % 2 == 0
    signal = z.clone()
    signal[labels, 0] += 1.0
    mean, _, _ = stability(mean_difference, signal, labels, resamples=40)
    # The refit adds noise of variance 4 / N to each of the 7 coordinates across the direction.
    assert mean == pytest.approx(1 / np.sqrt(1 + 7 * 4 / 2000), abs=0.003)
