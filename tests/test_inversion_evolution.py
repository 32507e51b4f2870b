"""Inversion without gradients: strategies find optima that are known, each on its own."""

import numpy as np
import pytest
import torch

import latentkit as lk
from latentkit.errors import ArgumentError, NonFiniteError, ShapeError
from latentkit.inversion import invert, invert_without_gradients
from latentkit.inversion.strategies import evolved


def curved_of_numpy():
    weights = np.random.default_rng(0).normal(size=(3, 6))
    return lk.wrap(lambda z: torch.from_numpy(np.tanh(z.numpy() @ weights)).float(), lk.Normal(3))


def unbounded(u):
    return u


@pytest.mark.parametrize(("dim", "generations", "stretch"), [(5, 250, 30.0), (110, 500, 3.0)])
def test_the_optimum_of_a_stretched_quadratic_is_found(draw, dim, generations, stretch):
    """Full covariances to 100 coordinates and diagonal ones beyond; the axes' scales differ."""
    optimum, scales = draw(3, dim), torch.linspace(1.0, stretch, dim)

    def value(points, rows):
        return ((points - optimum[rows]) * scales).square().mean(1)

    begin = optimum + draw(3, dim, seed=1)
    found = evolved(value, unbounded, begin, generations, 0.0, 0)
    rows = torch.arange(3)
    assert (value(found, rows) < (1e-6 if dim < 100 else 3e-3) * value(begin, rows)).all()


def test_turned_axes_are_learned(draw):
    """A valley a hundred times longer than wide, in no coordinate's direction: a round strategy would crawl."""
    turned = torch.linalg.qr(draw(4, 4)).Q
    scales = torch.tensor([1.0, 10.0, 30.0, 100.0])

    def value(points, rows):
        return ((points @ turned) * scales).square().sum(1)

    begin = draw(2, 4, seed=1)
    assert (value(evolved(value, unbounded, begin, 300, 0.0, 0), None) < 1e-8).all()


def test_a_generator_of_numpy_is_inverted():
    generator = curved_of_numpy()
    z = generator.prior.sample(10, seed=5)
    x = lk.generate(generator, z)
    with pytest.raises(ArgumentError, match="invert_without_gradients"):
        invert(generator, x)
    found = invert_without_gradients(generator, x)
    assert found.explained.min() > 0.999
    assert (found.error <= invert_without_gradients(generator, x, generations=0).error).all()
    assert (found.steps, found.starts, found.errors.shape) == (300, 1, (10, 1))


def test_a_sample_is_inverted_alike_whatever_is_beside_it():
    generator = curved_of_numpy()
    x = lk.generate(generator, generator.prior.sample(5, seed=5))
    settings = {"generations": 25, "starts": 2, "pool": 50}
    whole = invert_without_gradients(generator, x, **settings)
    order = torch.tensor([4, 1])
    for batch_size in (1, 30, 500):
        some = invert_without_gradients(generator, x[order], batch_size=batch_size, **settings)
        torch.testing.assert_close(some.latents, whole.latents[order], atol=1e-3, rtol=0)
        torch.testing.assert_close(some.errors, whole.errors[order], atol=1e-5, rtol=1e-3)
    same, other = (invert_without_gradients(generator, x, **settings, seed=seed) for seed in (0, 1))
    assert torch.equal(same.latents, whole.latents)
    assert not torch.equal(other.latents, whole.latents)


@pytest.mark.parametrize("prior", [lk.Uniform(2), lk.Sphere(2)], ids=["uniform", "sphere"])
def test_latents_stay_on_the_priors_support(prior):
    generator = lk.wrap(lambda z: z.detach(), prior)
    found = invert_without_gradients(generator, torch.tensor([[5.0, 5.0], [0.2, -9.0]]), generations=60)
    assert torch.isfinite(prior.log_prob(found.latents)).all()
    assert (torch.nn.functional.cosine_similarity(found.latents[:1], torch.ones(1, 2)) > 0.99).all()


def test_wrong_arguments_are_named(draw):
    generator = curved_of_numpy()
    with pytest.raises(ArgumentError, match="generations"):
        invert_without_gradients(generator, draw(2, 6), generations=-1)
    with pytest.raises(ShapeError, match=r"\(N, 6\)"):
        invert_without_gradients(generator, draw(2, 5))
    with pytest.raises(NonFiniteError, match="generator"):
        invert_without_gradients(lk.wrap(lambda z: z.detach().sqrt(), lk.Normal(2)), draw(2, 2))
