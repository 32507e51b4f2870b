"""Stores: what is written is read back, whatever the kind, the order, the processes and the moment of a kill."""

import errno
import json
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import warnings
from contextlib import contextmanager

import numpy as np
import pytest

from latentkit.errors import (
    ArgumentError,
    CheckpointError,
    LatentkitError,
    MissingDependencyError,
    OutputError,
    ShapeError,
)
from latentkit.stores import Column, Table, check_room, create_store, kind_of, open_store
from latentkit.stores.columns import DTYPES

KINDS = ("npy", "zarr", "parquet")
every_kind = pytest.mark.parametrize("kind", KINDS)

ROWS, BLOCK = 23, 5
COLUMNS = {"samples": Column("uint8", (3, 2)), "scores": Column("float64")}


def numbers(columns=COLUMNS, rows=ROWS):
    """Numbers of every dtype, with those that a conversion would change: the largest, -0.0 and infinity."""
    rng = np.random.default_rng(0)
    found = {}
    for name, column in columns.items():
        values = rng.integers(0, 256, (rows, *column.shape, np.dtype(column.dtype).itemsize), dtype=np.uint8)
        array = values.view(column.dtype)[..., 0] if column.dtype != "bool" else values[..., 0] > 127
        if array.dtype.kind == "f":
            array = np.nan_to_num(array)
            array.reshape(-1)[:2] = -0.0, np.inf
        found[name] = np.ascontiguousarray(array)
    return found


def begun(path, kind, columns=COLUMNS, rows=ROWS, plan=None, **options):
    plan = {"seed": 1} if plan is None else plan
    return create_store(path, kind=kind, rows=rows, block=BLOCK, columns=columns, plan=plan, **options)


def fill(store, data, blocks=None):
    for k in range(store.blocks) if blocks is None else blocks:
        start, stop = store.span(k)
        store.write(k, {name: values[start:stop] for name, values in data.items()})


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@every_kind
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (4,), (3, 2, 5)])
def test_what_was_written_is_read_back_bit_for_bit(kind, dtype, shape, tmp_path):
    columns = {"values": Column(dtype, shape)}
    data = numbers(columns)
    store = begun(tmp_path / "x", kind, columns)
    fill(store, data)
    store = store.finish()
    store.verify()
    again = open_store(tmp_path / "x")
    found, wanted = again["values"], data["values"]
    assert found[:].tobytes() == wanted.tobytes()
    assert found[:].dtype == found.dtype == wanted.dtype
    assert found.shape == wanted.shape == (len(again), *shape)
    for index in (
        slice(3, 17),
        slice(20, None),
        slice(9, 9),
        slice(18, 2, -3),
        [4, 22, 0, 4],
        [-1],
        wanted[:, ...].reshape(ROWS, -1)[:, 0] > 1,
    ):
        assert found[index].tobytes() == wanted[index].tobytes()
        assert found[index].shape == wanted[index].shape
    assert found[7].tobytes() == wanted[7].tobytes()
    assert found[-1].shape == shape
    assert np.asarray(found).tobytes() == wanted.tobytes()


@every_kind
def test_the_order_of_blocks_and_a_second_writing_change_nothing(kind, tmp_path):
    data = numbers()
    one, other = begun(tmp_path / "one", kind), begun(tmp_path / "other", kind)
    fill(one, data)
    fill(other, data, [3, 0, 4])
    assert other.missing() == [1, 2]
    assert not other.complete
    fill(pickle.loads(pickle.dumps(other)), data, [2, 3, 1, 1])
    one, other = one.finish(), other.finish()
    assert other.missing() == []
    assert files_of(tmp_path / "one") == files_of(tmp_path / "other")
    assert other.finish() is other
    with pytest.raises(ArgumentError, match="is complete; nothing can be added"):
        fill(other, data, [0])


def test_the_sums_of_a_block_are_those_of_its_numbers_whatever_the_kind(tmp_path):
    sums = []
    for kind in KINDS:
        store = begun(tmp_path / kind, kind)
        fill(store, numbers())
        sums.append([one.sha256 for one in store.finish().sums])
    assert sums[0] == sums[1] == sums[2]
    assert len(set(sums[0])) == store.blocks


def test_columns_of_npy_are_plain_files_and_map_into_memory(tmp_path):
    data = numbers()
    store = begun(tmp_path / "x", "npy")
    fill(store, data)
    with pytest.raises(CheckpointError, match="not complete"):
        open_store(tmp_path / "x")
    store = store.finish()
    for name, values in data.items():
        mapped = np.load(tmp_path / "x" / f"{name}.npy", mmap_mode="r")
        assert mapped.tobytes() == values.tobytes()
    # Changes to a map stay in memory.
    own = store["scores"].mapped()
    own[3] = 42.0
    store.verify()
    assert store["scores"][3] == data["scores"][3]


def test_zarr_is_opened_by_anyone(tmp_path):
    zarr = pytest.importorskip("zarr")
    columns = {f"c{k}": Column(dtype, (2, 3)[: k % 3]) for k, dtype in enumerate(DTYPES)}
    data = numbers(columns)
    store = begun(tmp_path / "x.zarr", "zarr", columns)
    fill(store, data)
    store.finish()
    group = zarr.open(tmp_path / "x.zarr", mode="r")
    assert set(group) == set(columns)
    for name, values in data.items():
        assert group[name][:].tobytes() == values.tobytes()
        assert group[name].dtype == values.dtype
        assert group[name].chunks == (BLOCK, *columns[name].shape)


def test_parquet_is_one_data_set_in_the_order_of_rows(tmp_path):
    pytest.importorskip("pyarrow")
    from pyarrow import dataset

    data = numbers()
    store = begun(tmp_path / "x.parquet", "parquet")
    fill(store, data, [4, 2, 0, 1, 3])
    store.finish()
    found = dataset.dataset(tmp_path / "x.parquet")
    table = found.to_table()
    assert table["index"].to_pylist() == list(range(ROWS))
    assert np.array(table["samples"].to_pylist(), "uint8").reshape(ROWS, 3, 2).tobytes() == data["samples"].tobytes()
    assert json.loads(table.schema.field("samples").metadata[b"shape"]) == [3, 2]
    assert table["scores"].to_numpy().tobytes() == data["scores"].tobytes()
    assert table.schema.field("samples").type.list_size == 6
    with pytest.raises(ArgumentError, match="a column index of its own"):
        begun(tmp_path / "y", "parquet", {"index": Column("int64")})


def test_pandas_reads_the_folder(tmp_path):
    pandas = pytest.importorskip("pandas")
    data = numbers()
    store = begun(tmp_path / "x.parquet", "parquet")
    fill(store, data)
    store.finish()
    frame = pandas.read_parquet(tmp_path / "x.parquet")
    assert frame["index"].tolist() == list(range(ROWS))
    assert frame["scores"].to_numpy().tobytes() == data["scores"].tobytes()
    assert np.stack(frame["samples"]).tobytes() == data["samples"].tobytes()


def test_a_kind_whose_library_is_missing_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=re.escape('pip install "latentkit[parquet]"')):
        begun(tmp_path / "x", "parquet")
    assert not (tmp_path / "x").exists()
    fill(begun(tmp_path / "y", "zarr"), numbers())  # written by the specification


@every_kind
def test_only_blocks_that_are_done_can_be_read(kind, tmp_path):
    data = numbers()
    fill(begun(tmp_path / "x", kind), data, [1])
    with pytest.raises(CheckpointError, match=r"not complete: 4 of 5 blocks are missing; .*partial=True"):
        open_store(tmp_path / "x")
    store = open_store(tmp_path / "x", partial=True)
    assert store["scores"][5:10].tobytes() == data["scores"][5:10].tobytes()
    store.verify()
    for index in (slice(5, 11), slice(0, 23), 0, [6, 20]):
        with pytest.raises(CheckpointError, match="are not there yet"):
            store["scores"][index]
    with pytest.raises(CheckpointError, match=r"4 of 5 blocks are missing, the first is 0; go on"):
        store.finish()
    with pytest.raises(IndexError, match="rows lie in 0 to 22"):
        store["scores"][[23]]
    with pytest.raises(ArgumentError, match="has the columns samples, scores; got 'sample'"):
        store["sample"]


@every_kind
def test_a_store_is_gone_on_with_by_its_own_plan_alone(kind, tmp_path):
    data = numbers()
    fill(begun(tmp_path / "x", kind, resume=True), data, [0, 1])
    before = files_of(tmp_path / "x")
    with pytest.raises(OutputError, match="a store is there, unfinished; go on with it by resume, or choose"):
        begun(tmp_path / "x", kind)
    for change, said in (
        ({"plan": {"seed": 2}}, "seed is 1, not 2"),
        ({"plan": {"seed": 1, "more": [1]}}, r"more is None, not \[1\]"),
        ({"rows": ROWS + 1}, "rows is 23, not 24"),
        ({"columns": {**COLUMNS, "scores": Column("float32")}}, "columns is"),
        ({"kind": "zarr" if kind == "npy" else "npy"}, "kind is"),
    ):
        with pytest.raises(OutputError, match=f"cannot go on .*{said}"):
            begun(tmp_path / "x", **{"kind": kind, **change}, resume=True)
    assert files_of(tmp_path / "x") == before
    store = begun(tmp_path / "x", kind, resume=True)
    assert store.missing() == [2, 3, 4]
    fill(store, data, store.missing())
    store.finish()
    assert begun(tmp_path / "x", kind, resume=True).complete
    with pytest.raises(OutputError, match="a store is there, complete"):
        begun(tmp_path / "x", kind)
    unbroken = begun(tmp_path / "y", kind)
    fill(unbroken, data)
    unbroken.finish()
    assert files_of(tmp_path / "x") == files_of(tmp_path / "y")


@every_kind
def test_a_folder_of_others_is_refused_and_untouched(kind, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(OutputError, match=r"already holds other files \(thesis.txt\)"):
            begun(tmp_path, kind, resume=resume)
    (tmp_path / "thesis.txt").rename(tmp_path / "_latentkit.json")
    with pytest.raises((OutputError, CheckpointError), match="_latentkit"):
        begun(tmp_path, kind, resume=True)
    assert files_of(tmp_path) == {"_latentkit.json": b"mine"}
    with pytest.raises(OutputError, match="a file has that name"):
        begun(tmp_path / "_latentkit.json", kind)


@every_kind
def test_every_damage_is_noticed(kind, tmp_path):
    """A flipped bit by verify, a lost or cut file when the store is opened."""
    store = begun(tmp_path / "x", kind)
    fill(store, numbers())
    store.finish().verify()
    for name, whole in files_of(tmp_path / "x").items():
        path = tmp_path / "x" / name
        if "json" in name:
            continue
        for damaged in (whole[: len(whole) // 2], whole + b"x", None):
            path.unlink()
            if damaged is not None:
                path.write_bytes(damaged)
            with pytest.raises(CheckpointError, match=re.escape(path.name)):
                open_store(tmp_path / "x")
        at = len(whole) - 1
        if kind == "zarr" and "/c/4" in name:
            at = 0  # what lies beyond the last row is nobody's
        if kind == "parquet":
            at = whole.index(numbers()["scores"][5 * int(name[5:13]) + 2].tobytes())
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(CheckpointError, match=r"damaged.*(1 of 5 blocks differ|part-)"):
            open_store(tmp_path / "x").verify()
        path.write_bytes(whole)
    open_store(tmp_path / "x").verify()


def damaged_manifests(about):
    yield b""
    yield b"[" * 100_000
    yield b"[1]"
    for change in (
        {"kind": "other"},
        {"format": "1"},
        {"format": True},
        {"store": "../npy"},
        {"rows": 10**40},
        {"rows": -1},
        {"rows": 24},
        {"block": 0},
        {"block": 10**9},
        {"columns": {}},
        {"columns": {"../samples": {"dtype": "uint8", "shape": []}}},
        {"columns": {"samples": {"dtype": "object", "shape": []}}},
        {"columns": {"samples": {"dtype": "uint8", "shape": [-1]}}},
        {"columns": {"samples": {"dtype": "uint8", "shape": 3}}},
        {"columns": [1]},
        {"plan": None},
        {"sha256": ["x"] * 5},
        {"sha256": []},
        {"bytes": [-1] * 5},
        {"bytes": None},
        {"complete": True, "sha256": None},
    ):
        yield json.dumps(about | change).encode()


@every_kind
def test_a_manifest_is_read_with_distrust(kind, tmp_path):
    store = begun(tmp_path / "x", kind)
    fill(store, numbers())
    store.finish()
    path = tmp_path / "x" / "_latentkit.json"
    about = json.loads(path.read_bytes())
    for data in damaged_manifests(about):
        path.write_bytes(data)
        with pytest.raises(CheckpointError):
            open_store(tmp_path / "x").verify()
    path.write_text(json.dumps(about | {"format": 2, "latentkit": "99.0"}))
    with pytest.raises(CheckpointError, match=r"store format 2 \(latentkit 99.0\), newer than format 1"):
        open_store(tmp_path / "x")
    path.unlink()
    with pytest.raises(CheckpointError, match="has no _latentkit"):
        open_store(tmp_path / "x")
    with pytest.raises(CheckpointError, match="there is nothing"):
        open_store(tmp_path / "nothing")


def test_a_link_does_not_lead_out_of_the_folder(tmp_path):
    data = numbers()
    store = begun(tmp_path / "x", "npy")
    fill(store, data, [0])
    outside = tmp_path / "mine.npy"
    (tmp_path / "x" / "scores.npy").rename(outside)
    (tmp_path / "x" / "scores.npy").symlink_to(outside)
    before = outside.read_bytes()
    with pytest.raises(CheckpointError, match="is a link"):
        begun(tmp_path / "x", "npy", resume=True)
    with pytest.raises(CheckpointError, match="is a link"):
        fill(store, data, [1])
    assert outside.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"kind": "hdf5"}, ArgumentError, "kind must be one of npy, zarr, parquet"),
        ({"rows": 0}, ArgumentError, "rows must be a whole number of at least 1"),
        ({"rows": 10**18}, ArgumentError, "take larger blocks"),
        ({"columns": {}}, ArgumentError, "at least one column"),
        ({"columns": {"Samples": Column("uint8")}}, ArgumentError, "must be a word such as samples"),
        ({"columns": {"../x": Column("uint8")}}, ArgumentError, "must be a word such as samples"),
        ({"plan": {"x": float("nan")}}, ArgumentError, "must be plain JSON"),
        ({"plan": {"x": np.zeros(1)}}, ArgumentError, "must be plain JSON"),
    ],
)
def test_bad_calls_say_what_was_wanted(change, error, text, tmp_path):
    with pytest.raises(LatentkitError, match=text) as caught:
        begun(tmp_path / "x", **{"kind": "npy", **change})
    assert isinstance(caught.value, error)
    assert not (tmp_path / "x").exists()


def test_bad_blocks_say_what_was_wanted(tmp_path):
    store, data = begun(tmp_path / "x", "npy"), numbers()
    good = {name: values[:BLOCK] for name, values in data.items()}
    for arrays, text in (
        ({"samples": good["samples"]}, "must have the columns samples, scores; got samples"),
        (good | {"scores": good["scores"][:4]}, r"scores of block 0 must be \(5,\) float64, got \(4,\) float64"),
        (good | {"scores": np.zeros(5, "float32")}, "got .* float32"),
    ):
        with pytest.raises(ShapeError, match=text):
            store.write(0, arrays)
    with pytest.raises(ArgumentError, match="blocks are 0 to 4, got 5"):
        store.write(5, good)
    assert store.missing() == [0, 1, 2, 3, 4]
    with pytest.raises(ArgumentError, match="dtype must be one of"):
        Column("object")


def test_the_name_says_the_kind():
    assert [kind_of(name) for name in ("a/b", "a.zarr", "a.parquet", "a.ZARR", "a.png", "a.tar.gz")] == [
        "npy",
        "zarr",
        "parquet",
        "zarr",
        None,
        None,
    ]
    assert Table(23, 5, COLUMNS).nbytes == 23 * (6 + 8)


def test_what_does_not_fit_is_refused_before_the_work(tmp_path):
    with pytest.raises(OutputError, match=r"needs 1,?\d* ?[\d.]+ ?TiB, and .* are free there|needs .* are free there"):
        check_room(tmp_path / "new" / "x", 2**60)
    with pytest.raises(OutputError, match="are free there; ask for fewer rows"):
        create_store(tmp_path / "x", kind="npy", rows=10**15, block=10**9, columns=COLUMNS, plan={})
    assert list(tmp_path.iterdir()) == []
    check_room(tmp_path, 1)


@contextmanager
def small_disk(limit):
    """No file may grow beyond `limit` bytes: what a full disk does to a writer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


@every_kind
def test_a_full_disk_costs_the_block_in_work_alone(kind, tmp_path):
    data = numbers()
    store = begun(tmp_path / "x", kind)
    fill(store, data, [0, 1])
    with small_disk(10), pytest.raises(OutputError, match=r"cannot write .*x.*MiB free there"):
        fill(store, data, [2])
    store = begun(tmp_path / "x", kind, resume=True)
    assert store.missing() == [2, 3, 4]
    store.verify()
    fill(store, data, [2, 3, 4])
    store.finish().verify()


@every_kind
def test_a_failure_at_any_call_of_the_system_leaves_what_was_done(kind, tmp_path, monkeypatch):
    """The k-th sync to the disk fails, for every k there is: blocks that count as done are whole."""
    data, real = numbers(), os.fsync
    for k in range(1, 100):
        calls = 0

        def fail(descriptor, k=k):
            nonlocal calls
            calls += 1
            if calls == k:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(descriptor)

        folder, failed = tmp_path / str(k), False
        monkeypatch.setattr(os, "fsync", fail)
        try:
            store = begun(folder, kind)
            fill(store, data)
            store.finish()
        except OutputError:
            failed = True
        monkeypatch.setattr(os, "fsync", real)
        store = begun(folder, kind, resume=True)
        store.verify()
        fill(store, data, store.missing())
        assert store.finish()["scores"][:].tobytes() == data["scores"].tobytes()
        if not failed:
            break
    assert 5 < k < 99


WRITER = """
import sys, time
sys.path.insert(0, {tests!r})
from test_stores import numbers, fill
from latentkit.stores import open_store
stores = [open_store(folder, partial=True) for folder in sys.argv[3:]]
for k in map(int, sys.argv[1].split(",")):
    for store in stores:
        fill(store, numbers(), [k])
    print(k, flush=True)
    time.sleep(float(sys.argv[2]))
"""


def writer(folders, blocks, pause=0.0):
    code = WRITER.format(tests=os.path.dirname(__file__))  # noqa: PTH120
    numbers = ",".join(map(str, blocks))
    command = [sys.executable, "-c", code, numbers, str(pause), *folders]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_make_what_one_makes_and_a_kill_costs_the_block_in_work_alone(tmp_path):
    ones, twos = ({kind: begun(tmp_path / name / kind, kind) for kind in KINDS} for name in ("one", "two"))
    for one in ones.values():
        fill(one, numbers())
        one.finish()
    folders = [str(two.path) for two in twos.values()]
    odd, even = writer(folders, [1, 3], 60.0), writer(folders, [0, 2, 4])
    with even, odd:
        assert odd.stdout is not None
        assert odd.stdout.readline().strip() == "1"
        odd.send_signal(signal.SIGKILL)
        assert even.wait(60) == 0
    assert odd.returncode == -signal.SIGKILL
    for kind, two in twos.items():
        assert two.missing() == [3]
        two = begun(two.path, kind, resume=True)
        fill(two, numbers(), [3])
        two.finish().verify()
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_opening_warns_of_nothing_and_a_lost_marker_is_a_block_to_do(tmp_path):
    store = begun(tmp_path / "x", "npy")
    fill(store, numbers())
    (tmp_path / "x" / "_blocks" / "00000002.json").write_text("{")
    (tmp_path / "x" / "_blocks" / "00000099.json").write_text("{}")
    with pytest.raises(CheckpointError, match="1 of 5 blocks are missing, the first is 2"):
        store.finish()
    store = begun(tmp_path / "x", "npy", resume=True)
    assert store.missing() == [2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fill(store, numbers(), [2])
        assert "complete" in repr(store.finish())
