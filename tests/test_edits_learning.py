import math

import pytest
import torch

import latentkit as lk
from latentkit.directions import logistic_boundary, svm_boundary
from latentkit.edits import fit_direction, learn_direction
from latentkit.edits.learning import labels_within
from latentkit.errors import ArgumentError, LabelError, LatentkitError, NonFiniteError, ShapeError

D = 6


def orthogonal(dim, seed=0):
    return torch.linalg.qr(lk.Normal(dim).sample(dim, seed=seed).double())[0].float()


def degrees(a, b):
    return math.degrees(math.acos(min(1.0, abs((a.double() @ b.double()).item()))))


FACTORS = orthogonal(D)
LINEAR = lk.wrap(lambda z: z @ FACTORS.T * torch.tensor([3.0, 2.5, 2.0, 1.5, 1.0, 0.5]), lk.Normal(D))


@pytest.mark.parametrize("factor", range(D))
def test_each_factor_of_a_linear_generator_is_recovered_from_its_attribute(factor):
    found = learn_direction(LINEAR, lambda x: x[:, factor], name="factor", n=20_000)
    assert degrees(found.vector, FACTORS[factor]) < 2
    assert found.vector @ FACTORS[factor] > 0, "it points to where there is more"
    assert found.name == "factor"


@pytest.mark.parametrize("fit", [svm_boundary, logistic_boundary])
def test_any_fit_serves_and_boundaries_are_exact_with_few_latents(fit):
    found = learn_direction(LINEAR, lambda x: x[:, 1], n=2_000, fit=fit)
    assert degrees(found.vector, FACTORS[1]) < 2


def test_a_bool_attribute_is_used_as_it_is_and_numbers_are_split_at_the_median():
    yes = learn_direction(LINEAR, lambda x: x[:, 0] > 3.0)
    assert yes.counts[1] / sum(yes.counts) == pytest.approx(0.159, abs=0.03)  # beyond one standard deviation
    even = learn_direction(LINEAR, lambda x: x[:, 0].exp())
    assert even.counts == (1000, 1000)


def test_extremes_take_the_share_that_was_asked_for():
    found = learn_direction(LINEAR, lambda x: x[:, 0], extreme=0.02, n=5_000)
    assert found.counts == (100, 100)
    assert found.auc > 0.99


def test_which_latents_are_drawn_is_stated_by_seed_and_start():
    same = [learn_direction(LINEAR, lambda x: x[:, 0], seed=3, batch_size=size).vector for size in (7, 64)]
    torch.testing.assert_close(*same)
    z = LINEAR.prior.sample(500, seed=3, start=100)
    by_hand = fit_direction(LINEAR, z, lk.generate(LINEAR, z)[:, 0], name="x")
    torch.testing.assert_close(
        learn_direction(LINEAR, lambda x: x[:, 0], n=500, seed=3, start=100).vector, by_hand.vector
    )


def test_over_classes_samples_are_compared_within_their_own_and_the_class_is_left_alone():
    """The attribute mostly says which class it is; what is left of it goes with the first coordinate."""
    both = lk.marginal(lk.wrap(lambda z, y: z + 50.0 * y[:, None], lk.Normal(3), classes=4))
    found = learn_direction(both, lambda x: x[:, 0], n=10_000)
    assert degrees(found.vector, torch.eye(7)[0]) < 3
    assert bool((found.vector[3:] == 0).all())
    assert len(found.vector) == both.prior.dim
    extreme = learn_direction(both, lambda x: x[:, 0], n=10_000, extreme=0.1)
    assert degrees(extreme.vector, torch.eye(7)[0]) < 3
    z = both.prior.sample(100, seed=9)
    assert torch.equal(both.labels(z + 5.0 * found.vector), both.labels(z))


def test_a_narrowed_generator_is_a_plain_one():
    near = lk.condition(lk.wrap(lambda z, y: z + 50.0 * y[:, None], lk.Normal(3), classes=4), 1)
    assert degrees(learn_direction(near, lambda x: x[:, 2], n=10_000).vector, torch.eye(3)[2]) < 3


def test_the_name_is_the_functions_unless_given():
    def roundness(x):
        return x[:, 0]

    assert learn_direction(LINEAR, roundness, n=100).name == "roundness"
    assert learn_direction(LINEAR, lambda x: x[:, 0], n=100).name == "attribute"


def test_values_with_many_ties_are_split_as_evenly_as_they_can_be():
    classes = torch.zeros(10, dtype=torch.long)
    for positives in (3, 7):
        values = torch.tensor([1.0] * positives + [0.0] * (10 - positives))
        rows, labels = labels_within(values, classes)
        assert torch.equal(labels, values[rows] == 1.0)


def test_a_class_without_differences_is_left_out():
    values = torch.tensor([1.0, 1.0, 1.0, 4.0, 5.0, 6.0, 7.0])
    rows, labels = labels_within(values, torch.tensor([0, 0, 0, 1, 1, 1, 1]))
    assert rows.tolist() == [3, 4, 5, 6]
    assert labels.tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("attribute", "error", "says"),
    [
        (lambda x: x[:, 0] * math.nan, NonFiniteError, "attribute must be finite.*2000 of 2000"),
        (lambda x: torch.zeros(len(x)), LabelError, "is 0 for all 2000 samples"),
        (lambda x: x, ShapeError, r"one number a sample \(64,\), got \(64, 6\)"),
        (lambda x: x.mean(), ShapeError, r"got \(\)"),
        (lambda x: "bright", ShapeError, "got str"),
        (lambda x: torch.ones(len(x), dtype=torch.bool), LabelError, "0 negative"),
        ("brightness", ArgumentError, "must be a function"),
    ],
)
def test_what_an_attribute_cannot_be(attribute, error, says):
    with pytest.raises(error, match=says):
        learn_direction(LINEAR, attribute)


@pytest.mark.parametrize(
    "bad",
    [{"n": 0}, {"n": 2.5}, {"extreme": 0.0}, {"extreme": 0.6}, {"extreme": math.nan}, {"seed": -1}, {"start": -1}],
)
def test_numbers_out_of_range_are_named(bad):
    with pytest.raises(LatentkitError, match=next(iter(bad))):
        learn_direction(LINEAR, lambda x: x[:, 0], **bad)


@pytest.mark.parametrize("values", [torch.zeros(3), torch.full((10,), math.nan), ["a"] * 10, None])
def test_values_that_do_not_fit_the_latents_are_named(values):
    with pytest.raises(LatentkitError, match="values of bold"):
        fit_direction(LINEAR, LINEAR.prior.sample(10, seed=0), values, name="bold")


def test_on_the_bundled_generator_more_of_it_is_more_of_it():
    generator = lk.condition(lk.load("fashion-mnist"), "sneaker").generator
    bright = learn_direction(generator, lambda x: x.mean((1, 2, 3)), name="brightness", n=1_000)
    z = generator.prior.sample(64, seed=5)
    means = [float(lk.generate(generator, bright.moved(z, s)).mean()) for s in (-2.0, -1.0, 0.0, 1.0, 2.0)]
    assert means == sorted(means)
    assert bright.auc > 0.8
