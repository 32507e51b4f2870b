"""The adversarial losses and gradient penalties, against what the papers' equations give by hand."""

import math

import pytest
import torch

from trainers.losses import LOSSES, gradient_penalty, squared_gradient

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
        low, high = LOSSES[name].generator(torch.tensor([-1.0])), LOSSES[name].generator(torch.tensor([0.5]))
        assert high < low

    def test_the_saturating_loss_is_the_critics_negated_and_fades_where_the_critic_is_sure(self):
        logits = torch.tensor([-12.0], requires_grad=True)
        torch.testing.assert_close(
            LOSSES["saturating"].generator(FAKE).double(), (1 - probability(FAKE)).log().mean(), rtol=1e-6, atol=1e-6
        )
        (fades,) = torch.autograd.grad(LOSSES["saturating"].generator(logits), logits)
        (stays,) = torch.autograd.grad(LOSSES["non-saturating"].generator(logits), logits)
        assert abs(float(fades)) < 1e-4
        assert float(stays) == pytest.approx(-1.0, abs=1e-4)


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

    def test_they_can_be_minimised(self, draw):
        weight = torch.tensor([3.0, -4.0], requires_grad=True)
        squared_gradient(lambda x: x @ weight, draw(5, 2)).backward()
        torch.testing.assert_close(weight.grad, 2 * weight.detach())
