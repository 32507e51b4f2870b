import json

import pytest
import torch

from latentkit.errors import ArgumentError
from latentkit.nets import NETWORKS, build

SETTINGS = {
    "mlp-generator": {"latent_dim": 3, "out_dim": 2, "width": 8, "depth": 2},
    "mlp-critic": {"in_dim": 2, "width": 8, "depth": 2},
    "conv-generator": {"latent_dim": 5, "channels": 3, "size": 16, "width": 4},
    "conv-critic": {"channels": 3, "size": 16, "width": 4},
}
GENERATORS = [name for name in NETWORKS if name.endswith("generator")]
CRITICS = [name for name in NETWORKS if name.endswith("critic")]


def inputs(name, n=6):
    shape = {"mlp-generator": (3,), "mlp-critic": (2,), "conv-generator": (5,), "conv-critic": (3, 16, 16)}[name]
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)


@pytest.fixture(autouse=True)
def _fixed_weights():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield


@pytest.mark.parametrize("name", NETWORKS)
def test_settings_rebuild_the_network(name):
    net = build(name, SETTINGS[name])
    assert type(net).network == name
    assert NETWORKS[name] is type(net)
    again = build(net.network, json.loads(json.dumps(net.settings)))
    assert net.settings == SETTINGS[name] == again.settings
    again.load_state_dict(net.state_dict())
    x = inputs(name)
    assert torch.equal(net.eval()(x), again.eval()(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_meta_construction_then_assigned_weights(name):
    net = build(name, SETTINGS[name]).eval()
    state = torch.random.get_rng_state()
    with torch.device("meta"):
        empty = build(name, SETTINGS[name])
    assert torch.equal(state, torch.random.get_rng_state())
    empty.load_state_dict(net.state_dict(), strict=True, assign=True)
    assert not any(t.is_meta for t in (*empty.parameters(), *empty.buffers()))
    assert torch.equal(empty.eval()(inputs(name)), net(inputs(name)))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_gets_a_gradient(name):
    net = build(name, SETTINGS[name])
    net(inputs(name)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_batch_is_the_stack_of_its_rows(name):
    net = build(name, SETTINGS[name])
    if name in GENERATORS:
        net.eval()  # in training the batch norm of a generator sees the batch; a critic never does
    x = inputs(name)
    rows = torch.cat([net(row) for row in x.split(1)])
    torch.testing.assert_close(net(x), rows, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net(x.flip(0)), rows.flip(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CRITICS)
def test_critics_score_from_their_features(name):
    net = build(name, SETTINGS[name])
    x = inputs(name)
    assert net(x).shape == (6,)
    assert net.features(x).ndim == 2
    torch.testing.assert_close(net.score(net.features(x))[:, 0], net(x))


@pytest.mark.parametrize("size", [16, 32, 64])
def test_images_have_the_size_and_range_asked_for(size):
    net = build("conv-generator", {"latent_dim": 4, "channels": 1, "size": size, "width": 2}).eval()
    x = net(10 * torch.ones(2, 4))
    assert x.shape == (2, 1, size, size)
    assert x.abs().max() <= 1
    assert build("conv-critic", {"channels": 1, "size": size, "width": 2})(x).shape == (2,)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("conv-generator", {"size": 24}, "power of two"),
        ("conv-critic", {"size": 8}, "power of two"),
        ("conv-critic", {"size": 2048}, "power of two"),
        ("conv-generator", {"width": 0}, "width"),
        ("conv-generator", {"latent_dim": 1.5}, "latent_dim"),
        ("mlp-critic", {"depth": 65}, "depth"),
        ("mlp-critic", {"in_dim": True}, "in_dim"),
        ("mlp-generator", {"colour": 3}, "colour"),
    ],
)
def test_wrong_settings_are_argument_errors(name, change, said):
    with pytest.raises(ArgumentError, match=said):
        build(name, SETTINGS[name] | change)


def test_missing_settings_and_unknown_names_are_argument_errors():
    with pytest.raises(ArgumentError, match="depth"):
        build("mlp-critic", {"in_dim": 2, "width": 8})
    with pytest.raises(ArgumentError, match="conv-generator"):
        build("vit", {})
