"""Imports: ordinary checkpoints of networks that latentkit has, references to other files, and refusals in one line."""

import inspect
import json
import shutil
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import latentkit as lk
from latentkit.adapters.importing import REFERENCE, import_model, load_reference
from latentkit.adapters.kinds import KINDS, Kind
from latentkit.adapters.reals import packed, read_reals, unpacked
from latentkit.adapters.stylegan import load_stylegan
from latentkit.errors import ArgumentError, CheckpointError, DataError, LatentkitError, OutputError
from latentkit.nets import DCGANGenerator
from latentkit.nets.fitting import initialised
from latentkit.nets.stylegan import StyleGAN2Generator
from latentkit.render import samples_sheet

PRIOR = lk.Normal(6)


def levels(z):
    return z.reshape(-1, 2, 3, 1).sigmoid().expand(-1, -1, -1, 3) * 255


class Levels(nn.Module):
    """Makes images with channels last and values from 0 to 255."""

    def forward(self, z):
        return levels(z)


class Judge(nn.Module):
    """Scores such images by their mean value."""

    def forward(self, x):
        return x.mean((1, 2, 3))[:, None] - 100.0


def scripted(module, path, *examples):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(module, examples), path)
    return path


@pytest.fixture
def source(tmp_path):
    return scripted(Levels(), tmp_path / "levels.pt", torch.zeros(2, 6))


@pytest.fixture
def reference(source, tmp_path):
    import_model("torchscript", source, tmp_path / "ref", latent_dim=6)
    return tmp_path / "ref"


def test_a_reference_reads_what_was_found_at_import(source, tmp_path):
    critic = scripted(Judge(), tmp_path / "judge.pt", torch.zeros(2, 2, 3, 3))
    said = import_model("torchscript", source, tmp_path / "ref", latent_dim=6, critic=critic)
    assert (said["stored"], said["latent_dim"], said["samples"], said["critic"]) == ("reference", 6, [3, 2, 3], True)
    assert any("taken for 0 to 255" in line for line in said["findings"])
    found = load_reference(tmp_path / "ref")
    z = PRIOR.sample(4, seed=0)
    x = lk.generate(found.generator, z)
    torch.testing.assert_close(x, levels(z).permute(0, 3, 1, 2) / 127.5 - 1)
    torch.testing.assert_close(found.critic(x), levels(z).mean((1, 2, 3)) - 100, rtol=1e-4, atol=1e-3)
    assert found.holdout.shape == (0, 3, 2, 3)
    with pytest.raises(CheckpointError, match="only the bundled networks"):
        found.save(tmp_path / "run")


def test_what_is_declared_is_taken(source, tmp_path):
    output = lk.protocols.Output(0, 510, channels="last")
    import_model("torchscript", source, tmp_path / "ref", latent_dim=6, prior="uniform", output=output)
    found = load_reference(tmp_path / "ref").generator
    assert found.prior == lk.Uniform(6)
    assert float(lk.generate(found, PRIOR.sample(50, seed=0)).max()) < 0.01


def test_networks_that_latentkit_has_become_ordinary_checkpoints(tmp_path):
    network = initialised(lambda: DCGANGenerator(10, 1, 16, 4), 0)
    state = network.state_dict()
    names = {"start.1": "main.0", "start_norm.0": "main.1", "blocks.0": "main.3", "blocks.1": "main.4"}
    names["to_image"] = "main.6"
    theirs = {f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": value for key, value in state.items()}
    torch.save(theirs, tmp_path / "netG.pth")
    said = import_model("dcgan", tmp_path / "netG.pth", tmp_path / "run")
    assert (said["stored"], said["latent_dim"], said["samples"]) == ("checkpoint", 10, [1, 16, 16])
    found = lk.load(tmp_path / "run")
    z = found.generator.prior.sample(3, seed=0)
    torch.testing.assert_close(lk.generate(found.generator, z), network.eval()(z))


def test_a_source_that_changed_moved_or_went_is_told(reference, source, tmp_path):
    moved = shutil.move(source, tmp_path / "moved.pt")
    with pytest.raises(CheckpointError, match=r"is not there; say where it is: load_reference\(folder, source"):
        load_reference(reference)
    assert load_reference(reference, source=moved).generator.prior == PRIOR
    data = bytearray((tmp_path / "moved.pt").read_bytes())
    data[len(data) // 2] ^= 1
    source.write_bytes(data)
    with pytest.raises(CheckpointError, match="its SHA-256 differs"):
        load_reference(reference)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"format": 2}, "has reference format 2 .* upgrade latentkit"),
        ({"family": "pickle"}, "of a kind that this latentkit does not know: 'pickle'"),
        ({"family": "pytorch", "options": {"factory": "os:abort"}}, "does not know: 'pytorch'"),
        ({"kind": "other"}, "holds no latentkit reference"),
        ({"options": {"speed": 3}}, "takes no option 'speed'"),
        ({"reals": "0"}, r"real\.safetensors is missing or damaged"),
    ],
)
def test_a_reference_that_was_tampered_with_is_refused(change, text, reference):
    about = json.loads((reference / REFERENCE).read_text())
    (reference / REFERENCE).write_text(json.dumps({**about, **change}))
    with pytest.raises(LatentkitError, match=text):
        load_reference(reference)


def test_a_module_of_ones_own_is_exported_and_needs_its_code_no_more(tmp_path):
    code = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 12)
    def forward(self, z):
        return {"latent": z, "image": torch.sigmoid(self.layer(z)).reshape(-1, 3, 2, 2)}
"""
    (tmp_path / "models.py").write_text(code)
    layer = initialised(lambda: nn.Linear(6, 12), 3)
    torch.save({f"module.layer.{key}": value for key, value in layer.state_dict().items()}, tmp_path / "w.pt")
    factory = f"{tmp_path / 'models.py'}:Net"
    said = import_model("pytorch", tmp_path / "w.pt", tmp_path / "ref", factory=factory, latent_dim=6)
    assert said["stored"] == "reference"
    (tmp_path / "models.py").unlink()
    (tmp_path / "w.pt").unlink()
    shutil.move(tmp_path / "ref", tmp_path / "elsewhere")
    found = load_reference(tmp_path / "elsewhere").generator
    z = PRIOR.sample(5, seed=0)
    wanted = layer(z).sigmoid().reshape(-1, 3, 2, 2) * 2 - 1
    torch.testing.assert_close(lk.generate(found, z), wanted, rtol=0, atol=1e-5)


def test_an_exported_module_keeps_its_classes(tmp_path):
    code = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(2, 6)
    def forward(self, z, y):
        return (z + self.embed(y)).tanh().reshape(-1, 3, 1, 2)
"""
    (tmp_path / "models.py").write_text(code)
    embed = initialised(lambda: nn.Embedding(2, 6), 3)
    torch.save({"embed.weight": embed.weight.detach()}, tmp_path / "w.pt")
    factory = f"{tmp_path / 'models.py'}:Net"
    import_model("pytorch", tmp_path / "w.pt", tmp_path / "ref", factory=factory, latent_dim=6, classes=["a", "b"])
    found = lk.condition(load_reference(tmp_path / "ref").generator, "b")
    z = PRIOR.sample(5, seed=0)
    torch.testing.assert_close(lk.generate(found, z), (z + embed.weight[1]).tanh().reshape(-1, 3, 1, 2).detach())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"latent_dim": 6}, r"needs the code of its network.*models\.py:Generator"),
        ({"factory": "nothing", "latent_dim": 6}, r"factory must be models\.py:Generator"),
        ({"factory": "no_such_package:make", "latent_dim": 6}, "cannot be imported"),
        ({"factory": "torch.nn:NoSuchLayer", "latent_dim": 6}, "has no NoSuchLayer"),
        ({"factory": "torch.nn:Identity", "latent_dim": 6, "prior": "cauchy"}, "prior must be one of normal"),
        ({"speed": 3}, "a pytorch file takes no option 'speed'; its options are factory, latent_dim"),
    ],
)
def test_options_are_checked_in_one_line(options, text, tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(ArgumentError, match=text) as told:
        import_model("pytorch", tmp_path / "w.pt", tmp_path / "ref", **options)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "ref").exists()


def test_a_discriminator_is_no_generator_and_nothing_is_written(tmp_path):
    convolutions = initialised(lambda: nn.Sequential(nn.Conv2d(3, 4, 2), nn.Flatten()), 0)
    judge = scripted(convolutions, tmp_path / "judge.pt", torch.zeros(2, 3, 4, 4))
    with pytest.raises(ArgumentError, match="a discriminator takes samples, not latents"):
        import_model("torchscript", judge, tmp_path / "ref", latent_dim=6)
    scores = scripted(initialised(lambda: nn.Linear(6, 1), 0), tmp_path / "scores.pt", torch.zeros(2, 6))
    with pytest.raises(CheckpointError, match="is no generator: one number a latent: these are a critic's scores"):
        import_model("torchscript", scores, tmp_path / "ref", latent_dim=6)
    assert not (tmp_path / "ref").exists()


def test_a_conditional_file_without_classes_and_the_reverse(tmp_path, source):
    class Classes(nn.Module):
        def forward(self, z, y):
            return levels(z) * y[:, None, None, None]

    file = scripted(Classes(), tmp_path / "c.pt", torch.zeros(2, 6), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ArgumentError, match="takes latents neither"):
        import_model("torchscript", file, tmp_path / "ref", latent_dim=6)
    with pytest.raises(ArgumentError, match="takes latents neither"):
        import_model("torchscript", source, tmp_path / "ref", latent_dim=6, classes=["a", "b"])
    said = import_model("torchscript", file, tmp_path / "ref", latent_dim=6, classes=["a", "b"])
    assert said["classes"] == ["a", "b"]
    assert load_reference(tmp_path / "ref").generator.classes == ("a", "b")


def test_only_a_new_or_own_folder_is_written(reference, source, tmp_path):
    import_model("torchscript", source, reference, latent_dim=6)  # its own is replaced
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="already holds other files"):
        import_model("torchscript", source, tmp_path / "full", latent_dim=6)
    with pytest.raises(ArgumentError, match=r"kind must be one of .*torchscript; got .tarball"):
        import_model("tarball", source, tmp_path / "new")
    with pytest.raises(CheckpointError, match="cannot read"):
        import_model("onnx", tmp_path / "none.onnx", tmp_path / "new")


def test_real_samples_are_kept_beside_a_reference(source, tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (5, 2, 3, 3), dtype=np.uint8)
    np.save(tmp_path / "real.npy", pixels)  # channels last, as the source has them
    assert import_model("torchscript", source, tmp_path / "ref", latent_dim=6, real=tmp_path / "real.npy")["real"] == 5
    wanted = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(load_reference(tmp_path / "ref").holdout, wanted)
    (tmp_path / "photos" / "inner").mkdir(parents=True)
    square = np.arange(16, dtype=np.uint8).reshape(4, 4) * 16
    Image.fromarray(square).save(tmp_path / "photos" / "inner" / "a.PNG")
    found = read_reals(tmp_path / "photos", (1, 4, 4))
    torch.testing.assert_close(found[0, 0], torch.from_numpy(square) / 127.5 - 1)


def test_real_samples_of_all_kinds_come_back_exactly(draw):
    for samples in (draw(4, 7), draw(3, 1, 2, 2), draw(0, 3, 2, 2), torch.tensor([[[[-1.0, 1.0, 1 / 127.5 - 1]]]])):
        again = unpacked(packed(samples), "them")
        torch.testing.assert_close(again, samples, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((4, 5)), r"real samples must be \(M, 3, 2, 2\), at least one, got \(4, 5\)"),
        (np.zeros((0, 3, 2, 2)), r"got \(0, 3, 2, 2\)"),
        (np.array([{"a": 1}], dtype=object), "neither a folder of images nor an array"),
        (np.full((1, 3, 2, 2), np.nan), "must be finite"),
    ],
)
def test_real_samples_that_do_not_fit_are_refused(array, text, tmp_path):
    np.save(tmp_path / "real.npy", array, allow_pickle=True)
    with pytest.raises(LatentkitError, match=text):
        read_reals(tmp_path / "real.npy", (3, 2, 2))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        read_reals(tmp_path / "empty", (3, 2, 2))
    with pytest.raises(CheckpointError, match="does not hold samples"):
        unpacked(b"nothing", "the file")


def test_a_folder_is_a_source_whose_every_file_counts(tmp_path, monkeypatch):
    def read(folder):
        return lk.Checkpoint(lk.wrap(lambda z: z[:, :2], PRIOR), None, torch.empty(0))

    monkeypatch.setitem(KINDS, "folder", Kind("a folder", (), read))
    (tmp_path / "model" / "inner").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "inner" / "weights").write_text("1 2 3")
    import_model("folder", tmp_path / "model", tmp_path / "ref")
    assert load_reference(tmp_path / "ref").holdout.shape == (0, 2)
    shutil.copytree(tmp_path / "model", tmp_path / "copy")
    load_reference(tmp_path / "ref", source=tmp_path / "copy")
    (tmp_path / "copy" / "inner" / "weights").write_text("1 2 4")
    with pytest.raises(CheckpointError, match="its SHA-256 differs"):
        load_reference(tmp_path / "ref", source=tmp_path / "copy")
    (tmp_path / "model" / "inner" / "weights").rename(tmp_path / "model" / "inner" / "renamed")
    with pytest.raises(CheckpointError, match="its SHA-256 differs"):
        load_reference(tmp_path / "ref")


def test_kinds_say_what_they_are():
    assert {"dcgan", "exported", "onnx", "pytorch", "stylegan", "torchscript"} <= set(KINDS)
    assert [name for name, kind in KINDS.items() if kind.runs_code] == ["pytorch"]
    for kind in KINDS.values():
        assert kind.about
        assert len(set(kind.options)) == len(kind.options)
        takes = inspect.signature(kind.load).parameters
        named = {name for name, one in takes.items() if one.kind is one.KEYWORD_ONLY}
        assert set(kind.options) <= named or any(one.kind is one.VAR_KEYWORD for one in takes.values())


def test_a_stylegan_is_a_checkpoint_in_z_and_a_reference_in_w(tmp_path):
    network = initialised(lambda: StyleGAN2Generator(8, 3, 16, w_dim=8, channel_base=64, channel_max=8), 0)
    torch.save({"G_ema": network.state_dict()}, tmp_path / "g.pt")
    assert import_model("stylegan", tmp_path / "g.pt", tmp_path / "z")["stored"] == "checkpoint"
    assert import_model("stylegan", tmp_path / "g.pt", tmp_path / "w", view="w", psi=0.5)["stored"] == "reference"
    model, found = load_stylegan(tmp_path / "g.pt"), load_reference(tmp_path / "w").generator
    z = model.z.prior.sample(2, seed=0)
    torch.testing.assert_close(lk.generate(lk.load(tmp_path / "z").generator, z), lk.generate(model.z, z))
    w = model.map(z)
    torch.testing.assert_close(lk.generate(found, w), lk.generate(model.view_w(psi=0.5), w))
    with pytest.raises(ArgumentError, match="label chooses the class of the views w and wplus"):
        import_model("stylegan", tmp_path / "g.pt", tmp_path / "l", label="3")


def test_generators_of_other_things_than_images_are_imported(tmp_path):
    class Wave(nn.Module):
        def forward(self, z):
            return (z[:, :1] * torch.linspace(0, 9, 64)).sin()

    scripted(Wave(), tmp_path / "w.pt", torch.zeros(2, 6))
    assert import_model("torchscript", tmp_path / "w.pt", tmp_path / "ref", latent_dim=6)["samples"] == [64]
    picture = samples_sheet(lk.generate(load_reference(tmp_path / "ref").generator, PRIOR.sample(4, seed=0)))
    assert picture.dtype == np.uint8
