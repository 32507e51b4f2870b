import math

import pytest
import torch
from torch import nn

import latentkit as lk
from latentkit.directions import cosines
from latentkit.edits import activation_directions, jacobian_directions, layers_of, sefa
from latentkit.errors import ArgumentError, LatentkitError
from latentkit.nets import ConvGenerator, DCGANGenerator, ProgressiveGenerator
from latentkit.nets.layers import EqualLinear
from latentkit.priors import Normal

D = 6
SIZES = torch.tensor([8.0, 6.0, 4.0, 2.0, 1.0, 0.5])


def orthogonal(dim, seed=0):
    return torch.linalg.qr(Normal(dim).sample(dim, seed=seed).double())[0].float()


FACTORS = orthogonal(D)
MIXED = (orthogonal(D, seed=1) * SIZES) @ FACTORS


def degrees(a, b):
    return math.degrees(math.acos(min(1.0, abs((a.double() @ b.double()).item()))))


def linear(weight):
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.fill_(0.7)
    return layer


@pytest.fixture(scope="module")
def mixing():
    with torch.random.fork_rng():
        return lk.wrap(nn.Sequential(linear(MIXED)), Normal(D))


METHODS = {
    "sefa": lambda g, k: sefa(g, k),
    "jacobian": lambda g, k: jacobian_directions(g, k, n=4),
    "activations": lambda g, k: activation_directions(g, k, n=10_000),
}


@pytest.mark.parametrize("method", METHODS)
def test_every_factor_of_a_linear_generator_is_recovered_in_its_order(method, mixing):
    found = METHODS[method](mixing, D)
    for k, direction in enumerate(found):
        assert degrees(direction.vector, FACTORS[k]) < 2, direction.name
    shares = SIZES.square() / SIZES.square().sum()
    torch.testing.assert_close(torch.tensor([d.share for d in found]), shares, atol=0.02, rtol=0.02)
    assert len({direction.name for direction in found}) == D


@pytest.mark.parametrize("method", METHODS)
def test_the_first_k_are_the_first_of_all_and_calls_repeat(method, mixing):
    some, every, again = (METHODS[method](mixing, k) for k in (2, 4, 2))
    for a, b, c in zip(some, every, again, strict=False):
        torch.testing.assert_close(a.vector, b.vector, atol=1e-4, rtol=1e-4)
        assert torch.equal(a.vector, c.vector)


@pytest.mark.parametrize("method", METHODS)
def test_over_classes_the_class_is_left_alone(method):
    """The class moves the samples more than any coordinate does, and yet is no direction."""

    class Classed(nn.Module):
        def __init__(self):
            super().__init__()
            self.start = linear(torch.cat([MIXED, 100.0 * orthogonal(D, seed=2)[:, :3]], 1))

        def forward(self, z, y):
            return self.start(torch.cat([z, nn.functional.one_hot(y, 3).to(z.dtype)], 1))

    with torch.random.fork_rng():
        both = lk.marginal(lk.wrap(Classed(), Normal(D), classes=3))
    for k, direction in enumerate(METHODS[method](both, 3)):
        assert degrees(direction.vector[:D], FACTORS[k]) < 2.5
        assert bool((direction.vector[D:] == 0).all())


def expected_factors(weight, k):
    """Top right singular vectors (k, D) of a weight (F, D)."""
    return torch.linalg.svd(weight.double())[2][:k]


def test_the_first_layer_is_found_whatever_it_is(build):
    conv = build(lambda: ConvGenerator(8, 1, 16, 4, classes=3))
    dcgan = build(lambda: DCGANGenerator(8, 1, 16, 4))
    grown = build(lambda: ProgressiveGenerator(8, 1, 16, 4, 16))
    weights = {
        "conv": (lk.condition(lk.wrap(conv, Normal(8), classes=3), 1), conv.start.weight[:, :8]),
        "transposed": (lk.wrap(dcgan, Normal(8)), dcgan.start[1].weight.flatten(1).T),
        "normalised": (lk.wrap(grown, Normal(8)), grown.start[0].weight),
    }
    for name, (generator, weight) in weights.items():
        for direction, row in zip(sefa(generator, 4), expected_factors(weight.detach(), 4), strict=True):
            assert degrees(direction.vector, row) < 0.5, name


class Styled(nn.Module):
    """Styles enter three layers: all of them the same latent, or each its own part of it."""

    def __init__(self, layered):
        super().__init__()
        self.layered = layered
        self.styles = nn.ModuleList(EqualLinear(4, size) for size in (5, 6, 7))
        self.mix = nn.Linear(18, 2)

    def forward(self, w):
        parts = w.split(4, dim=1) if self.layered else [w] * 3
        return self.mix(torch.cat([style(part).tanh() for style, part in zip(self.styles, parts, strict=True)], 1))


def test_the_layers_that_one_latent_enters_are_stacked(build):
    module = build(lambda: Styled(layered=False))
    generator = lk.wrap(module, Normal(4))
    stacked = torch.cat([style.weight.detach() * style.scale for style in module.styles])
    for direction, row in zip(sefa(generator, 4), expected_factors(stacked, 4), strict=True):
        assert degrees(direction.vector, row) < 0.5
    one = sefa(generator, 2, layer="styles.1")
    for direction, row in zip(one, expected_factors(module.styles[1].weight.detach(), 2), strict=True):
        assert degrees(direction.vector, row) < 0.5


def test_where_each_layer_has_a_part_of_the_latent_a_factor_lies_in_one_of_them(build):
    module = build(lambda: Styled(layered=True))
    for direction in sefa(lk.wrap(module, Normal(12)), 6):
        sizes = direction.vector.reshape(3, 4).norm(dim=1)
        assert float(sizes.max()) > 1 - 1e-5


def test_a_latent_that_enters_no_layer_linearly_is_said(build):
    module = build(lambda: nn.Linear(4, 4))
    behind = lk.wrap(lambda z: module(z.exp()), Normal(4))
    with pytest.raises(ArgumentError, match="does not enter"):
        sefa(behind, 1)
    deep = build(lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)))
    with pytest.raises(ArgumentError, match="does not enter 2 by a linear map"):
        sefa(lk.wrap(deep, Normal(4)), 1, layer="2")


def test_jacobian_directions_at_one_latent_are_those_of_that_place():
    """x = (z0^2, z1): at z0 = 3 the first coordinate moves samples 6 times as much, at 0.1 a fifth."""
    bent = lk.wrap(lambda z: torch.stack([z[:, 0].square(), z[:, 1]], 1), Normal(2))
    steep = jacobian_directions(bent, 1, latents=torch.tensor([[3.0, 0.0]]))[0]
    flat = jacobian_directions(bent, 1, latents=torch.tensor([[0.1, 0.0]]))[0]
    assert degrees(steep.vector, torch.tensor([1.0, 0.0])) < 0.01
    assert steep.share == pytest.approx(36 / 37)
    assert degrees(flat.vector, torch.tensor([0.0, 1.0])) < 0.01


def test_the_mean_of_the_metric_is_over_the_prior():
    """E (2 z0)^2 = 4 against 1 for the other coordinate: the share is 4 / 5."""
    bent = lk.wrap(lambda z: torch.stack([z[:, 0].square(), z[:, 1]], 1), Normal(2))
    assert jacobian_directions(bent, 1, n=4_000, batch_size=8_000)[0].share == pytest.approx(0.8, abs=0.02)


class Cube(nn.Module):
    def forward(self, x):
        return x**3


def test_activations_of_a_deeper_layer_are_regressed_back(build):
    """Cubes of the factors are symmetric, so each goes with its own factor alone."""
    module = build(lambda: nn.Sequential(linear(SIZES[:, None] * FACTORS), Cube()))
    with torch.no_grad():
        module[0].bias.zero_()
    generator = lk.wrap(module, Normal(D))
    assert layers_of(generator) == ("0", "1")
    for k, direction in enumerate(activation_directions(generator, 3, layer="1", n=20_000)):
        assert degrees(direction.vector, FACTORS[k]) < 3


def test_without_a_layer_to_look_at_it_is_said():
    bare = lk.wrap(lambda z: 2 * z, Normal(2))
    for find in (activation_directions, sefa):
        with pytest.raises(ArgumentError, match="holds none"):
            find(bare, 1)
    assert len(jacobian_directions(bare, 2)) == 2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("k", [0, 7, 1.5, True])
def test_k_out_of_range_is_named(method, k, mixing):
    with pytest.raises(LatentkitError):
        METHODS[method](mixing, k)


def test_a_constant_generator_has_no_directions():
    still = lk.wrap(lambda z: 0 * z, Normal(2))
    with pytest.raises(ArgumentError, match="no direction changes"):
        jacobian_directions(still, 1)


def test_no_call_changes_modes_or_leaves_hooks(mixing):
    module = mixing.module.train()
    for method in METHODS.values():
        method(mixing, 1)
    assert module.training
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    module.eval()


def test_on_the_bundled_generator_factors_and_components_agree():
    generator = lk.condition(lk.load("fashion-mnist"), "sneaker").generator
    weight = generator.module.module.start.weight[:, : generator.prior.dim].detach()
    factors = sefa(generator, 2)
    for direction, row in zip(factors, expected_factors(weight, 2), strict=True):
        assert degrees(direction.vector, row) < 0.5
    components = activation_directions(generator, 2, n=1_000)
    assert float(cosines([*factors, *components])[:2, 2:].diag().abs().min()) > 0.9
