"""Between the classes of a conditional generator: weights at a class are that class, bit for bit."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import latentkit as lk
from latentkit.conditional import Blend, blend
from latentkit.errors import ArgumentError, CurveError, LabelError, NonFiniteError, ShapeError
from latentkit.nets import ConvGenerator, MLPGenerator
from latentkit.nets.settings import class_columns
from latentkit.priors import Joint, OneHot
from latentkit.protocols import evaluating
from latentkit.walks import class_tour, class_walk

CLASSES = ("near", "far", "beyond")
PLACES = torch.tensor([[0.0], [8.0], [20.0]])


def placed(z, y):
    """A conditional module that takes numbers and weights: latents moved by their class."""
    return z + class_columns(y, len(z), 3).to(z) @ PLACES.to(z)


@pytest.fixture
def between():
    return blend(lk.wrap(placed, lk.Normal(2), classes=CLASSES))


# ---- the view


@pytest.mark.parametrize(
    "make",
    [
        lambda: MLPGenerator(5, 2, 16, 2, classes=3),
        lambda: ConvGenerator(5, 1, 16, 4, classes=3),
        lambda: ConvGenerator(5, 1, 16, 4, classes=3, virtual_batch_norm=True),
    ],
    ids=["mlp", "conv", "virtual-batch-norm"],
)
def test_a_unit_vector_is_its_class_bit_for_bit(make, build, draw):
    module = build(make).eval()
    conditional = lk.wrap(module, lk.Normal(5), classes=CLASSES)
    both = blend(conditional)
    assert isinstance(both, lk.Generator)
    assert both.prior == Joint(lk.Normal(5), OneHot(3))
    z = draw(6, 5)
    for index, name in enumerate(CLASSES):
        narrow = lk.generate(lk.condition(conditional, name), z)
        latents = both.latents(z, name)
        assert lk.generate(both, latents).equal(narrow)
        assert latents.equal(both.latents(z, index))
        assert both.inner(latents).equal(z)
        assert both.weights(latents).equal(torch.eye(3)[[index] * 6])
    middle = lk.generate(both, both.latents(z, torch.full((6, 3), 1 / 3)))
    assert all((middle - lk.generate(both, both.latents(z, k))).abs().max() > 1e-3 for k in range(3))


def test_latents_take_one_class_or_one_each_or_weights(between, draw):
    z = draw(3, 2)
    eye = torch.eye(3)
    for labels, wanted in (
        ("far", eye[[1, 1, 1]]),
        (2, eye[[2, 2, 2]]),
        (torch.tensor(2), eye[[2, 2, 2]]),
        (["far", 0, "beyond"], eye[[1, 0, 2]]),
        (torch.tensor([2, 1, 0]), eye[[2, 1, 0]]),
        (eye.flip(0) / 2, eye.flip(0) / 2),
    ):
        latents = between.latents(z, labels)
        assert latents.equal(torch.cat([z, wanted], 1))
        assert latents.dtype == z.dtype
    assert between.latents(z.double(), "far").dtype == torch.float64
    torch.testing.assert_close(between(between.latents(z, "beyond")), z + 20.0)


def test_the_prior_draws_latents_of_single_classes(between):
    z = between.prior.sample(3000, seed=4)
    weights = between.weights(z)
    assert weights.sum(0).div(3000).sub(1 / 3).abs().max() < 0.04
    assert between.inner(z).equal(lk.Normal(2).sample(3000, seed=4)), "what the conditional generator's prior draws"
    assert (between.prior.typicality(z) > 0).all()
    assert between.prior.sample(7, seed=4, start=100).equal(z[100:107])


def test_a_checkpoint_is_seen_between_its_classes_too(conditional_checkpoint):
    seen = blend(replace(conditional_checkpoint, encoder=nn.Identity()))
    assert isinstance(seen.generator, Blend)
    assert seen.generator.classes == seen.classes == conditional_checkpoint.classes
    assert seen.critic is conditional_checkpoint.critic
    assert seen.encoder is None
    z = seen.generator.prior.sample(4, seed=0)
    assert lk.score(seen.critic, lk.generate(seen.generator, z)).shape == (4,)


class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(3, 2)
        self.drop = nn.Dropout(0.5)

    def forward(self, z, y):
        return self.drop(z + self.embed(y))


def test_a_module_of_numbers_only_has_nothing_between(build):
    for module in (
        build(Embedded).train(),  # raises for weights
        lambda z, y: z + 10.0 * y.float().reshape(len(z), -1)[:, :1],  # takes them for something else
        lambda z, y: z + y[:, None],  # of another shape
    ):
        with pytest.raises(LabelError, match=r"class numbers only.*float weights \(N, 3\).*marginal"):
            blend(lk.wrap(module, lk.Normal(2), classes=3))
    with pytest.raises(LabelError, match="this generator is not conditional"):
        blend(lk.wrap(lambda z: z, lk.Normal(2)))


def test_a_blended_network_runs_in_eval_mode(build):
    class Noisy(MLPGenerator):
        def __init__(self):
            super().__init__(2, 2, 8, 1, classes=3)
            self.layers.append(nn.Dropout(0.5))

    module = build(Noisy).train()
    both = blend(lk.wrap(module, lk.Normal(2), classes=3))
    assert module.layers[-1].training, "trying it left its mode alone"
    with evaluating(both):
        assert not module.layers[-1].training


# ---- the prior of classes


def test_classes_are_drawn_evenly_and_by_number():
    prior = OneHot(4)
    z = prior.sample(8000, seed=1)
    assert z.shape == (8000, 4)
    assert set(z.unique().tolist()) == {0.0, 1.0}
    assert z.sum(1).eq(1).all()
    assert (z.mean(0) - 0.25).abs().max() < 4 * math.sqrt(0.25 * 0.75 / 8000)
    assert prior.sample(5, seed=1, start=77).equal(z[77:82])
    assert not prior.sample(100, seed=2).equal(z[:100])


def test_only_single_classes_are_typical():
    prior = OneHot(3)
    z = torch.tensor([[1.0, 0, 0], [0, 0, 1.0], [0.5, 0.5, 0], [1.0, 1.0, 0], [0, 0, 0], [0.999, 0.001, 0]])
    assert prior.typicality(z).tolist() == [1, 1, 0, 0, 0, 0]
    assert prior.log_prob(z)[:2].tolist() == [-math.log(3)] * 2
    assert prior.log_prob(z)[2:].eq(-math.inf).all()
    assert prior.log_prob(z).exp()[:1].sum() * 3 == pytest.approx(1.0)


def test_sums_of_classes_are_weights_of_them():
    prior, eye = OneHot(3), torch.eye(3)
    for weights, terms, wanted in (
        ([1.0, 0.0], [0, 1], [1, 0, 0]),
        ([0.0, 1.0], [0, 1], [0, 1, 0]),
        ([0.75, 0.25], [0, 1], [0.75, 0.25, 0]),
        ([1.0, -1.0, 1.0], [1, 1, 2], [0, 0, 1]),
        ([1.0, -1.0, 1.0], [0, 1, 1], [1, 0, 0]),
        ([1.0, 1.0, 2.0], [0, 1, 2], [0.25, 0.25, 0.5]),
    ):
        weights = torch.tensor(weights)
        total = weights @ eye[terms]
        assert prior.match(total, weights).tolist() == wanted
    line = torch.tensor([[1.0 - t, t] for t in (0.0, 0.5, 1.0)])
    assert prior.match(line @ eye[:2], line).equal(line @ eye[:2]), "on a curve's whole way at once"
    with pytest.raises(ArgumentError, match="cancel out"):
        prior.match(eye[0] - eye[0], torch.tensor([1.0, -1.0]))


# ---- the walks


def test_a_class_walk_goes_straight_from_class_to_class(between, draw):
    za, zb = draw(2, 2)
    walk = class_walk(between, za, "near", zb, "beyond")
    assert walk([0.0, 1.0]).equal(between.latents(torch.stack([za, zb]), ["near", "beyond"]))
    z = walk([0.25, 0.5])
    assert between.weights(z).tolist() == [[0.75, 0.0, 0.25], [0.5, 0.0, 0.5]]
    assert between.inner(z).equal(lk.interpolate(za, zb, lk.Normal(2))([0.25, 0.5]))
    assert walk.prior == between.prior
    assert between.prior.typicality(z).eq(0).all(), "nothing between classes was trained on"
    back = class_walk(between, zb, "beyond", za, "near")
    torch.testing.assert_close(back.steps(9).flip(0), walk.steps(9))


def test_where_both_latents_are_equal_only_the_class_changes(between, draw):
    z = draw(2)
    walk = class_walk(between, z, 0, z, 1)
    assert between.inner(walk.steps(33)).eq(z).all()
    torch.testing.assert_close(between(walk.steps(5)), z + torch.linspace(0, 8, 5)[:, None])


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("alone", [False, True], ids=["a latent each", "one latent"])
def test_a_class_tour_reaches_every_class_at_its_time(between, draw, closed, alone):
    z = draw(2) if alone else draw(4, 2)
    labels = ["near", "beyond", 1, "near" if not closed else "beyond"]
    tour = class_tour(between, z, labels, closed=closed)
    keys = between.latents(z.expand(4, 2), labels)
    assert tour.closed is closed
    assert tour.segments == (4 if closed else 3)
    wanted = torch.cat([keys, keys[:1]]) if closed else keys
    assert tour(torch.arange(len(wanted), dtype=torch.float64) / tour.segments).equal(wanted)
    frames = tour.steps_per_segment(5)
    assert len(frames) == (20 if closed else 16)
    assert (frames.roll(-1, 0) - frames)[: len(frames) - (not closed)].norm(dim=1).min() > 0
    assert between.weights(frames).sum(1).allclose(torch.ones(len(frames)))
    assert tour.prior == between.prior


def test_a_class_walk_is_filmed_as_any_other(conditional_checkpoint):
    both = blend(conditional_checkpoint).generator
    z = both.module.prior.sample(1, seed=0)[0]
    film = lk.animate(both, class_tour(both, z, [0, 1, 2], closed=True), frames=6)
    assert len(list(film.frames())) == 6


def test_bad_calls_say_what_was_wanted(between, draw):
    z = draw(2)
    for call, error, text in (
        (lambda: class_walk(between, z, 0, z, 0), CurveError, "keyframes 0 and 1 are equal"),
        (lambda: class_walk(between, z, 0, -z, 1), CurveError, "opposite"),
        (lambda: class_walk(between, z, "close", z, 0), LabelError, "label must be one of near, far, beyond"),
        (lambda: class_walk(between, z[:1], 0, z, 1), ShapeError, r"the first latent must be \(2,\)"),
        (lambda: class_walk(between, z, 0, z * math.nan, 1), NonFiniteError, "the second latent"),
        (lambda: class_tour(lk.wrap(lambda z: z, lk.Normal(2)), z, [0, 1]), ArgumentError, r"blend\(model\)"),
        (lambda: class_tour(between, z, [0]), CurveError, "an open tour needs at least 2 classes, got 1"),
        (lambda: class_tour(between, z, []), CurveError, "at least 2 classes, got 0"),
        (lambda: class_tour(between, z, [0, 1], closed=True), CurveError, "at least 3 classes, got 2"),
        (lambda: class_tour(between, z, [0, 1, 1]), CurveError, "keyframes 1 and 2 are equal"),
        (lambda: class_tour(between, draw(3, 2), [0, 1]), ShapeError, "as many, got 3"),
        (lambda: between.latents(draw(3, 2), [0, 1]), ShapeError, r"one a latent, \(3,\), got 2"),
        (lambda: between.latents(draw(3, 2), draw(3, 2)), ShapeError, r"class weights must be \(N, 3\)"),
        (lambda: between.latents(draw(3, 2), [0, 1, 3]), LabelError, "label must be one of"),
        (lambda: OneHot(0), ArgumentError, "dim must be a whole number of at least 1"),
    ):
        with pytest.raises(error, match=text):
            call()
