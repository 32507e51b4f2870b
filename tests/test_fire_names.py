"""Names that lead elsewhere, or that no file can have, wherever a name can come from: they stay names.

Each place gets every name inside a fence, around which all files are listed before and after. Text is shown as given.
"""

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import latentkit as lk
from latentkit.adapters.exported import ExportedNetwork
from latentkit.adapters.reals import read_reals
from latentkit.cli import main
from latentkit.errors import CheckpointError, LatentkitError
from latentkit.manifest import MANIFEST
from latentkit.nets import build
from latentkit.nets.fitting import initialised
from trainers.data import array_file, image_folder

pytestmark = pytest.mark.promise("names")

NAMES = (
    "../../outside/evil", "..\\..\\outside\\evil", "OUTSIDE/evil", "C:\\evil", "C:evil", "\\\\server\\share\\evil",
    "//server/share/evil", "a\0b", "a\nb", "a\r\nb", "\x1b[31mred", "x" * 300, "猫" * 120, "CON", "NUL", "aux.png",
    "COM1.npz", "name.", "name ", " name", "\u202egnp.exe", "\uff41\uff0f\uff42", "\u2024\u2024\uff0fevil", "~root",
    "$HOME", "%2e%2e%2fevil", "-rf", ".", "..", "a:b", "a*?", "<b>\"'&", "\ufeffname", "e\u0301",
)  # fmt: skip
#: What no test may write to, if the system takes it for a place of its own.
ABROAD = ("//server/share/evil",)
NOISE = np.random.default_rng(0).integers(0, 256, (6, 16, 16), np.uint8)


@pytest.fixture
def fence(tmp_path, monkeypatch):
    """The folder to work in, whose neighbours nobody may touch, and what tells what is new around it."""
    for name in ("inside", "outside"):
        (tmp_path / name).mkdir()
    (tmp_path / "outside" / "mine").write_text("mine")
    (tmp_path / "inside" / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "inside" / "deep")

    def tree():
        return {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()}

    before = tree()

    def new(but=()):
        now = tree()
        assert before.items() <= now.items(), "what was there was changed"
        return {path for path in now if path not in before} - set(but)

    new.root = tmp_path
    new.here = tmp_path / "inside" / "deep"
    return new


def named(name, fence):
    return name.replace("OUTSIDE", str(fence.root / "outside"))


def conditional(classes, **about):
    generator = initialised(
        lambda: build(
            "mlp-generator", {"latent_dim": 2, "out_dim": 2, "width": 4, "depth": 2, "classes": len(classes)}
        ),
        0,
    )
    critic = initialised(lambda: build("mlp-critic", {"in_dim": 2, "width": 4, "depth": 2, "classes": len(classes)}), 1)
    count = 10 * len(classes)
    return lk.Checkpoint(
        lk.wrap(generator.eval().requires_grad_(False), lk.Normal(2), classes=classes),
        critic.eval().requires_grad_(False),
        lk.Normal(2).sample(count, seed=0),
        torch.arange(count) % len(classes),
        classes,
        **about,
    )


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_the_names_in_a_checkpoint_are_text(name, fence, capsys, tally):
    name = named(name, fence)
    run = fence.here / "run"
    conditional((name, "other"), data=name, trainer=name, settings={name: name}, history={name: [1.0]}).save(run)
    parts = {path for path in fence() if path.parent == run}
    assert fence(parts) == set()
    back = lk.load(run)
    assert (back.classes, back.data, back.trainer, back.settings) == ((name, "other"), name, name, {name: name})
    assert main(["info", str(run), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert name in said["classes"]
    assert main(["info", str(run)]) == 0
    assert main(["sample", str(run), f"--class={name}", "--out", "x.npz", "-n", "2"]) == 0
    assert fence(parts) == {fence.here / "x.npz"}
    tally(4)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_manifest_names_only_parts_of_its_own_folder(name, fence, point_checkpoint, tally):
    name = named(name, fence)
    run = point_checkpoint.save(fence.here / "run")
    parts = fence()
    manifest = json.loads((run / MANIFEST).read_text())
    for role, entry in manifest["files"].items():
        for told in (name, f"{name}/{entry['name']}", f"{entry['name']}{name}"):
            files = {**manifest["files"], role: {**entry, "name": told}}
            (run / MANIFEST).write_text(json.dumps({**manifest, "files": files}))
            with pytest.raises(CheckpointError):
                lk.load(run)
    assert fence(parts) == set()
    tally(3 * len(manifest["files"]))


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_what_an_archive_calls_its_files_is_no_path(name, fence, tally):
    name = named(name, fence)
    classes = np.array([name, "other"])
    with zipfile.ZipFile("data.npz", "w") as archive:
        for part, array in (("samples", NOISE), ("labels", np.arange(6) % 2), ("classes", classes), (name, NOISE)):
            archive.writestr(zipfile.ZipInfo(f"{part}.npy"), npy(array))
    data = array_file("data.npz", cache="cache", size=16)
    assert data.classes == (str(classes[0]), "other")  # NumPy ends text at its last NUL
    assert len(read_reals("data.npz", (16, 16))) == 6
    kept = {path for path in fence() if path.parent == fence.here / "cache"}
    assert all(path.name.startswith("data-") and path.suffix in (".npy", ".json") for path in kept)
    assert fence(kept) == {fence.here / "data.npz"}
    meta = {"dtype": 7, "sizes": [{"as_int": 1}], "strides": [{"as_int": 1}], "storage_offset": {"as_int": 0}}
    table = {"config": {"w": {"path_name": name, "tensor_meta": meta, "use_pickle": False}}}
    with zipfile.ZipFile("net.pt2", "w") as archive:
        archive.writestr("net/models/model.json", "{}")
        archive.writestr("net/data/weights/model_weights_config.json", json.dumps(table))
    with pytest.raises(CheckpointError):
        ExportedNetwork("net.pt2")
    assert fence(kept) == {fence.here / "data.npz", fence.here / "net.pt2"}
    tally(3)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in (".", "..")], ids=ascii)
def test_folders_and_files_of_images_may_be_called_anything(name, fence, tally):
    name = named(name, fence).replace("/", "_").replace("\0", "_").lstrip(".")[:80]  # hidden ones are no classes
    for folder in (name, "other"):
        (fence.here / "images" / folder).mkdir(parents=True)
        Image.fromarray(NOISE[0]).save(fence.here / "images" / folder / "a.png")
    given = fence()
    data = image_folder("images", size=16, cache="cache")
    assert set(data.classes) == {name, "other"}
    kept = fence(given)
    assert {path.parent for path in kept} == {fence.here / "cache"}
    assert {path.suffix for path in kept} == {".npy", ".json"}
    tally(2)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_reference_is_to_the_file_that_it_names_or_to_none(name, fence, tally):
    name = named(name, fence)
    folder = fence.here / "ref"
    folder.mkdir()
    about = {"kind": "latentkit reference", "format": 1, "family": "onnx", "sha256": "0", "options": {}, "reals": "0"}
    for told in ({"source": name}, {"source": "x", "family": name}, {"source": "x", "options": {name: name}}):
        (folder / "reference.json").write_text(json.dumps({**about, **told}))
        with pytest.raises(LatentkitError):
            lk.load_reference(folder)
    assert fence() == {folder / "reference.json"}
    tally(3)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_what_a_film_says_of_itself_is_text(name, fence, tally):
    name = named(name, fence)
    generator = lk.wrap(lambda z: z[:, :1, None, None].tanh().expand(-1, 1, 8, 8), lk.Normal(2))
    film = lk.animate(generator, torch.zeros(2, 2), caption=lambda i, t: name, about={name: name})
    written = film.save("film.gif")
    assert lk.replay(written, generator).about == {name: name}
    assert fence() == {fence.here / "film.gif"}
    tally(2)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ABROAD], ids=ascii)
def test_an_output_is_where_it_was_asked_for_or_nowhere(name, fence, point_run, capsys, tally):
    """What a user names himself may lie anywhere, but there and nowhere else."""
    name = named(name, fence)
    tried = 0
    for suffix in (".npz", ".png", ".gif"):
        out = f"{name}{suffix}"
        verb = "animate" if suffix == ".gif" else "sample"
        more = ["--frames", "3", "--keys", "2"] if suffix == ".gif" else ["-n", "2"]
        before = fence()
        code = main([verb, str(point_run), f"--out={out}", *more])
        said = capsys.readouterr().err
        found = fence(before)
        tried += 1
        if code == 0:
            assert found == {Path(os.path.realpath(out))}
            assert next(iter(found)).stat().st_size > 0
        else:
            assert code == 2
            assert found == set()
            assert said.count("\n") == 1
            assert said.startswith("latentkit")
    tally(tried)


def test_pictures_of_a_report_are_named_by_us(fence, tally):
    """Classes, data and trainer called by such names: the page shows them, and no file is called by them."""
    names = tuple(named(name, fence) for name in NAMES[::5])
    checkpoint = conditional(names, data=NAMES[0], trainer=NAMES[1])
    page = lk.report(checkpoint, "report", n=500)
    made = fence()
    assert {path.parent for path in made} == {fence.here / "report"}
    assert all(path.name.isascii() and path.name == path.name.lower().strip(". ") for path in made)
    assert all(set(path.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.") for path in made)
    assert NAMES[0] in page.read_text("utf-8")
    tally(len(names))
