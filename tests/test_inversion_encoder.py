"""Encoders trained after the fact: better than the mean latent, the same for a seed, and kept in checkpoints."""

from dataclasses import replace

import pytest
import torch

import latentkit as lk
from latentkit.errors import ArgumentError, DivergenceError
from latentkit.inversion import fit_encoder, invert
from latentkit.nets import ConvEncoder, MLPEncoder

QUICK = {"steps": 60, "width": 8, "batch_size": 16}


def curved(draw, prior):
    matrix = draw(prior.dim, 6, seed=3)
    return lk.wrap(lambda z: torch.tanh(0.5 * z @ matrix), prior)


def error_of(generator, latents, samples):
    return (lk.generate(generator, latents) - samples).square().mean()


PRIORS = {"normal": lk.Normal(3, mean=2.0, std=0.5), "uniform": lk.Uniform(3), "sphere": lk.Sphere(3, radius=2.0)}


@pytest.mark.parametrize("name", PRIORS)
def test_it_explains_nine_tenths_of_what_the_mean_latent_leaves(name, draw):
    generator = curved(draw, PRIORS[name])
    encoder = fit_encoder(generator, steps=300, width=16)
    z = generator.prior.sample(200, seed=0)
    x = lk.generate(generator, z)
    with torch.no_grad():
        found = encoder(x)
    middle = (x - x.mean(0)).square().mean()
    assert error_of(generator, found, x) < 0.1 * middle
    torch.testing.assert_close(encoder.error, (error_of(generator, found, x) / middle).item(), rtol=0.5, atol=0.01)
    assert encoder.latent_error < 0.3
    assert torch.isfinite(generator.prior.log_prob(found)).all(), "on the support"
    assert not encoder.module.training


def test_its_moments_give_the_held_out_variance(draw):
    generator = curved(draw, lk.Normal(3, std=2.0))
    encoder = fit_encoder(generator, steps=200, width=8)
    z = generator.prior.sample(2_000, seed=0)
    with torch.no_grad():
        mean, log_variance = encoder.module.moments(lk.generate(generator, z))
    torch.testing.assert_close(log_variance.exp()[0], (mean - z).square().mean(0), rtol=0.5, atol=0.01)


@pytest.mark.parametrize(
    ("shape", "network"),
    [((6,), MLPEncoder), ((1, 16, 16), ConvEncoder), ((3, 12, 20), ConvEncoder), ((5, 4), MLPEncoder)],
)
def test_samples_of_any_shape_have_one(shape, network, draw):
    basis = draw(2, *shape)
    generator = lk.wrap(lambda z: torch.einsum("nd,d...->n...", z, basis), lk.Normal(2))
    encoder = fit_encoder(generator, **QUICK)
    assert isinstance(getattr(encoder.module, "encoder", encoder.module), network)
    z = generator.prior.sample(50, seed=0)
    with torch.no_grad():
        found = encoder(lk.generate(generator, z))
    assert (found - z).square().mean() < 0.8 * z.square().mean()


def test_a_seed_gives_one_encoder(draw):
    generator = curved(draw, lk.Normal(3))
    one, same, other = (fit_encoder(generator, seed=seed, **QUICK).module.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["head.bias"], other["head.bias"])


def test_a_generator_without_gradients_has_one(draw):
    matrix = draw(3, 6, seed=3)
    generator = lk.wrap(lambda z: torch.tanh(z.detach() @ matrix), lk.Normal(3))
    assert fit_encoder(generator, steps=200, width=16).error < 0.3


def test_a_checkpoint_holds_it_and_starts_from_it(image_checkpoint, tmp_path):
    fitted = fit_encoder(image_checkpoint, **QUICK)
    replace(image_checkpoint, encoder=fitted.module).save(tmp_path / "run")
    loaded = lk.load(tmp_path / "run")
    x = image_checkpoint.holdout[:2]
    found = invert(loaded, x, starts=0, steps=0)
    with torch.no_grad():
        torch.testing.assert_close(found.latents, fitted(x))
    assert invert(loaded, x, starts=1, steps=2, pool=10).errors.shape == (2, 2)


def test_the_generator_is_left_as_it_was(image_checkpoint, build):
    module = build(lambda: torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.BatchNorm1d(4))).train()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    fit_encoder(lk.wrap(module, lk.Normal(2)), **QUICK)
    assert module[1].training
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


def test_wrong_arguments_are_named(draw):
    generator = curved(draw, lk.Normal(3))
    for name in ("steps", "width", "batch_size"):
        with pytest.raises(ArgumentError, match=name):
            fit_encoder(generator, **{name: 0})
    with pytest.raises(DivergenceError, match="step 0"):
        fit_encoder(lk.wrap(lambda z: 1e30 * z, lk.Normal(2)), **QUICK)
