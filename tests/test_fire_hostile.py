"""Files that would run code if they were unpickled, evaluated or compiled: nothing runs, and each is refused in words.

Every attack first proves itself on a reader that trusts its file: there the canary appears.
"""

import functools
import gzip
import importlib
import io
import json
import marshal
import operator
import os
import pickle
import shutil
import subprocess
import tarfile
import timeit
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import joblib
import numpy as np
import pytest
import safetensors.torch
import torch
from forging import signed

import latentkit as lk
from latentkit.adapters.kinds import KINDS
from latentkit.adapters.reals import read_reals
from latentkit.adapters.restricted import read_pickle
from latentkit.adapters.weights import read_weights
from latentkit.cli import main
from latentkit.errors import LatentkitError
from latentkit.manifest import MANIFEST
from trainers.__main__ import main as train
from trainers.data import array_file, from_path, hugging_face
from trainers.snapshots import unpack

pytestmark = pytest.mark.promise("hostile")

unsafe_load = functools.partial(getattr(torch, "load"), weights_only=False)  # noqa: B009 - what a trusting reader does


class Calls:
    """Pickled as the call of a function, which may itself be what another call gives."""

    def __init__(self, function, *args):
        self.parts = function, args

    def __reduce__(self):
        return self.parts

    def __call__(self):
        raise RuntimeError("so that a call may be called")


def module(name):
    return Calls(importlib.import_module, name)


def gadgets(canary):
    """Pickles that make the canary, by the ways that are known."""
    name, code = str(canary), f"open({str(canary)!r}, 'w').close()"
    compiled = marshal.dumps(compile(code, "x", "exec"))
    legacy = io.BytesIO()
    torch.save(Calls(os.mkdir, name), legacy, _use_new_zipfile_serialization=False)
    return {
        "os.system": Calls(os.system, f"touch '{name}'"),
        "subprocess": Calls(subprocess.check_call, ["touch", name]),
        "eval": Calls(eval, code),
        "exec": Calls(exec, code),
        "write": Calls(Path.write_text, Path(name), "x"),
        "pathlib": Calls(Path.touch, Path(name)),
        "import": Calls(Calls(getattr, Calls(__import__, "os"), "mkdir"), name),
        "importlib": Calls(Calls(getattr, module("os"), "mkdir"), name),
        "getattr chain": Calls(Calls(getattr, Calls(getattr, module("shutil"), "os"), "mkdir"), name),
        "attrgetter": Calls(Calls(operator.attrgetter("os.mkdir"), module("shutil")), name),
        "methodcaller": Calls(operator.methodcaller("mkdir", name), module("os")),
        "partial": Calls(functools.partial(os.mkdir, name)),
        "map": Calls(list, Calls(map, os.mkdir, [name])),
        "marshal": Calls(Calls(Calls(getattr, module("types"), "FunctionType"), Calls(marshal.loads, compiled), {})),
        "timeit": Calls(timeit.timeit, code, "pass", timeit.default_timer, 1),
        "torch": Calls(torch.storage._load_from_bytes, legacy.getvalue()),
        "numpy": Calls(functools.partial(np.load, allow_pickle=True), Calls(io.BytesIO, npy(Calls(os.mkdir, name)))),
        "inside": {"weight": torch.zeros(2), "epoch": 3, "hook": [(Calls(os.mkdir, name),)]},
    }  # fmt: skip


def npy(value):
    file = io.BytesIO()
    np.save(file, np.array([value, None], dtype=object)[:1], allow_pickle=True)
    return file.getvalue()


def appeared(canary):
    """Whether the canary is there; it is taken away."""
    there = canary.exists()
    if canary.is_dir():
        canary.rmdir()
    else:
        canary.unlink(missing_ok=True)
    return there


def refused(call, canary):
    """Check that a call is refused in the house's words, or a command by exit code 2, and nothing ran."""
    try:
        code = call()
    except LatentkitError:
        code = 2
    assert code == 2
    assert not canary.exists()


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "canary"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_call_that_a_pickle_asks_for_is_made(protocol, canary, tmp_path, tally):
    made = gadgets(canary)
    for name, gadget in made.items():
        data = pickle.dumps(gadget, protocol)
        pickle.loads(data)
        assert appeared(canary), f"{name} is no attack"
        refused(lambda: read_pickle(io.BytesIO(data)), canary)  # noqa: B023 - called here
        torch.save(gadget, tmp_path / "zip.pt", pickle_protocol=max(protocol, 2))
        torch.save(gadget, tmp_path / "old.pt", _use_new_zipfile_serialization=False, pickle_protocol=max(protocol, 2))
        (tmp_path / "w.safetensors").write_bytes(data)
        for file in ("zip.pt", "old.pt", "w.safetensors"):
            refused(lambda: read_weights(tmp_path / file), canary)  # noqa: B023 - called here
    tally(4 * len(made))


# ---- wrappings: what is written, and how a trusting reader would read it


def as_tar(path, gadget):
    """Torch's oldest form, whose every part was a pickle of its own."""
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "storages", "tensors", "pickle"):
            data = pickle.dumps(gadget, 2)
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))


def from_tar(path):
    with tarfile.open(path) as archive:
        pickle.load(archive.extractfile("storages"))


def as_zip(path, gadget):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(gadget, 2))
        archive.writestr("archive/version", "3")


def as_nested(path, gadget):
    inner = io.BytesIO()
    as_zip(inner, gadget)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("about.npy", inner.getvalue())
        archive.writestr("model.pt", inner.getvalue())


def from_nested(path):
    with zipfile.ZipFile(path) as archive:
        unsafe_load(io.BytesIO(archive.read("model.pt")))


def as_npz(path, gadget):
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("about", "samples", "labels", "latents", "points"):
            archive.writestr(f"{name}.npy", npy(gadget))


def from_npz(path):
    np.load(path, allow_pickle=True)["about"]


def unpickled(path):
    pickle.loads(path.read_bytes())


WRAPPINGS = {
    "pickle": (lambda path, gadget: path.write_bytes(pickle.dumps(gadget)), unpickled),
    "oldest pickle": (lambda path, gadget: path.write_bytes(pickle.dumps(gadget, 0)), unpickled),
    "gzip": (
        lambda path, gadget: path.write_bytes(gzip.compress(pickle.dumps(gadget))),
        lambda path: pickle.loads(gzip.decompress(path.read_bytes())),
    ),
    "torch zip": (lambda path, gadget: torch.save(gadget, path), unsafe_load),
    "torch legacy": (
        lambda path, gadget: torch.save(gadget, path, _use_new_zipfile_serialization=False),
        unsafe_load,
    ),
    "state dict": (lambda path, gadget: torch.save({"main.0.weight": torch.zeros(1), "x": gadget}, path), unsafe_load),
    "torch tar": (as_tar, from_tar),
    "bare zip": (as_zip, unsafe_load),
    "nested zip": (as_nested, from_nested),
    "joblib": (lambda path, gadget: joblib.dump(gadget, path), joblib.load),
    "joblib zlib": (lambda path, gadget: joblib.dump(gadget, path, compress=("zlib", 3)), joblib.load),
    "npy": (lambda path, gadget: path.write_bytes(npy(gadget)), functools.partial(np.load, allow_pickle=True)),
    "npz": (as_npz, from_npz),
}  # fmt: skip


def attack(wrapping, path, canary):
    """Write a file that makes the canary for those who trust it, and prove that."""
    write, trust = WRAPPINGS[wrapping]
    write(path, Calls(Calls(getattr, module("os"), "mkdir"), str(canary)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(Exception):  # what comes after the canary is nobody's interest
            trust(path)
    assert appeared(canary), f"{wrapping} is no attack"
    return path


def placed(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name.replace("__", ".")).write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    return folder


FOLDERS = {
    "biggan": lambda data: {
        "config__json": {"output_dim": 128},
        "pytorch_model__bin": data,
        "model__safetensors": data,
    },
    "pythae": lambda data: {"model_config__json": {"name": "VAEConfig"}, "model__pt": data, "decoder__pkl": data},
    "autoencoder": lambda data: {
        "config__json": {"_class_name": "AutoencoderKL"},
        "diffusion_pytorch_model__bin": data,
        "diffusion_pytorch_model__safetensors": data,
    },
}
OPTIONS = {
    "pytorch": ("--factory", "torch.nn:Identity", "--latent-dim", "3"),
    "torchscript": ("--latent-dim", "3"),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_of_import_runs_what_is_in_a_file(kind, wrapping, canary, tmp_path):
    file = attack(wrapping, tmp_path / f"model{'.onnx' if kind == 'onnx' else '.pt'}", canary)
    source = file
    if kind in FOLDERS:
        source = placed(tmp_path / "model", **FOLDERS[kind](file.read_bytes()))
    out = tmp_path / "out"
    refused(lambda: main(["import", kind, str(source), "--out", str(out), *OPTIONS.get(kind, ())]), canary)
    assert not out.exists()


@pytest.fixture(scope="module")
def run(point_checkpoint, tmp_path_factory):
    return point_checkpoint.save(tmp_path_factory.mktemp("hostile") / "run")


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_no_other_entrance_runs_what_is_in_a_file(wrapping, run, canary, tmp_path, image_run, tally):
    data = attack(wrapping, tmp_path / "attack", canary).read_bytes()
    shape = (1, 32, 32)

    def named(name):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    def in_folder(name):
        folder = tmp_path / f"folder of {name}"
        folder.mkdir()
        (folder / name).write_bytes(data)
        return folder

    def in_run(role, suffix="safetensors"):
        folder = tmp_path / f"run with {role}"
        shutil.copytree(run, folder)
        if role == "manifest":
            (folder / MANIFEST).write_bytes(data)
        else:
            signed(folder, role, data)
        return folder

    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / "reference.json").write_bytes(data)
    images = placed(tmp_path / "labelled")
    np.save(images / "x.npy", np.full((4, 16, 16), 200, np.uint8))
    entrances = (
        *(lambda role=role: lk.load(in_run(role)) for role in ("manifest", "about", "generator", "critic", "holdout")),
        lambda: main(["info", str(tmp_path / "run with about")]),
        lambda: unpack(data, {}, lambda _: None),
        lambda: lk.load(named("file.safetensors")),
        lambda: lk.load_reference(tmp_path / "reference"),
        lambda: main(["info", str(tmp_path / "reference")]),
        lambda: lk.load_quality(named("map.npz")),
        lambda: lk.load_projection(named("plane.npz")),
        lambda: lk.replay(named("film.gif"), run),
        lambda: main(["replay", str(named("film.webp")), "--checkpoint", str(run)]),
        lambda: lk.read_images([named("a.png")], shape),
        lambda: main(["invert", str(image_run), "--files", str(named("b.png")), "--out", str(tmp_path / "x.png")]),
        *(lambda name=name: read_reals(named(name), shape) for name in ("r.npy", "r.npz")),
        lambda: read_reals(in_folder("real.png"), shape),
        *(lambda name=name: from_path(named(name)) for name in ("d.npy", "d.npz", "train-images-idx3-ubyte", "d.gz")),
        lambda: from_path(in_folder("picture.png")),
        lambda: from_path(in_folder("train-images-idx3-ubyte")),
        lambda: array_file(images / "x.npy", labels=named("labels.npy")),
        *(
            lambda name=name: train(["gan", "--data", str(named(name)), "--out", str(tmp_path / "trained")])
            for name in ("t.npy", "t.npz")
        ),
    )
    for enter in entrances:
        refused(enter, canary)
    assert not (tmp_path / "trained").exists()
    tally(len(entrances))


# ---- references and indices that lead elsewhere


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not KINDS[kind].runs_code])
def test_a_reference_that_leads_to_a_hostile_file_runs_nothing(kind, canary, tmp_path):
    from latentkit.adapters.importing import _sha256

    (tmp_path / "elsewhere").mkdir()
    source = attack("torch zip", tmp_path / "elsewhere" / "x.pt", canary)
    if kind in FOLDERS:
        source = placed(tmp_path / "elsewhere" / "model", **FOLDERS[kind](source.read_bytes()))
    reals = safetensors.torch.save({"samples": torch.zeros(1, 2)})
    placed(tmp_path / "ref", real__safetensors=reals)
    about = {"kind": "latentkit reference", "format": 1, "family": kind, "source": f"../elsewhere/{source.name}"}
    about |= {"sha256": _sha256(source), "options": {}, "reals": _sha256(tmp_path / "ref" / "real.safetensors")}
    placed(tmp_path / "ref", reference__json=about)
    refused(lambda: lk.load_reference(tmp_path / "ref"), canary)
    for code in ("pytorch", "os:mkdir", "../evil", None, ["stylegan"], {}):
        placed(tmp_path / "ref", reference__json={**about, "family": code, "options": {"factory": "os:mkdir"}})
        refused(lambda: lk.load_reference(tmp_path / "ref"), canary)


def test_an_index_of_shards_that_leads_elsewhere_runs_nothing(canary, tmp_path):
    attack("torch zip", tmp_path / "evil", canary).rename(tmp_path / "evil.safetensors")
    for target in ("../evil.safetensors", str(tmp_path / "evil.safetensors")):
        index = {"metadata": {}, "weight_map": {"decoder.conv_in.weight": target}}
        folder = placed(
            tmp_path / "model",
            config__json={"_class_name": "AutoencoderKL"},
            diffusion_pytorch_model__safetensors__index__json=index,
        )
        refused(lambda: main(["import", "autoencoder", str(folder), "--out", str(tmp_path / "out")]), canary)  # noqa: B023


# ---- data sets that are folders of their own


def test_no_data_set_of_hugging_face_runs_what_is_in_it(canary, tmp_path, tally):
    datasets = pytest.importorskip("datasets", reason='pip install "latentkit[datasets]"')
    tries = 0
    saved = tmp_path / "saved"
    datasets.Dataset.from_dict({"x": [1, 2]}).save_to_disk(saved)
    for wrapping in ("pickle", "torch zip", "joblib", "npz"):
        data = attack(wrapping, tmp_path / "attack", canary).read_bytes()
        for part in ("dataset_info.json", "state.json", "data-00000-of-00001.arrow"):
            before = (saved / part).read_bytes()
            (saved / part).write_bytes(data)
            refused(lambda: from_path(saved), canary)
            (saved / part).write_bytes(before)
            tries += 1
        for number, name in enumerate(("train.pkl", "train.pickle", "data.bin", "loading.py", "train.parquet")):
            refused(lambda: hugging_face(placed(tmp_path / f"{wrapping}{number}", **{name: data})), canary)  # noqa: B023
            tries += 1
    for name in ("a.pickle", "a.pyd", "a.pth", "a.npy"):  # which a web data set decodes by their suffix
        folder = placed(tmp_path / f"tar of {name}")
        with tarfile.open(folder / "train.tar", "w") as archive:
            for part in (name, "a.png"):
                about = tarfile.TarInfo(part)
                about.size = len(data)
                archive.addfile(about, io.BytesIO(data))
        refused(lambda: hugging_face(folder), canary)  # noqa: B023
        tries += 1
    state = json.loads((saved / "state.json").read_text())
    for name in ("../attack", str(tmp_path / "attack"), "/dev/zero", "hf://owner/name/x"):
        (saved / "state.json").write_text(json.dumps({**state, "_data_files": [{"filename": name}]}))
        refused(lambda: from_path(saved), canary)
        tries += 1
    tally(tries)


def test_a_cache_that_was_replaced_is_made_anew_and_runs_nothing(canary, tmp_path, tally):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 20, 20, 3), dtype=np.uint8)
    np.save(tmp_path / "x.npy", pixels)
    wanted = array_file(tmp_path / "x.npy", size=16, cache=tmp_path / "cache").samples.clone()
    for wrapping in WRAPPINGS:
        data = attack(wrapping, tmp_path / "attack", canary).read_bytes()
        for suffix in ("npy", "json"):
            (file,) = (tmp_path / "cache").glob(f"*.{suffix}")
            file.write_bytes(data)
            assert array_file(tmp_path / "x.npy", size=16, cache=tmp_path / "cache").samples.equal(wanted)
            assert not canary.exists()
    tally(2 * len(WRAPPINGS))


# ---- TorchScript: programs that PyTorch compiles


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """A file whose network opens a file when it is called, which makes that file."""

    class Opens(torch.nn.Module):
        def forward(self, z):
            return z + torch.from_file("CANARY", shared=True, size=1, dtype=torch.uint8)

    path = tmp_path_factory.mktemp("script") / "opens.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Opens()), path)
    return path


AT_ONCE = """
  def __setstate__(self, state: Tuple[bool]) -> None:
    _0 = torch.from_file("CANARY", True, 1, dtype=0)
    return None
"""
SCRIPTS = {
    "plainly": lambda code: code,
    "by the other name of operators": lambda code: code.replace("torch.from_file", "ops.aten.from_file"),
    "with spaces": lambda code: code.replace("torch.from_file", "torch . from_file"),
    "over two lines": lambda code: code.replace("torch.from_file", "torch.\\\n  from_file"),
    "by text": lambda code: code.replace("torch.from_file", 'getattr(torch, "from_file")'),
    "by text in two parts": lambda code: code.replace("torch.from_file", 'getattr(torch, "from" "_file")'),
    "by saving": lambda code: code.replace(
        '_0 = torch.from_file("CANARY", True, 1, dtype=0)', 'torch.save(z, "CANARY")\n    _0 = z'
    ),
    "by saving by the other name": lambda code: code.replace(
        '_0 = torch.from_file("CANARY", True, 1, dtype=0)', 'ops.aten.save(z, "CANARY")\n    _0 = z'
    ),
}


def rewritten(source, target, code=lambda text: text, name=lambda name: name, again=False):
    """Write an archive with other code, under other names, or with another file of the same name after it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for part in old.namelist():
            data = old.read(part)
            new.writestr(name(part), code(data.decode()) if part.endswith(".py") else data)
            if again and part.endswith(".py"):
                new.writestr(part.replace(".py", again), "class M(Module):\n  pass\n")
    return target


def ran(path):
    """Whether a reader that trusts a file runs what is in it; an answer that is no error is not needed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(path)(torch.zeros(1, 1))


@pytest.mark.parametrize("way", SCRIPTS)
def test_a_script_that_opens_files_is_refused_however_it_says_so(way, script, canary, tmp_path):
    file = rewritten(script, tmp_path / "x.pt", lambda code: SCRIPTS[way](code).replace("CANARY", str(canary)))
    ran(file)
    assert appeared(canary), "it is no attack"
    refused(
        lambda: main(["import", "torchscript", str(file), "--latent-dim", "1", "--out", str(tmp_path / "o")]), canary
    )


@pytest.mark.parametrize("place", ["PY", "CODE", "double", "two directories"])
def test_a_script_is_looked_for_where_pytorch_looks(place, script, canary, tmp_path):
    file = tmp_path / "x.pt"
    there = {"PY": lambda name: name.replace(".py", ".PY"), "CODE": lambda name: name.replace("/code/", "/CODE/")}
    rewritten(
        script,
        file,
        lambda code: code.replace("CANARY", str(canary)),
        there.get(place, lambda name: name),
        ".py" if place == "double" else False,
    )
    if place == "two directories":  # of which others read the last one, and PyTorch that which the end names
        other = {"CANARY": str(canary), "torch.from_file": "torch.zero_like"}
        benign = rewritten(
            script,
            tmp_path / "y.pt",
            lambda code: functools.reduce(lambda text, one: text.replace(*one), other.items(), code),
        )
        file.write_bytes(spliced(file.read_bytes(), benign.read_bytes()))
    ran(file)
    assert appeared(canary), "it is no attack"
    refused(
        lambda: main(["import", "torchscript", str(file), "--latent-dim", "1", "--out", str(tmp_path / "o")]), canary
    )


def spliced(evil, benign):
    """Return an archive whose end says where the one's directory is, right after the other's directory."""
    end = evil.rindex(b"PK\5\6")
    assert benign.rindex(b"PK\5\6") == end  # only then both are whole
    return evil[:end] + benign[:end] + evil[end:]
