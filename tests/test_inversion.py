"""Inversion by gradients: exact where it can be, never worse than its start, and each sample on its own."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import latentkit as lk
from latentkit.errors import ArgumentError, LabelError, NonFiniteError, ShapeError
from trainers import GLOConfig, parabola, train_glo

D = 3


class Curved(nn.Module):
    """Latents (N, 3) to images (N, 1, 4, 4), with what changes in training mode."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(D, 32), nn.BatchNorm1d(32), nn.Tanh(), nn.Dropout(0.5), nn.Linear(32, 16), nn.Tanh()
        )
        self.body[0].weight.data.mul_(2.0)

    def forward(self, z):
        return self.body(z).reshape(-1, 1, 4, 4)


@pytest.fixture
def curved(build):
    return lk.wrap(build(Curved), lk.Normal(D))


def made_by(generator, n=12, seed=5):
    return lk.generate(generator, generator.prior.sample(n, seed=seed))


PRIORS = {
    "normal": lk.Normal(D, mean=4.0, std=0.1),
    "uniform": lk.Uniform(D),
    "sphere": lk.Sphere(D, radius=2.0),
    "empirical": lk.Empirical.fit(lk.Normal(D).sample(200, seed=3) * torch.tensor([1.0, 2.0, 0.3])),
}


@pytest.mark.parametrize("name", PRIORS)
def test_of_an_invertible_linear_generator_it_finds_the_latent(name, draw):
    prior = PRIORS[name]
    matrix = draw(5, D, seed=1)
    generator = lk.wrap(lambda z: z @ matrix.T + 2.0, prior)
    z = prior.sample(20, seed=0)
    found = lk.invert(generator, lk.generate(generator, z), starts=1)
    spread = prior.sample(500, seed=1).std(0)
    assert ((found.latents - z) / spread).abs().max() < 0.01
    torch.testing.assert_close(found.samples, lk.generate(generator, found.latents))
    torch.testing.assert_close(found.typicality, prior.typicality(found.latents))


def test_what_a_generator_made_is_found_again(curved):
    x = made_by(curved)
    found = lk.invert(curved, x)
    assert found.error.max() < 1e-4 * x.var(0).mean()
    torch.testing.assert_close(found.error, (found.samples - x).square().flatten(1).mean(1), rtol=1e-3, atol=1e-9)
    assert len(found) == 12


def test_of_what_no_latent_makes_the_nearest_is_found(draw):
    """A plane in space: the nearest point of it is the foot of the perpendicular."""
    plane = torch.linalg.qr(draw(3, 2)).Q
    generator = lk.wrap(lambda z: z @ plane.T, lk.Normal(2))
    x = draw(10, 3, seed=2)
    found = lk.invert(generator, x)
    torch.testing.assert_close(found.latents, x @ plane, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.error, (x - x @ plane @ plane.T).square().mean(1), atol=1e-5, rtol=1e-3)


def test_more_starts_never_make_it_worse(curved, draw):
    x = draw(8, 1, 4, 4, seed=3)
    few, many = (lk.invert(curved, x, starts=starts, steps=20, pool=50) for starts in (2, 5))
    assert many.errors.shape == (8, 5)
    torch.testing.assert_close(many.errors[:, :2], few.errors)
    assert (many.error <= few.error * (1 + 1e-5)).all()
    assert torch.equal(many.error, many.errors.min(1).values)


def test_it_is_never_worse_than_its_start(curved):
    x = made_by(curved)
    start = lk.invert(curved, x, steps=0, pool=300)
    for steps in (1, 5, 60):
        assert (lk.invert(curved, x, steps=steps, pool=300).errors <= start.errors + 1e-7).all()


def test_the_first_start_is_the_regressions_and_the_others_are_the_nearest_of_the_pool(curved):
    x = made_by(curved)
    large, small = (lk.invert(curved, x, steps=0, starts=4, pool=pool).errors for pool in (300, 30))
    assert (large[:, 1:].diff(dim=1) >= -1e-7).all(), "nearest first"
    assert (large[:, 1] <= small[:, 1] + 1e-7).all(), "the larger pool holds the smaller one"
    linear = lk.wrap(lambda z: 2.0 * z + 1.0, lk.Normal(D))
    guessed = lk.invert(linear, made_by(linear), steps=0, starts=1)
    assert guessed.explained.mean() > 0.98, "of a linear generator a regression knows all but its shrinkage"


def test_a_hopeless_start_is_given_up_and_nothing_is_lost(curved):
    x = made_by(curved, n=30)
    one, many = (lk.invert(curved, x, starts=starts) for starts in (1, 6))
    assert many.error.mean() <= one.error.mean() * 1.05 + 1e-9
    assert many.error.max() < 1e-4 * x.var(0).mean()


def test_a_start_is_not_the_very_latent_of_the_same_seed(curved):
    x = made_by(curved, seed=0)
    assert (lk.invert(curved, x, steps=0, seed=0).error > 0).all()


def test_a_sample_is_inverted_alike_whatever_is_beside_it(curved):
    x = made_by(curved, n=7)
    settings = {"steps": 30, "starts": 2, "pool": 40}
    whole = lk.invert(curved, x, **settings)
    order = torch.tensor([6, 2, 4])
    for batch_size in (1, 3, 100):
        some = lk.invert(curved, x[order], batch_size=batch_size, **settings)
        torch.testing.assert_close(some.latents, whole.latents[order], atol=1e-3, rtol=0)
        torch.testing.assert_close(some.errors, whole.errors[order], atol=1e-5, rtol=1e-3)


def test_the_seed_decides(curved):
    x = made_by(curved, n=3)
    settings = {"steps": 10, "starts": 1, "pool": 20}
    one, same, other = (lk.invert(curved, x, seed=seed, **settings) for seed in (1, 1, 2**64 - 1))
    assert torch.equal(one.latents, same.latents)
    assert not torch.equal(one.latents, other.latents)
    assert (one.seed, one.steps, one.starts, one.pool) == (1, 10, 1, 20)


def test_an_encoder_is_one_start_more(curved, build):
    z = curved.prior.sample(6, seed=9)
    x = lk.generate(curved, z)
    learned = build(lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, D), nn.BatchNorm1d(D))).train()
    exact = lk.invert(curved, x, encoder=lambda _: z, starts=0, steps=0)
    torch.testing.assert_close(exact.latents, z)
    assert exact.error.max() < 1e-12
    without, both = (lk.invert(curved, x, encoder=one, starts=2, steps=5) for one in (None, learned))
    assert both.errors.shape == (6, 3)
    torch.testing.assert_close(both.errors[:, 1:], without.errors)
    assert learned.training
    assert learned[2].num_batches_tracked == 0


@pytest.mark.parametrize("name", PRIORS)
def test_latents_stay_plausible_where_the_best_one_is_not(name):
    prior = PRIORS[name]
    middle, spread = (getattr(prior.sample(2000, seed=1), part)(0) for part in ("mean", "std"))
    generator = lk.wrap(lambda z: (z - middle) / spread, prior)
    far = 100.0 * torch.tensor([[1.0, 1.0, 1.0], [-1.0, 0.0, 0.5]])
    found = lk.invert(generator, far, steps=50)
    reach = ((prior.sample(4000, seed=1) - middle) / spread).norm(dim=1).max()
    assert (((found.latents - middle) / spread).norm(dim=1) < 1.5 * reach).all()
    assert torch.isfinite(prior.log_prob(found.latents)).all(), "on the support"
    if name in ("normal", "empirical"):
        away = torch.nn.functional.cosine_similarity((found.latents - middle) / spread, far)
        assert (away > 0.95).all(), "as far as it may go, the right way"


@pytest.mark.parametrize("training", [True, False])
def test_the_models_and_the_callers_modes_are_left_as_they_were(curved, training):
    curved.module.train(training)
    state = {name: value.clone() for name, value in curved.module.state_dict().items()}
    x = made_by(curved, n=2)
    found = lk.invert(curved, x, steps=3, pool=10)
    assert all(part.training is training for part in curved.module.modules())
    assert all(p.grad is None and p.requires_grad for p in curved.module.parameters())
    assert all(torch.equal(value, state[name]) for name, value in curved.module.state_dict().items())
    assert not any(t.requires_grad for t in (found.latents, found.samples, found.error, found.errors))
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.equal(lk.invert(curved, x.clone(), steps=3, pool=10).latents, found.latents)


def test_explained_is_the_share_of_the_variance_that_the_error_leaves(curved, draw):
    found = lk.invert(curved, draw(5, 1, 4, 4, seed=3), steps=30)
    variance = lk.generate(curved, curved.prior.sample(4000, seed=8)).flatten(1).var(0).mean()
    torch.testing.assert_close(1.0 - found.explained, found.error / variance, rtol=0.1, atol=0)
    torch.testing.assert_close(found.loss, found.error)


def test_spread_tells_one_latent_from_several():
    """z and -z make the same sample of a square, and only z that of a linear generator."""
    square = lk.wrap(lambda z: z.square(), lk.Normal(2))
    x = torch.tensor([[1.0, 1.0], [1.5, 0.5]])
    several = lk.invert(square, x, starts=9)
    assert (several.error < 1e-5).all()
    # Four corners at (+-a, +-b): the mean distance of two starts is below that of the opposite ones.
    assert (several.spread > 0.3).all()
    assert (several.spread < 2.0 * x.sum(1).div(2).sqrt()).all()
    single = lk.invert(lk.wrap(lambda z: 2 * z, lk.Normal(2)), x, starts=9)
    assert single.spread.max() < 0.1


def test_a_checkpoint_is_its_generator_and_its_encoder(image_checkpoint):
    exact = image_checkpoint.generator.prior.sample(2, seed=5)
    x = lk.generate(image_checkpoint.generator, exact)
    found = lk.invert(replace(image_checkpoint, encoder=lambda _: exact), x, starts=0, steps=0)
    torch.testing.assert_close(found.latents, exact)
    plain, same = (lk.invert(model, x, steps=3, pool=10) for model in (image_checkpoint, image_checkpoint.generator))
    assert torch.equal(plain.latents, same.latents)


def test_the_codes_of_generative_latent_optimisation_are_found():
    """Their prior is a mixture that was fitted to them."""
    config = GLOConfig(steps=200, batch_size=64, latent_dim=2, width=32, threads=1, check_every=10_000)
    checkpoint = train_glo(parabola(n=400), config, progress=False)
    assert isinstance(checkpoint.generator.prior, lk.Empirical)
    z = checkpoint.generator.prior.sample(8, seed=5)
    x = lk.generate(checkpoint.generator, z)
    found = lk.invert(checkpoint, x)
    assert found.explained.min() > 0.99
    assert torch.isfinite(found.typicality).all()


def test_what_the_bundled_generator_made_is_found():
    checkpoint = lk.condition(lk.load("fashion-mnist"), "sneaker")
    x = lk.generate(checkpoint.generator, checkpoint.generator.prior.sample(20, seed=77))
    found = lk.invert(checkpoint, x, steps=120, starts=1)
    assert (found.error < 0.01 * checkpoint.holdout.var(0).mean()).sum() >= 18


def test_a_double_precision_generator_is_inverted_in_it(build):
    generator = lk.wrap(build(lambda: nn.Linear(2, 2)).double().requires_grad_(False), lk.Normal(2))
    x = generator(generator.prior.sample(4, seed=0).double())
    found = lk.invert(generator, x)
    assert found.latents.dtype == found.samples.dtype == torch.float64
    assert found.error.max() < 1e-9


@pytest.mark.parametrize(
    ("samples", "error", "says"),
    [
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), ShapeError, "bytes are"),
        (torch.zeros(2, 1, 5, 5), ShapeError, r"\(N, 1, 4, 4\), got \(N, 1, 5, 5\)"),
        (torch.zeros(0, 1, 4, 4), ShapeError, "at least one"),
        (torch.zeros(4), ShapeError, "at least one"),
        (torch.full((1, 1, 4, 4), torch.nan), NonFiniteError, "samples"),
    ],
)
def test_wrong_samples_are_named(curved, samples, error, says):
    with pytest.raises(error, match=says):
        lk.invert(curved, samples)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"steps": -1}, "steps"),
        ({"starts": 0}, "starts"),
        ({"starts": 30, "pool": 20}, "starts come from the pool"),
        ({"pool": 1}, "pool"),
        ({"seed": -1}, "seed"),
        ({"batch_size": 0}, "batch_size"),
        ({"loss": "pixels"}, "loss must be a function"),
    ],
)
def test_wrong_settings_name_themselves(curved, wrong, says):
    with pytest.raises(ArgumentError, match=says):
        lk.invert(curved, torch.zeros(1, 1, 4, 4), **wrong)


def test_models_that_cannot_be_used_are_refused(curved):
    x = torch.zeros(2, 2)

    def broken(z):
        return z.sqrt()

    flat = lk.wrap(lambda z: z.detach() * 2, lk.Normal(2))
    with pytest.raises(ArgumentError, match="nothing to descend"):
        lk.invert(flat, x)
    assert len(lk.invert(flat, x, steps=0)) == 2, "the pool needs no gradient"
    with pytest.raises(NonFiniteError, match="generator"):
        lk.invert(lk.wrap(broken, lk.Normal(2)), x)
    with pytest.raises(ShapeError, match=r"the encoder must return latents \(N, 3\)"):
        lk.invert(curved, made_by(curved, n=2), encoder=lambda x: x.flatten(1))
    with pytest.raises(LabelError, match="condition"):
        lk.invert(lk.wrap(lambda z, y: z + y[:, None], lk.Normal(2), classes=3), x)
