"""Truths about the layers, each from its definition."""

import math

import pytest
import torch
from torch import nn

from latentkit.errors import ArgumentError, ShapeError
from latentkit.nets.layers import (
    EqualConv2d,
    EqualLinear,
    MinibatchDiscrimination,
    MinibatchStd,
    PixelNorm,
    VirtualBatchNorm2d,
    normalise_spectra,
)


class TestMinibatchDiscrimination:
    def test_closeness_is_summed_over_the_others(self, build):
        layer = build(lambda: MinibatchDiscrimination(2, kernels=2, dim=2))
        with torch.no_grad():
            layer.project.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]))
        rows = [(0.0, 0.0), (1.0, 0.0), (1.0, -2.0)]
        added = layer(torch.tensor(rows))
        # Kernel 1 compares the two numbers, kernel 2 their sums.
        first = [math.exp(-1) + math.exp(-3), math.exp(-1) + math.exp(-2), math.exp(-3) + math.exp(-2)]
        second = [2 * math.exp(-1), math.exp(-1) + math.exp(-2), math.exp(-1) + math.exp(-2)]
        torch.testing.assert_close(added[:, :2], torch.tensor(rows))
        torch.testing.assert_close(added[:, 2:], torch.tensor([first, second]).T)

    def test_equal_samples_are_as_close_as_can_be_and_a_lone_one_is_not(self, build):
        layer = build(lambda: MinibatchDiscrimination(4, 3, 2))
        torch.testing.assert_close(layer(torch.ones(5, 4))[:, 4:], torch.full((5, 3), 4.0))
        torch.testing.assert_close(layer(torch.ones(1, 4))[:, 4:], torch.zeros(1, 3))

    def test_eval_gives_the_mean_of_training(self, build, draw):
        layer, x = build(lambda: MinibatchDiscrimination(4, 3, 2)), draw(8, 4)
        for _ in range(200):
            seen = layer(x)[:, 4:]
        layer.eval()
        torch.testing.assert_close(layer(x[:2])[:, 4:], seen.mean(0).expand(2, 3), rtol=1e-4, atol=1e-6)

    def test_its_gradient_has_a_gradient(self, build, draw):
        layer, x = build(lambda: MinibatchDiscrimination(4, 3, 2)).double(), draw(3, 4).double().requires_grad_()
        assert build(lambda: torch.autograd.gradgradcheck(layer, (x,)))


class TestMinibatchStd:
    def test_it_is_the_mean_deviation(self):
        x = torch.tensor([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0], [6.0, 5.0]])[:, :, None, None].expand(4, 2, 3, 3)
        whole = (math.sqrt(5) + math.sqrt(3)) / 2
        pairs = [(1 + 0) / 2, (1 + 2) / 2]
        for group, expected in ((0, [whole] * 4), (4, [whole] * 4), (2, [pairs[0]] * 2 + [pairs[1]] * 2), (1, [0] * 4)):
            out = MinibatchStd(group)(x)
            assert torch.equal(out[:, :2], x)
            wanted = torch.tensor(expected, dtype=torch.float32)[:, None, None].expand(4, 3, 3)
            torch.testing.assert_close(out[:, 2], wanted, atol=2e-4, rtol=1e-3)

    def test_eval_gives_the_mean_of_training(self, draw):
        layer, x = MinibatchStd(), draw(8, 2, 3, 3)
        for _ in range(200):
            seen = layer(x)[0, 2, 0, 0]
        for batch in (x, x[:1], x[:1].expand(4, -1, -1, -1)):
            torch.testing.assert_close(layer.eval()(batch)[:, 2], seen.expand(len(batch), 3, 3))

    def test_equal_samples_have_a_finite_gradient(self):
        x = torch.ones(4, 2, 3, 3, requires_grad=True)
        MinibatchStd()(x).sum().backward()
        assert torch.isfinite(x.grad).all()

    def test_groups_must_divide_the_batch(self, draw):
        with pytest.raises(ShapeError, match="multiple of the group of 4"):
            MinibatchStd(4)(draw(6, 2, 3, 3))
        assert MinibatchStd(4).eval()(draw(6, 2, 3, 3)).shape == (6, 3, 3, 3)


class TestVirtualBatchNorm:
    @pytest.fixture
    def layer(self, draw):
        made = VirtualBatchNorm2d(3)
        with torch.no_grad():
            made.weight.copy_(draw(3, seed=5))
            made.bias.copy_(draw(3, seed=6))
        made.reference_rows = 4
        return made

    @pytest.fixture
    def plain(self, layer):
        """Batch norm with the same gains, by the statistics of whatever it is given."""
        norm = nn.BatchNorm2d(3, track_running_stats=False)
        norm.load_state_dict({"weight": layer.weight, "bias": layer.bias})
        return norm

    def test_a_row_is_normalised_by_the_reference_and_itself(self, layer, plain, draw):
        reference, x = 3 + 2 * draw(4, 3, 5, 5), 7 * draw(6, 3, 5, 5, seed=1) - 1
        out = layer(torch.cat([reference, x]))
        torch.testing.assert_close(out[:4], plain(reference))
        expected = torch.stack([plain(torch.cat([reference, row[None]]))[-1] for row in x])
        torch.testing.assert_close(out[4:], expected)
        torch.testing.assert_close(layer.eval()(x), expected)

    def test_the_reference_gets_a_gradient(self, layer, draw):
        reference, x = draw(4, 3, 5, 5).requires_grad_(), draw(2, 3, 5, 5, seed=1)
        layer(torch.cat([reference, x]))[4:].square().sum().backward()
        assert reference.grad.any()

    def test_training_needs_a_reference(self, draw):
        with pytest.raises(ArgumentError, match=r"call reference\(z\) first"):
            VirtualBatchNorm2d(3)(draw(4, 3, 5, 5))


class TestEqualised:
    @pytest.mark.parametrize("gain", [1.0, math.sqrt(2.0)])
    def test_activations_have_the_gain_as_their_spread(self, build, draw, gain):
        linear = build(lambda: EqualLinear(300, 200, gain))
        conv = build(lambda: EqualConv2d(40, 60, 3, gain))
        assert linear(draw(400, 300, seed=1)).std().item() == pytest.approx(gain, rel=0.03)
        inner = conv(draw(8, 40, 12, 12, seed=1))[:, :, 1:-1, 1:-1]  # where no tap falls on the padding
        assert inner.std().item() == pytest.approx(gain, rel=0.03)
        assert linear.weight.std().item() == pytest.approx(1.0, rel=0.03)
        assert conv.weight.std().item() == pytest.approx(1.0, rel=0.03)

    def test_a_leaky_relu_after_the_usual_gain_keeps_the_mean_square(self, build, draw):
        out = nn.functional.leaky_relu(build(lambda: EqualLinear(300, 200))(draw(400, 300, seed=1)), 0.2)
        assert out.square().mean().item() == pytest.approx(1.04, rel=0.05)  # 1 + 0.2^2

    def test_they_are_the_plain_layers_with_scaled_weights(self, build, draw):
        linear, conv = build(lambda: EqualLinear(5, 4)), build(lambda: EqualConv2d(3, 4, 3))
        x, images = draw(2, 5), draw(2, 3, 6, 6)
        torch.testing.assert_close(linear(x), x @ linear.weight.T * math.sqrt(2 / 5))
        expected = nn.functional.conv2d(images, conv.weight, padding=1) * math.sqrt(2 / 27)
        torch.testing.assert_close(conv(images), expected)


def test_pixel_norm_gives_unit_mean_square_and_keeps_the_direction(draw):
    for x in (5 * draw(4, 8), 0.3 * draw(4, 8, 3, 3)):
        out = PixelNorm()(x)
        torch.testing.assert_close(out.square().mean(1), torch.ones_like(out[:, 0]))
        torch.testing.assert_close(nn.functional.cosine_similarity(out, x, 1), torch.ones_like(out[:, 0]))
    assert torch.equal(PixelNorm()(torch.zeros(1, 4)), torch.zeros(1, 4))


def test_spectra_of_a_known_matrix(build):
    layer = build(lambda: nn.Linear(3, 2, bias=False))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.0, -4.0]]))
    build(lambda: normalise_spectra(layer))
    layer(torch.ones(1, 3))
    torch.testing.assert_close(layer.eval().weight, torch.tensor([[0.75, 0, 0], [0, 0, -1.0]]), atol=1e-4, rtol=0)
