"""What outputs mean: every declared range, layout and part gives the same samples, and gradients go through."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import latentkit as lk
from latentkit.errors import ArgumentError, ShapeError
from latentkit.protocols import Output

PRIOR = lk.Normal(12)


def images(z):
    return z.reshape(-1, 3, 2, 2).tanh()


FORMS = {
    "as it is": (Output(), lambda x: x),
    "unit": (Output(0, 1), lambda x: (x + 1) / 2),
    "levels": (Output(0, 255), lambda x: (x + 1) * 127.5),
    "channels last": (Output(channels="last"), lambda x: x.permute(0, 2, 3, 1)),
    "dictionary": (Output(key="sample"), lambda x: {"w": None, "sample": x}),
    "object": (Output(key="sample"), lambda x: SimpleNamespace(sample=x)),
    "tuple": (Output(key=1), lambda x: (None, x)),
    "array": (Output(), lambda x: x.detach().numpy()),
    "flat": (Output(shape=(3, 2, 2)), lambda x: x.flatten(1)),
    "all at once": (
        Output(0, 255, channels="last", key="images"),
        lambda x: {"images": (((x + 1) * 127.5).permute(0, 2, 3, 1)).detach().numpy()},
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_samples(form):
    output, make = FORMS[form]
    z = PRIOR.sample(5, seed=0)
    generator = lk.wrap(lambda z: make(images(z)), PRIOR, output=output)
    torch.testing.assert_close(lk.generate(generator, z), images(z))


@pytest.mark.parametrize("form", [form for form in FORMS if form not in ("array", "all at once")])
def test_gradients_go_through_a_declared_output(form):
    output, make = FORMS[form]
    z = PRIOR.sample(2, seed=0).requires_grad_()
    (found,) = torch.autograd.grad(lk.wrap(lambda z: make(images(z)), PRIOR, output=output)(z).sum(), z)
    (wanted,) = torch.autograd.grad(images(z).sum(), z)
    torch.testing.assert_close(found, wanted)


def test_bytes_become_the_floats_that_they_stand_for():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    found = Output(0, 255).samples(levels, 1)
    assert found.equal(levels.float() * (2 / 255) - 1)
    assert (found.min(), found.max()) == (-1, 1)


@pytest.mark.parametrize("output", [Output(), Output(0, 255), Output(-3, 5, channels="last")])
def test_undone_is_the_inverse(output):
    x = images(PRIOR.sample(3, seed=1))
    torch.testing.assert_close(output.samples(output.undone(x), 3), x)


def test_labels_are_passed_on_with_the_latents():
    generator = lk.wrap(lambda z, y: {"x": z + y[:, None]}, PRIOR, output=Output(key="x"), classes=2)
    z = PRIOR.sample(3, seed=0)
    torch.testing.assert_close(lk.generate(lk.condition(generator, 1), z), z + 1)


def test_a_module_of_a_declared_output_still_runs_in_eval_mode(build):
    net = build(lambda: torch.nn.Sequential(torch.nn.BatchNorm1d(12), torch.nn.Sigmoid())).train()
    generator = lk.wrap(net, PRIOR, output=Output(0, 1))
    z = PRIOR.sample(8, seed=0)
    torch.testing.assert_close(lk.generate(generator, z), lk.generate(generator, z, batch_size=1))
    assert net.training
    assert net[0].num_batches_tracked == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"low": 1, "high": 1}, "high must be above low"),
        ({"low": float("nan")}, "low must be a finite number"),
        ({"channels": "middle"}, "channels must be one of first, last"),
        ({"key": 1.5}, "key must be"),
        ({"shape": (0, 2)}, "a side of shape"),
        ({"shape": 784}, "shape must be that of one sample"),
    ],
)
def test_an_output_says_what_it_takes(arguments, text):
    with pytest.raises(ArgumentError, match=text):
        Output(**arguments)


@pytest.mark.parametrize(
    ("output", "made", "text"),
    [
        (Output(key="x"), {"y": torch.zeros(3, 2)}, "no part 'x'"),
        (Output(key=4), (torch.zeros(3, 2),), "no part 4"),
        (Output(key="x"), torch.zeros(3, 2), "no part 'x'"),
        (Output(), "text", "must be a tensor or an array, got str"),
        (Output(), torch.zeros(3, 2, dtype=torch.complex64), "complex"),
        (Output(), torch.zeros(2, 2), r"one row a latent \(3, ...\), got \(2, 2\)"),
        (Output(shape=(1, 5)), np.zeros((3, 2)), r"cannot have the shape \(1, 5\)"),
    ],
)
def test_an_output_that_is_not_there_is_said(output, made, text):
    with pytest.raises(ShapeError, match=text):
        output.samples(made, 3)


def test_wrap_refuses_what_is_no_output():
    with pytest.raises(ArgumentError, match=r"output must be an Output such as Output\(0, 255\)"):
        lk.wrap(images, PRIOR, output="bytes")
