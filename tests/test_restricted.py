"""Pickles are read without running anything in them."""

import collections
import io
import os
import pickle
import subprocess
import sys
import types

import numpy as np
import pytest
import safetensors.torch
import torch

from latentkit.adapters.restricted import Record, read_pickle
from latentkit.adapters.weights import filled, misfit, read_weights, unwrapped
from latentkit.errors import CheckpointError


def read(data):
    return read_pickle(io.BytesIO(data))


@pytest.fixture
def canary(tmp_path):
    """A file that any code in a pickle would make."""
    return tmp_path / "ran"


class Calls:
    """Pickled as a call of a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def module(name, **members):
    made = types.ModuleType(name)
    for key, member in members.items():
        member.__module__, member.__qualname__ = name, key
        setattr(made, key, member)
    return made


@pytest.fixture
def released(monkeypatch):
    """Stand-ins for the modules that the official release's pickles name."""

    def _reconstruct_persistent_obj(meta):
        raise RuntimeError("must never run")

    class EasyDict(dict):
        pass

    class Network:
        pass

    made = {
        "torch_utils": module("torch_utils"),
        "torch_utils.persistence": module(
            "torch_utils.persistence", _reconstruct_persistent_obj=_reconstruct_persistent_obj
        ),
        "dnnlib": module("dnnlib"),
        "dnnlib.util": module("dnnlib.util", EasyDict=EasyDict),
        "dnnlib.tflib.network": module("dnnlib.tflib.network", Network=Network),
    }
    for name, inner in made.items():
        monkeypatch.setitem(sys.modules, name, inner)
    return types.SimpleNamespace(rebuild=_reconstruct_persistent_obj, EasyDict=EasyDict, Network=Network)


def persistent(released, name, state, source="raise RuntimeError('ran')"):
    meta = {"type": "class", "version": 6, "module_src": source, "class_name": name, "state": state}
    return Calls(released.rebuild, meta)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_tensors_arrays_and_settings_come_out_as_they_went_in(protocol):
    table = torch.arange(12.0).reshape(3, 4)
    whole = {
        "parameter": torch.nn.Parameter(table),
        "view": table[1:, ::2],
        "half": table.half(),
        "whole": torch.tensor([1, 2]),
        "flag": torch.tensor(True),
        "empty": torch.empty(0, 3),
        "sizes": np.asarray([36, 36]),
        "big": np.arange(6, dtype=">f8").reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "turned": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
        "whole number": np.int32(-3),
        "number": np.float64(0.25),
        "names": collections.OrderedDict(a=1, b=(2, None, True)),
        "set": {1, 2},
        "bytes": b"\x00\xff",
        "text": "ü",
    }
    found = read(pickle.dumps(whole, protocol))
    assert list(found) == list(whole)
    for key, value in whole.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(found[key], value.detach()), key
            assert (found[key].dtype, found[key].requires_grad) == (value.dtype, False)
        elif isinstance(value, np.ndarray):
            assert np.array_equal(found[key], value), key
        else:
            assert found[key] == value, key
    assert type(found["number"]) is float


def test_a_persistent_object_becomes_its_name_and_state(released, canary):
    source = f"open({str(canary)!r}, 'w').close()"
    inner = persistent(released, "Layer", {"weight": torch.ones(2)}, source)
    options = released.EasyDict(z_dim=512, kwargs=released.EasyDict(a=[1]))
    data = pickle.dumps(persistent(released, "Net", {"layer": inner, "_init_kwargs": options}, source))
    found = read(data)
    assert isinstance(found, Record)
    assert found.class_name == "Net"
    assert found.state["_init_kwargs"] == {"z_dim": 512, "kwargs": {"a": [1]}}
    assert found.state["layer"].class_name == "Layer"
    assert found.state["layer"].state["weight"].tolist() == [1.0, 1.0]
    assert not canary.exists()


def attacks(canary):
    """Pickles that write the canary when they are loaded by `pickle.loads`, or by what it would call."""
    command = f"touch {canary}"
    code = f"open({str(canary)!r}, 'w').close()"
    buffer = io.BytesIO()
    torch.save(Calls(os.system, command), buffer)  # what `torch.storage._load_from_bytes` gets
    yield "os.system", pickle.dumps(Calls(os.system, command))
    yield "eval", pickle.dumps(Calls(eval, code))
    yield "exec", pickle.dumps([{"deep": (Calls(exec, code),)}])
    yield "Popen", pickle.dumps(Calls(subprocess.Popen, ["touch", str(canary)]))
    yield (
        "getattr",
        b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(S'os'\ntRS'system'\ntR(S'" + command.encode() + b"'\ntR.",
    )
    yield "dotted", b"\x80\x04\x8c\x0bcollections\x8c\x0fabc.sys.modules\x93."
    yield "in bytes", pickle.dumps(Calls(torch.storage._load_from_bytes, buffer.getvalue()))
    yield "old protocol", b"(S'" + command.encode() + b"'\nios\nsystem\n."


NAMES = ["os.system", "eval", "exec", "Popen", "getattr", "dotted", "in bytes", "old protocol"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_runs(canary, name):
    data = dict(attacks(canary))[name]
    with pytest.raises(CheckpointError) as refused:
        read(data)
    assert "\n" not in str(refused.value)
    assert not canary.exists()


def test_the_attacks_are_real(canary):
    """Each but the broken one does run where a pickle is loaded as usual."""
    for name, data in attacks(canary):
        if name in ("os.system", "eval", "exec", "getattr", "in bytes", "old protocol"):
            subprocess.run(
                [sys.executable, "-c", "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"],
                input=data,
                capture_output=True,
                check=False,
            )
            assert canary.exists(), name
            canary.unlink()


@pytest.mark.parametrize(
    ("name", "asked"),
    [("os.system", r"(posix|nt)\.system"), ("eval", r"builtins\.eval"), ("Popen", "subprocess.Popen")],
)
def test_what_it_asked_for_is_named(canary, name, asked):
    with pytest.raises(CheckpointError, match=f"asks for {asked}, which is neither a tensor nor a plain setting"):
        read(dict(attacks(canary))[name])


def test_a_pickle_cannot_change_what_the_next_one_calls():
    """BUILD sets attributes of whatever lies on the stack: also of the functions that a pickle may call."""
    state = b"}(\x8c\x05_make\x8c\x01xu"
    for target in (
        b"\x8c\x0ctorch._utils\x8c\x12_rebuild_tensor_v2\x93",
        b"\x8c\x0bcollections\x8c\x0bOrderedDict\x93",
        b"\x8c\x08builtins\x8c\x03set\x93",
        b"\x8c\x05numpy\x8c\x07ndarray\x93",
    ):
        for built in (state, b"N" + state + b"\x86"):
            with pytest.raises(CheckpointError, match="damaged or no pickle"):
                read(b"\x80\x04" + target + built + b"b.")
    tensor = torch.arange(3.0)
    assert torch.equal(read(pickle.dumps(tensor)), tensor)
    assert read(pickle.dumps(collections.OrderedDict(a=1))) == {"a": 1}


def rebuilt(offset, size, stride):
    """What a pickle of a tensor with six numbers, a size and strides makes."""
    numbers = torch.arange(6.0)._typed_storage()
    return read(pickle.dumps(Calls(torch._utils._rebuild_tensor_v2, numbers, offset, size, stride, False, {})))


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(4, (3,), (1,)), (0, (2, 4), (4, 1)), (-1, (2,), (1,)), (0, (2,), (-1,)), (0, (9,), (0,))],
)
def test_a_tensor_does_not_reach_beyond_its_numbers(offset, size, stride):
    with pytest.raises(CheckpointError, match="a tensor"):
        rebuilt(offset, size, stride)
    assert rebuilt(2, (2, 2), (2, 1)).tolist() == [[2.0, 3.0], [4.0, 5.0]]


@pytest.mark.parametrize("array", [np.array([{}, []], dtype=object), np.zeros(2, "i4,f4"), np.array(["text"])])
def test_arrays_are_numbers(array):
    with pytest.raises(CheckpointError):
        read(pickle.dumps(array))


@pytest.mark.parametrize("cut", [0, 1, 5, 40, -1])
def test_a_cut_pickle_is_damaged(cut):
    with pytest.raises(CheckpointError, match="damaged or no pickle"):
        read(pickle.dumps({"weight": torch.ones(30)})[:cut])


def test_tensorflow_pickles_say_what_to_do(released):
    with pytest.raises(CheckpointError, match=r"TensorFlow releases; convert it with legacy\.py"):
        read(pickle.dumps(released.Network()))


STATE = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}


def written(tmp_path, kind):
    path = tmp_path / f"weights.{kind}"
    if kind == "safetensors":
        safetensors.torch.save_file(STATE, path)
    elif kind == "pkl":
        path.write_bytes(pickle.dumps(STATE))
    else:
        with path.open("wb") as file:
            torch.save(STATE, file, _use_new_zipfile_serialization=kind == "pt")
    return path


@pytest.mark.parametrize("kind", ["safetensors", "pkl", "pt", "old"])
def test_files_are_told_apart_by_what_is_in_them(tmp_path, kind):
    path = written(tmp_path, kind)
    disguised = path.rename(tmp_path / "weights.bin")
    found = read_weights(disguised)
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("kind", ["safetensors", "pkl", "pt", "old"])
def test_cut_files_are_refused(tmp_path, kind):
    path = written(tmp_path, kind)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CheckpointError):
        read_weights(path)


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", r"Git LFS pointer.*git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "is a web page"),
        (b"", "no file of weights"),
        (b"just some text that is long enough", "no file of weights"),
    ],
)
def test_what_is_not_weights_is_named(tmp_path, content, wrong):
    path = tmp_path / "network.pkl"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=wrong):
        read_weights(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"cannot read .*absent\.pkl"):
        read_weights(tmp_path / "absent.pkl")


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_torch_run_nothing(tmp_path, canary, zipped):
    path = tmp_path / "evil.pt"
    with path.open("wb") as file:
        torch.save({"g": Calls(os.system, f"touch {canary}")}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"asks for (posix|nt)\.system") as refused:
        read_weights(path)
    assert "\n" not in str(refused.value)
    assert not canary.exists()


def test_wrappers_are_taken_off_only_where_all_keys_have_them():
    assert unwrapped({f"module._orig_mod.{key}": 0 for key in STATE}).keys() == STATE.keys()
    mixed = {"module.fc.weight": 0, "fc.bias": 0}
    assert unwrapped(mixed) == mixed
    assert unwrapped({}) == {}


class Line(torch.nn.Module):
    """A network with a layer of its own called `module`."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 2)


def test_a_network_is_filled_whole_or_not_at_all():
    network = filled(Line, {key: value.half() for key, value in STATE.items()}, "it")
    assert torch.equal(network.fc.weight, STATE["fc.weight"])
    assert not network.training
    assert not any(value.requires_grad for value in network.parameters())
    wrong = {"fc.weight": torch.ones(2, 4), "fc.scale": torch.ones(1)}
    with pytest.raises(CheckpointError, match=r"missing: fc.bias; unexpected: fc.scale; shape: fc.weight \(2, 4\)"):
        filled(Line, wrong, "it")
    with pytest.raises(CheckpointError, match=r"not finite \(fc.bias\)"):
        filled(Line, {**STATE, "fc.bias": torch.tensor([1.0, float("nan")])}, "it")


def test_a_diff_is_short():
    wanted = {f"layer{i}": torch.ones(1) for i in range(100)}
    assert misfit(wanted, {}) == "missing: layer0, layer1, layer2, ... (100 in all)"
    assert misfit(wanted, wanted) is None
    assert misfit({"a": torch.ones(1)}, {"a": "text"}) == "no tensor: a"
