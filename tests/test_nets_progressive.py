"""The laws of growing, and the published network's sizes."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from latentkit.errors import ArgumentError, ShapeError
from latentkit.nets import ProgressiveCritic, ProgressiveGenerator
from latentkit.nets.layers import EqualConv2d

SIDES = [4, 8, 16, 32, 64, 128, 256]


@pytest.fixture
def pair(build):
    """A pair of 32x32 in eval mode."""
    return build(lambda: (ProgressiveGenerator(6, 3, 32, 4).eval(), ProgressiveCritic(3, 32, 4).eval()))


@pytest.fixture
def seen(pair, draw):
    """The critic after a few batches, so that its stored deviation is not its start."""
    critic = pair[1].train()
    with torch.no_grad():
        for seed in range(3):
            critic(draw(4, 3, 32, 32, seed=seed))
    return critic.eval()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("side", [8, 16, 32])
def test_a_new_block_starts_as_the_enlarged_images_and_ends_alone(pair, draw, side, training):
    generator, z = pair[0].train(training), 3 * draw(4, 6)
    before = functional.interpolate(generator.at(z, side // 2), scale_factor=2.0)
    assert torch.equal(generator.at(z, side, 0.0), before)
    alone = generator.at(z, side, 1.0)
    assert not torch.allclose(alone, before)
    with torch.no_grad():
        generator.to_image[side.bit_length() - 4].weight.fill_(7.0)  # the older door to images, shut off at 1
    assert torch.equal(generator.at(z, side), alone)
    assert not torch.allclose(generator.at(z, side, 0.5), (before + alone) / 2)


@pytest.mark.parametrize("side", [8, 16, 32])
def test_images_are_faded_in_linearly(pair, draw, side):
    generator, z = pair[0].train(), draw(4, 6)
    start, end = generator.at(z, side, 0.0), generator.at(z, side, 1.0)
    for alpha in (1e-6, 0.3, 0.5, 0.9, 1 - 1e-6):
        torch.testing.assert_close(generator.at(z, side, alpha), (1 - alpha) * start + alpha * end)


@pytest.mark.parametrize("side", [8, 16, 32])
def test_a_critic_starts_from_the_images_at_half_the_side(seen, draw, side):
    x = draw(4, 3, side, side)
    assert torch.equal(seen.at(x, 0.0), seen.at(functional.avg_pool2d(x, 2)))
    alone = seen.at(x)
    assert torch.equal(seen(x), alone)
    for alpha, near in ((1e-5, seen.at(x, 0.0)), (1 - 1e-5, alone)):
        torch.testing.assert_close(seen.at(x, alpha), near, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(alone, seen.at(x, 0.0), atol=1e-3)
    with torch.no_grad():
        seen.from_image[side.bit_length() - 4][0].weight.fill_(7.0)
    assert torch.equal(seen.at(x, 1.0), alone)
    assert not torch.allclose(seen.at(x, 0.5), alone)


def test_growing_loses_nothing_at_the_change_of_side(pair, draw):
    """At alpha 0 a pair of the new side judges as the pair before did."""
    generator, critic = pair
    z = draw(4, 6)
    torch.testing.assert_close(critic.at(generator.at(z, 16, 0.0), 0.0), critic.at(generator.at(z, 8)))


def test_forward_is_the_full_size(pair, draw):
    generator, critic = pair
    z = draw(4, 6)
    assert torch.equal(generator(z), generator.at(z, 32, 1.0))
    x = generator(z)
    assert torch.equal(critic(x), critic.at(x, 1.0))
    torch.testing.assert_close(critic.score(critic.features(x))[:, 0], critic(x))


@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_scores_do_not_depend_on_the_batch_while_growing(seen, draw, alpha):
    x = draw(4, 3, 16, 16)
    torch.testing.assert_close(seen.at(x, alpha), torch.cat([seen.at(row, alpha) for row in x.split(1)]))


def test_a_critic_sees_in_training_how_much_its_batch_differs(pair, draw):
    critic, x = pair[1].train(), draw(4, 3, 32, 32)
    same = x[:1].expand_as(x)
    assert not torch.allclose(critic(x)[0], critic(same)[0])
    torch.testing.assert_close(critic.eval()(x)[0], critic(same)[0])


def test_every_side_to_256_runs_forward_and_back(build, draw):
    generator = build(lambda: ProgressiveGenerator(6, 3, 256, 2, widest=16))
    critic = build(lambda: ProgressiveCritic(3, 256, 2, widest=16))
    for side in SIDES:
        generator.zero_grad()
        images = generator.at(draw(2, 6), side, 0.5)
        assert images.shape == (2, 3, side, side)
        critic.at(images, 0.5).sum().backward()
        level = SIDES.index(side)
        doors = [door.weight.grad is not None for door in generator.to_image]
        assert doors == [level - 1 <= k <= level for k in range(len(SIDES))]
        assert torch.isfinite(generator.start[0].weight.grad).all()
        assert generator.start[0].weight.grad.any()


def test_only_a_latents_direction_counts(pair, draw):
    generator, z = pair[0], draw(4, 6)
    with torch.no_grad():
        generator.start[0].bias.copy_(draw(len(generator.start[0].bias), seed=1))  # 0 at the start, when it scales too
    torch.testing.assert_close(generator(3 * z), generator(z), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(generator(-z), generator(z), atol=1e-2)


def test_training_images_may_leave_the_range_and_have_a_gradient_there(pair, draw):
    generator, z = pair[0].train(), draw(64, 6)
    wide = generator(z)
    assert wide.abs().max() > 1
    wide.max().backward()
    assert generator.to_image[-1].weight.grad.any()
    assert torch.equal(generator.eval()(z), wide.clamp(-1, 1))


def test_activations_start_with_unit_mean_square(build, draw):
    generator = build(lambda: ProgressiveGenerator(64, 3, 32, 16, widest=64))
    found = []
    for part in generator.modules():
        if isinstance(part, nn.LeakyReLU):
            part.register_forward_hook(lambda _module, _inputs, out: found.append(out.square().mean().item()))
    generator(draw(32, 64))
    # A 3x3 kernel on maps of side 4 has 31 % of its taps on the padding.
    assert len(found) == 8
    assert all(0.6 < value < 1.3 for value in found)


def test_the_published_network():
    with torch.device("meta"):
        generator, critic = ProgressiveGenerator(512, 3, 1024, 16), ProgressiveCritic(3, 1024, 16)
    published = [512, 512, 512, 512, 256, 128, 64, 32, 16]
    assert [door.weight.shape[1] for door in generator.to_image] == published
    assert [door[0].weight.shape[0] for door in critic.from_image] == published
    for net in (generator, critic):
        assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(23.1, abs=0.05)
    # Layers with weights in table 2, and a door to images for every smaller side.
    assert sum(isinstance(part, EqualConv2d) for part in generator.modules()) == 17 + 9


class TestDoor:
    @pytest.mark.parametrize("side", [2, 24, 64, 8.0, True])
    def test_sides(self, pair, draw, side):
        with pytest.raises(ArgumentError, match="side must"):
            pair[0].at(draw(2, 6), side)

    @pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan"), "half"])
    def test_alphas(self, pair, draw, alpha):
        for call in (lambda: pair[0].at(draw(2, 6), 8, alpha), lambda: pair[1].at(draw(2, 3, 8, 8), alpha)):
            with pytest.raises(ArgumentError, match="alpha"):
                call()

    @pytest.mark.parametrize(
        ("shape", "error"), [((2, 3, 8, 16), ShapeError), ((3, 8, 8), ShapeError), ((2, 3, 64, 64), ArgumentError)]
    )
    def test_images(self, pair, shape, error):
        with pytest.raises(error, match=r"square|side must"):
            pair[1](torch.zeros(shape))
