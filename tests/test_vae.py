"""Variational autoencoders, against Gaussians whose likelihood is known in closed form, and on the plane."""

import math

import pytest
import torch

import latentkit as lk
from trainers import Data, VAEConfig, digits, moons, parabola, train_vae
from trainers.vae import divergence_from_normal, drawn

QUICK = {"threads": 1, "batch_size": 64, "width": 32, "check_every": 10_000}


def gaussian(draw, n=4000):
    """Points of the plane: one direction with standard deviation 2, noise of 0.5 all around."""
    direction = torch.tensor([0.6, 0.8])
    return Data("gaussian", 2.0 * draw(n, 1) * direction + 0.5 * draw(n, 2, seed=1)), direction


def test_the_divergence_is_that_of_gaussians(draw):
    """KL(N(m, s^2) || N(0, 1)) = (m^2 + s^2 - 1 - log s^2) / 2 a coordinate, and 0 for the prior itself."""
    mean, log_variance = draw(5, 3), draw(5, 3, seed=1)
    by_torch = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (0.5 * log_variance).exp()), torch.distributions.Normal(0.0, 1.0)
    ).sum(1)
    torch.testing.assert_close(divergence_from_normal(mean, log_variance), by_torch)
    assert float(divergence_from_normal(torch.zeros(1, 4), torch.zeros(1, 4))) == 0.0


def test_draws_have_the_stated_moments(draw):
    z = drawn(torch.full((20_000, 1), 3.0), torch.full((20_000, 1), math.log(4.0)), draw(20_000, 1))
    assert float(z.mean()) == pytest.approx(3.0, abs=0.05)
    assert float(z.std()) == pytest.approx(2.0, abs=0.05)


def test_the_bound_comes_near_the_likelihood_and_the_noise_is_found(draw):
    """One latent explains the long direction; the entropy of the data bounds the loss from below."""
    data, direction = gaussian(draw)
    checkpoint = train_vae(data, VAEConfig(latent_dim=1, steps=1500, **QUICK), progress=False)
    covariance = 4.0 * torch.outer(direction, direction) + 0.25 * torch.eye(2)
    entropy = 0.5 * math.log(float(torch.linalg.det(2 * math.pi * math.e * covariance)))
    history = checkpoint.history
    bound = sum(history["loss"][-20:]) / 20
    assert entropy - 0.1 < bound < entropy + 0.35
    assert sum(history["noise"][-20:]) / 20 == pytest.approx(0.5, rel=0.15)
    z = checkpoint.encoder(data.samples)
    along = data.samples @ direction
    assert abs(float(torch.corrcoef(torch.stack([z[:, 0], along]))[0, 1])) > 0.97


def test_samples_lie_on_the_parabola_and_codes_come_back():
    checkpoint = train_vae(parabola(n=5000), VAEConfig(steps=1500, **{**QUICK, "width": 64}), progress=False)
    samples = lk.generate(checkpoint.generator, checkpoint.generator.prior.sample(1000, seed=1))
    x = torch.linspace(-2.2, 2.2, 1000)
    distance = torch.cdist(samples, torch.stack([x, x**2 - 2], 1)).min(1).values
    assert distance.mean() < 0.15
    assert samples[:, 0].std() == pytest.approx(4 / 12**0.5, rel=0.25)
    again = lk.generate(checkpoint.generator, checkpoint.encoder(checkpoint.holdout))
    assert (again - checkpoint.holdout).square().mean() < 0.05 * checkpoint.holdout.var()


@pytest.mark.filterwarnings("ignore:the samples are nearly identical")
def test_the_loss_is_the_bound_with_a_weight_that_rises():
    config = VAEConfig(steps=20, beta=3.0, warm_up=15, **QUICK)
    history = {
        name: torch.tensor(column) for name, column in train_vae(moons(200), config, progress=False).history.items()
    }
    weight = 3.0 * (history["step"] / 15).clamp(max=1.0)
    torch.testing.assert_close(history["loss"], history["reconstruction"] + weight * history["kl"])


@pytest.mark.filterwarnings("ignore:the samples are nearly identical")
def test_a_given_noise_is_kept():
    """So wide a Gaussian that the errors do not matter has log(2 pi) + log(sd^2) nats for two coordinates."""
    history = train_vae(moons(200), VAEConfig(steps=3, noise=1e4, **QUICK), progress=False).history
    assert history["noise"] == pytest.approx([1e4] * 3)
    assert history["reconstruction"] == pytest.approx([math.log(2 * math.pi) + 2 * math.log(1e4)] * 3)


@pytest.mark.filterwarnings("ignore:the samples are nearly identical")
def test_a_larger_weight_gives_less_divergence():
    """And with a very large one the latents are not used at all."""
    last = []
    for beta in (0.3, 10.0):
        config = VAEConfig(steps=300, beta=beta, warm_up=0, **QUICK)
        last.append(train_vae(parabola(n=1000), config, progress=False).history["kl"][-1])
    assert last[1] < 0.1 < 1.0 < last[0]


def test_the_encoder_starts_an_inversion():
    data = digits()
    few = Data("digits", data.samples[:200, :, ::2, ::2].contiguous())
    checkpoint = train_vae(few, VAEConfig(steps=60, latent_dim=8, **{**QUICK, "width": 8}), progress=False)
    real = checkpoint.holdout[:3]
    first = lk.generate(checkpoint.generator, checkpoint.encoder(real))
    found = lk.invert(checkpoint.generator, real, encoder=checkpoint.encoder, steps=20, starts=1, pool=20)
    error = (first - real).square().flatten(1).mean(1)
    assert (found.error <= error + 1e-6).all()
