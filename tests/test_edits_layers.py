import threading

import pytest
import torch
from torch import nn

import latentkit as lk
from latentkit.directions import from_vectors
from latentkit.edits import edited_layer, layer_directions, layers_of, on_layers
from latentkit.edits.activations import activations
from latentkit.errors import ArgumentError, LatentkitError, NonFiniteError, ShapeError


@pytest.fixture
def chain(build):
    module = build(lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 5)))
    return lk.wrap(module, lk.Normal(3))


@pytest.fixture
def images(build):
    module = build(
        lambda: nn.Sequential(
            nn.Unflatten(1, (3, 1, 1)), nn.ConvTranspose2d(3, 4, 4), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1)
        )
    )
    return lk.wrap(module, lk.Normal(3))


def hooks(module):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def test_layers_are_named_in_the_order_of_their_calls(chain):
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.unused, self.first = nn.Linear(4, 5), nn.Linear(9, 9), nn.Linear(3, 4)

        def forward(self, z):
            return self.last(self.first(z))

    with torch.random.fork_rng():
        generator = lk.wrap(Backwards(), lk.Normal(3))
    assert layers_of(generator) == ("first", "last")
    assert layers_of(chain) == ("0", "1", "2")


def test_a_function_over_two_modules_numbers_them(build):
    first, second = build(lambda: nn.Sequential(nn.Linear(3, 4))), build(lambda: nn.Linear(4, 5))
    assert layers_of(lk.wrap(lambda z: second(first(z)), lk.Normal(3))) == ("0.0", "1")
    assert layers_of(lk.wrap(build(lambda: nn.Linear(3, 2)), lk.Normal(3))) == ("module",)


def test_activations_are_those_of_the_layer_whatever_the_batches(chain):
    z = chain.prior.sample(9, seed=0)
    expected = torch.tanh(chain.module[0](z)).detach()
    for size in (2, 9):
        torch.testing.assert_close(activations(chain, z, "1", batch_size=size), expected)


def test_what_comes_after_the_layer_is_not_computed(build):
    class Fails(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += len(x)
            return x

    tail = Fails()
    module = build(lambda: nn.Sequential(nn.Linear(3, 4), tail))
    generator = lk.wrap(module, lk.Normal(3))
    layers_of(generator)
    tried = tail.calls
    activations(generator, generator.prior.sample(100, seed=0), "0")
    assert tail.calls == 2 * tried, "only the look at what is called runs the whole generator"


def test_an_edit_of_the_last_layer_is_added_to_the_samples(chain):
    z, vector = chain.prior.sample(6, seed=0), torch.arange(5.0)
    edited = edited_layer(chain, "2", vector, 2.0)
    torch.testing.assert_close(lk.generate(edited, z), lk.generate(chain, z) + 2.0 * vector)


def test_an_edit_of_a_layer_inside_reaches_the_samples_through_what_follows(chain):
    z, vector = chain.prior.sample(6, seed=0), torch.tensor([1.0, -1.0, 0.5, 0.0])
    shift = -1.5 * chain.module[2].weight.detach() @ vector
    edited = edited_layer(chain, "1", vector, -1.5)
    torch.testing.assert_close(lk.generate(edited, z), lk.generate(chain, z) + shift)
    twice = edited_layer(edited, "2", torch.ones(5))
    torch.testing.assert_close(lk.generate(twice, z), lk.generate(chain, z) + shift + 1.0)
    assert edited.prior == chain.prior


def test_a_vector_is_the_same_at_all_places_and_a_map_is_not(images):
    z = images.prior.sample(2, seed=0)
    inside = images.module[:3](z).detach()
    everywhere = edited_layer(images, "2", torch.tensor([1.0, 0.0, 0.0, 2.0]), 3.0)
    shifted = inside + 3.0 * torch.tensor([1.0, 0.0, 0.0, 2.0])[:, None, None]
    torch.testing.assert_close(lk.generate(everywhere, z), images.module[3](shifted).detach())
    spot = torch.zeros(4, 4, 4)
    spot[1, 2, 3] = 1.0
    torch.testing.assert_close(
        lk.generate(edited_layer(images, "2", spot, 5.0), z), images.module[3](inside + 5.0 * spot).detach()
    )


def test_the_generator_stays_as_it_is_even_when_a_call_fails(chain):
    class Fails(nn.Module):
        broken = False

        def forward(self, x):
            if self.broken:
                raise RuntimeError("on purpose")
            return x

    last = Fails()
    module = nn.Sequential(*chain.module, last)
    generator = lk.wrap(module, lk.Normal(3))
    edited = edited_layer(generator, "0", torch.ones(4))
    z = generator.prior.sample(2, seed=0)
    before = lk.generate(generator, z)
    last.broken = True
    for call in (lambda: edited(z), lambda: layers_of(generator)):
        with pytest.raises(RuntimeError, match="on purpose"):
            call()
        assert hooks(module) == 0
    last.broken = False
    assert torch.equal(lk.generate(generator, z), before)


def test_an_edit_counts_for_its_own_thread_only(build):
    """While the edited generator is in the middle of a call, another thread uses the plain one."""
    elsewhere = []

    class Meets(nn.Module):
        busy = False

        def forward(self, x):
            if self.busy:
                self.busy = False
                thread = threading.Thread(target=lambda: elsewhere.append(module(z).detach()))
                thread.start()
                thread.join()
            return x

    meets = Meets()
    module = build(lambda: nn.Sequential(meets, nn.Linear(3, 2)))
    generator = lk.wrap(module, lk.Normal(3))
    z = generator.prior.sample(2, seed=0)
    plain, edited = module(z).detach(), edited_layer(generator, "1", torch.ones(2), 4.0)
    meets.busy = True
    torch.testing.assert_close(edited(z).detach(), plain + 4.0)
    torch.testing.assert_close(elsewhere[0], plain)


def test_components_of_a_layer_are_as_long_as_their_standard_deviation(build):
    module = build(lambda: nn.Sequential(nn.Linear(3, 3, bias=False), nn.Identity()))
    with torch.no_grad():
        module[0].weight.copy_(torch.diag(torch.tensor([1.0, 3.0, 2.0])))
    generator = lk.wrap(module, lk.Normal(3))
    found = layer_directions(generator, "0", 3, n=20_000)
    expected = torch.tensor([[0.0, 3.0, 0.0], [0.0, 0.0, 2.0], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(torch.stack([d.vector for d in found]).abs(), expected, atol=0.08, rtol=0.02)
    torch.testing.assert_close(
        torch.tensor([d.share for d in found]), torch.tensor([9.0, 4.0, 1.0]) / 14, atol=0.02, rtol=0
    )
    z = generator.prior.sample(1, seed=0)
    moved = lk.generate(edited_layer(generator, "0", found[0], 2.0), z) - lk.generate(generator, z)
    torch.testing.assert_close(moved[0], 2.0 * found[0].vector)


def test_components_of_maps_are_those_of_their_means_over_places(images):
    found = layer_directions(images, "2", 4, n=500)
    rows = activations(images, images.prior.sample(500, seed=0), "2").mean((2, 3))
    total = torch.stack([d.vector for d in found]).double()
    torch.testing.assert_close(total.T @ total, torch.cov(rows.double().T), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("layer", "vector", "strength", "error", "says"),
    [
        ("7", torch.ones(4), 1.0, ArgumentError, "layer must be one that the generator calls: 0, 1, 2; got '7'"),
        ("0", torch.ones(5), 1.0, ShapeError, r"must be \(4,\), got \(5,\)"),
        ("0", torch.ones(4, 4, 4), 1.0, ShapeError, "must be"),
        ("0", torch.full((4,), float("nan")), 1.0, NonFiniteError, "vector"),
        ("0", torch.ones(4), float("inf"), ArgumentError, "strength"),
        ("0", torch.ones(4), "much", ArgumentError, "strength"),
    ],
)
def test_what_an_edit_cannot_be(chain, layer, vector, strength, error, says):
    with pytest.raises(error, match=says):
        edited_layer(chain, layer, vector, strength)


def test_a_component_belongs_to_its_layer(chain):
    one = layer_directions(chain, "0", 1, n=50)[0]
    with pytest.raises(ArgumentError, match="one of the layer 0"):
        edited_layer(chain, "1", one)
    with pytest.raises(ArgumentError, match="at most the 4 channels"):
        layer_directions(chain, "0", 5, n=50)


class Stacked:
    """A style-like toy: each of three layers adds its own two numbers, ten times as much as the one before."""

    prior = lk.Normal(6)
    layers = 3

    def __call__(self, z):
        return (z.reshape(-1, 3, 2) * torch.tensor([1.0, 10.0, 100.0])[:, None]).flatten(1)


def a_direction(vector, generator):
    return from_vectors(torch.tensor([vector]), ["x"], "by hand", generator.prior)[0]


def test_a_direction_of_one_layer_is_placed_where_it_is_wanted():
    toy = Stacked()
    one = from_vectors(torch.tensor([[0.6, 0.8]]), ["x"], "by hand", lk.Normal(2))[0]
    placed = on_layers(one, [0, 2], toy)
    torch.testing.assert_close(placed.vector, torch.tensor([0.6, 0.8, 0, 0, 0.6, 0.8]) / 2**0.5)
    change = lk.generate(toy, placed.vector[None] * 2**0.5)[0]
    torch.testing.assert_close(change, torch.tensor([0.6, 0.8, 0, 0, 60.0, 80.0]))
    assert placed.name == "x"


def test_a_direction_of_all_layers_keeps_what_is_chosen():
    toy = Stacked()
    whole = a_direction([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], toy)
    kept = on_layers(whole, [1], toy)
    torch.testing.assert_close(kept.vector, torch.tensor([0, 0, 0.6, 0.8, 0, 0]))
    every = on_layers(whole, [0, 1, 2], toy)
    torch.testing.assert_close(every.vector, whole.vector)
    assert every.safe_range == whole.safe_range


@pytest.mark.parametrize("layers", [[], [3], [-1], [0, 0], [0.5]])
def test_layers_that_are_not_there_are_named(layers):
    with pytest.raises(LatentkitError, match="layer"):
        on_layers(a_direction([1.0, 0, 0, 0, 0, 0], Stacked()), layers, Stacked())


def test_a_direction_without_a_part_in_the_layers_is_said():
    with pytest.raises(ArgumentError, match=r"is 0 in the layers \[1\]"):
        on_layers(a_direction([1.0, 0, 0, 0, 0, 0], Stacked()), [1], Stacked())
    with pytest.raises(ShapeError, match="of one layer"):
        on_layers(from_vectors(torch.eye(4)[:1], ["x"], "by hand", lk.Normal(4))[0], [1], Stacked())
    plain = lk.wrap(lambda z: z, lk.Normal(6))
    with pytest.raises(ArgumentError, match="edited_layer"):
        on_layers(a_direction([1.0, 0, 0, 0, 0, 0], plain), [1], plain)
