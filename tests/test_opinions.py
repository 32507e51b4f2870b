import math

import pytest
import torch
from torch import nn

import latentkit as lk
from latentkit.errors import ArgumentError, LatentkitError, NonFiniteError, ShapeError
from latentkit.nets import ConvCritic, FourierCritic, MLPCritic
from latentkit.nets.fresh import fresh_critic, merged
from latentkit.opinions import best_critic, second_opinion

PLAIN = lk.wrap(lambda z: z, lk.Normal(2))
SHIFT = torch.tensor([1.5, 0.0])
QUICK = {"steps": 200, "batch_size": 256, "width": 64}


def same_weights(one, other):
    mine, others = one.state_dict(), other.state_dict()
    return mine.keys() == others.keys() and all(torch.equal(mine[name], others[name]) for name in mine)


def points(n, dim=2, *, seed=1):
    return lk.Normal(dim).sample(n, seed=seed)


@pytest.fixture(scope="module")
def opinion():
    """Real samples are N((1.5, 0), 1), generated ones N(0, 1): the log ratio is 1.5 x - 1.125."""
    return second_opinion(PLAIN, points(6000) + SHIFT, **QUICK)


class TestTruth:
    def test_the_log_ratio_of_two_gaussians(self, opinion):
        x = torch.cat([points(3000, seed=5), points(3000, seed=6) + SHIFT])
        found = lk.score(opinion.calibration.applied(opinion.critic), x).double()
        truth = 1.5 * x[:, 0].double() - 1.125
        assert torch.corrcoef(torch.stack([found, truth]))[0, 1] > 0.98
        assert (found - truth).abs().mean() < 0.3  # of log ratios with a standard deviation of 1.7
        assert opinion.calibration.verdict == "informative"
        # Bayes: no critic of these Gaussians has a smaller log loss; AUC is that of means 1.5 apart.
        bayes = 0.5 * (nn.functional.softplus(-truth[3000:]).mean() + nn.functional.softplus(truth[:3000]).mean())
        assert -0.03 < opinion.calibration.log_loss - bayes < 0.04
        assert opinion.calibration.auc == pytest.approx(0.5 * (1 + math.erf(0.75)), abs=0.03)

    def test_fine_structure_is_seen(self):
        """Two spikes of width 0.02 a unit apart, generated at weights 9 to 1: the log ratio is -0.59 and 1.61."""

        def spikes(z, share):
            side = (torch.special.ndtr(z[:, :1]) > share).float()
            return torch.cat([side + 0.02 * z[:, 1:2], side * z[:, 2:] * 0.02], 1)

        generator = lk.wrap(lambda z: spikes(z, 0.9), lk.Normal(3))
        found = second_opinion(generator, spikes(points(3000, 3), 0.5), **QUICK)
        at = lk.score(found.calibration.applied(found.critic), torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
        torch.testing.assert_close(at, torch.tensor([0.5 / 0.9, 0.5 / 0.1]).log(), atol=0.25, rtol=0)

    @pytest.mark.parametrize("seed", [0, 1])
    def test_no_signal_is_called_so(self, seed):
        found = second_opinion(PLAIN, points(2000, seed=7 + seed), seed=seed, **QUICK)
        assert found.calibration.verdict == "uninformative"
        assert found.verdict.startswith("uninformative: ")
        assert found.calibration.log_loss < 0.71

    def test_few_samples_are_not_learnt_by_heart(self):
        """With 30 points to train on, 200 steps would tell them apart; it stops when others are told worse."""
        real = points(60) + SHIFT
        found = second_opinion(PLAIN, real, **QUICK)
        assert found.steps < 200
        assert len(found.real) == 20
        lowest = found.history[:, 1].min()
        assert found.history[found.history[:, 0] == found.steps, 1] == lowest
        assert lowest < found.history[-1, 1]
        fresh = [lk.score(found.critic, x) for x in (points(2000, seed=8) + SHIFT, points(2000, seed=9))]
        assert found.calibration.measured(*fresh).log_loss < math.log(2)


class TestLaws:
    def test_the_same_seed_gives_the_same_weights(self, opinion):
        real = points(400)
        options = {**QUICK, "steps": 25}
        one, again, other = (second_opinion(PLAIN, real + SHIFT, seed=s, **options) for s in (3, 3, 4))
        assert same_weights(one.critic, again.critic)
        assert not same_weights(one.critic, other.critic)
        assert one.history.equal(again.history)
        assert one.calibration.knots.equal(again.calibration.knots)

    def test_held_out_samples_are_real_ones_and_new_draws(self, opinion):
        real = points(6000) + SHIFT
        assert len(opinion.real) == len(opinion.generated) == opinion.calibration.count == 750
        assert ((opinion.real[:, None] == real).all(2).sum(1) == 1).all()
        drawn = lk.calibrate(opinion.critic, opinion.real, opinion.generated)
        assert drawn.log_loss == opinion.calibration.log_loss
        assert opinion.history.dtype == torch.float64
        assert (opinion.history[:, 0].diff() > 0).all()

    def test_the_proposal_is_what_it_learns_against(self):
        """Against latents around the real points nothing is left to see."""
        near = lk.Normal(2, mean=1.5)
        found = second_opinion(PLAIN, points(2000) + 1.5, proposal=near, **QUICK)
        assert found.calibration.verdict == "uninformative"
        assert found.generated.mean() == pytest.approx(1.5, abs=0.15)

    def test_the_generator_is_left_as_it_was(self, build):
        module = build(lambda: nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2)))
        before = {name: value.clone() for name, value in module.state_dict().items()}
        second_opinion(lk.wrap(module, lk.Normal(2)), points(60), steps=2, batch_size=16, width=8)
        assert module.training
        assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
        assert all(p.grad is None and p.requires_grad for p in module.parameters())

    @pytest.mark.parametrize(
        ("shape", "network"),
        [((2,), FourierCritic), ((20,), MLPCritic), ((1, 8, 8), MLPCritic), ((3, 16, 16), ConvCritic)],
    )
    def test_every_shape_has_a_network(self, shape, network):
        size = math.prod(shape)
        generator = lk.wrap(lambda z: z.unflatten(1, shape), lk.Normal(size))
        scale = torch.linspace(0.5, 40, size)
        real = (points(60, size) * scale + 7).unflatten(1, shape)
        found = second_opinion(generator, real, steps=3, batch_size=8, width=8)
        critic = found.critic[-1] if isinstance(found.critic, nn.Sequential) else found.critic
        assert type(critic) is network
        assert not found.critic.training
        assert found.steps == 3
        assert lk.score(found.critic, real).shape == (60,)
        assert found.calibration.applied(found.critic)(real.requires_grad_()).requires_grad

    def test_merging_the_standardisation_changes_nothing(self, build):
        samples = (points(60, 12) * torch.linspace(0.5, 40, 12) + 7).unflatten(1, (3, 4))
        network = build(lambda: fresh_critic(samples, 8))
        wanted = network(samples)
        plain = merged(network)
        assert [type(part) for part in plain.modules()][1:3] == [nn.Flatten, MLPCritic]
        torch.testing.assert_close(plain(samples), wanted, atol=1e-5, rtol=1e-5)

    def test_a_start_is_copied_and_trained_on(self, opinion):
        before = {name: value.clone() for name, value in opinion.critic.state_dict().items()}
        real = points(600, seed=12) + SHIFT
        found = second_opinion(PLAIN, real, start=opinion.critic, **{**QUICK, "steps": 20})
        assert not same_weights(found.critic, opinion.critic)
        assert all(torch.equal(before[name], value) for name, value in opinion.critic.state_dict().items())
        # It knows the ratio from the start: a fresh network does not after as many steps.
        fresh = second_opinion(PLAIN, real, **{**QUICK, "steps": 20})
        assert found.history[0, 1] < fresh.history[0, 1]


class TestBestCritic:
    def test_the_smaller_log_loss_wins_on_the_same_samples(self, opinion):
        blind = best_critic(lambda x: x[:, 1], opinion)
        assert blind.name == "second opinion"
        assert blind.critic is opinion.critic
        assert blind.calibration is opinion.calibration
        assert f"{opinion.calibration.log_loss:.4f} against" in blind.explanation
        assert "tells real from generated samples better" in blind.explanation

        def exact(x):
            return 1.5 * x[:, 0]

        poor = second_opinion(PLAIN, opinion.real, steps=1, batch_size=4, width=4)
        known = best_critic(exact, poor, method="logistic")
        assert known.name == "own"
        assert known.critic is exact
        assert known.calibration.count == poor.calibration.count
        assert known.calibration.method == "logistic"
        assert "no better" in known.explanation

    def test_what_may_be_chance_is_called_so(self, opinion):
        """The same critic twice is no difference; one that sees nothing is."""
        assert "may be chance" in best_critic(lambda x: opinion.critic(x) * 1.001, opinion).explanation
        assert "may be chance" not in best_critic(lambda x: x[:, 1], opinion).explanation

    def test_without_an_own_critic(self, opinion):
        found = best_critic(None, opinion)
        assert found.critic is opinion.critic
        assert "no other critic" in found.explanation


REAL = torch.zeros(60, 2)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: second_opinion(PLAIN, REAL[:49]), ShapeError, "needs 20 real .* 10 to stop by and 20 to.*got 49"),
        (lambda: second_opinion(PLAIN, REAL, holdout=0.9), ShapeError, "27 to stop by and 27 to .*hold out less"),
        (lambda: second_opinion(PLAIN, REAL[:, 0]), ShapeError, r"real samples must be \(M, ...\), got \(60,\)"),
        (lambda: second_opinion(PLAIN, torch.zeros(60, 3)), ShapeError, r"generator's shape, \(M, 2\), got \(60, 3\)"),
        (lambda: second_opinion(PLAIN, REAL / 0), NonFiniteError, "real samples must be finite"),
        (lambda: second_opinion(PLAIN, REAL, holdout=1.0), ArgumentError, "holdout must be .* at most 0.9"),
        (lambda: second_opinion(PLAIN, REAL, steps=0), ArgumentError, "steps must be a whole number of at least 1"),
        (lambda: second_opinion(PLAIN, REAL, width=0), ArgumentError, "width must be a whole number"),
        (lambda: second_opinion(PLAIN, REAL, batch_size=0), ArgumentError, "batch_size must be a whole number"),
        (lambda: second_opinion(PLAIN, REAL, weight_decay=-1), ArgumentError, "weight_decay must be a finite number"),
        (lambda: second_opinion(PLAIN, REAL, seed=-1), ArgumentError, "seed must be a whole number"),
        (lambda: second_opinion(PLAIN, REAL, start=nn.Flatten()), ArgumentError, "weights to train, got Flatten"),
        (lambda: second_opinion(PLAIN, REAL, method="x"), ArgumentError, "method must be one of isotonic"),
    ],
)
def test_mistakes_say_what_was_wanted(call, error, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        call()
    assert isinstance(caught.value, error)
