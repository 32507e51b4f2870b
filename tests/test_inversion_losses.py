"""What an inversion makes small: losses are 0 where samples are equal, and other losses find other things."""

import pytest
import torch

import latentkit as lk
from latentkit.errors import ShapeError
from latentkit.inversion import feature_loss, invert, pixel_loss, pyramid_loss

LOSSES = {"pixels": pixel_loss, "pyramid": pyramid_loss, "features": feature_loss(lambda x: x.flatten(1).cumsum(1))}


@pytest.mark.parametrize("name", LOSSES)
class TestEveryLoss:
    def test_it_is_zero_where_samples_are_equal_and_nowhere_else(self, name, draw):
        x, y = draw(3, 1, 16, 16), draw(3, 1, 16, 16, seed=1)
        assert torch.equal(LOSSES[name](x, x), torch.zeros(3))
        assert (LOSSES[name](x, y) > 0).all()

    def test_a_row_depends_on_its_own_samples(self, name, draw):
        x, y = draw(4, 1, 16, 16), draw(4, 1, 16, 16, seed=1)
        whole = LOSSES[name](x, y)
        alone = torch.cat([LOSSES[name](a, b) for a, b in zip(x.split(1), y.split(1), strict=True)])
        torch.testing.assert_close(whole, alone)

    def test_it_finds_what_a_linear_generator_made(self, name, draw):
        basis = draw(3, 256)
        generator = lk.wrap(lambda z: (z @ basis).reshape(-1, 1, 16, 16), lk.Normal(3))
        z = generator.prior.sample(6, seed=2)
        found = invert(generator, lk.generate(generator, z), loss=LOSSES[name])
        torch.testing.assert_close(found.latents, z, atol=0.02, rtol=0)
        assert found.explained.min() > 0.999


@pytest.mark.parametrize("shift", [0.3, -0.25])
def test_a_constant_shift_has_the_losses_that_are_known(draw, shift):
    x = draw(2, 1, 16, 16)
    torch.testing.assert_close(pixel_loss(x + shift, x), torch.full((2,), shift**2))
    torch.testing.assert_close(pyramid_loss(x + shift, x), torch.full((2,), abs(shift)))
    mean = feature_loss(lambda image: image.mean((1, 2, 3)))
    torch.testing.assert_close(mean(x + shift, x), torch.full((2,), 1.01 * shift**2))


def test_the_loss_decides_what_is_found_and_the_error_stays_that_of_pixels():
    """The nearest to 0 and 3 with one latent for both: their mean in squares, and what a weighted loss wants."""
    generator = lk.wrap(lambda z: z.expand(-1, 2), lk.Normal(1))
    x = torch.tensor([[0.0, 3.0]])
    weights = torch.tensor([1.0, 3.0])
    plain = invert(generator, x)
    heavy = invert(generator, x, loss=lambda made, wanted: ((made - wanted).square() * weights).sum(1))
    torch.testing.assert_close(plain.latents, torch.tensor([[1.5]]), atol=1e-3, rtol=0)
    torch.testing.assert_close(heavy.latents, torch.tensor([[2.25]]), atol=1e-3, rtol=0)
    torch.testing.assert_close(heavy.error, torch.tensor([(2.25**2 + 0.75**2) / 2]), atol=1e-3, rtol=0)
    torch.testing.assert_close(heavy.loss, torch.tensor([2.25**2 + 3 * 0.75**2]), atol=1e-3, rtol=0)


def test_what_is_no_loss_is_named(draw):
    generator = lk.wrap(lambda z: z, lk.Normal(2))
    with pytest.raises(ShapeError, match=r"the loss must return one number a sample"):
        invert(generator, draw(3, 2), loss=lambda made, wanted: made - wanted)
    with pytest.raises(ShapeError, match="the loss"):
        invert(generator, draw(3, 2), loss=lambda made, wanted: (made - wanted).square().mean())
    with pytest.raises(ShapeError, match="images"):
        invert(generator, draw(3, 2), loss=pyramid_loss)
    with pytest.raises(ShapeError, match="the features"):
        invert(generator, draw(3, 2), loss=feature_loss(lambda x: x.mean()))
