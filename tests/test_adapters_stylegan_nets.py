"""The StyleGAN networks against the equations of the papers."""

import math

import pytest
import torch
from scipy import signal
from torch.nn import functional

from latentkit.errors import ArgumentError, LabelError, ShapeError
from latentkit.nets.stylegan import StyleGAN2Critic, StyleGAN2Generator, StyleGAN3Generator, bands, binomial_kernel
from latentkit.nets.stylegan.layers import Dense
from latentkit.nets.stylegan.resampling import convolved, downsampled, lowpass, upfirdn, upsampled
from latentkit.nets.stylegan.styled import StyledConv2d

SMALL = {"w_dim": 12, "mapping_depth": 2, "channel_base": 128, "channel_max": 16}
SMALL3 = {"w_dim": 12, "channel_base": 256, "channel_max": 12, "depth": 6}


def lively(network, seed=0):
    """A network whose noise, biases and means are not at 0, where they could hide."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith((".bias", "noise_strength", "w_avg", "running_std")):
                scale = 30.0 if name.startswith("mapping.fc") else 0.3
                value.add_(scale * torch.randn(value.shape, generator=random))
            if name.endswith("running_std"):
                value.abs_()
    return network.eval().requires_grad_(False)


@pytest.fixture
def generator(build):
    return lively(build(lambda: StyleGAN2Generator(10, 3, 16, **SMALL)))


@pytest.mark.parametrize("up", [1, 2, 3])
@pytest.mark.parametrize("down", [1, 2])
@pytest.mark.parametrize("padding", [(0, 0), (2, 1), (-1, 3)])
def test_resampling_is_scipys_with_the_padding_added(draw, up, down, padding):
    x, kernel = draw(2, 3, 7, 7), draw(4, 4, seed=1)
    spread = torch.zeros(2, 3, 7 * up, 7 * up)
    spread[:, :, ::up, ::up] = x
    before, after = padding
    spread = functional.pad(spread, (before, after, before, after))
    wanted = [signal.convolve2d(plane.numpy(), kernel.numpy(), "valid") for plane in spread.flatten(0, 1)]
    wanted = 1.5 * torch.stack([torch.from_numpy(plane)[::down, ::down] for plane in wanted]).unflatten(0, (2, 3))
    found = upfirdn(x, kernel, up=up, down=down, padding=padding, gain=1.5)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_one_row_is_scipys_upfirdn(draw):
    x, taps = draw(1, 1, 9, 1), draw(5, seed=1)
    wanted = signal.upfirdn(taps.numpy(), x.flatten().numpy(), up=3, down=2)
    # Nothing but zeros follows the last sample, which SciPy leaves out.
    found = upfirdn(x, taps[:, None].expand(5, 1), up=3, down=2, padding=(4, 4))
    assert found.shape[2] >= len(wanted)
    torch.testing.assert_close(found[0, 0, : len(wanted), 2], torch.from_numpy(wanted), atol=1e-5, rtol=1e-5)


def test_a_separable_filter_is_its_outer_product(draw):
    x, taps = draw(2, 3, 8, 8), draw(6, seed=1)
    square = taps[:, None] * taps
    for options in ({"up": 2, "padding": (3, 4)}, {"down": 2, "padding": (2, 2)}, {"up": 4, "padding": (-2, 5)}):
        found = upfirdn(x, taps, gain=4.0, **options)
        torch.testing.assert_close(found, upfirdn(x, square, gain=4.0, **options), atol=1e-4, rtol=1e-4)


def test_resampling_keeps_a_constant(draw):
    flat = torch.full((1, 2, 8, 8), 0.7)
    torch.testing.assert_close(upsampled(flat, binomial_kernel())[:, :, 2:-2, 2:-2], torch.full((1, 2, 12, 12), 0.7))
    torch.testing.assert_close(downsampled(flat, binomial_kernel())[:, :, 1:-1, 1:-1], torch.full((1, 2, 2, 2), 0.7))


@pytest.mark.parametrize("side", [1, 3, 5])
def test_a_convolution_that_resamples_is_its_parts_in_turn(draw, side):
    """Zeros between the samples, the filter, the turned weight; or the filter, the weight, every second sample."""
    x, weight, kernel = draw(2, 3, 8, 8), draw(4, 3, side, side, seed=1), binomial_kernel()
    pad = side // 2
    wide = upfirdn(x, kernel, up=2, padding=(2 + pad, 1 + pad), gain=4.0)
    wanted = functional.conv2d(wide, weight.flip(2, 3))
    torch.testing.assert_close(convolved(x, weight, kernel, up=2), wanted, atol=1e-4, rtol=1e-4)
    smooth = upfirdn(x, kernel, padding=(1 + pad, 1 + pad))
    wanted = functional.conv2d(smooth, weight, stride=2)
    torch.testing.assert_close(convolved(x, weight, kernel, down=2), wanted, atol=1e-4, rtol=1e-4)


def response(taps, frequency, rate):
    """Size of a filter's response to a wave of some frequency along the first axis."""
    line = taps if taps.ndim == 1 else taps.sum(1)
    places = torch.arange(len(line)) / rate
    wave = torch.exp(-2j * math.pi * frequency * places)
    return float((line * wave).sum().abs())


@pytest.mark.parametrize("radial", [False, True])
def test_a_low_pass_filter_passes_and_stops_what_it_says(radial):
    taps = lowpass(48, 8.0, 6.0, 64.0, radial=radial)
    assert float(taps.sum()) == pytest.approx(1.0, abs=1e-5)
    assert response(taps, 4.0, 64.0) == pytest.approx(1.0, abs=0.02)
    assert response(taps, 8.0, 64.0) == pytest.approx(0.5, abs=0.1)
    assert all(response(taps, f, 64.0) < 0.02 for f in (11.5, 16.0, 24.0, 31.0))
    assert lowpass(1, 8.0, 6.0, 64.0, radial=radial) is None


def test_a_radial_filter_is_the_same_in_every_direction():
    taps = lowpass(49, 8.0, 6.0, 64.0, radial=True).double()  # of an odd length: the centre is a sample
    places = (torch.arange(49) - 24.0) / 64.0
    sizes = []
    for angle in torch.linspace(0.0, math.pi / 2, 7):
        phase = 8.0 * (torch.cos(angle) * places[:, None] + torch.sin(angle) * places)
        sizes.append(float((taps * torch.cos(2 * math.pi * phase)).sum()))
    assert max(sizes) - min(sizes) < 0.02
    straight = lowpass(49, 8.0, 6.0, 64.0).double()
    diagonal = float((straight * torch.cos(2 * math.pi * 8.0 * math.sqrt(0.5) * places)).sum()) ** 2
    assert diagonal - sizes[3] > 0.2


@pytest.mark.parametrize("up", [1, 2])
def test_a_styled_convolution_is_one_set_of_weights_a_sample(build, draw, up):
    """Equations 1 to 3 of the paper as they stand: weights scaled, divided by their norm, a group a sample."""
    layer = lively(build(lambda: StyledConv2d(6, 5, 4, 8, up=up, clamp=0.9)))
    x, w, noise = draw(3, 6, 8 // up, 8 // up), draw(3, 4, seed=1), draw(8, 8, seed=2)
    styles = w @ layer.affine.weight.T / 2.0 + layer.affine.bias
    weights = layer.weight * styles[:, None, :, None, None]
    weights = weights / (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    if up == 1:
        grouped = functional.conv2d(x.reshape(1, 18, 8, 8), weights.flatten(0, 1), padding=1, groups=3)
    else:
        wide = upfirdn(x, layer.resample_filter, up=2, padding=(3, 2), gain=4.0).reshape(1, 18, 10, 10)
        grouped = functional.conv2d(wide, weights.flip(3, 4).flatten(0, 1), groups=3)
    y = grouped.reshape(3, 5, 8, 8) + layer.noise_strength * noise + layer.bias[:, None, None]
    wanted = (functional.leaky_relu(y, 0.2) * math.sqrt(2.0)).clamp(-0.9, 0.9)
    assert 0.01 < (wanted.abs() == 0.9).float().mean() < 0.9
    torch.testing.assert_close(layer(x, w, noise), wanted, atol=1e-5, rtol=1e-5)


def test_the_scale_of_a_style_is_taken_out_again(build, draw):
    layer = build(lambda: StyledConv2d(6, 5, 4, 8, up=1, clamp=None)).requires_grad_(False)
    x, w = draw(2, 6, 8, 8), draw(2, 4, seed=1)
    before = layer(x, w, None)
    layer.affine.weight.mul_(3.0)
    layer.affine.bias.mul_(3.0)
    torch.testing.assert_close(layer(x, w, None), before, atol=1e-5, rtol=1e-5)
    assert float(before.square().mean()) == pytest.approx(1.0, abs=0.5)  # unit variance is kept


@pytest.mark.parametrize("size", [16, 400])
@pytest.mark.parametrize("rate", [1.0, 0.01])
def test_equalised_layers_keep_the_variance_and_the_rate_of_learning(build, draw, size, rate):
    layer = build(lambda: Dense(size, 300, leaky=True, lr_multiplier=rate))
    x = draw(500, size, seed=5)
    out = layer(x).detach()
    assert float(out.square().mean()) == pytest.approx(1.0, abs=0.15)
    # Adam moves every stored weight by the same step, whatever its scale; what it does to the layer is the rate.
    with torch.no_grad():
        layer.weight.add_(1e-3 * torch.sign(draw(300, size, seed=3)))
        change = (layer(x) - out).square().mean().sqrt()
    assert float(change) == pytest.approx(1e-3 * rate, rel=0.1)


def test_the_published_names():
    skip = {f"b{side}.{layer}" for side in (8, 16) for layer in ("conv0", "conv1", "torgb")} | {"b4.conv1", "b4.torgb"}
    wanted = {"mapping.w_avg", "synthesis.b4.const"}
    wanted |= {f"mapping.fc{i}.{part}" for i in range(2) for part in ("weight", "bias")}
    wanted |= {f"mapping.embed.{part}" for part in ("weight", "bias")}
    wanted |= {f"synthesis.b{side}.resample_filter" for side in (4, 8, 16)}
    for layer in skip:
        wanted |= {f"synthesis.{layer}.{part}" for part in ("weight", "bias", "affine.weight", "affine.bias")}
        if "torgb" not in layer:
            wanted |= {f"synthesis.{layer}.{part}" for part in ("noise_const", "noise_strength", "resample_filter")}
    with torch.device("meta"):
        network = StyleGAN2Generator(10, 3, 16, classes=4, **SMALL)
        critic = StyleGAN2Critic(3, 8, channel_base=128, channel_max=16)
    assert set(network.state_dict()) == wanted
    layers = {"b8": ("fromrgb", "conv0", "conv1", "skip"), "b4": ("conv", "fc", "out")}
    wanted = {"b8.resample_filter", "b4.mbstd.running_std"}
    for block, names in layers.items():
        wanted |= {f"{block}.{name}.weight" for name in names}
        wanted |= {f"{block}.{name}.bias" for name in names if name != "skip"}
        wanted |= {f"{block}.{name}.resample_filter" for name in names if name not in ("fc", "out")}
    assert set(critic.state_dict()) == wanted


@pytest.mark.parametrize(
    ("size", "base", "most", "sides", "channels"),
    [
        (1024, 65536, 1024, "36 36 52 52 84 148 148 276 276 532 1044", "1024 " * 7 + "645 406 256 161"),
        (256, 32768, 512, "36 36 36 52 52 84 84 148 148 148 276", "512 " * 9 + "362 256"),
    ],
)
def test_the_published_layers_of_stylegan3(size, base, most, sides, channels):
    plan = bands(
        size,
        3,
        depth=14,
        critical=2,
        first_cutoff=2.0,
        first_stopband=2**2.1,
        last_stopband_rel=2**0.3,
        margin=10,
        channel_base=base,
        channel_max=most,
    )
    assert [band.side for band in plan[:11]] == list(map(int, sides.split()))
    assert [band.channels for band in plan[:11]] == list(map(int, channels.split()))
    assert [(band.side, band.channels) for band in plan[-2:]] == [(size, 64 * base // 65536 * 1024 // size), (size, 3)]
    assert all(band.cutoff + band.half_width >= band.rate / 2 for band in plan)


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
def test_samples_do_not_depend_on_their_batch(build, draw, architecture):
    network = lively(build(lambda: StyleGAN2Generator(10, 3, 16, architecture=architecture, **SMALL)))
    z = draw(5, 10)
    together = network(z)
    assert together.shape == (5, 3, 16, 16)
    assert float(together.std(0).mean()) > 0.05
    alone = torch.cat([network(row[None]) for row in z])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [StyleGAN2Generator, StyleGAN3Generator])
def test_settings_rebuild_the_network_and_latents_have_gradients(build, draw, kind):
    small = SMALL if kind is StyleGAN2Generator else SMALL3
    network = build(lambda: kind(10, 1, 16, classes=3, **small))
    with torch.device("meta"):
        again = kind(**network.settings)
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    assert shapes == {key: value.shape for key, value in again.state_dict().items()}
    z = draw(2, 10).requires_grad_()
    network(z, torch.tensor([0, 2])).sum().backward()
    assert bool((z.grad.abs() > 0).any(1).all())
    # Only the direction of z counts.
    labels = torch.tensor([0, 2])
    torch.testing.assert_close(network.map(3.0 * z, labels), network.map(z, labels), atol=1e-4, rtol=1e-4)


def test_classes_are_numbers_or_weights(build, draw):
    network = lively(build(lambda: StyleGAN2Generator(10, 3, 8, classes=3, **SMALL)))
    z = draw(3, 10)
    numbers = torch.tensor([2, 0, 1])
    assert network(z, numbers).equal(network(z, functional.one_hot(numbers, 3).float()))
    assert not torch.allclose(network(z, numbers), network(z, numbers.roll(1)), atol=1e-3)
    with pytest.raises(LabelError, match="needs labels"):
        network(z)
    with pytest.raises(LabelError, match="no classes"):
        lively(build(lambda: StyleGAN2Generator(10, 3, 8, **SMALL)))(z, numbers)


def turned(network, matrix):
    network.synthesis.input.transform.copy_(matrix)
    return network


def test_stylegan3_follows_translations(build, draw):
    """What the paper is for: moving the waves by 3 pixels moves the image by 3 pixels, away from its border."""
    network = build(lambda: StyleGAN3Generator(10, 3, 32, **{**SMALL3, "depth": 10})).requires_grad_(False)
    w = network.map(draw(2, 10))
    still = network.synthesise(network.repeated(w))
    shift = torch.eye(3)
    shift[0, 2] = 3.0 / 32.0  # an inverse transform in units of the image
    moved = turned(network, shift).synthesise(network.repeated(w))
    error = (still.roll(-3, 3) - moved)[..., 5:-5].square().mean()
    assert float(still.var() / error) > 10**3.5  # 35 dB
    coarse = (still - moved)[..., 5:-5].square().mean()
    assert float(coarse / error) > 10**2


def test_stylegan3_r_follows_quarter_turns_exactly(build, draw):
    network = build(lambda: StyleGAN3Generator(10, 3, 16, kernel=1, radial=True, **SMALL3)).requires_grad_(False)
    w = network.map(draw(2, 10))
    still = network.synthesise(network.repeated(w))
    quarter = turned(network, torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    moved = quarter.synthesise(network.repeated(w))
    torch.testing.assert_close(moved, still.rot90(1, (2, 3)), atol=1e-5, rtol=1e-4)
    assert float((moved - still).abs().mean()) > 0.01


def test_stylegan3_divides_by_the_size_that_it_saw(build, draw):
    """With no bias and no clamp all layers are homogeneous: four times the mean square is half the image."""
    network = build(lambda: StyleGAN3Generator(10, 3, 16, conv_clamp=None, **SMALL3)).requires_grad_(False)
    w = network.repeated(network.map(draw(2, 10)))
    before = network.synthesise(w)
    network.get_submodule("synthesis.L2_36_12").magnitude_ema.fill_(4.0)
    torch.testing.assert_close(network.synthesise(w), before / 2.0, atol=1e-5, rtol=1e-4)


def test_the_first_move_of_stylegan3_is_that_of_its_style(build, draw):
    """A style that says (cos, sin, x, y) moves the waves as the transform that it spells does."""
    network = build(lambda: StyleGAN3Generator(10, 3, 16, **SMALL3)).requires_grad_(False)
    first = network.synthesis.input
    cosine, sine, right, low = 0.6, 0.8, 0.1, -0.2
    turn = torch.tensor([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    shift = torch.tensor([[1.0, 0.0, -right], [0.0, 1.0, -low], [0.0, 0.0, 1.0]])
    w = draw(1, 12)
    first.transform.copy_(turn @ shift)
    wanted = first(w)
    first.transform.copy_(torch.eye(3))
    first.affine.bias.copy_(5.0 * torch.tensor([cosine, sine, right, low]))  # only the ratios count
    torch.testing.assert_close(first(w), wanted, atol=1e-5, rtol=1e-4)


@pytest.fixture
def critic(build):
    return lively(build(lambda: StyleGAN2Critic(3, 16, channel_base=128, channel_max=16)))


def test_scores_do_not_depend_on_the_batch(critic, draw):
    x = draw(8, 3, 16, 16)
    scores = critic(x)
    assert scores.shape == (8,)
    assert float(scores.std()) > 0.01
    torch.testing.assert_close(scores, torch.cat([critic(row[None]) for row in x]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(scores.flip(0), critic(x.flip(0)), atol=1e-5, rtol=1e-4)


def test_in_training_a_group_is_compared_as_published(critic, draw):
    """The standard deviation over each group, averaged; the samples of a group stand N / 4 apart."""
    x = draw(8, 3, 16, 16)
    critic.train()
    found = critic(x)
    assert not torch.allclose(found, critic(x[[1, 0, 2, 3, 4, 5, 6, 7]])[[1, 0, 2, 3, 4, 5, 6, 7]], atol=1e-6)
    assert torch.allclose(found, critic(x.roll(2, 0)).roll(-2, 0), atol=1e-5)  # the same groups, in another order
    critic.eval()
    for start in (0, 1):  # a group's scores are those at its own standard deviation
        group = x[start::2]
        critic.settle(group)
        torch.testing.assert_close(critic(group), found[start::2], atol=1e-4, rtol=1e-4)


def test_a_critic_that_compares_nothing(build, draw):
    critic = lively(build(lambda: StyleGAN2Critic(3, 16, channel_base=128, channel_max=16, group=None)))
    x = draw(3, 3, 16, 16)
    scores = critic(x)
    torch.testing.assert_close(critic.train()(x), scores)
    assert not any("mbstd" in name for name in critic.state_dict())
    critic.settle(x)  # there is nothing to measure


def test_settling_takes_the_mean_over_groups(critic, draw):
    x = draw(8, 3, 16, 16)
    numbers = []
    for group in (x[:4], x[4:], x):
        critic.settle(group)
        numbers.append(float(critic.b4.mbstd.running_std))
    assert numbers[0] != numbers[1]
    assert numbers[2] == pytest.approx((numbers[0] + numbers[1]) / 2, rel=1e-5)
    with pytest.raises(ShapeError, match="multiple of 4"):
        critic.settle(x[:3])


def test_a_critic_with_classes(build, draw):
    critic = lively(build(lambda: StyleGAN2Critic(3, 16, channel_base=128, channel_max=16, classes=3)))
    x = draw(4, 3, 16, 16)
    by_class = torch.stack([critic(x, torch.full((4,), k)) for k in range(3)])
    assert float(by_class.std(0).mean()) > 1e-3
    torch.testing.assert_close(critic(x), by_class.mean(0), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("architecture", ["skip", "orig"])
def test_other_critics_see_the_image(build, draw, architecture):
    critic = lively(build(lambda: StyleGAN2Critic(1, 8, channel_base=64, channel_max=8, architecture=architecture)))
    x = draw(2, 1, 8, 8).requires_grad_()
    critic(x).sum().backward()
    assert bool((x.grad != 0).flatten(1).all(1).all())
    with torch.device("meta"):
        again = StyleGAN2Critic(**critic.settings)
    assert set(again.state_dict()) == set(critic.state_dict())


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (lambda: StyleGAN2Generator(10, 3, 24), "size must be a power of two"),
        (lambda: StyleGAN2Generator(10, 3, 16, architecture="unet"), "architecture must be one of"),
        (lambda: StyleGAN2Generator(10, 3, 16, conv_clamp=0.0), "conv_clamp must be"),
        (lambda: StyleGAN3Generator(10, 3, 16, depth=2), "critical must be below the depth"),
        (lambda: StyleGAN2Critic(3, 16, group=0), "group must be"),
    ],
)
def test_settings_are_checked(make, wrong):
    with torch.device("meta"), pytest.raises(ArgumentError, match=wrong):
        make()


def test_shapes_are_checked(generator, critic, draw):
    with pytest.raises(ShapeError, match=r"styles must be \(N, 6, 12\)"):
        generator.synthesise(draw(2, 5, 12))
    with pytest.raises(ShapeError, match=r"images \(N, 3, 16, 16\)"):
        critic(draw(2, 3, 8, 8))
