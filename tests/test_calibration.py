import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn

import latentkit as lk
from latentkit.calibration import calibrate_logits
from latentkit.calibration.measures import measured
from latentkit.errors import ArgumentError, LatentkitError, NonFiniteError, ShapeError
from latentkit.plots import reliability_picture
from latentkit.protocols import evaluating, place_of

METHODS = [None, "isotonic", "logistic", "beta"]


def gaussians(n, gap, *, slope=1.0, offset=0.0, seed=0):
    """Logits of real N(gap / 2, 1) and generated N(-gap / 2, 1) points: gap x is their true log ratio."""
    rng = np.random.default_rng(seed)
    real, fake = (torch.from_numpy(rng.normal(m, 1, n)) for m in (gap / 2, -gap / 2))
    return slope * gap * real + offset, slope * gap * fake + offset


def true_brier(gap):
    def loss(x):
        p = 1 / (1 + math.exp(-gap * x))
        return p * (1 - p) * 0.5 * (stats.norm.pdf(x, gap / 2) + stats.norm.pdf(x, -gap / 2))

    return integrate.quad(loss, -12, 12)[0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (3.0, -5.0), (0.2, 40.0)])
@pytest.mark.parametrize("gap", [1.0, 2.0])
def test_calibrated_logits_are_the_true_ratio_of_two_gaussians(method, slope, offset, gap):
    """Whatever slope and offset training left on the logits, the density ratio comes out."""
    fit = calibrate_logits(*gaussians(8000, gap, slope=slope, offset=offset), method=method)
    x = torch.linspace(-1.5, 1.5, 31, dtype=torch.float64)
    logits = slope * gap * x + offset
    tolerance = {"isotonic": 0.35, "beta": 0.16, "logistic": 0.12}[fit.method]
    assert (fit.density_ratio(logits).log() - gap * x).abs().max() < tolerance * gap
    assert (fit.probability(logits) - torch.sigmoid(gap * x)).abs().max() < (0.08 if fit.method == "isotonic" else 0.03)
    assert fit.auc == pytest.approx(stats.norm.cdf(gap / math.sqrt(2)), abs=0.015)
    assert fit.brier == pytest.approx(true_brier(gap), abs=0.006)
    assert abs(fit.z) < 3
    assert fit.ece < 0.03
    assert fit.verdict == "informative"
    assert method in (None, fit.method)


def test_the_raw_z_statistic_is_standard_normal_for_calibrated_logits():
    z = [calibrate_logits(*gaussians(100, 1.5, seed=s), method="logistic").z_raw for s in range(150)]
    assert np.mean(z) == pytest.approx(0, abs=4 / math.sqrt(150))
    # The shares are fixed at one half, not drawn, so the spread is below 1.
    assert 0.4 < np.std(z) < 1.1
    assert calibrate_logits(*gaussians(1000, 1.5, offset=3.0)).z_raw < -5
    assert calibrate_logits(*gaussians(1000, 1.5, offset=-3.0)).z_raw > 5


def bent(x, below, above):
    """Logits whose slope is 1 / below under 0 and 1 / above over it, joined smoothly."""
    v = torch.linspace(-60, 60, 200_001, dtype=torch.float64)
    log_ratio = above * torch.nn.functional.softplus(v) - below * torch.nn.functional.softplus(-v)
    return torch.from_numpy(np.interp(x.numpy(), log_ratio.numpy(), v.numpy()))


@pytest.mark.parametrize(("below", "above"), [(3.0, 0.4), (0.4, 3.0)])
def test_beta_is_right_where_logistic_is_wrong(below, above):
    """A critic that is too sure on one side only; the log ratio that it was bent from is known."""
    real, fake = gaussians(8000, 2.0)
    truth = torch.linspace(-4, 4, 41, dtype=torch.float64)
    fits = {m: calibrate_logits(bent(real, below, above), bent(fake, below, above), method=m) for m in METHODS[1:]}
    error = {m: (fit.log_ratio(bent(truth, below, above)) - truth).abs().mean() for m, fit in fits.items()}
    # Its joint lies at the median and is one standard deviation wide, here neither the bend's place nor its width.
    assert error["beta"] < 0.5
    assert error["beta"] < 0.6 * error["logistic"]
    assert error["isotonic"] < 0.25
    assert fits["beta"].log_loss < fits["logistic"].log_loss - 0.005
    a, b = fits["beta"].coefficients[:2]
    assert (a > b) == (below > above)


@pytest.mark.parametrize("kind", ["straight", "bent", "stepped"])
def test_the_method_of_the_smallest_log_loss_is_chosen(kind):
    logits = {
        "straight": lambda x: x,
        "bent": lambda x: bent(x, 3.0, 0.4),
        "stepped": lambda x: torch.where(x > 0, 40 * x, x) + 300 * (x > 2),
    }[kind]
    real, fake = map(logits, gaussians(4000, 2.0))
    losses = {m: calibrate_logits(real, fake, method=m).log_loss for m in METHODS[1:]}
    fit = calibrate_logits(real, fake)
    assert fit.method == min(losses, key=losses.get)
    assert fit.log_loss == min(losses.values())
    assert (
        fit.method in {"straight": ("logistic", "beta"), "bent": ("isotonic", "beta"), "stepped": ("isotonic",)}[kind]
    )


@pytest.mark.parametrize("method", METHODS[1:])
def test_no_curve_falls(method):
    """A critic that ranks the wrong way round is not turned round: it says nothing."""
    real, fake = gaussians(500, 2.0)
    fit = calibrate_logits(-real, -fake, method=method)
    p = fit.probability(torch.linspace(-20, 20, 101))
    assert (p.diff() >= 0).all()
    torch.testing.assert_close(p, torch.full((101,), 0.5).double(), atol=0.15 if method == "isotonic" else 1e-6, rtol=0)


def test_a_beta_curve_drops_the_side_that_would_fall():
    """Below the median the share of real samples falls with the logit; above it, it rises."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, 20_000)
    is_real = rng.random(20_000) < 1 / (1 + np.exp(-np.where(x > 0, 4 * x - 1, -x - 1)))
    fit = calibrate_logits(torch.from_numpy(x[is_real]), torch.from_numpy(x[~is_real]), method="beta")
    a, b = fit.coefficients[:2]
    assert a == 0
    assert b > 1
    assert (fit.probability(torch.linspace(-9, 9, 99)).diff() > 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_probabilities_rise_with_the_logit_and_ratios_are_finite(method):
    fit = calibrate_logits(*gaussians(300, 1.0), method=method)
    logits = torch.tensor([-1e30, -100.0, *torch.linspace(-6, 6, 400).tolist(), 100.0, 1e30])
    p, ratio = fit.probability(logits), fit.density_ratio(logits)
    assert (p.diff() >= 0).all()
    assert p.dtype == torch.float64
    assert ((p > 0) & (p < 1)).all()
    assert ratio.isfinite().all()
    torch.testing.assert_close(ratio, p / (1 - p))
    assert ratio.max() < 2 * 600


@pytest.mark.parametrize("method", METHODS)
def test_laws(method):
    real, fake = gaussians(400, 1.0)
    fit = calibrate_logits(real, fake, method=method)
    again = calibrate_logits(real, fake, method=method)
    assert again.knots.equal(fit.knots)
    assert (again.brier, again.z, again.ece) == (fit.brier, fit.z, fit.ece)
    # Only the order of logits matters to the AUC; their unit and offset matter to nothing.
    moved = calibrate_logits(7 * real - 3, 7 * fake - 3, method=method)
    assert moved.auc == pytest.approx(fit.auc)
    assert moved.brier == pytest.approx(fit.brier, abs=1e-4)
    x = torch.linspace(-2, 2, 21, dtype=torch.float64)
    torch.testing.assert_close(moved.probability(7 * x - 3), fit.probability(x), atol=1e-3, rtol=0)
    low, high = fit.auc_interval
    assert 0 <= low < fit.auc < high <= 1
    assert fit.reliability[:, 2].sum() == 800
    assert fit.count == 400


def test_the_surplus_of_either_side_is_left_out():
    real, fake = gaussians(400, 1.0)
    assert calibrate_logits(real, fake[:50]).knots.equal(calibrate_logits(real[:50], fake[:50]).knots)


def test_reliability_is_the_share_of_real_samples_in_each_bin():
    fit = calibrate_logits(*gaussians(4000, 2.0))
    predicted, share, count = fit.reliability.T
    assert ((predicted - share).abs() < 5 * (0.25 / count).sqrt()).all()
    assert (predicted.diff() > 0).all()
    assert fit.ece == pytest.approx((count * (predicted - share).abs()).sum().item() / 8000)


@pytest.mark.parametrize("count", [40, 400, 8000])
def test_the_noise_floor_is_what_perfect_probabilities_show(count):
    rng = np.random.default_rng(4)
    p = rng.beta(0.6, 1.0, count).clip(1e-3, 1 - 1e-3)
    trials = [measured(p, (rng.random(count) < p).astype(float)) for _ in range(300)]
    assert np.mean([t.ece for t in trials]) == pytest.approx(trials[0].ece_floor, rel=0.06)
    assert np.std([t.z for t in trials]) == pytest.approx(1.0, abs=0.15)
    assert np.mean([t.log_loss for t in trials]) == pytest.approx(stats.bernoulli(p).entropy().mean(), rel=0.03)


def test_fresh_samples_confirm_a_calibration_and_refute_a_wrong_one():
    fit = calibrate_logits(*gaussians(8000, 2.0))
    fresh = fit.measured(*gaussians(4000, 2.0, seed=5))
    assert abs(fresh.z) < 3
    assert fresh.ece < 2.5 * fresh.ece_floor
    assert fresh.brier == pytest.approx(true_brier(2.0), abs=0.01)
    off = fit.measured(*gaussians(4000, 2.0, offset=1.0, seed=5))
    assert off.z < -5
    assert off.ece > 3 * off.ece_floor
    assert off.log_loss > fresh.log_loss


@pytest.mark.parametrize(
    ("gap", "n", "verdict", "text"),
    [
        (0.0, 500, "uninformative", "cannot tell real from generated.*must not be used"),
        (0.2, 4000, "weak", "only slightly better than chance"),
        (1.5, 500, "informative", "can be used to rank latents"),
        (6.0, 500, "informative", "nearly every held-out real sample"),
    ],
)
def test_the_verdict_says_what_the_critic_is_worth(gap, n, verdict, text):
    rng = np.random.default_rng(1)
    fit = calibrate_logits(*(torch.from_numpy(rng.normal(m, 1, n)) for m in (gap, 0.0)))
    assert fit.verdict == verdict
    with pytest.raises(AssertionError, match=text):
        raise AssertionError(fit.explanation)
    assert f"AUC {fit.auc:.2f}" in fit.explanation


def test_a_random_critic_is_rarely_believed():
    rng = np.random.default_rng(2)
    verdicts = [
        calibrate_logits(*torch.from_numpy(rng.normal(0, 1, (2, 100))), method="logistic").verdict for _ in range(80)
    ]
    assert verdicts.count("uninformative") >= 72


def test_a_critic_with_the_wrong_sign_is_told_so():
    real, fake = gaussians(500, 2.0)
    fit = calibrate_logits(-real, -fake)
    assert fit.verdict == "uninformative"
    assert "ranks generated samples above real ones" in fit.explanation


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, -7.5, 1e6])
def test_a_constant_critic_says_nothing(method, value):
    fit = calibrate_logits(torch.full((50,), value), torch.full((50,), value), method=method)
    assert fit.verdict == "uninformative"
    assert fit.auc == 0.5
    torch.testing.assert_close(
        fit.probability(torch.tensor([value, value + 1])), torch.full((2,), 0.5).double(), atol=0.02, rtol=0
    )
    assert fit.brier == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_a_perfect_critic_stays_finite(method):
    fit = calibrate_logits(torch.full((50,), 80.0), torch.full((50,), -80.0), method=method)
    assert fit.auc == 1
    for figure in (fit.log_loss, fit.brier, fit.ece, fit.ece_floor, fit.z, fit.z_raw):
        assert math.isfinite(figure)
    assert fit.density_ratio(torch.tensor([-80.0, 80.0])).isfinite().all()


# ---- scoring


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.random.default_generator.manual_seed(0)
            self.body = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Dropout(0.5), nn.Linear(12, 1))

    def forward(self, x):
        return self.body(x)


@pytest.mark.parametrize("batch_size", [1, 3, 20, 1000])
def test_scores_do_not_depend_on_batches_or_the_mode(batch_size, draw):
    x, critic = draw(20, 3, 2, 2), Critic()
    wanted = critic.eval()(x)[:, 0].detach()
    for training in (True, False):
        critic.train(training)
        logits = lk.score(critic, x, batch_size=batch_size)
        assert critic.body[1].training is training
        torch.testing.assert_close(logits, wanted)
        assert logits.dtype == torch.float32
        assert not logits.requires_grad
    assert critic.body[1].num_batches_tracked == 0
    torch.testing.assert_close(lk.score(critic.double(), x), wanted)


X = torch.zeros(30, 2)


@pytest.mark.parametrize(
    ("critic", "samples", "error", "text"),
    [
        (lambda x: x, X, ShapeError, r"one logit a sample \(30,\), got \(30, 2\)"),
        (lambda x: x.mean(), X, ShapeError, r"the critic must return one row .* got \(\)"),
        (lambda x: 1.0, X, ShapeError, "the critic must return a tensor .*got float"),
        (lambda x: x[:, 0] / 0, X, NonFiniteError, "the critic returned NaN or infinite logits"),
        (lambda x: x[:, 0], X / 0, NonFiniteError, "samples must be finite.*30 of 30 rows"),
        (lambda x: x, X[:, 0], ShapeError, r"samples must be \(N, ...\), got \(30,\)"),
    ],
)
def test_bad_scores_say_what_was_wanted(critic, samples, error, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        lk.score(critic, samples)
    assert isinstance(caught.value, error)


def first(x):
    return x[:, 0]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: lk.calibrate(first, X, X[:19]), ShapeError, "at least 20 .* got 30 and 19"),
        (lambda: lk.calibrate(first, X[:0], X), ShapeError, "at least 20 .* got 0 and 30"),
        (lambda: lk.calibrate(first, X, torch.zeros(30, 3)), ShapeError, r"one shape, got \(2,\) and \(3,\)"),
        (lambda: lk.calibrate(first, X, "x"), ShapeError, "generated samples must be a tensor of floats, got str"),
        (
            lambda: lk.calibrate(first, X, X, method="gamma"),
            ArgumentError,
            "method must be one of isotonic, logistic, beta; got 'gamma'",
        ),
        (lambda: lk.calibrate(first, X, X, batch_size=0), ArgumentError, "batch_size must be a whole number"),
        (lambda: calibrate_logits(X, X), ShapeError, r"logits must be \(M,\), got \(30, 2\) and \(30, 2\)"),
        (lambda: calibrate_logits(X[:, 0], X[:, 0] / 0), NonFiniteError, "generated logits must be finite"),
    ],
)
def test_bad_calibrations_say_what_was_wanted(call, error, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        call()
    assert isinstance(caught.value, error)


def test_calibrating_is_calibrating_the_scores(draw):
    real, fake = draw(60, 2) + 1, draw(80, 2, seed=1)
    assert lk.calibrate(first, real, fake).knots.equal(calibrate_logits(real[:, 0], fake[:, 0]).knots)
    assert lk.calibrate(first, real.tolist(), fake.numpy()).auc == lk.calibrate(first, real, fake).auc


# ---- the calibrated critic


@pytest.mark.parametrize("method", METHODS[1:])
@pytest.mark.parametrize("double", [False, True])
def test_the_calibrated_critic_says_what_the_calibration_says(method, double, draw):
    real, fake = draw(300, 12) + 0.5, draw(300, 12, seed=1)
    critic = Critic().double() if double else Critic()
    fit = lk.calibrate(critic, real, fake, method=method)
    ratio = fit.applied(critic)
    x = torch.cat([real, fake, 30 * fake, torch.zeros(1, 12)])
    logits = lk.score(critic, x)
    torch.testing.assert_close(torch.sigmoid(lk.score(ratio, x)).double(), fit.probability(logits), atol=1e-6, rtol=0)
    torch.testing.assert_close(lk.score(ratio, x).exp().double(), fit.density_ratio(logits), atol=1e-4, rtol=1e-4)
    assert place_of(ratio) == place_of(critic)
    assert isinstance(ratio, lk.Critic)
    critic.train()
    with evaluating(ratio):
        assert not critic.training
        assert ratio(x.to(place_of(ratio)[1])).dtype == place_of(critic)[1]
    assert critic.training


@pytest.mark.parametrize("method", METHODS[1:])
def test_the_calibrated_critic_is_followed_back_to_the_samples(method):
    """The gradient is the slope of the log ratio; a smooth curve has one even where the critic is sure."""
    fit = calibrate_logits(*gaussians(1000, 2.0), method=method)
    ratio = fit.applied(first)
    x = torch.tensor([[-60.0], [-3.1], [-0.7], [0.4], [2.9], [60.0]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(ratio(x).sum(), x)
    step = 1e-5
    with torch.no_grad():
        wanted = (ratio(x + step) - ratio(x - step)) / (2 * step)
    torch.testing.assert_close(slope[:, 0], wanted, atol=1e-6, rtol=1e-5)
    assert (slope >= 0).all()
    if method != "isotonic":
        assert (slope > 0).all()
        assert torch.autograd.gradcheck(ratio, x)


def test_calibrated_half_precision_logits_are_single(draw):
    fit = calibrate_logits(*gaussians(300, 2.0))
    assert fit.applied(first)(draw(5, 2).bfloat16()).dtype == torch.float32


def test_a_calibrated_critic_wants_one_logit_a_sample():
    ratio = calibrate_logits(*gaussians(30, 2.0)).applied(lambda x: x)
    with pytest.raises(ShapeError, match=r"one logit a sample \(30,\), got \(30, 2\)"):
        ratio(X)


# ---- the picture


def test_the_reliability_picture_shows_what_is_missed():
    """It is drawn for one bin and for ten, and a critic that is off lies elsewhere than one that is not."""
    pictures = [
        reliability_picture(calibrate_logits(*logits))
        for logits in (gaussians(400, 2.0), gaussians(400, 2.0, seed=1), (torch.zeros(30), torch.zeros(30)))
    ]
    assert {picture.shape for picture in pictures} == {(520, 440, 3)}
    assert all((picture != 255).any() for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == 3
