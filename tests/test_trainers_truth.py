"""Each family, trained for a short while on distributions whose truth is known in closed form."""

import dataclasses

import pytest
import torch

import latentkit as lk
from trainers import GANConfig, moons, parabola, train_gan

QUICK = {"threads": 1, "batch_size": 64, "width": 64, "check_every": 10_000, "steps": 600}
MORE_CRITIC = {**QUICK, "critic_steps": 2}

FAMILIES = {
    "non-saturating": (train_gan, GANConfig(**QUICK)),
    "saturating": (train_gan, GANConfig(**QUICK, loss="saturating")),
    "least squares": (train_gan, GANConfig(**QUICK, loss="least-squares")),
    "hinge": (train_gan, GANConfig(**QUICK, loss="hinge")),
    "spectral norm": (train_gan, GANConfig(**QUICK, loss="hinge", spectral_norm=True)),
    "wgan": (
        train_gan,
        GANConfig.wgan(
            **{**MORE_CRITIC, "steps": 1500, "critic_steps": 3}, generator_lr=1e-3, critic_lr=1e-3, clip=0.1
        ),
    ),
    "wgan-gp": (train_gan, GANConfig.wgan_gp(**MORE_CRITIC, generator_lr=1e-3, critic_lr=1e-3, gradient_penalty=1.0)),
    "label smoothing": (train_gan, GANConfig(**QUICK, label_smoothing=0.1)),
    "minibatch discrimination": (train_gan, GANConfig(**QUICK, minibatch_discrimination=4)),
    "historical averaging": (train_gan, GANConfig(**QUICK, historical_averaging=0.01)),
}


def distance_to_parabola(points):
    x = torch.linspace(-2.2, 2.2, 1000)
    return torch.cdist(points, torch.stack([x, x**2 - 2], 1)).min(1).values


@pytest.mark.parametrize("name", FAMILIES)
def test_a_short_run_finds_the_parabola(name):
    """Samples lie on it, and all along it: x is uniform in [-2, 2]."""
    train, config = FAMILIES[name]
    checkpoint = train(parabola(n=5000), config, progress=False)
    samples = lk.generate(checkpoint.generator, checkpoint.generator.prior.sample(1000, seed=1))
    assert distance_to_parabola(samples).mean() < (0.25 if name == "wgan" else 0.08)
    assert samples[:, 0].std() == pytest.approx(4 / 12**0.5, rel=0.15)
    assert abs(samples[:, 0].mean()) < 0.2


def test_a_class_is_where_it_is():
    """Of two moons, each class makes its own."""
    config = GANConfig(**{**QUICK, "steps": 600}, conditional=True)
    checkpoint = train_gan(moons(n=4000), config, progress=False)
    for label, sign in (("upper", 1.0), ("lower", -1.0)):
        generator = lk.condition(checkpoint.generator, label)
        samples = lk.generate(generator, generator.prior.sample(500, seed=1))
        radius = (samples - torch.tensor([-0.75 * sign, -0.375 * sign])).norm(dim=1)
        assert radius.median() == pytest.approx(1.5, abs=0.25)
        assert ((samples[:, 1] + 0.375 * sign) * sign > -0.35).float().mean() > 0.9


def test_feature_matching_finds_the_mean():
    """It matches means of features alone, so on points it is held to the mean."""
    config = dataclasses.replace(GANConfig(**QUICK), feature_matching=True)
    data = parabola(n=5000)
    checkpoint = train_gan(data, config, progress=False)
    samples = lk.generate(checkpoint.generator, checkpoint.generator.prior.sample(1000, seed=1))
    torch.testing.assert_close(samples.mean(0), data.samples.mean(0), atol=0.35, rtol=0)
