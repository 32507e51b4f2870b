"""The whole of it on a thin generator with a missing mode: what comes out is the data's law."""

import pytest
import torch

import latentkit as lk
from latentkit.errors import CostError
from latentkit.refined import likeliest_bandwidth
from trainers import GANConfig, train_gan
from trainers.data.dataset import Data

MIXTURE = lk.Mixture(torch.tensor([[-1.5, 0.0], [0.0, 0.0], [1.5, 0.0]]), 0.1, (0.2, 0.3, 0.5))


@pytest.fixture(scope="module")
def trained():
    data = Data("three", MIXTURE.sample(8000, seed=3))
    config = GANConfig(steps=400, width=64, latent_dim=2, r1=0.0, ema=0.0, threads=1, holdout=1000, seed=1)
    found = train_gan(data, config, progress=False)
    train, held_out = data.split(1000, seed=1)
    return found.generator, train.samples, held_out.samples


@pytest.fixture(scope="module")
def refined(trained):
    return lk.refine(*trained, pool=20_000, steps=400, seed=2)


def test_the_law_is_that_of_the_data(trained, refined):
    generator, _, _ = trained
    plain = lk.toy_truth(lk.generate(generator, generator.prior.sample(5000, seed=1)), MIXTURE)
    drawn = refined.sample(5000, seed=1)
    truth = lk.toy_truth(drawn.samples, MIXTURE)
    assert plain.js > 0.02 or plain.high_quality < 0.95 or abs(plain.sd - 0.1) > 0.02  # there is something to mend
    assert truth.strict_modes == 3
    assert truth.high_quality > 0.99
    assert truth.js < 0.005
    assert truth.sd == pytest.approx(0.1, rel=0.08)
    assert drawn.cost.generator < 4
    assert refined.cost == pytest.approx(drawn.cost.generator, rel=0.4)
    assert abs(refined.measured.z) < 3


def test_samples_depend_on_the_seed_alone_and_go_on_in_parts(refined):
    whole = refined.sample(60, seed=4)
    assert refined.sample(60, seed=4, batch_size=17).samples.allclose(whole.samples, atol=1e-5)
    part = refined.sample(25, seed=4)
    rest = refined.sample(35, seed=4, start=part.next)
    torch.testing.assert_close(torch.cat([part.latents, rest.latents]), whole.latents)


def test_a_cost_that_is_too_high_is_said_before_it_is_paid(trained):
    generator, train, held_out = trained
    with pytest.raises(CostError, match=r"(?s)evaluations a kept sample, above most_evaluations=1.*(reach|group)"):
        lk.refine(generator, train, held_out, mend=False, pool=5_000, steps=100, most_evaluations=1.0)


def test_the_likeliest_bandwidth_is_that_of_the_noise():
    """On few centres with many held-out draws around them, the likeliest width is the noise's own."""
    centres = lk.Normal(2).sample(400, seed=1) * 50
    rows = torch.arange(2000) % 400
    held = centres[rows] + 0.3 * lk.Normal(2).sample(2000, seed=2)
    assert likeliest_bandwidth(centres, held) == pytest.approx(0.3, rel=0.15)
    assert likeliest_bandwidth(9 * centres, 9 * held) == pytest.approx(2.7, rel=0.15)
