"""What a trial finds: the output of every form, and each fault that would spoil an analysis by its name."""

import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import latentkit as lk
from latentkit.errors import ArgumentError
from latentkit.protocols import InspectionWarning, Output, inspect_generator

PRIOR = lk.Normal(12)


def images(z):
    return z.reshape(-1, 3, 2, 2).tanh()


def grey(z):
    return z[:, :1, None] + torch.zeros(9, 9)


FORMS = {
    "as it is": (images, Output()),
    "unit": (lambda z: (images(z) + 1) / 2, Output(0, 1)),
    "levels": (lambda z: (images(z) + 1) * 127.5, Output(0, 255)),
    "bytes": (lambda z: ((images(z) + 1) * 127.5).to(torch.uint8), Output(0, 255)),
    "channels last": (lambda z: images(z).permute(0, 2, 3, 1), Output(channels="last")),
    "bytes last": (
        lambda z: ((images(z) + 1) * 127.5).to(torch.uint8).permute(0, 2, 3, 1).numpy(),
        Output(0, 255, channels="last"),
    ),
    "dictionary": (lambda z: {"w": z, "sample": images(z)}, Output(key="sample")),
    "object": (lambda z: SimpleNamespace(sample=images(z), loss=0.0), Output(key="sample")),
    "tuple": (lambda z: (images(z), z), Output(key=0)),
    "one part": (lambda z: {"anything": images(z), "loss": torch.zeros(())}, Output(key="anything")),
    "no channel": (lambda z: grey(z).tanh(), Output(shape=(1, 9, 9))),
    "points": (lambda z: z[:, :2] * 50, Output()),
    "series": (lambda z: z.repeat(1, 20) * 50, Output()),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_output_is_told(form):
    make, wanted = FORMS[form]
    found = inspect_generator(lk.wrap(make, PRIOR))
    assert found.output == wanted
    amiss = {finding.name for finding in found.findings if not finding.good}
    assert amiss == ({"gradients"} if "bytes" in form else set())
    assert found.as_is == (form in ("as it is", "points", "series"))


def test_detected_samples_are_used_and_said_once():
    z = PRIOR.sample(4, seed=0)
    with pytest.warns(InspectionWarning, match=r"took output=Output\(low=0.0, high=1.0.*key='x'"):
        generator = lk.wrap(lambda z: {"x": (images(z) + 1) / 2}, PRIOR, output="detect")
    torch.testing.assert_close(lk.generate(generator, z), images(z))


def test_what_is_as_it_should_be_stays_as_it_is(build):
    net = build(lambda: nn.Sequential(nn.Linear(12, 12), nn.Unflatten(1, (3, 2, 2)), nn.Tanh()))
    assert lk.wrap(net, PRIOR, output="detect").module is net  # and nothing is said: warnings are errors here


class Company(nn.Module):
    """Normalises over the batch, whatever its mode."""

    def forward(self, z):
        return images(z - z.mean(0))


class Noisy(nn.Module):
    """Draws noise of its own from the global stream."""

    def forward(self, z):
        return images(z + torch.randn_like(z))


FAULTS = {
    "batch": (Company(), "changes by .* with the others of its batch"),
    "determinism": (Noisy(), "two calls with the same latents differ"),
    "dependence": (lambda z: images(torch.ones_like(z)), "the same sample"),
    "range": (lambda z: images(z) * 3, r"beyond \[-1, 1\]"),
    "layout": (lambda z: z.sum(1), "a critic's scores"),
    "gradients": (lambda z: images(z.detach()), "no gradients"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named_and_no_other(name):
    model, text = FAULTS[name]
    found = inspect_generator(lk.wrap(model, PRIOR))
    assert not found[name].good
    assert re.search(text, found[name].text)
    others = {"dependence": {"gradients"}, "layout": set()}.get(name, set())
    assert {f.name for f in found.findings if not f.good} - {name} <= others


def test_values_that_are_not_finite_are_said():
    found = inspect_generator(lk.wrap(lambda z: images(z) / 0, PRIOR))
    assert "NaN or infinite" in found["range"].text


def test_an_odd_batch_is_a_finding():
    def four(z):
        if len(z) % 4:
            raise RuntimeError("built for batches of 4")
        return images(z)

    assert "no batch of 1" in inspect_generator(lk.wrap(four, PRIOR))["batch"].text


def test_a_trial_changes_nothing(build):
    net = build(
        lambda: nn.Sequential(
            nn.utils.parametrizations.spectral_norm(nn.Linear(12, 12)), nn.BatchNorm1d(12), nn.Dropout(0.5)
        )
    )
    net[1].eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    modes = [part.training for part in net.modules()]
    found = inspect_generator(lk.wrap(net, PRIOR))
    assert all(value.equal(before[key]) for key, value in net.state_dict().items())
    assert [part.training for part in net.modules()] == modes
    assert "training mode gives other samples" in found["mode"].text
    assert not any(weight.grad is not None for weight in net.parameters())


def test_place_and_labels(build):
    class Classes(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(3, 12)

        def forward(self, z, y):
            return images(z + self.embed(y))

    found = inspect_generator(lk.wrap(build(Classes).double(), PRIOR, classes=3))
    assert (found.dtype, found.shape, found.amiss) == (torch.float64, (3, 2, 2), ())
    assert "float64 on cpu" in str(found)


@pytest.mark.parametrize("made", [{"a": 1.0, "b": "text"}, "text", torch.zeros(3, 2), {"a": 1, "b": 2}])
def test_an_output_that_cannot_be_told_is_refused_by_detection(made):
    assert inspect_generator(lk.wrap(lambda z: made, PRIOR)).output is None
    with pytest.raises(ArgumentError, match="the output cannot be told: returns a"):
        lk.wrap(lambda z: made, PRIOR, output="detect")


def test_a_discriminator_given_as_a_generator_fails_in_one_line(build):
    critic = build(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()))
    with pytest.raises(ArgumentError, match=r"fails on 8 latents of its prior.*a discriminator takes samples") as told:
        lk.wrap(critic, PRIOR, output="detect")
    assert "\n" not in str(told.value)


def test_what_has_no_prior_or_finding_is_said():
    with pytest.raises(ArgumentError, match=r"make it one first: wrap\(module"):
        inspect_generator(images)
    with pytest.raises(ArgumentError, match="no finding is called 'colour'; there are output, layout"):
        inspect_generator(lk.wrap(images, PRIOR))["colour"]
