"""Damaged and forged files: each is refused as what it is, soon and in little memory, or gives what was saved.

Damage by accident fails the manifest's hashes. A forger signs what he wrote, so that only sense is left to check.
"""

import io
import json
import os
import shutil
import signal
import struct
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from forging import signed

import latentkit as lk
from latentkit.errors import CheckpointError
from latentkit.manifest import MANIFEST, write_parts
from latentkit.nets import build
from latentkit.nets.fitting import initialised
from trainers.snapshots import ROLE, pack, unpack, whole_state

pytestmark = pytest.mark.promise("damage")

IMAGE = {"channels": 1, "size": 16, "width": 2}
POINT = {"width": 8, "depth": 2}
KINDS = ("image", "point", "conditional", "encoder", "snapshot")
ACCIDENTS = ("flip", "cut", "zeros", "noise", "appended", "inserted", "doubled", "swapped")
TRIES = 8  # of each accident to each file
MOST_SECONDS, MOST_BYTES = 5.0, 512 * 2**20


class Hang(BaseException):
    """Raised where a file is read for too long; no reader may swallow it."""


@pytest.fixture(autouse=True)
def _bounded():
    """Let a hang and a huge allocation end a test, where the system can."""
    resource, statm = pytest.importorskip("resource"), Path("/proc/self/statm")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if statm.exists():
        now = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + MOST_BYTES, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


def hang(*_):
    raise Hang


def network(name, seed=0, **settings):
    return initialised(lambda: build(name, settings), seed).eval().requires_grad_(False)


def optimised():
    """A generator and its optimiser after a step, as a snapshot holds them."""
    with torch.enable_grad():
        module = initialised(lambda: build("mlp-generator", {"latent_dim": 2, "out_dim": 2, **POINT}), 3)
        optimiser = torch.optim.Adam(module.parameters())
        module(torch.ones(4, 2)).sum().backward()
        optimiser.step()
    return {"generator": module, "optimiser": optimiser}


def checkpoint(kind):
    about = {"settings": {"steps": 3, "lr": 1e-3}, "history": {"step": [1.0, 2.0], "loss": [0.5, 0.25]}, "data": "猫"}
    if kind in ("point", "snapshot"):
        generator = network("mlp-generator", seed=KINDS.index(kind), latent_dim=2, out_dim=2, **POINT)
        holdout = torch.linspace(-1, 1, 24).reshape(12, 2)
        return lk.Checkpoint(
            lk.wrap(generator, lk.Normal(2)), network("mlp-critic", in_dim=2, **POINT), holdout, **about
        )
    count = {"classes": 3} if kind == "conditional" else {}
    names = {"classes": ("zero", "One", "two & more")} if count else {}
    generator = network("conv-generator", latent_dim=3, **IMAGE, **count)
    holdout = torch.arange(12 * 256).reshape(12, 1, 16, 16).remainder(256) / 127.5 - 1.0
    labels = {"holdout_labels": torch.arange(12) % 3} if count else {}
    encoder = {"encoder": network("conv-encoder", latent_dim=3, **IMAGE)} if kind == "encoder" else {}
    return lk.Checkpoint(
        lk.wrap(generator, lk.Normal(3), **names),
        network("conv-critic", **IMAGE, **count),
        holdout,
        **about,
        **names,
        **labels,
        **encoder,
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """By kind: a folder, what is in its files, and what is read of it."""
    made = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp("saved") / kind
        parts = checkpoint(kind).parts()
        if kind == "snapshot":
            parts = {**parts, ROLE: pack(optimised(), {"step": 3})}
        write_parts(folder, parts)
        made[kind] = folder, {file.name: file.read_bytes() for file in sorted(folder.iterdir())}, read(folder)
    return made


@pytest.fixture
def run(saved, tmp_path):
    """Return run(kind): a copy of a saved folder to be damaged, what is in its files, and what is read of it."""

    def copied(kind):
        folder, files, whole = saved[kind]
        shutil.copytree(folder, tmp_path / kind)
        return tmp_path / kind, files, whole

    return copied


def of_this_run(about):
    if about["step"] != 3:
        raise CheckpointError("another run's")


def read(folder):
    """Return all that a folder's readers give: a checkpoint's parts, and the training's state where there is one."""
    parts = lk.load(folder).parts()
    if folder.name == "snapshot":
        target = optimised()
        about = unpack(whole_state(folder), target, of_this_run)
        parts[ROLE] = pack(target, about)
    return parts


def refused(call, whole=None):
    """Return whether a call is refused as it must be; if not, it must give the whole."""
    signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
    try:
        found = call()
    except CheckpointError as error:
        why = str(error)
    else:
        assert found == whole
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert "allocate" not in why, "the file could ask for that much memory"
    return True


def seeded(*names):
    return np.random.default_rng(zlib.crc32(repr(names).encode()))


def damaged(data, accident, rng, other=b""):
    data, place = bytearray(data), int(rng.integers(len(data)))
    noise = rng.integers(0, 256, 1 + place % 64, dtype=np.uint8).tobytes()
    if accident == "flip":
        data[place] ^= 1 << int(rng.integers(8))
    elif accident == "cut":
        del data[place:]
    elif accident == "zeros":
        data[place : place + 512] = bytes(len(data[place : place + 512]))
    elif accident == "noise":
        data[place : place + len(noise)] = noise[: len(data) - place]
    elif accident == "appended":
        data += noise
    elif accident == "inserted":
        data[place:place] = noise
    elif accident == "doubled":
        data[place:place] = data[: 1 + int(rng.integers(len(data)))]
    else:  # the rest of the file is another file's
        data[place:] = other[place:]
    return bytes(data)


@pytest.mark.parametrize("accident", ACCIDENTS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_accident_goes_unnoticed(kind, accident, run, saved, tally):
    folder, files, whole = run(kind)
    others = [data for other in KINDS if other != kind for data in saved[other][1].values()]
    tries = unharmed = 0
    for name, data in files.items():
        rng = seeded(kind, accident, name)
        for _ in range(TRIES):
            bad = damaged(data, accident, rng, others[int(rng.integers(len(others)))])
            if bad == data:
                continue
            (folder / name).write_bytes(bad)
            tries += 1
            if not refused(lambda: read(folder), whole):
                unharmed += 1
                # Only the manifest's words about itself may change and do no harm.
                assert name == MANIFEST
                assert json.loads(bad)["files"] == json.loads(data)["files"]
        (folder / name).write_bytes(data)
    assert not refused(lambda: read(folder), whole)
    assert unharmed <= TRIES
    tally(tries)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_checkpoint_is_noticed(kind, run, saved, tally):
    folder, files, whole = run(kind)
    tries = 0
    for name, data in files.items():
        for other in {other: None for kind in KINDS for other in saved[kind][1].values()}:
            if other == data:
                continue
            (folder / name).write_bytes(other)
            tries += 1
            assert refused(lambda: read(folder), whole)
        (folder / name).write_bytes(data)
    tally(tries)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_plain_file_is_refused_and_nobody_waits_for_it(kind, run, tally):
    folder, files, whole = run(kind)

    def looped(path):
        path.symlink_to(path.name)

    ways = (
        lambda path: None,
        Path.mkdir,
        os.mkfifo,
        looped,
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to("/proc/self/mem"),
        lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 2**40),
    )
    for name, data in files.items():
        for way in ways:
            path = folder / name
            path.unlink()
            way(path)
            assert refused(lambda: read(folder), whole)
            with suppress(FileNotFoundError):
                path.rmdir() if path.is_dir() else path.unlink()
            path.write_bytes(data)
    tally(len(ways) * len(files))


# ---- forgery: the hashes are right


def entries(data):
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def framed(header, body=b"", size=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + body


def changed(header, **change):
    """The header with its last tensor's entry changed."""
    name = [name for name in header if name != "__metadata__"][-1]
    return {**header, name: {**header[name], **change}}


def header_attacks(data):
    """Yield safetensors files that claim what cannot be, each by its name."""
    header, body = entries(data)
    text, names = json.dumps(header).encode(), [name for name in header if name != "__metadata__"]
    last = header[names[-1]]
    begin, end = last["data_offsets"]
    for size in (0, 1, len(text) - 1, len(text) + 1, len(data), 10**8 + 1, 2**31, 2**32, 2**63, 2**64 - 1):
        yield f"length {size}", framed(text, body, size)
    for head in (b"", b"[]", b"null", b'""', b"{}", b"{", b"\0" * 16, b"\xff\xfe{}", b"{" * 50_000, b"[" * 50_000):
        yield f"header {head[:8]!r}", framed(head, body)
    deep = b'{"a":' * 5_000 + b"1" + b"}" * 5_000
    yield "deep header", framed(deep, body)
    for offsets in (
        (end, begin), (begin, end + 4), (begin + 4, end), (begin - 4, end - 4), (0, end), (-4, end - begin - 4),
        (begin, 2**63), (2**63, 2**64 - 1), (begin, 10**30), (begin + 0.5, end), (begin,), (), None, "ab", (True, end),
    ):  # fmt: skip
        if offsets != (begin, end):
            yield f"offsets {offsets}", framed(changed(header, data_offsets=offsets), body)
    for shape in (
        (2**62, 2**62), (2**32, 2**32), (2**64 - 1,), (10**30,), (-1,), (1.5,), ("4",), None, (), (0,),
        [1] * 10_000, [*last["shape"][::-1], 2], [[*last["shape"]]],
    ):  # fmt: skip
        yield f"shape {str(shape)[:30]}", framed(changed(header, shape=shape), body)
    for dtype in ("F16", "BF16", "F64", "I32", "F8_E4M3", "BOOL", "F4", "U99", "", None, ["F32"], 4):
        yield f"dtype {dtype}", framed(changed(header, dtype=dtype), body)
    yield "no entry", framed({**header, names[-1]: {}}, body)
    yield "list entry", framed({**header, names[-1]: []}, body)
    yield "renamed", framed({**{n: header[n] for n in names[:-1]}, "../x\0": last}, body)
    yield "shared bytes", framed({**header, "more": last}, body)
    yield (
        "many",
        framed({**header, **{f"n{k}": {**last, "shape": [0], "data_offsets": [end, end]} for k in range(3000)}}, body),
    )
    yield "metadata", framed({**header, "__metadata__": {"a": [1, 2]}}, body)
    yield "metadata list", framed({**header, "__metadata__": [1]}, body)
    twice = text[:-1] + b"," + json.dumps({names[-1]: {**last, "shape": [1], "data_offsets": [0, 4]}}).encode()[1:]
    yield "twice", framed(twice, body)
    yield "not a number", framed(text.replace(str(end).encode(), b"NaN"), body)
    yield "no body", framed(text)
    yield "short body", framed(text, body[:-1])
    yield "long body", framed(text, body + b"\0")
    yield "pickle", b"\x80\x04" + body
    values = bytearray(body)
    values[begin : begin + 4] = struct.pack("<f", np.nan)
    if last["dtype"] == "F32":
        yield "NaN weights", framed(text, bytes(values))
    yield "spaces", framed(text + b" " * 64, body)


@pytest.mark.parametrize("kind", KINDS)
def test_headers_that_lie_are_refused_though_their_hashes_are_right(kind, run, tally):
    folder, files, whole = run(kind)
    tries, let = 0, set()
    for name, data in files.items():
        role = name.partition("-")[0]
        if not name.endswith(".safetensors"):
            continue
        for attack, bad in header_attacks(data):
            signed(folder, role, bad)
            tries += 1
            if not refused(lambda: read(folder), whole):
                let.add(attack)
        (folder / MANIFEST).write_bytes(files[MANIFEST])
    # These say the same in other words, or add what is not read.
    assert let <= {"spaces", "many", "dtype BOOL"}
    tally(tries)


def places(value, path=()):
    """Yield the way to each part of a JSON value."""
    yield path
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(part, (*path, key))


def put(value, path, new):
    if not path:
        return new
    key, *rest = path
    made = dict(value) if isinstance(value, dict) else list(value)
    made[key] = put(value[key], rest, new)
    return made


DEEP = json.loads("[" * 300 + "]" * 300)
STRANGE = (
    None, True, -1, 0.5, 2**70, 10**400, float("nan"), float("inf"), "\ud800", "../../x", [], {}, [1], {"a": 1}, DEEP
)  # fmt: skip


def free(path, value):
    """Whether a description may say this there: what a setting is, only its trainer knows, and a name is any text."""
    if value == "\ud800" or (isinstance(value, float) and not np.isfinite(value)):
        return False
    text, number = isinstance(value, str), isinstance(value, int | float) and not isinstance(value, bool)
    if path[:1] == ("settings",):
        return len(path) > 1 or isinstance(value, dict)
    if path[:1] in (("data",), ("trainer",)) or (path[:1] == ("classes",) and len(path) == 2):
        return text
    if path[:1] == ("history",):
        return number if len(path) == 3 else path == ("history",) and value == {}
    real = number and abs(value) < 2**1000
    return (path == ("prior", "mean") and real) or (path == ("prior", "std") and real and value > 0)


@pytest.mark.parametrize("kind", ["point", "conditional"])
def test_descriptions_that_make_no_sense_are_refused_though_their_hashes_are_right(kind, run, tally):
    folder, _, whole = run(kind)
    about = json.loads(whole["about"])
    tries = 0
    for path in places(about):
        for value in STRANGE:
            if put(about, path, value) == about:
                continue
            signed(folder, "about", json.dumps(put(about, path, value)).encode())
            tries += 1
            assert refused(lambda: lk.load(folder) and None) != free(path, value), (path, value)
    for text in (b"", b"[]", b"\xff", b"[" * 10**6, b'{"a":' * 10**5, b"9" * 5000, b"{}", b"null", b"\0" * 99):
        signed(folder, "about", text)
        tries += 1
        assert refused(lambda: lk.load(folder))
    tally(tries)


@pytest.mark.parametrize("kind", ["point", "snapshot"])
def test_manifests_that_make_no_sense_are_refused(kind, run, tally):
    folder, files, whole = run(kind)
    manifest = json.loads(files[MANIFEST])
    tries = 0
    for path in places(manifest):
        for value in (*STRANGE, "/etc/passwd", "about-0123456789abcdef.json", "generator-" + "0" * 16 + ".safetensors"):
            bad = put(manifest, path, value)
            if bad == manifest:  # True is 1
                continue
            (folder / MANIFEST).write_text(json.dumps(bad))
            tries += 1
            if not refused(lambda: read(folder), whole):
                assert path == ("latentkit",)
    text = files[MANIFEST].decode()
    for bad in ("", "[]", "[" * 10**6, '{"a":' * 10**5, "9" * 5000, text[:-3], text * 2, "\0" + text, text + "x"):
        (folder / MANIFEST).write_text(bad)
        tries += 1
        assert refused(lambda: read(folder))
    for role in manifest["files"]:  # the later of two entries counts, and it is checked
        twice = text.replace('"files": {', f'"files": {{"{role}": {{}},')
        (folder / MANIFEST).write_text(twice)
        tries += 1
        assert not refused(lambda: read(folder), whole)
    tally(tries)


def test_the_state_of_a_training_that_makes_no_sense_is_refused(run, tally):
    folder, files, whole = run("snapshot")
    role = next(name for name in files if name.startswith(ROLE))
    header, body = entries(files[role])
    begin, end = header["json"]["data_offsets"]
    said = json.loads(body[begin:end])
    from safetensors.torch import load, save

    tensors = load(files[role])
    tries = 0
    texts = [json.dumps(put(said, path, value)) for path in places(said) for value in STRANGE]
    for text in [*texts, "", "[" * 10**6, '{"a":' * 10**5, "9" * 5000, "null"]:
        raw = torch.frombuffer(bytearray(text.encode() or b" "), dtype=torch.uint8)
        signed(folder, ROLE, save({**tensors, "json": raw}))
        tries += 1
        assert refused(lambda: read(folder), whole) or json.loads(text)["about"] == said["about"]
    for name in tensors:
        for value in (torch.zeros(0), torch.zeros(3, 3, 3), torch.full_like(tensors[name].float(), float("nan"))):
            signed(folder, ROLE, save({**tensors, name: value}))
            tries += 1
            assert refused(lambda: read(folder))
        signed(folder, ROLE, save({key: one for key, one in tensors.items() if key != name}))
        tries += 1
        assert refused(lambda: read(folder))
    tally(tries)


# ---- other files


def map_and_plane(folder):
    """A quality map and a projection, saved."""
    generator = lk.wrap(lambda z: z, lk.Normal(2))
    real = lk.Normal(2).sample(300, seed=7) + torch.tensor([1.5, 0.0])
    quality = lk.quality_map(generator, lambda x: 1.5 * x[:, 0] - 1.1, real, n=300, seed=3)
    plane = lk.project(lk.Normal(4).sample(60, seed=1), "pca", seed=0)
    return {
        quality.save(folder / "map.npz"): (lk.load_quality, quality_facts),
        plane.save(folder / "plane.npz"): (lk.load_projection, plane_facts),
    }


def quality_facts(quality):
    names = ("index", "logits", "probability", "density_ratio", "typicality", "real_logits")
    return [getattr(quality, name).tolist() for name in names], quality.seed, quality.prior, quality.verdict


def plane_facts(plane):
    return plane.points.tolist(), plane.features.tolist(), plane.method, plane.seed, plane.note, plane.of


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    return map_and_plane(tmp_path_factory.mktemp("archives"))


@pytest.mark.parametrize("number", [0, 1])
def test_no_accident_to_an_archive_goes_unnoticed(number, archives, tmp_path, tally):
    source, (load, facts) = list(archives.items())[number]
    data, other = source.read_bytes(), list(archives)[1 - number].read_bytes()
    whole, tries = facts(load(source)), 0
    for accident in ACCIDENTS:
        rng = seeded(number, accident)
        for _ in range(12):
            bad = damaged(data, accident, rng, other)
            if bad != data:
                (tmp_path / "bad.npz").write_bytes(bad)
                refused(lambda: facts(load(tmp_path / "bad.npz")), whole)
                tries += 1
    assert refused(lambda: load(list(archives)[1 - number]))
    tally(tries)


def rezipped(source, target, name, data):
    """Write an archive again, one of its parts changed; its checksums are right."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.namelist():
            if part != name:
                new.writestr(part, old.read(part))
        if data is not None:
            new.writestr(name, data)
    return target


def npy(value, shape=None, descr=None):
    """The bytes of an array, of which the header may say another shape and type."""
    file = io.BytesIO()
    value = np.asanyarray(value)
    about = {
        "descr": descr or value.dtype.str,
        "fortran_order": False,
        "shape": value.shape if shape is None else shape,
    }
    np.lib.format.write_array_header_1_0(file, about)
    return file.getvalue() + value.tobytes()


#: What no array of ours is like.
LIES = {"cut", "huge", "huger", "negative", "objects", "dates", "pickle", "complex"}


@pytest.mark.parametrize("number", [0, 1])
def test_arrays_that_make_no_sense_are_refused_though_their_checksums_are_right(number, archives, tmp_path, tally):
    source, (load, facts) = list(archives.items())[number]
    with zipfile.ZipFile(source) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    needed = {"points.npy", "features.npy", "about.npy", "index.npy", "logits.npy"}
    tries, let = 0, set()
    for name, data in parts.items():
        array = np.load(io.BytesIO(data))
        ways = {
            "gone": None,
            "empty": b"",
            "cut": data[: len(data) // 2],
            "huge": npy(array, (2**40,)),
            "huger": npy(array, (2**62, 2**62)),
            "negative": npy(array, (-1,)),
            "objects": npy(np.zeros(9), descr="|O"),
            "text": npy(np.array("x" * 40)),
            "dates": npy(np.zeros(array.size, "i8"), array.shape, "<M8[s]"),
            "no rows": npy(np.zeros((0, *array.shape[1:]), array.dtype)),
            "deep": npy(np.zeros((1,) * 32)),
            "scalar": npy(np.float32(3)),
            "pickle": b"\x80\x04N.",
        }
        if array.ndim and array.dtype.kind == "f":
            ways["NaN"] = npy(np.full_like(array, np.nan))
        if array.ndim:
            ways["a row less"] = npy(array[:-1])
            ways["complex"] = npy(array.astype("c16"))
        if name == "about.npy":
            said = json.loads(str(array))
            for path in places(said):
                for value in STRANGE[:: 3 if path else 1]:
                    ways[f"about {path} {str(value)[:20]}"] = npy(np.array(json.dumps(put(said, path, value))))
        for way, bad in ways.items():
            target = rezipped(source, tmp_path / "bad.npz", name, bad)
            tries += 1
            # What it says instead may be a map or a projection too, as far as a reader can know.
            if not refused(lambda: facts(load(target)) and None):  # noqa: B023 - called here
                let.add((name, way))
    unread = "latents.npy"  # a map draws its latents again
    assert not [one for one in let if one[1] in LIES and one[0] != unread]
    assert not {name for name, way in let if way in ("gone", "empty", "scalar")} & set(needed), let
    tally(tries)
