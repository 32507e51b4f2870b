"""The verb import: others' files become checkpoints, or references that every verb takes."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from latentkit.adapters.kinds import KINDS
from latentkit.cli import main
from latentkit.nets.fitting import initialised
from latentkit.options import KINDS as NAMED

FACTORY = """
from torch import nn

def make():
    return nn.Sequential(nn.Linear(6, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))
"""


@pytest.fixture
def command(capsys):
    def run(*argv):
        code = main([*map(str, argv), "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else {}, err

    return run


@pytest.fixture
def network(tmp_path):
    """A network that makes images (N, 1, 8, 8) in [0, 1], its weights and code in files, and 30 real ones."""
    net = initialised(lambda: nn.Sequential(nn.Linear(6, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8))), 0)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    (tmp_path / "code.py").write_text(FACTORY)
    np.save(tmp_path / "real.npy", np.linspace(0, 255, 30 * 64).reshape(30, 1, 8, 8).astype(np.uint8))
    return net, tmp_path


def test_the_help_names_all_kinds():
    assert set(NAMED) == set(KINDS)


def test_a_state_dict_is_imported_and_every_verb_takes_it(network, command):
    net, folder = network
    argv = ["--factory", f"{folder / 'code.py'}:make", "--latent-dim", 6, "--real", folder / "real.npy"]
    code, said, err = command("import", "pytorch", folder / "net.pt", "--out", folder / "run", *argv)
    assert code == 0, err
    assert (said["stored"], said["latent_dim"], said["real"]) == ("reference", 6, 30)
    code, said, _ = command("info", folder / "run")
    assert (code, said["sample_shape"], said["held_out"]) == (0, [1, 8, 8], 30)
    out = folder / "some.npz"
    assert command("sample", folder / "run", "--out", out, "-n", 5)[0] == 0
    stored = np.load(out)
    wanted = net(torch.from_numpy(stored["latents"])).detach().numpy() * 2.0 - 1.0
    np.testing.assert_allclose(stored["samples"], wanted, atol=1e-5)
    assert command("interpolate", folder / "run", "--out", folder / "walk.gif", "--steps", 12)[0] == 0
    assert command("edit", folder / "run", "--out", folder / "e.png", "--attribute", "brightness", "-n", 1)[0] == 0


def test_a_changed_source_is_noticed(network, command):
    _, folder = network
    argv = ["--factory", f"{folder / 'code.py'}:make", "--latent-dim", 6]
    assert command("import", "pytorch", folder / "net.pt", "--out", folder / "run", *argv)[0] == 0
    file = folder / "run" / "generator.pt2"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    code, _, err = command("sample", folder / "run", "--out", folder / "x.png")
    assert code == 2
    assert "SHA-256" in err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["sculpture", "{net}"], "invalid choice"),
        (["pytorch", "{net}"], "needs the code of its network"),
        (["dcgan", "{net}", "--latent-dim", "6"], "takes no option"),
        (["onnx", "{tmp}/missing.onnx"], "missing.onnx"),
        (["stylegan", "{net}"], "net.pt"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(argv, says, network, command):
    _, folder = network
    places = {"net": folder / "net.pt", "tmp": folder}
    code, said, err = command("import", *(a.format(**places) for a in argv), "--out", folder / "run")
    assert (code, said) == (2, {})
    assert says in err
    assert err.count("\n") == 1
    assert not (folder / "run").exists()
