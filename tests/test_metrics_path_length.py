"""Perceptual path length: what it is of generators whose speed is known."""

import math

import pytest
import torch

import latentkit as lk
from latentkit.errors import ArgumentError, LatentkitError, NonFiniteError, ShapeError
from latentkit.metrics import perceptual_path_length

DIM = 16


@pytest.fixture
def linear(draw):
    matrix = draw(DIM, 24).double()
    return lk.wrap(lambda z: z.double() @ matrix, lk.Normal(DIM)), matrix


def small_network():
    return torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.Tanh(), torch.nn.Linear(64, 30))


def ends(seed, n):
    z = lk.Normal(DIM).sample(2 * n, seed=seed).double()
    return z[::2], z[1::2]


def test_a_linear_generator_on_straight_lines(linear):
    """G(p(t)) moves at the constant velocity A (b - a)."""
    generator, matrix = linear
    a, b = ends(3, 50)
    found = perceptual_path_length(generator, n=50, seed=3, curve=lk.lerp)
    torch.testing.assert_close(found.values, ((b - a) @ matrix).square().sum(1), rtol=5e-3, atol=0)
    assert found.curve == "lerp"


def test_a_linear_generator_on_great_circles():
    """Between ends of one length the arc turns at a constant speed, its angle times the length."""
    unit = lk.wrap(lambda z: 3.0 * z, lk.Sphere(DIM))
    z = unit.prior.sample(100, seed=0).double()
    a, b = z[::2], z[1::2]
    angle = torch.acos((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)))
    found = perceptual_path_length(unit, n=50, seed=0, curve=lk.slerp)
    torch.testing.assert_close(found.values, (3.0 * angle * a.norm(dim=1)).square(), rtol=5e-3, atol=0)


def test_a_linear_generator_on_prior_matched_curves(linear):
    """The mean of |p'|^2 over independent ends and t is D (1 + pi / 2), so with A it is tr(A'A) times that.

    p = cos(f) a + sin(f) b with tan(f) = t / (1 - t), so |p'|^2 is f'^2 D on average, and f' = 1 / ((1 - t)^2 + t^2).
    """
    generator, matrix = linear
    found = perceptual_path_length(generator, n=2_000, seed=1, resamples=100)
    wanted = float(matrix.square().sum()) * (1 + math.pi / 2)
    assert found.values.mean() == pytest.approx(wanted, rel=0.05)
    assert found.curve == "interpolate"


def test_the_mean_leaves_out_the_extreme_hundredths(linear):
    found = perceptual_path_length(linear[0], n=500, seed=0, resamples=50)
    ordered = found.values.sort().values
    # Positions 4.99 and 494.01 of 0 to 499 are the percentiles; the ones beyond them still count.
    assert found.mean == pytest.approx(float(ordered[4:496].mean()), rel=1e-12)
    assert found.interval[0] < found.mean < found.interval[1]
    assert found.mean < found.values.mean()


def test_the_interval_covers_the_mean_of_many_pairs(linear):
    wide = perceptual_path_length(linear[0], n=4_000, seed=99, resamples=20).mean
    held = 0
    for seed in range(20):
        low, high = perceptual_path_length(linear[0], n=100, seed=seed, resamples=100).interval
        held += low <= wide <= high
    assert held >= 15


def test_pairs_do_not_depend_on_how_many_or_on_batches(linear):
    few = perceptual_path_length(linear[0], n=20, seed=5, resamples=20)
    many = perceptual_path_length(linear[0], n=37, seed=5, resamples=20, batch_size=10)
    torch.testing.assert_close(many.values[:20], few.values, rtol=1e-9, atol=0)
    assert perceptual_path_length(linear[0], n=20, seed=6, resamples=20).mean != few.mean


def test_the_step_hardly_matters_for_a_smooth_generator(build):
    network = build(
        lambda: lk.wrap(
            torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.Tanh(), torch.nn.Linear(64, 30)), lk.Normal(8)
        )
    )
    means = [perceptual_path_length(network, n=200, seed=0, epsilon=e, resamples=20).mean for e in (1e-4, 1e-3, 1e-2)]
    assert means == pytest.approx([means[0]] * 3, rel=0.03)


def test_float32_costs_little(build):
    layers = build(small_network)
    single = perceptual_path_length(lk.wrap(layers, lk.Normal(8)), n=200, seed=0, resamples=20).mean
    double = perceptual_path_length(lk.wrap(layers.double(), lk.Normal(8)), n=200, seed=0, resamples=20).mean
    assert single == pytest.approx(double, rel=5e-3)


def test_a_distance_of_features(linear):
    """Features that keep a third of each number shrink squared distances nine times."""
    plain = perceptual_path_length(linear[0], n=30, seed=0, resamples=20)
    third = perceptual_path_length(
        linear[0], n=30, seed=0, resamples=20, distance=lambda a, b: (a / 3 - b / 3).square().sum(1)
    )
    torch.testing.assert_close(third.values, plain.values / 9, rtol=1e-6, atol=0)


def test_modes_are_restored_and_a_constant_generator_stands_still():
    layer = torch.nn.Dropout(0.5).train()
    still = perceptual_path_length(lk.wrap(lambda z: layer(0 * z + 1), lk.Normal(4)), n=20, seed=0, resamples=20)
    assert still.mean == 0.0
    assert layer.training


def as_bytes(z):
    return ((z.repeat(1, 16) * 40 + 128).clamp(0, 255)).to(torch.uint8)


@pytest.mark.parametrize(
    ("make", "options", "error", "text"),
    [
        (as_bytes, {}, ShapeError, "floats of at least 32 bits, got torch.uint8"),
        (lambda z: z.bfloat16(), {}, ShapeError, "got torch.bfloat16"),
        (lambda z: as_bytes(z).float() / 255, {}, ShapeError, "no more than 256 different values, as of 8-bit images"),
        (lambda z: z / 0, {}, NonFiniteError, "the distance between two neighbouring samples is NaN or infinite"),
        (
            lambda z: z,
            {"distance": lambda a, b: (a - b).abs()},
            ShapeError,
            r"one number a pair \(32,\), got \(32, 8\)",
        ),
        (lambda z: z, {"epsilon": 0.0}, ArgumentError, "epsilon must be a finite number, above 0 and at most 0.1"),
        (lambda z: z, {"n": 0}, ArgumentError, "n must be"),
        (lambda z: z[:1], {}, ShapeError, "one row a latent"),
    ],
)
def test_bad_calls_say_what_was_wanted(make, options, error, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        perceptual_path_length(lk.wrap(make, lk.Normal(8)), **{"n": 40, "seed": 0, "resamples": 20, **options})
    assert isinstance(caught.value, error)
