"""StyleGANs from files of the official release and of the common re-implementation."""

import argparse
import collections
import pickle
import sys
import types

import numpy as np
import pytest
import safetensors.torch
import torch

from latentkit.adapters import load_stylegan
from latentkit.errors import CheckpointError, LabelError
from latentkit.nets.stylegan import StyleGAN2Critic, StyleGAN2Generator, StyleGAN3Generator, binomial_kernel

SMALL = {"w_dim": 12, "mapping_depth": 2, "channel_base": 128, "channel_max": 16}
SMALL3 = {"w_dim": 12, "channel_base": 256, "channel_max": 12, "depth": 6, "margin": 4}


def moved(network, seed=0):
    """A network none of whose weights has the value that it starts with, and w_avg near the mean of w."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if not name.endswith(("_filter", "running_std", "magnitude_ema", "transform")):
                scale = 10.0 if name.startswith("mapping.fc") else 0.2
                value.add_(scale * torch.randn(value.shape, generator=random))
    return network.eval().requires_grad_(False)


@pytest.fixture
def generator(build):
    return moved(build(lambda: StyleGAN2Generator(10, 3, 16, conv_clamp=4.0, **SMALL)))


@pytest.fixture
def critic(build):
    return moved(build(lambda: StyleGAN2Critic(3, 16, channel_base=128, channel_max=16)))


def published(network):
    """A network's weights as the official release has them: the number over a batch is not one of them."""
    return {key: value for key, value in network.state_dict().items() if not key.endswith("running_std")}


class Persistent:
    """Pickled as the official release pickles a network: its class's source code, and the state of the module."""

    def __init__(self, name, state, kwargs):
        self.name, self.state, self.kwargs = name, state, kwargs

    def __reduce__(self):
        inner, own = collections.defaultdict(dict), {}
        for key, value in self.state.items():
            head, _, rest = key.partition(".")
            if rest:
                inner[head][rest] = value
            else:
                own[head] = value
        state = {
            "training": False,
            "_parameters": collections.OrderedDict(
                (key, torch.nn.Parameter(value)) for key, value in own.items() if not key.endswith(("_filter", "avg"))
            ),
            "_buffers": collections.OrderedDict(
                (key, value) for key, value in own.items() if key.endswith(("_filter", "avg"))
            ),
            "_non_persistent_buffers_set": set(),
            "_modules": collections.OrderedDict((key, Persistent("Layer", part, {})) for key, part in inner.items()),
            "_init_args": (),
            "_init_kwargs": sys.modules["dnnlib.util"].EasyDict(self.kwargs),
            "size": np.asarray([4, 4]),
            "weight_gain": np.float64(0.5),
            "skip": None,
        }
        meta = {
            "type": "class",
            "version": 6,
            "module_src": "raise SystemExit",
            "class_name": self.name,
            "state": state,
        }
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,)


@pytest.fixture
def release(monkeypatch):
    """The modules that the official pickles name; nothing in them can be run."""

    def _reconstruct_persistent_obj(meta):
        raise RuntimeError("must never run")

    class EasyDict(dict):
        pass

    for name, member in (("torch_utils.persistence", _reconstruct_persistent_obj), ("dnnlib.util", EasyDict)):
        made = types.ModuleType(name)
        member.__module__, member.__qualname__ = name, member.__name__
        setattr(made, member.__name__, member)
        monkeypatch.setitem(sys.modules, name.split(".")[0], types.ModuleType(name.split(".")[0]))
        monkeypatch.setitem(sys.modules, name, made)


OPTIONS = {
    "z_dim": 10,
    "c_dim": 0,
    "w_dim": 12,
    "img_resolution": 16,
    "img_channels": 3,
    "mapping_kwargs": {"num_layers": 2},
    "synthesis_kwargs": {"channel_base": 128, "channel_max": 16, "num_fp16_res": 4, "conv_clamp": 4},
}
CRITIC_OPTIONS = {
    "c_dim": 0,
    "img_resolution": 16,
    "img_channels": 3,
    "block_kwargs": {},
    "mapping_kwargs": {},
    "epilogue_kwargs": {"mbstd_group_size": 2},
    "conv_clamp": None,
}


def snapshot(tmp_path, generator, critic, options=OPTIONS):
    path = tmp_path / "network-snapshot.pkl"
    parts = {
        "G": Persistent("Generator", {key: value + 1.0 for key, value in published(generator).items()}, options),
        "D": Persistent("Discriminator", published(critic), CRITIC_OPTIONS),
        "G_ema": Persistent("Generator", published(generator), options),
        "training_set_kwargs": sys.modules["dnnlib.util"].EasyDict(path="/data"),
        "augment_pipe": None,
    }
    path.write_bytes(pickle.dumps(parts, 3))
    return path


def test_an_official_pickle(release, tmp_path, build, generator, draw):
    critic = moved(build(lambda: StyleGAN2Critic(3, 16, channel_base=128, channel_max=16, group=2)))
    model = load_stylegan(snapshot(tmp_path, generator, critic))
    assert model.settings == generator.settings  # the clamp as well, which only the pickle says
    z = draw(3, 10)
    assert torch.equal(model.network(z), generator(z))
    assert model.discriminator.settings["group"] == 2
    x = draw(4, 3, 16, 16)
    critic.settle(x)
    model.critic.settle(x)
    assert torch.equal(model.critic(x), critic(x))
    assert not model.network.training
    assert model.classes == ()


def test_an_official_pickle_of_stylegan3(release, tmp_path, build, draw):
    network = moved(build(lambda: StyleGAN3Generator(10, 3, 16, kernel=1, radial=True, **SMALL3)))
    options = {
        "mapping_kwargs": {"num_layers": 2},
        "channel_base": 256,
        "channel_max": 12,
        "num_layers": 6,
        "margin_size": 4,
        "magnitude_ema_beta": 0.9988,
        "conv_kernel": 1,
        "use_radial_filters": True,
    }
    path = tmp_path / "r.pkl"
    path.write_bytes(pickle.dumps({"G_ema": Persistent("Generator", published(network), options), "D": None}))
    model = load_stylegan(path)
    z = draw(2, 10)
    assert model.settings == network.settings
    assert torch.equal(model.network(z), network(z))
    assert model.critic is None


@pytest.mark.parametrize(
    ("setting", "wrong"),
    [
        ({"activation": "relu"}, "activation 'relu', and only 'lrelu' is known"),
        ({"attention": True}, r"settings that these networks do not \(attention\)"),
        ({"block_kwargs": {"resample_filter": [1, 2, 1]}}, "resample_filter"),
    ],
)
def test_other_settings_are_refused(release, tmp_path, generator, critic, setting, wrong):
    with pytest.raises(CheckpointError, match=wrong):
        load_stylegan(snapshot(tmp_path, generator, critic, {**OPTIONS, **setting}))


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("classes", [0, 3])
def test_a_bare_state_dict_tells_what_it_is_of(build, tmp_path, draw, architecture, classes):
    network = moved(build(lambda: StyleGAN2Generator(10, 1, 16, classes=classes, architecture=architecture, **SMALL)))
    path = tmp_path / "network.safetensors"
    safetensors.torch.save_file(published(network), path)
    model = load_stylegan(path)
    assert model.settings == network.settings
    labels = torch.tensor([0, 2]) if classes else None
    z = draw(2, 10)
    assert torch.equal(model.network(z, labels), network(z, labels))
    assert model.classes == tuple("012"[:classes])


@pytest.mark.parametrize("radial", [False, True])
@pytest.mark.parametrize("base", [256, 512])
def test_a_bare_state_dict_of_stylegan3(build, tmp_path, draw, base, radial):
    small = {"w_dim": 12, "channel_base": base, "channel_max": 12, "depth": 5}
    network = moved(build(lambda: StyleGAN3Generator(10, 3, 16, radial=radial, **small)))
    path = tmp_path / "network.pt"
    torch.save(published(network), path)
    model = load_stylegan(path)
    z = draw(2, 10)
    assert torch.equal(model.network(z), network(z))


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("classes", [0, 3])
def test_state_dicts_side_by_side(build, tmp_path, generator, draw, architecture, classes):
    small = {"channel_base": 128, "channel_max": 16, "classes": classes}
    network = moved(build(lambda: StyleGAN2Generator(10, 3, 16, **{**SMALL, **small})))
    critic = moved(build(lambda: StyleGAN2Critic(3, 16, architecture=architecture, **small)))
    flat = {f"G_ema.{key}": value for key, value in published(network).items()}
    flat |= {f"D.{key}": value for key, value in published(critic).items()}
    path = tmp_path / "both.safetensors"
    safetensors.torch.save_file(flat, path)
    model = load_stylegan(path)
    x = draw(4, 3, 16, 16)
    critic.settle(x)
    model.critic.settle(x)
    assert torch.equal(model.critic(x), critic(x))


def foreign_generator(network):
    """The weights of a generator by the names of the common re-implementation."""
    state, found = network.state_dict(), {}

    def layer(old, new, noise):
        found[f"{new}.conv.weight"] = state[f"{old}.weight"][None]
        for part in ("weight", "bias"):
            found[f"{new}.conv.modulation.{part}"] = state[f"{old}.affine.{part}"]
        if noise is None:
            found[f"{new}.bias"] = state[f"{old}.bias"].reshape(1, 3, 1, 1)
            return
        found[f"{new}.noise.weight"] = state[f"{old}.noise_strength"].reshape(1)
        found[f"{new}.activate.bias"] = state[f"{old}.bias"]
        found[f"noises.noise_{noise}"] = state[f"{old}.noise_const"][None, None]

    for i in range(2):
        for part in ("weight", "bias"):
            found[f"style.{i + 1}.{part}"] = state[f"mapping.fc{i}.{part}"]
    found["input.input"] = state["synthesis.b4.const"][None]
    layer("synthesis.b4.conv1", "conv1", 0)
    layer("synthesis.b4.torgb", "to_rgb1", None)
    for i, side in enumerate((8, 16)):
        layer(f"synthesis.b{side}.conv0", f"convs.{2 * i}", 2 * i + 1)
        layer(f"synthesis.b{side}.conv1", f"convs.{2 * i + 1}", 2 * i + 2)
        layer(f"synthesis.b{side}.torgb", f"to_rgbs.{i}", None)
        found[f"convs.{2 * i}.conv.blur.kernel"] = 4.0 * binomial_kernel()
        found[f"to_rgbs.{i}.upsample.kernel"] = 4.0 * binomial_kernel()
    return found


def foreign_critic(network):
    """The weights of a discriminator by the names of the common re-implementation."""
    state = network.state_dict()
    names = {"convs.0.0.weight": "b16.fromrgb.weight", "convs.0.1.bias": "b16.fromrgb.bias"}
    for i, side in enumerate((16, 8), 1):
        names |= {
            f"convs.{i}.conv1.0.weight": f"b{side}.conv0.weight",
            f"convs.{i}.conv1.1.bias": f"b{side}.conv0.bias",
            f"convs.{i}.conv2.1.weight": f"b{side}.conv1.weight",
            f"convs.{i}.conv2.2.bias": f"b{side}.conv1.bias",
            f"convs.{i}.skip.1.weight": f"b{side}.skip.weight",
        }
    names |= {"final_conv.0.weight": "b4.conv.weight", "final_conv.1.bias": "b4.conv.bias"}
    names |= {f"final_linear.0.{part}": f"b4.fc.{part}" for part in ("weight", "bias")}
    names |= {f"final_linear.1.{part}": f"b4.out.{part}" for part in ("weight", "bias")}
    kernels = {f"convs.{i}.{part}.0.kernel": binomial_kernel() for i in (1, 2) for part in ("conv2", "skip")}
    return {old: state[new] for old, new in names.items()} | kernels


def foreign(tmp_path, **parts):
    path = tmp_path / "stylegan2.pt"
    torch.save(parts, path)
    return path


@pytest.fixture
def plain(build):
    """A generator without the clamp, which the re-implementation does not have."""
    return moved(build(lambda: StyleGAN2Generator(12, 3, 16, **SMALL)))


def test_a_checkpoint_of_the_re_implementation(tmp_path, plain, critic, draw):
    path = foreign(
        tmp_path,
        g={f"module.{key}": value + 1.0 for key, value in foreign_generator(plain).items()},
        g_ema=foreign_generator(plain),
        d=foreign_critic(critic),
        latent_avg=plain.mapping.w_avg,
        args=argparse.Namespace(size=16),
        ada_aug_p=0.3,
    )
    model = load_stylegan(path)
    z, x = draw(3, 12), draw(4, 3, 16, 16)
    assert torch.equal(model.network(z), plain(z))
    assert torch.equal(model.network.mapping.w_avg, plain.mapping.w_avg)
    critic.settle(x)
    model.critic.settle(x)
    assert torch.equal(model.critic(x), critic(x))


def test_a_mean_that_is_not_stored_is_measured(tmp_path, plain):
    model = load_stylegan(foreign(tmp_path, g_ema=foreign_generator(plain)))
    w = plain.map(model.z.prior.sample(20_000, seed=9))
    error = (model.network.mapping.w_avg - w.mean(0)).norm() / w.std(0).norm()
    assert float(error) < 0.05


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda s: s.pop("convs.2.conv.weight"), "lacks convs.2.conv.weight"),
        (lambda s: s.update(extra=torch.ones(1)), r"1 weights that are not StyleGAN2's \(extra\)"),
        (lambda s: s["convs.0.conv.blur.kernel"].add_(1.0), "another filter"),
        (lambda s: s.update({"input.input": torch.ones(2, 16, 4, 4)}), r"input.input of the shape \(2, 16, 4, 4\)"),
    ],
)
def test_the_re_implementation_is_mapped_whole(tmp_path, plain, change, wrong):
    state = foreign_generator(plain)
    change(state)
    with pytest.raises(CheckpointError, match=wrong):
        load_stylegan(foreign(tmp_path, g_ema=state))


def without(state, *names):
    return {key: value for key, value in state.items() if key not in names}


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda s: without(s, "synthesis.b8.conv0.bias"), "missing: synthesis.b8.conv0.bias"),
        (lambda s: {**s, "synthesis.extra": torch.ones(1)}, "unexpected: synthesis.extra"),
        (lambda s: {**s, "mapping.fc1.weight": torch.ones(12, 13)}, r"shape: mapping.fc1.weight \(12, 13\)"),
        (lambda s: without(s, "mapping.w_avg"), "no mapping.w_avg"),
        (lambda s: {**s, "mapping.w_avg": torch.full((12,), float("nan"))}, "not finite"),
        (lambda s: {f"module.{k}" if k[0] == "m" else k: v for k, v in s.items()}, "no StyleGAN generator"),
        (lambda s: without(s, "synthesis.b16.torgb.weight"), "lacks synthesis.b16.torgb.weight"),
        (lambda s: {k: v for k, v in s.items() if ".conv" not in k}, "no layers that a StyleGAN has"),
    ],
)
def test_a_state_dict_fits_or_is_refused(tmp_path, generator, change, wrong):
    path = tmp_path / "network.pt"
    torch.save(change(published(generator)), path)
    with pytest.raises(CheckpointError, match=wrong):
        load_stylegan(path)


def test_a_discriminator_is_not_a_generator(tmp_path, generator, critic):
    official, renamed = published(critic), foreign_critic(critic)
    for parts, wrong in (
        (official, "holds a discriminator where a generator is wanted"),
        (renamed, "holds a discriminator where a generator is wanted"),
        ({"G_ema": official}, "holds a discriminator where a generator is wanted"),
        ({"D": official}, "a discriminator and no generator"),
        ({"G_ema": published(generator), "D": published(generator)}, "no StyleGAN discriminator"),
        ({"optimizer": {"lr": 0.1}}, "holds optimizer and no generator's weights"),
        ({"G_ema": None}, "holds G_ema and no generator's weights"),
        ({"G_ema": {"weight": 1}}, "a dict in place of a network's state dict"),
        ({"G_ema": {0: torch.ones(1)}}, "a dict in place of a network's state dict"),
        ({0: torch.ones(1)}, "holds 0 and no generator's weights"),
        ([1, 2], "holds a list, not networks"),
    ):
        path = tmp_path / "network.pt"
        torch.save(parts, path)
        with pytest.raises(CheckpointError, match=wrong):
            load_stylegan(path)


def test_networks_of_two_sizes_are_refused(build, tmp_path, generator):
    critic = moved(build(lambda: StyleGAN2Critic(3, 8, channel_base=128, channel_max=16)))
    path = tmp_path / "network.pt"
    torch.save({"G_ema": published(generator), "D": published(critic)}, path)
    with pytest.raises(CheckpointError, match="side 16, and a discriminator of 0 and 8"):
        load_stylegan(path)


def test_names_of_classes(build, tmp_path):
    network = moved(build(lambda: StyleGAN2Generator(10, 3, 8, classes=2, **SMALL)))
    path = tmp_path / "network.pt"
    torch.save(published(network), path)
    assert load_stylegan(path, classes=["cat", "dog"]).classes == ("cat", "dog")
    for names, wrong in ((["cat"], "has 2 classes"), (["cat", "cat"], "distinct")):
        with pytest.raises(LabelError, match=wrong):
            load_stylegan(path, classes=names)
