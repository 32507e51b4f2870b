import functools

import pytest
import torch
from torch import nn

import latentkit as lk
from latentkit.errors import ArgumentError, LabelError, ShapeError
from latentkit.protocols import check_rows, evaluating, place_of


class Mixed(nn.Module):
    """Submodules in different modes, as when a user has frozen some batch norms."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 3))
        self.train()
        self.norm.eval()
        self.drop[0].eval()

    def forward(self, z):
        return self.drop(self.norm(z))


def modes(module):
    return [part.training for part in module.modules()]


def test_protocols_are_structural():
    generator = lk.wrap(nn.Identity(), lk.Normal(2))
    assert isinstance(generator, lk.Generator)
    assert isinstance(nn.Identity(), lk.Critic)
    assert isinstance(nn.Identity(), lk.Encoder)
    assert not isinstance(nn.Identity(), lk.Generator)


def test_wrap_adds_the_prior_and_changes_nothing(draw, build):
    module, z = build(lambda: nn.Linear(2, 3)), draw(4, 2)
    generator = lk.wrap(module, lk.Normal(2))
    assert generator(z).equal(module(z))
    assert generator.prior == lk.Normal(2)
    assert generator.module is module


def test_classes_may_be_a_number():
    assert lk.wrap(lambda z, y: z, lk.Normal(2), classes=3).classes == ("0", "1", "2")


def test_a_conditional_generator_asks_for_its_class(draw):
    generator = lk.wrap(lambda z, y: z + y[:, None], lk.Normal(2), classes=["near", "far"])
    z = draw(4, 2)
    assert generator(z, torch.ones(4)).equal(z + 1.0)
    with pytest.raises(LabelError, match=r"condition\(generator, label\).*near, far.*marginal\(generator\)"):
        lk.generate(generator, torch.zeros(2, 2))


@pytest.mark.parametrize(
    ("module", "prior", "classes", "text"),
    [
        (3, lk.Normal(2), None, "takes a module or a function, got int"),
        (nn.Identity(), 2, None, r"takes a prior such as Normal\(128\), got 2"),
        (nn.Identity(), lk.Normal(2), 0, "distinct names, or how many there are, got 0"),
        (nn.Identity(), lk.Normal(2), ["a", "a"], "distinct names"),
    ],
)
def test_wrap_says_what_it_takes(module, prior, classes, text):
    with pytest.raises(ArgumentError, match=text):
        lk.wrap(module, prior, classes=classes)


@pytest.mark.parametrize("hide", [lambda m: m, lambda m: lk.wrap(m, lk.Normal(3))])
def test_evaluating_restores_the_mode_of_every_submodule(hide, build):
    module = build(Mixed)
    before = modes(module)
    assert len(set(before)) == 2
    with evaluating(hide(module)):
        assert not any(modes(module))
    assert modes(module) == before
    with pytest.raises(KeyboardInterrupt), evaluating(hide(module), lambda x: x):
        raise KeyboardInterrupt
    assert modes(module) == before


def test_evaluating_finds_the_module_of_a_condition(build):
    class Classes(Mixed):
        def forward(self, z, y):
            return super().forward(z)

    module = build(Classes)
    with evaluating(lk.condition(lk.wrap(module, lk.Normal(3), classes=2), 0)):
        assert not any(modes(module))


def test_the_place_of_a_model_is_that_of_its_parameters(build):
    linear = build(lambda: nn.Linear(2, 2))
    assert place_of(lambda z: z) == (torch.device("cpu"), torch.float32)
    assert place_of(linear.double()) == (torch.device("cpu"), torch.float64)
    assert place_of(lk.wrap(linear.half(), lk.Normal(2)))[1] == torch.float16
    assert place_of(nn.Linear(2, 2, device="meta"))[0].type == "meta"


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ([1.0], r"a tensor \(3, ...\), got list"),
        (torch.zeros(2, 5), r"one row a latent \(3, ...\), got \(2, 5\)"),
        (torch.tensor(1.0), r"got \(\)"),
    ],
)
def test_an_output_must_have_one_row_a_latent(output, text):
    with pytest.raises(ShapeError, match=f"the generator must return .*{text}"):
        check_rows(output, 3, "the generator")


class Noisy(torch.nn.Module):
    """Gives another output, and moves its statistics, in training mode."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(4)

    def forward(self, z):
        return self.norm(z)


def _ways(net):
    def closed_over(z):
        return net(z)

    return {
        "module": net,
        "method": net.forward,
        "partial": functools.partial(net.forward),
        "function": closed_over,
        "lambda": lambda z: net(z) + 0.0,
        "wrapped twice": lk.wrap(net, lk.Normal(4)),
    }


@pytest.mark.parametrize("way", ["module", "method", "partial", "function", "lambda", "wrapped twice"])
def test_a_model_runs_in_eval_mode_however_it_is_wrapped(way, build):
    net = build(Noisy).train()
    before = net.norm.running_mean.clone()
    generator = lk.wrap(_ways(net)[way], lk.Normal(4))
    z = generator.prior.sample(32, seed=0)
    torch.testing.assert_close(lk.generate(generator, z, batch_size=32), lk.generate(generator, z, batch_size=4))
    assert net.norm.running_mean.equal(before)
    assert net.training
    assert net.norm.training


@pytest.mark.parametrize("classes", [True, 2.5, object()])
def test_classes_that_are_neither_names_nor_a_number_are_refused(classes):
    with pytest.raises(ArgumentError, match="classes must be"):
        lk.wrap(lambda z, y: z, lk.Normal(2), classes=classes)
