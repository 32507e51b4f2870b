"""Generative latent optimisation: codes stay in the ball, fit their samples, and their prior makes new ones."""

import dataclasses

import pytest
import torch

import latentkit as lk
from latentkit.errors import ArgumentError, ShapeError
from latentkit.inversion.pyramid import collapsed, laplacian_distance, laplacian_pyramid
from latentkit.priors import Empirical
from trainers import GLOConfig, digits, parabola, train_glo
from trainers.codes import Codes, principal_codes, random_codes, within_ball
from trainers.glo import LatentOptimisation, gaussian_of
from trainers.settings import resolved

QUICK = {"threads": 1, "batch_size": 64, "width": 64, "check_every": 10_000}


class TestPyramid:
    @pytest.mark.parametrize("shape", [(2, 3, 32, 32), (1, 1, 16, 8), (2, 1, 12, 12), (1, 1, 9, 9)])
    def test_it_loses_nothing(self, draw, shape):
        images = draw(*shape)
        torch.testing.assert_close(collapsed(laplacian_pyramid(images)), images)

    def test_sides_are_halved_down_to_the_remainder(self, draw):
        assert [level.shape[-1] for level in laplacian_pyramid(draw(1, 1, 32, 32))] == [32, 16, 8, 4]

    def test_a_constant_is_in_the_remainder_alone(self):
        *details, remainder = laplacian_pyramid(torch.full((1, 1, 16, 16), 0.7))
        assert all(level.abs().max() < 1e-6 for level in details)
        torch.testing.assert_close(remainder, torch.full_like(remainder, 0.7))

    def test_the_distance_is_a_norm_of_the_difference(self, draw):
        x, y, z = draw(4, 1, 16, 16), draw(4, 1, 16, 16, seed=1), draw(4, 1, 16, 16, seed=2)
        torch.testing.assert_close(laplacian_distance(x, y), laplacian_distance(y, x))
        torch.testing.assert_close(laplacian_distance(3 * x, 3 * y), 3 * laplacian_distance(x, y))
        assert torch.equal(laplacian_distance(x, x), torch.zeros(4))
        assert (laplacian_distance(x, z) <= laplacian_distance(x, y) + laplacian_distance(y, z) + 1e-6).all()
        shift = laplacian_distance(x, x + 0.25)
        torch.testing.assert_close(shift, torch.full((4,), 0.25))

    def test_other_shapes_are_named(self, draw):
        with pytest.raises(ShapeError, match="one shape"):
            laplacian_distance(draw(1, 1, 8, 8), draw(1, 1, 16, 16))
        with pytest.raises(ShapeError, match="images"):
            laplacian_pyramid(draw(3, 2))


class TestCodes:
    def test_the_ball_holds_what_is_in_it_and_pulls_in_the_rest(self, draw):
        codes = draw(100, 3)
        inside = within_ball(codes)
        assert inside.norm(dim=1).max() <= 1 + 1e-6
        small = codes.norm(dim=1) < 1
        assert torch.equal(inside[small], codes[small])
        torch.testing.assert_close(
            inside, codes * (inside * codes).sum(1, keepdim=True) / codes.square().sum(1)[:, None]
        )

    def test_only_the_rows_of_a_batch_move(self, draw):
        codes = Codes(0.1 * draw(10, 2), 0.05)
        before = codes.values.clone()
        codes.descend(torch.tensor([2, 7]), torch.ones(2, 2), keep=0.5)
        moved = (codes.values != before).any(1).nonzero().flatten().tolist()
        assert moved == [2, 7]
        assert (codes.values[moved] < before[moved]).all()

    def test_a_first_step_has_the_rate_as_its_length_a_coordinate(self):
        codes = Codes(torch.zeros(1, 3), 0.05)
        codes.descend(torch.tensor([0]), torch.tensor([[4.0, -0.01, 0.0]]), keep=0.0)
        torch.testing.assert_close(codes.values, torch.tensor([[-0.05, 0.05, 0.0]]), rtol=1e-4, atol=1e-6)

    def test_principal_codes_are_the_components_whitened(self):
        data = parabola(n=2000)
        codes = principal_codes(data, 2, seed=0)
        assert codes.norm(dim=1).max() <= 1 + 1e-6
        spread = codes.std(0)
        assert float(spread[0] / spread[1]) == pytest.approx(1.0, abs=0.05)
        assert abs(float(torch.corrcoef(codes.T)[0, 1])) < 0.05

    def test_random_codes_depend_on_the_seed_alone(self):
        assert torch.equal(random_codes(5, 3, 1), random_codes(9, 3, 1)[:5])
        assert not torch.equal(random_codes(5, 3, 1), random_codes(5, 3, 2))

    def test_the_gaussian_has_the_codes_moments(self, draw):
        codes = draw(3000, 3) @ draw(3, 3, seed=1) + 2.0
        prior = gaussian_of(codes)
        torch.testing.assert_close(prior.means[0], codes.double().mean(0))
        covariance = prior.scales[0] @ prior.scales[0].T
        torch.testing.assert_close(covariance, torch.cov(codes.double().T, correction=0), rtol=1e-3, atol=1e-4)


def training_on(data, **settings):
    return LatentOptimisation(data, data, resolved(GLOConfig(**settings), data, {"loss": "squared"}))


def test_an_epoch_sees_every_sample_once():
    data = parabola(n=64)
    training = training_on(data, batch_size=16, width=4, steps=8)
    seen = torch.cat([training.rows(step) for step in range(1, 5)])
    assert sorted(seen.tolist()) == list(range(64))
    again = torch.cat([training.rows(step) for step in range(5, 9)])
    assert not torch.equal(seen, again)


def test_new_samples_lie_near_the_parabola():
    checkpoint = train_glo(parabola(n=2000), GLOConfig(steps=1500, **QUICK), progress=False)
    assert isinstance(checkpoint.generator.prior, Empirical)
    assert checkpoint.critic is None
    samples = lk.generate(checkpoint.generator, checkpoint.generator.prior.sample(1000, seed=1))
    x = torch.linspace(-2.2, 2.2, 1000)
    distance = torch.cdist(samples, torch.stack([x, x**2 - 2], 1)).min(1).values
    assert distance.mean() < 0.2
    assert samples[:, 0].std() == pytest.approx(4 / 12**0.5, rel=0.25)


def test_training_images_are_made_far_better_than_by_their_mean():
    data = digits()
    few = dataclasses.replace(
        data, samples=data.samples[:160, :, ::2, ::2].contiguous(), labels=None, classes=()
    )  # fmt: skip
    settings = {**QUICK, "width": 16, "batch_size": 32, "precision": "float32"}
    checkpoint = train_glo(few, GLOConfig(steps=300, latent_dim=16, **settings), progress=False)
    floats = few.floats()
    by_mean = float((floats - floats.mean(0)).square().mean().sqrt())
    assert checkpoint.history["error"][-1] < 0.6 * by_mean


def test_codes_stay_in_the_ball_and_averages_fit_each_other():
    """Averaged weights with averaged codes copy the samples better than with the newest codes."""
    data = parabola(n=512)
    training = training_on(data, code_lr=0.03, **QUICK, steps=600)
    for step in range(1, 601):
        training.step(step)
    for codes in (training.codes.values, training.codes.average):
        assert codes.norm(dim=1).max() <= 1 + 1e-6
    module, real = training.average.module, data.floats()
    fitting, newest = (
        (module(codes) - real).square().mean() for codes in (training.codes.average, training.codes.values)
    )
    assert fitting < newest
    assert fitting < 0.01 * real.var()


def test_codes_may_begin_at_random_and_are_learned_too():
    data, at = parabola(n=64), {"batch_size": 32, "width": 32, "latent_dim": 2}
    training = training_on(data, **at, start="random", code_lr=0.05, steps=300)
    assert torch.equal(training.codes.values, random_codes(64, 2, 0))
    assert not torch.equal(training.codes.values, training_on(data, **at, steps=300).codes.values)
    errors = [float(training.step(step)["error"]) for step in range(1, 301)]
    assert sum(errors[-10:]) < 0.3 * sum(errors[:10])


@pytest.mark.filterwarnings("ignore:the samples are nearly identical")
@pytest.mark.parametrize(("codes", "dim", "components"), [(2000, 2, 30), (100, 8, 12), (9, 20, 1)])
def test_each_component_has_as_many_codes_as_they_have_numbers(codes, dim, components):
    config = GLOConfig(latent_dim=dim, steps=1, holdout=10, **{**QUICK, "batch_size": 8, "width": 4})
    checkpoint = train_glo(parabola(n=codes + 10), config, progress=False)
    assert len(checkpoint.generator.prior.weights) == checkpoint.settings["prior_components"] == components


def test_a_prior_with_too_few_codes_is_refused():
    with pytest.raises(ArgumentError, match=r"prior_components must be at most 45, .* 90 codes .* got 60"):
        train_glo(parabola(n=100), GLOConfig(prior_components=60, holdout=10, batch_size=8), progress=False)


def test_codes_that_memory_cannot_hold_are_refused(monkeypatch):
    monkeypatch.setattr("trainers.settings.machine_memory", lambda: 1000)
    with pytest.raises(ArgumentError, match=r"latent_dim 2 for 90 samples .* lower it"):
        train_glo(parabola(n=100), GLOConfig(holdout=10, batch_size=8, width=1), progress=False)


def test_points_have_no_pyramid():
    with pytest.raises(ArgumentError, match="loss must be squared for parabola"):
        train_glo(parabola(n=100), GLOConfig(loss="laplacian"), progress=False)
