import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import latentkit as lk
from latentkit.errors import ArgumentError, CriticError, LatentkitError, NonFiniteError, ShapeError
from latentkit.quality import score_latents

# The generator makes N(0, I) and the real samples are N((SHIFT, 0), I): the log ratio is SHIFT x - SHIFT^2 / 2.
SHIFT = 1.5
G = lk.wrap(lambda z: z, lk.Normal(2))


def truth(x):
    return SHIFT * x[:, 0] - SHIFT**2 / 2


def biased(x):
    """What training leaves: the true ratio with another slope and offset."""
    return 0.4 * truth(x) - 6.0


def noise(frequency):
    """Return a critic that scores by digits that mean nothing."""
    return lambda x: torch.sin(frequency * x[:, 0])


REAL = lk.Normal(2).sample(4000, seed=77) + torch.tensor([SHIFT, 0.0])


@pytest.fixture(scope="module")
def quality():
    return lk.quality_map(G, biased, REAL, n=5000, seed=3)


def test_the_map_holds_the_true_density_ratio(quality):
    wanted = truth(quality.latents)
    inner = wanted.abs() < 2.5
    assert (quality.density_ratio.log() - wanted)[inner].abs().max() < 0.3
    assert (quality.probability - torch.sigmoid(wanted)).abs().max() < 0.06
    # The mean of p_real / p_model over the model is 1.
    assert quality.density_ratio.mean().item() == pytest.approx(1, abs=0.1)
    assert quality.calibration.auc == pytest.approx(stats.norm.cdf(SHIFT / math.sqrt(2)), abs=0.02)
    assert quality.verdict.startswith("informative: ")


def test_the_map_is_the_seeds_own_draw(quality):
    assert len(quality) == 5000
    assert quality.latents.equal(G.prior.sample(5000, seed=3))
    assert quality.latents.equal(G.prior.sample(5000, seed=3)[quality.index])
    torch.testing.assert_close(quality.logits, biased(quality.latents))
    assert quality.typicality.equal(G.prior.typicality(quality.latents))
    assert quality.probability.equal(quality.calibration.probability(quality.logits))
    assert quality.density_ratio.equal(quality.calibration.density_ratio(quality.logits))
    assert quality.seed == 3


@pytest.mark.parametrize("fraction", [1e-9, 0.1, 0.25, 1.0])
def test_the_top_is_the_best_best_first(quality, fraction):
    best = quality.top(fraction)
    assert len(best) == max(1, round(5000 * fraction))
    assert (best.probability.diff() <= 0).all()
    assert best.logits.equal(quality.logits.sort(descending=True).values[: len(best)])
    assert quality.latents[best.index].equal(best.latents)
    assert best.top(1.0).latents.equal(best.latents)
    # By this critic the best are those furthest to the right.
    if fraction == 0.1:
        assert best.latents[:, 0].min() > stats.norm.ppf(0.87)


def test_among_equal_probabilities_the_larger_logit_comes_first():
    """An isotonic calibration has plateaus; the critic's own order decides within them."""
    best = lk.quality_map(G, biased, REAL[:100], n=400, seed=3, method="isotonic").top(0.5)
    assert len(best.probability.unique()) < len(best)
    assert (best.logits.diff() <= 0).all()


def test_above_keeps_the_order_and_may_be_empty(quality):
    good = quality.above(0.5)
    assert good.probability.min() >= 0.5
    assert (good.index.diff() > 0).all()
    assert len(good) == (quality.probability >= 0.5).sum()
    assert len(quality.above(0.0)) == 5000
    assert len(quality.above(1.0)) == 0


def test_rows_are_taken_in_the_order_asked(quality):
    few = quality.rows(torch.tensor([7, 2, 2]))
    for name in ("latents", "index", "logits", "probability", "density_ratio", "typicality"):
        assert getattr(few, name).equal(getattr(quality, name)[[7, 2, 2]])


def test_latents_are_not_judged_by_themselves():
    """The draws that calibrate come after those that are mapped."""
    seen = []

    def spy(z):
        seen.append(z.clone())
        return z

    quality = lk.quality_map(lk.wrap(spy, G.prior), biased, REAL[:100], n=300, seed=3)
    rows = [tuple(row) for part in seen for row in part.tolist()]
    assert len(rows) == 400
    assert len(set(rows)) == 400
    assert {tuple(row) for row in quality.latents.tolist()} <= set(rows)


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_batches_and_modes_change_nothing(batch_size, build):
    net = build(lambda: nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2)))
    critic = build(lambda: nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1)), seed=1)
    net.train()
    critic.train()
    generator = lk.wrap(net, lk.Normal(2))
    real = REAL[:60]
    options = {"n": 50, "seed": 1, "allow_uninformative": True, "method": "logistic"}
    one = lk.quality_map(generator, critic, real, batch_size=batch_size, **options)
    two = lk.quality_map(generator, critic.eval(), real, batch_size=64, **options)
    torch.testing.assert_close(one.logits, two.logits)
    torch.testing.assert_close(one.probability, two.probability, rtol=1e-4, atol=1e-5)
    assert net.training
    assert net[1].training
    assert not critic.training
    torch.testing.assert_close(
        score_latents(generator, critic, one.latents), lk.score(critic, lk.generate(generator, one.latents))
    )


@pytest.mark.parametrize(
    "critic", [noise(12345.0), lambda x: 0 * x[:, 0], lambda x: -truth(x)], ids=["noise", "constant", "wrong sign"]
)
def test_a_critic_without_signal_is_refused(critic):
    with pytest.raises(CriticError, match=r"no quality map was made.*AUC.*allow_uninformative=True"):
        lk.quality_map(G, critic, REAL[:500], n=100)
    quality = lk.quality_map(G, critic, REAL[:500], n=100, allow_uninformative=True)
    assert quality.verdict.startswith("uninformative: ")
    assert len(quality) == 100


def test_hardly_any_random_critic_is_let_through():
    """The interval is one of 95 %, so by right one in 40 is."""
    refused = 0
    for frequency in range(5000, 25_000, 1000):
        try:
            lk.quality_map(G, noise(float(frequency)), REAL[:300], n=1, method="logistic")
        except CriticError:
            refused += 1
    assert refused >= 17


def test_the_saved_map_is_the_map(quality, tmp_path):
    path = quality.top(0.01).save(tmp_path / "map.npz")
    with np.load(path) as arrays:
        for name in ("latents", "index", "logits", "probability", "density_ratio", "typicality"):
            np.testing.assert_array_equal(arrays[name], getattr(quality.top(0.01), name))
        assert arrays["seed"] == 3
        assert str(arrays["verdict"]) == quality.verdict


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: lk.quality_map(G, truth, REAL[:19]),
            ShapeError,
            "at least 20 held-out real and generated samples, got 19",
        ),
        (lambda: lk.quality_map(G, truth, REAL[:, :1]), ShapeError, r"one shape, got \(1,\) and \(2,\)"),
        (lambda: lk.quality_map(G, truth, REAL / 0), NonFiniteError, "must be finite"),
        (lambda: lk.quality_map(G, truth, REAL, n=0), ArgumentError, "n must be a whole number of at least 1, got 0"),
        (lambda: lk.quality_map(G, truth, REAL, seed=-1), ArgumentError, "seed must be a whole number"),
        (lambda: lk.quality_map(G, truth, REAL, method="x"), ArgumentError, "method must be one of"),
        (lambda: lk.quality_map(G, lambda x: x, REAL), ShapeError, "the critic must return one logit a sample"),
        (lambda: score_latents(G, truth, torch.zeros(3, 3)), ShapeError, r"must be \(N, 2\), got \(3, 3\)"),
    ],
)
def test_bad_calls_say_what_was_wanted(call, error, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        call()
    assert isinstance(caught.value, error)


@pytest.mark.parametrize("value", [0.0, -0.1, 1.1, float("nan")])
def test_a_fraction_lies_above_nought_and_at_most_one(quality, value):
    with pytest.raises(ArgumentError, match="fraction must be a finite number, above 0 and at most 1, got"):
        quality.top(value)
    if value:
        with pytest.raises(ArgumentError, match="probability must be a finite number, at least 0 and at most 1, got"):
            quality.above(value)
