import math

import pytest
import torch

import latentkit as lk
from latentkit.errors import LabelError, LatentkitError, NonFiniteError, ShapeError

PRIORS = {"normal": lk.Normal(16), "uniform": lk.Uniform(16)}


def planted(prior, n=4000, noise=0.3, seed=0):
    """Latents, noisy labels by a known direction, and that direction."""
    z = prior.sample(n, seed=seed)
    truth = lk.Normal(prior.dim).sample(1, seed=77)[0]
    truth = truth / truth.norm()
    scores = z @ truth + noise * lk.Normal(1).sample(n, seed=seed + 1)[:, 0]
    return z, scores > 0.3, truth


def degrees(a, b):
    return math.degrees(math.acos(min(1.0, (a.double() @ b.double()).item())))


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
def test_a_planted_direction_is_recovered(prior):
    z, labels, truth = planted(prior)
    found = lk.mean_difference(z, labels, name="bold", prior=prior)
    assert degrees(found.vector, truth) < 8
    assert found.vector.norm().item() == pytest.approx(1)
    assert found.auc > 0.9
    assert found.counts == (int((~labels).sum()), int(labels.sum()))
    assert (found.name, found.method) == ("bold", "mean difference")


def test_more_latents_give_a_better_direction():
    angles = []
    for n in (200, 2000, 20_000):
        z, labels, truth = planted(PRIORS["normal"], n)
        angles.append(degrees(lk.mean_difference(z, labels).vector, truth))
    assert angles == sorted(angles, reverse=True)
    assert angles[-1] < 2


def test_each_side_counts_the_same():
    """Copies of the positive latents change their number but not their mean."""
    z, labels, _ = planted(PRIORS["normal"], 400)
    more = torch.cat([z, z[labels], z[labels]]), torch.cat([labels, labels[labels], labels[labels]])
    torch.testing.assert_close(lk.mean_difference(*more).vector, lk.mean_difference(z, labels).vector)


def test_the_order_of_the_latents_does_not_matter_and_the_sign_is_that_of_the_labels():
    z, labels, _ = planted(PRIORS["normal"], 400)
    vector = lk.mean_difference(z, labels).vector
    order = torch.arange(399, -1, -1)
    torch.testing.assert_close(lk.mean_difference(z[order], labels[order]).vector, vector)
    torch.testing.assert_close(lk.mean_difference(z, ~labels).vector, -vector)
    torch.testing.assert_close(lk.mean_difference(z + 5.0, labels, prior=lk.Normal(16, mean=5.0)).vector, vector)
    assert (z[labels] @ vector).mean() > (z[~labels] @ vector).mean()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [bool, int, float])
def test_labels_of_any_kind_and_the_dtype_is_kept(dtype, kind):
    z, labels, _ = planted(PRIORS["normal"], 400)
    found = lk.mean_difference(z.to(dtype), [kind(label) for label in labels.tolist()])
    assert found.vector.dtype == dtype
    torch.testing.assert_close(found.vector.float(), lk.mean_difference(z, labels).vector, atol=2e-3, rtol=0)


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
def test_within_the_safe_range_half_of_the_edits_stay_typical(prior):
    z, labels, _ = planted(prior)
    found = lk.mean_difference(z, labels, prior=prior)
    low, high = found.safe_range
    assert low < 0 < high
    for strength in (low, high):
        assert prior.typicality(z[:512] + strength * found.vector).median() >= 0.01
    for strength in (low - 0.25, high + 0.25):
        assert prior.typicality(z[:512] + strength * found.vector).median() < 0.01


def test_labels_that_mean_nothing_have_an_auc_of_chance():
    z = lk.Normal(64).sample(4000, seed=0)
    labels = lk.Normal(1).sample(4000, seed=5)[:, 0] > 0
    assert lk.mean_difference(z, labels).auc == pytest.approx(0.5, abs=0.06)


def test_the_held_out_score_is_not_flattered_by_many_dimensions():
    """60 latents in 512 dimensions are always separable; the held-out score is not fooled."""
    z = lk.Normal(512).sample(60, seed=0)
    found = lk.mean_difference(z, torch.arange(60) % 2 == 0)
    scores = z @ found.vector
    assert scores[::2].min() > scores[1::2].max() - 1.0
    assert found.auc < 0.85


Z = lk.Normal(4).sample(20, seed=0)
HALF = torch.arange(20) % 2


@pytest.mark.parametrize(
    ("latents", "labels", "error", "text"),
    [
        (Z, torch.ones(20), LabelError, "at least 5 latents a side, got 0 negative and 20 positive"),
        (Z, torch.arange(20) < 1, LabelError, "got 19 negative and 1 positive"),
        (Z, HALF[:19], LabelError, r"one a latent, \(20,\), got \(19,\)"),
        (Z, HALF[:, None], LabelError, r"one a latent, \(20,\), got \(20, 1\)"),
        (Z, torch.full((20,), float("nan")), LabelError, "NaN in 20 of 20; leave those latents out"),
        (Z, torch.arange(20), LabelError, "bool, or 0 and 1.*labels == 3"),
        (Z, ["a", "b"] * 10, LabelError, "must be a tensor of bool, or of 0 and 1, got list"),
        (Z, None, LabelError, "got NoneType"),
        (torch.ones(20, 4), HALF, LabelError, "both sides have the same mean"),
        (Z[0], HALF, ShapeError, r"latents must be \(N, D\), got \(4,\)"),
        (Z / 0, HALF, NonFiniteError, "20 of 20 rows"),
    ],
)
def test_bad_labels_say_what_was_wanted(latents, labels, error, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        lk.mean_difference(latents, labels)
    assert isinstance(caught.value, error)


def test_the_prior_must_have_the_latents_dimension():
    with pytest.raises(ShapeError, match="the prior's 5 coordinates, got 4"):
        lk.mean_difference(Z, HALF, prior=lk.Normal(5))


@pytest.mark.parametrize("std", [0.05, 1.0, 20.0])
def test_the_safe_range_is_in_the_units_of_the_prior(std):
    unit, prior = lk.Normal(16), lk.Normal(16, std=std)
    z = unit.sample(400, seed=0)
    wanted = lk.mean_difference(z, z[:, 0] > 0, prior=unit).safe_range
    found = lk.mean_difference(std * z, z[:, 0] > 0, prior=prior).safe_range
    assert found == pytest.approx([std * end for end in wanted], rel=1e-3)
    assert wanted[0] < -2 < 2 < wanted[1]
