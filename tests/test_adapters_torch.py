"""Weights of PyTorch modules and of the published DCGAN: every form of file, the same function, and no half loads."""

import argparse
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import latentkit as lk
from latentkit.adapters.dcgan import load_dcgan
from latentkit.adapters.torch_modules import InBatches, load_module
from latentkit.errors import ArgumentError, CheckpointError, ShapeError
from latentkit.nets import DCGANCritic, DCGANGenerator

PRIOR = lk.Normal(6)


def small():
    return nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Unflatten(1, (3, 2, 2)), nn.Tanh())


def shaken(module, seed=0):
    """Give every tensor of a module numbers that no start has, so that each one matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, value in module.state_dict().items():
            if value.is_floating_point():
                noise = torch.randn(value.shape, generator=generator)
                value.copy_(noise.abs() + 0.5 if "var" in key else noise * 0.3)
    return module.eval()


@pytest.fixture
def network(build):
    return shaken(build(small))


def wrapped(state, lead):
    return OrderedDict((lead + key, value) for key, value in state.items())


FORMS = {
    "bare": lambda state: state,
    "data parallel": lambda state: wrapped(state, "module."),
    "compiled": lambda state: wrapped(state, "module._orig_mod."),
    "a part": lambda state: {"epoch": 3, "generator": state, "optimizer": {"lr": 0.1}, "args": argparse.Namespace(n=1)},
    "averaged": lambda state: {"G": {key: value * 0 for key, value in state.items()}, "G_ema": state, "D": state},
    "no counters": lambda state: {key: value for key, value in state.items() if "tracked" not in key},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_file_gives_the_same_generator(form, network, tmp_path):
    state = FORMS[form](network.state_dict())
    torch.save(state, tmp_path / "w.pt")
    generator = load_module(small, tmp_path / "w.pt", PRIOR)
    z = PRIOR.sample(5, seed=0)
    assert lk.generate(generator, z).equal(network(z))
    assert not any(weight.requires_grad for weight in generator.module.parameters())


def test_safetensors_and_half_precision(network, tmp_path):
    z = PRIOR.sample(5, seed=0)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    assert lk.generate(load_module(small, tmp_path / "w.safetensors", PRIOR), z).equal(network(z))
    torch.save(network.half().state_dict(), tmp_path / "h.pt")
    found = lk.generate(load_module(small, tmp_path / "h.pt", PRIOR), z)
    torch.testing.assert_close(found, network.float()(z))


def test_files_saved_on_another_device_load_on_the_cpu(network, tmp_path):
    """The device is text in the file: it is replaced by one that this machine does not have."""
    torch.save(network.state_dict(), tmp_path / "w.pt")
    import zipfile

    with zipfile.ZipFile(tmp_path / "w.pt") as old, zipfile.ZipFile(tmp_path / "cuda.pt", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            changed = data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:7") if "pkl" in name else data
            assert "pkl" not in name or changed != data
            new.writestr(name, changed)
    z = PRIOR.sample(2, seed=0)
    assert lk.generate(load_module(small, tmp_path / "cuda.pt", PRIOR), z).equal(network(z))


def test_a_latent_may_have_a_shape_of_its_own(build, tmp_path):
    def make():
        return nn.ConvTranspose2d(6, 3, 4)

    network = shaken(build(make))
    torch.save(network.state_dict(), tmp_path / "w.pt")
    generator = load_module(make, tmp_path / "w.pt", PRIOR, latent_shape=(6, 1, 1))
    z = PRIOR.sample(3, seed=0)
    assert generator(z).equal(network(z[:, :, None, None]))
    with pytest.raises(ShapeError, match=r"latents of 6 numbers don't have the shape \(5, 1, 1\)"):
        load_module(make, tmp_path / "w.pt", PRIOR, latent_shape=(5, 1, 1))


MISFITS = {
    "missing": (lambda s: {k: v for k, v in s.items() if k != "0.bias"}, r"nothing was loaded \(missing: 0.bias\)"),
    "extra": (lambda s: {**s, "9.bias": torch.zeros(1)}, "unexpected: 9.bias"),
    "shape": (lambda s: {**s, "0.bias": torch.zeros(3)}, r"shape: 0.bias \(3,\) instead of \(12,\)"),
    "some wrapped": (lambda s: {**wrapped(s, "module."), "0.bias": s["0.bias"]}, "missing: 0.weight"),
    "nan": (lambda s: {**s, "0.bias": torch.full((12,), float("nan"))}, r"not finite \(0.bias\)"),
    "two parts": (lambda s: {"left": s, "right": s}, "holds left, right; say which part is the generator's"),
    "no state": (lambda s: {"epoch": 3}, "holds no state dict, but a dict"),
    "a tensor": (lambda s: torch.zeros(3), "holds no state dict, but a Tensor"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_weights_that_are_not_the_modules_are_refused_whole(name, network, tmp_path):
    change, text = MISFITS[name]
    torch.save(change(network.state_dict()), tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=text) as told:
        load_module(small, tmp_path / "w.pt", PRIOR)
    assert "\n" not in str(told.value)


def test_a_part_is_taken_by_its_name(network, tmp_path):
    torch.save({"left": network.state_dict(), "right": {}}, tmp_path / "w.pt")
    assert load_module(small, tmp_path / "w.pt", PRIOR, part="left")(torch.ones(1, 6)).equal(network(torch.ones(1, 6)))
    with pytest.raises(CheckpointError, match="no part 'middle'; it holds left"):
        load_module(small, tmp_path / "w.pt", PRIOR, part="middle")


def test_a_pickled_module_a_pointer_and_nothing_are_refused(network, tmp_path):
    torch.save(network, tmp_path / "whole.pt")
    with pytest.raises(CheckpointError, match=r"neither a tensor nor a plain setting.*state_dict\(\)"):
        load_module(small, tmp_path / "whole.pt", PRIOR)
    (tmp_path / "pointer.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n")
    with pytest.raises(CheckpointError, match="Git LFS pointer"):
        load_module(small, tmp_path / "pointer.pt", PRIOR)
    with pytest.raises(CheckpointError, match="cannot read"):
        load_module(small, tmp_path / "none.pt", PRIOR)
    torch.save(network.state_dict(), tmp_path / "w.pt")
    with pytest.raises(ArgumentError, match="make must return a module, got int"):
        load_module(lambda: 3, tmp_path / "w.pt", PRIOR)


@pytest.mark.parametrize("rows", [1, 3, 4, 9])
def test_fixed_batches_are_filled_up_and_cut(rows, draw):
    sizes = []

    def four(z, y):
        sizes.append((len(z), len(y)))
        return z * 2, y

    z, y = draw(rows, 3), torch.arange(rows)
    first, second = InBatches(four, 4)(z, y)
    assert first.equal(z * 2)
    assert second.equal(y)
    assert set(sizes) == {(4, 4)}


def published(latent=10, channels=3, widths=(32, 16, 8, 4), bias=False):
    """The generator of PyTorch's example, by its layers."""
    layers, before = [], latent
    for k, width in enumerate(widths):
        stride, padding = (1, 0) if k == 0 else (2, 1)
        conv = nn.ConvTranspose2d(before, width, 4, stride, padding, bias=bias)
        layers += [conv, nn.BatchNorm2d(width), nn.ReLU(True)]
        before = width
    return nn.Sequential(*layers, nn.ConvTranspose2d(before, channels, 4, 2, 1, bias=bias), nn.Tanh())


def published_critic(channels=3, widths=(4, 8, 16, 32), bias=False):
    layers, before = [], channels
    for k, width in enumerate(widths):
        layers.append(nn.Conv2d(before, width, 4, 2, 1, bias=bias))
        layers += ([nn.BatchNorm2d(width)] if k else []) + [nn.LeakyReLU(0.2, True)]
        before = width
    return nn.Sequential(*layers, nn.Conv2d(before, 1, 4, 1, 0, bias=bias))


def saved(module, path, lead="main."):
    torch.save(wrapped(module.state_dict(), lead), path)
    return path


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("widths", [(16, 8), (32, 16, 8, 4), (32, 32, 16, 8, 4)])
def test_the_published_dcgan_is_latentkits_own(widths, bias, build, tmp_path):
    theirs = shaken(build(lambda: published(widths=widths, bias=bias)))
    critic = shaken(build(lambda: published_critic(widths=widths[::-1], bias=bias)))
    found = load_dcgan(saved(theirs, tmp_path / "g.pt"), critic=saved(critic, tmp_path / "d.pt", "module.main."))
    assert isinstance(found.generator.module, DCGANGenerator)
    assert isinstance(found.critic, DCGANCritic)
    z = found.generator.prior.sample(4, seed=0)
    x = theirs(z[:, :, None, None])
    torch.testing.assert_close(lk.generate(found.generator, z), x, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.critic(x), critic(x).flatten(), rtol=1e-4, atol=1e-4)
    again = lk.load(found.save(tmp_path / "run"))
    torch.testing.assert_close(again.generator(z), found.generator(z))
    assert again.holdout.shape == (0, *x.shape[1:])


def test_other_widths_stay_a_chain_of_their_own(build, tmp_path):
    theirs = shaken(build(lambda: published(widths=(20, 20, 10))))
    found = load_dcgan(saved(theirs, tmp_path / "g.pt", ""))
    z = found.generator.prior.sample(4, seed=0)
    torch.testing.assert_close(lk.generate(found.generator, z), theirs(z[:, :, None, None]))
    with pytest.raises(CheckpointError, match="only the bundled networks"):
        found.save(tmp_path / "run")


WRONG = {
    "critic as generator": (published_critic, "holds a discriminator, and a generator is wanted"),
    "linear": (lambda: nn.Sequential(nn.Linear(3, 3)), r"its layer 0 has \(3, 3\)"),
    "kernel of 3": (lambda: nn.Sequential(nn.ConvTranspose2d(3, 3, 3)), r"its layer 0 has \(3, 3, 3, 3\)"),
    "two convolutions": (lambda: nn.Sequential(*[nn.ConvTranspose2d(5, 5, 4)] * 2), "no DCGAN generator"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_dcgan_is_said_in_one_line(name, build, tmp_path):
    make, text = WRONG[name]
    with pytest.raises(CheckpointError, match=text) as told:
        load_dcgan(saved(build(make), tmp_path / "g.pt"))
    assert "nothing was loaded" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_critic_must_be_one_and_fit(build, tmp_path):
    generator = saved(build(published), tmp_path / "g.pt")
    with pytest.raises(CheckpointError, match="holds a generator, and a discriminator is wanted"):
        load_dcgan(generator, critic=generator)
    small_one = saved(build(lambda: published_critic(1)), tmp_path / "d.pt")
    with pytest.raises(CheckpointError, match="scores images of 1 channels and side 64, and the generator makes 3"):
        load_dcgan(generator, critic=small_one)
    other = saved(build(lambda: published_critic(widths=(5, 5, 5, 5))), tmp_path / "o.pt")
    with pytest.raises(CheckpointError, match="not those of the published discriminator"):
        load_dcgan(generator, critic=other)
    torch.save({"main.0.weight": torch.zeros(4, 4, 4, 4), "other.0.weight": torch.zeros(4, 4, 4, 4)}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"its layers have the prefixes main\., other\."):
        load_dcgan(tmp_path / "x.pt")
    torch.save({"weight": torch.zeros(4)}, tmp_path / "y.pt")
    with pytest.raises(CheckpointError, match="is no DCGAN: it has weight"):
        load_dcgan(tmp_path / "y.pt")
