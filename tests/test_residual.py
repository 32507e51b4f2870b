"""The generator of residual blocks: what it shares with its kind, and what its blocks add."""

import json
from typing import Any

import pytest
import torch

from latentkit.errors import ArgumentError, LabelError
from latentkit.nets import ResidualGenerator, build
from trainers.loop import initialised

SETTINGS = {"latent_dim": 5, "channels": 3, "size": 16, "width": 4}
CASES = [{}, {"classes": 3}, {"virtual_batch_norm": True}, {"classes": 3, "virtual_batch_norm": True}]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case) or "plain")


def make(seed=0, **changes) -> Any:
    net = initialised(lambda: ResidualGenerator(**{**SETTINGS, **changes}), seed)
    if net.settings["virtual_batch_norm"]:
        net.reference(*inputs(net, 4, seed=7))
    return net


def inputs(net, n=6, seed=0):
    """Latents, and classes if there are any."""
    z = torch.randn(n, net.settings["latent_dim"], generator=torch.Generator().manual_seed(seed))
    return (z, torch.arange(n) % net.classes) if net.classes else (z,)


def trained(**changes):
    """A network whose normalisation has seen a few batches, in eval mode."""
    net = make(**changes)
    with torch.no_grad():
        for seed in range(3):
            net(*inputs(net, seed=seed))
    return net.eval()


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (32, 3), (128, 1)])
def test_images_have_the_size_and_range_asked_for(size, channels):
    x = make(size=size, channels=channels, width=2)(10 * inputs(make())[0])
    assert x.shape == (6, channels, size, size)
    assert x.abs().max() <= 1
    assert x.std() > 0


@every_case
def test_settings_and_weights_rebuild_the_network(case):
    net = trained(**case)
    again = initialised(lambda: build(net.network, json.loads(json.dumps(net.settings))), 1)
    again.load_state_dict(net.state_dict())
    assert again.settings == net.settings == {**SETTINGS, "classes": 0, "virtual_batch_norm": False, **case}
    assert torch.equal(again.eval()(*inputs(net)), net(*inputs(net)))


@every_case
def test_a_batch_is_its_samples(case):
    net = trained(**case)
    known = inputs(net)
    alone = torch.cat([net(*(part[k : k + 1] for part in known)) for k in range(6)])
    torch.testing.assert_close(net(*known), alone, rtol=1e-4, atol=1e-5)


@every_case
def test_every_latent_coordinate_and_every_class_has_an_effect(case):
    net = trained(**case)
    z, *label = inputs(net, 1)
    for k in range(5):
        moved = z + 0.1 * torch.eye(5)[k]
        assert (net(moved, *label) - net(z, *label)).abs().max() > 1e-4
    if net.classes:
        images = net(z.expand(3, -1), torch.arange(3))
        assert (images - images.roll(1, 0)).flatten(1).abs().amax(1).min() > 1e-4


@every_case
def test_no_weight_is_lost_in_the_normalisation(case):
    """In double precision each parameter has a gradient that is no rounding: a bias before a norm would have none."""
    net = make(**case).double()
    z, *label = inputs(net)
    if net.settings["virtual_batch_norm"]:
        net.reference(z.double()[:4], *(part[:4] for part in label))
    net(z.double(), *label).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad.abs().max() > 1e-9, name


def test_a_block_adds_to_its_enlarged_input():
    """Without what its convolutions add, each pixel is four; where the channels stay, they are the same."""
    net = make(size=128, width=2)  # maps of 16, 16, 8, 4 and 2 channels
    x = torch.randn(2, 16, 3, 3, generator=torch.Generator().manual_seed(0))
    same, fewer = net.blocks[0], net.blocks[1]
    with torch.no_grad():
        added = same(x) - x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        torch.testing.assert_close(added, same.change(x))
        for block in (same, fewer):
            block.change[-1].weight.zero_()
        assert torch.equal(same(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))
        torch.testing.assert_close(fewer(x)[:, :, ::2, 1::2], fewer.skip(x))
    assert not list(same.skip.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_virtual_batch_norm_makes_samples_independent_in_training_too(training):
    net = make(virtual_batch_norm=True).train(training)
    z = inputs(net)[0]
    torch.testing.assert_close(net(z), torch.cat([net(row) for row in z.split(1)]), rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ArgumentError, match="power of two"):
        make(size=24)
    with pytest.raises(LabelError, match="needs labels"):
        make(classes=3)(torch.zeros(2, 5))
    with pytest.raises(LabelError, match="no classes"):
        make()(torch.zeros(2, 5), torch.zeros(2, dtype=torch.long))
