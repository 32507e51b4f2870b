"""The adversarial losses and gradient penalties, against what the papers' equations give by hand."""

import math
from typing import Any

import pytest
import torch

import latentkit as lk
from trainers import GANConfig, ring, train_gan
from trainers.losses import LOSSES, gradient_penalty, squared_gradient, zero_centred_penalty

REAL, FAKE = torch.tensor([0.3, -1.2, 2.0]), torch.tensor([-0.7, 0.1, 1.5])


def probability(logits):
    return torch.sigmoid(logits.double())


class TestCritic:
    def test_logistic_losses_are_the_cross_entropy(self):
        by_hand = -probability(REAL).log().mean() - (1 - probability(FAKE)).log().mean()
        for name in ("non-saturating", "saturating"):
            assert float(LOSSES[name].critic(REAL, FAKE, 0.0)) == pytest.approx(float(by_hand), rel=1e-6)

    @pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
    def test_smoothing_is_one_sided_and_moves_the_best_logit(self, smoothing):
        """With target 1 - s the best probability for a real sample is 1 - s; generated ones keep theirs at 0."""
        logit = torch.tensor([0.0], requires_grad=True)
        goal = 1.0 - smoothing if smoothing else 0.99
        at = torch.tensor([math.log(goal / (1 - goal))], requires_grad=True)
        loss = LOSSES["non-saturating"].critic(at, FAKE, smoothing)
        (slope,) = torch.autograd.grad(loss, at)
        assert abs(float(slope)) < (1e-6 if smoothing else 0.011)
        plain = LOSSES["non-saturating"].critic(logit, FAKE, 0.0) - LOSSES["non-saturating"].critic(logit, REAL, 0.0)
        smooth = LOSSES["non-saturating"].critic(logit, FAKE, smoothing)
        smooth = smooth - LOSSES["non-saturating"].critic(logit, REAL, smoothing)
        torch.testing.assert_close(plain, smooth)

    def test_least_squares(self):
        by_hand = 0.5 * ((REAL - 0.9) ** 2).mean() + 0.5 * (FAKE**2).mean()
        torch.testing.assert_close(LOSSES["least-squares"].critic(REAL, FAKE, 0.1), by_hand)

    def test_hinge_ignores_what_is_beyond_its_margin(self):
        loss = LOSSES["hinge"].critic
        assert float(loss(torch.tensor([1.0, 5.0]), torch.tensor([-1.0, -9.0]), 0.0)) == 0.0
        assert float(loss(torch.tensor([0.0]), torch.tensor([0.0]), 0.0)) == 2.0

    def test_wasserstein_is_the_difference_of_means(self):
        torch.testing.assert_close(LOSSES["wasserstein"].critic(REAL, FAKE, 0.0), FAKE.mean() - REAL.mean())


class TestGenerator:
    @pytest.mark.parametrize("name", LOSSES)
    def test_a_better_score_is_a_smaller_loss(self, name):
        low, high = (LOSSES[name].generator(torch.tensor([logit]), REAL[:1]) for logit in (-1.0, 0.5))
        assert high < low

    @pytest.mark.parametrize("name", LOSSES)
    def test_it_heeds_the_real_logits_if_it_says_so_and_can_do_without_them_if_not(self, name):
        loss = LOSSES[name]
        assert loss.pairs != torch.equal(loss.generator(FAKE, REAL), loss.generator(FAKE, REAL + 1.0))
        if not loss.pairs:
            assert torch.equal(loss.generator(FAKE), loss.generator(FAKE, REAL))

    def test_the_saturating_loss_is_the_critics_negated_and_fades_where_the_critic_is_sure(self):
        logits = torch.tensor([-12.0], requires_grad=True)
        torch.testing.assert_close(
            LOSSES["saturating"].generator(FAKE).double(), (1 - probability(FAKE)).log().mean(), rtol=1e-6, atol=1e-6
        )
        (fades,) = torch.autograd.grad(LOSSES["saturating"].generator(logits), logits)
        (stays,) = torch.autograd.grad(LOSSES["non-saturating"].generator(logits), logits)
        assert abs(float(fades)) < 1e-4
        assert float(stays) == pytest.approx(-1.0, abs=1e-4)


class TestRelativistic:
    loss = LOSSES["relativistic"]

    def parts(self, real, fake):
        return torch.stack([self.loss.critic(real, fake, 0.0), self.loss.generator(fake, real)])

    def test_it_is_the_cross_entropy_of_each_pair(self):
        """The critic says of each real sample that it is the more real one of its pair, the generator the reverse."""
        more_real = probability(REAL - FAKE)
        by_hand = torch.stack([-more_real.log().mean(), -(1 - more_real).log().mean()])
        torch.testing.assert_close(self.parts(REAL, FAKE).double(), by_hand, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("constant", [-30.0, 0.5, 8.0])
    def test_a_constant_added_to_all_logits_changes_nothing(self, constant):
        moved = self.parts(REAL + constant, FAKE + constant)
        torch.testing.assert_close(moved, self.parts(REAL, FAKE), rtol=1e-5, atol=1e-5)

    def test_equal_logits_cost_a_bit(self):
        torch.testing.assert_close(self.parts(REAL, REAL), torch.full((2,), math.log(2.0)))

    def test_the_parts_pull_opposite_ways_at_every_sample_and_together_one_nth(self):
        """At a generated logit the slopes are p / N and (p - 1) / N, with p = sigmoid(fake - real)."""
        real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
        judged = torch.autograd.grad(self.loss.critic(real, fake, 0.0), (real, fake))
        fooled = torch.autograd.grad(self.loss.generator(fake, real), (real, fake))
        for ours, theirs in zip(judged, fooled, strict=True):
            assert (ours * theirs < 0).all()
            torch.testing.assert_close((ours - theirs).abs(), torch.full((3,), 1 / 3))
        torch.testing.assert_close(judged[0], -judged[1])


class TestPenalties:
    def test_of_a_linear_critic(self, draw):
        weight = torch.tensor([3.0, -4.0])

        def critic(x):
            return x @ weight

        real, fake = draw(5, 2), draw(5, 2, seed=1)
        assert float(squared_gradient(critic, real)) == pytest.approx(25.0)
        assert float(gradient_penalty(critic, real, fake, torch.rand(5, generator=torch.Generator()))) == 16.0

    def test_of_a_quadratic_critic_on_images(self, draw):
        """|grad |x|^2|^2 = 4 |x|^2, at the real samples alone."""
        real = draw(3, 1, 4, 4)
        expected = 4 * real.square().sum((1, 2, 3)).mean()
        torch.testing.assert_close(squared_gradient(lambda x: x.square().sum((1, 2, 3)), real), expected)

    def test_the_mix_says_where_between_the_samples(self):
        real, fake = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]])

        def critic(x):  # its slope is 2 |x|
            return x.square().sum(1)

        for mix, norm in ((1.0, 2.0), (0.5, 1.0), (0.0, 0.0)):
            penalty = gradient_penalty(critic, real, fake, torch.tensor([mix]))
            assert float(penalty.detach()) == pytest.approx((norm - 1.0) ** 2, abs=1e-6)

    def test_zero_centred_with_the_roles_swapped(self, draw):
        """R2 is what R1 is at the generator's samples; of |x|^2 on images they are 2 r |x|^2."""
        real, fake = draw(3, 1, 4, 4), draw(3, 1, 4, 4, seed=1)

        def critic(x):
            return x.square().sum((1, 2, 3))

        penalty = zero_centred_penalty(critic, real, fake, 0.3, 0.7)
        torch.testing.assert_close(penalty, zero_centred_penalty(critic, fake, real, 0.7, 0.3))
        by_hand = (0.6 * real.square() + 1.4 * fake.square()).sum() / 3
        torch.testing.assert_close(penalty, by_hand)
        only = zero_centred_penalty(critic, real, fake, 0.0, 1.0)
        assert torch.equal(only, zero_centred_penalty(critic, fake, real, 1.0, 0.0))

    def test_a_weight_of_zero_costs_no_look_at_the_samples(self, draw):
        real, fake, seen = draw(3, 2), draw(4, 2, seed=1), []

        def critic(x):
            seen.append(len(x))
            return x.sum(1)

        assert float(zero_centred_penalty(critic, real, fake, 0.0, 0.0)) == 0.0
        zero_centred_penalty(critic, real, fake, 0.0, 1.0)
        assert seen == [4]

    def test_they_can_be_minimised(self, draw):
        weight = torch.tensor([3.0, -4.0], requires_grad=True)
        squared_gradient(lambda x: x @ weight, draw(5, 2)).backward()
        torch.testing.assert_close(weight.grad, 2 * weight.detach())


def test_r2_flattens_the_critic_where_the_generator_is():
    """In training, with a generator that stands still: the critic's slope at its samples falls with the weight."""
    slopes = []
    for weight in (0.0, 100.0):
        config = GANConfig(steps=96, batch_size=32, width=16, r1=0.0, r2=weight, generator_lr=0.0, threads=1)
        with pytest.warns(UserWarning, match="samples"):
            ckpt = train_gan(ring(n=300), config, progress=False)
        samples = lk.generate(ckpt.generator, ckpt.generator.prior.sample(64, seed=0))
        critic: Any = ckpt.critic
        slopes.append(float(squared_gradient(critic, samples).detach()))
    assert slopes[0] > 10 * slopes[1]
