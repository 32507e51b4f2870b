"""Quality maps in a store: the same as in memory bit for bit, whatever ends the work in between."""

import json
import math
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import latentkit as lk
from latentkit.errors import ArgumentError, CheckpointError, CriticError, LatentkitError, OutputError
from latentkit.quality import blocks, load_quality, mapping
from latentkit.quality.blocks import ScoreWork, block_rows
from latentkit.quality.chart import chosen, settled
from latentkit.quality.choosing import best_rows, drawn_rows, rows_above
from latentkit.stores import open_store

CENTRES = torch.tensor([[-1.5, 0.0], [1.2, 1.0], [1.0, -1.3]])
SEED = 11
COLUMNS = ("index", "logits", "probability", "density_ratio", "typicality", "real_logits")


def log_ratio(x):
    """Where the real samples are: three modes of a broad cloud. Its process ends where it is told to."""
    at = os.environ.get("LATENTKIT_TEST_KILL_AT")
    if at and bool((x == lk.Normal(2).sample(1, seed=SEED, start=int(at))).all(1).any()):
        os.kill(os.getpid(), signal.SIGKILL)
    squares = (x[:, None] - CENTRES).square().sum(2) / 0.0625
    return torch.logsumexp(-squares / 2, 1) + 1.7 + x.square().sum(1) / 2


#: Batches that a user has patience for. A global, so that it is no part of the critic.
PATIENCE = {"left": 10**9}


def patient(x):
    """The critic of a user who loses patience after some batches."""
    PATIENCE["left"] -= 1
    if PATIENCE["left"] < 0:
        raise KeyboardInterrupt
    return log_ratio(x)


def real(n=600):
    noise = torch.Generator().manual_seed(3)
    return CENTRES[torch.arange(n) % 3] + 0.25 * torch.randn(n, 2, generator=noise)


G = lk.wrap(lambda z: z, lk.Normal(2))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of 128 latents, so that small maps have many."""
    monkeypatch.setattr(mapping, "block_rows", lambda n, batch_size, dim: 128)


def mapped(critic=log_ratio, n=1000, **options):
    options = {"seed": SEED, "batch_size": 32, "graph_limit": 300, "method": "logistic"} | options
    return lk.quality_map(G, critic, real(), n=n, **options)


def same(one, other):
    for name in COLUMNS:
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype, name
        assert a.equal(b), name
    assert (one.chart is None) == (other.chart is None)
    if one.chart is not None:
        assert one.places.equal(other.places)
        for name in ("latents", "features", "probability", "custom"):
            a, b = getattr(one.chart, name), getattr(other.chart, name)
            assert a.equal(b) if isinstance(a, torch.Tensor) else a == b, name
        assert one.islands(0.5).labels.equal(other.islands(0.5).labels)
    assert (one.prior, one.seed, one.verdict) == (other.prior, other.seed, other.verdict)
    fresh = torch.linspace(-9, 9, 50)
    assert one.calibration.probability(fresh).equal(other.calibration.probability(fresh))


@pytest.mark.parametrize("graph_limit", [0, 100, 5000])
@pytest.mark.parametrize("features", [None, lambda x: x[:, :1]])
def test_a_map_in_a_store_is_that_in_memory(graph_limit, features, tmp_path):
    options = {"graph_limit": graph_limit, "features": features}
    bare, kept = mapped(**options), mapped(**options, store=tmp_path / "map")
    same(bare, kept)
    same(bare, load_quality(tmp_path / "map"))
    open_store(tmp_path / "map").verify()
    # What is chosen of it is the same too, and it can be saved as one file.
    same(bare.top(0.1), kept.top(0.1))
    same(bare.above(0.5), kept.above(0.5))
    same(load_quality(kept.save(tmp_path / "map.npz")), bare)
    if graph_limit:
        same(bare.top_balanced(0.05), kept.top_balanced(0.05))
        assert len(bare.chart) == min(graph_limit, 1000)


def test_the_chart_that_comes_first_is_that_which_would_come_last():
    whole = mapped(graph_limit=0)
    for limit in (20, 300, 999):
        early, late = mapped(graph_limit=limit), whole.charted(G, graph_limit=limit, batch_size=32)
        assert early.chart.latents.equal(late.chart.latents)
        assert early.places.equal(late.places)


def test_charting_first_makes_few_latents_twice():
    seen = []

    def spy(z):
        seen.append(len(z))
        return z

    made = lk.quality_map(
        lk.wrap(spy, G.prior), log_ratio, real(), n=20_000, seed=SEED, batch_size=32, graph_limit=100, method="logistic"
    )
    assert len(made.chart) == 100
    once = 20_000 + 600
    assert once < sum(seen) < 1.2 * once


@pytest.mark.parametrize("limit", [1, 2, 7, 50])
def test_more_latents_leave_a_settled_chart_as_it_is(limit):
    noise = torch.Generator().manual_seed(limit)
    for _ in range(50):
        good = torch.rand(200, generator=noise) < float(torch.rand(1, generator=noise))
        for count in range(1, 200):
            if settled(good[:count], limit):
                assert chosen(good[:count], limit).equal(chosen(good, limit))
                break


# 19 batches calibrate on 600 real and generated samples each, and 19 score the real ones; 32 score the map's 1,000.
CALIBRATED, SCORED = 3 * 19, 32


@pytest.mark.parametrize("in_chart", [True, False])
def test_an_interrupted_map_goes_on_to_the_same(in_chart, tmp_path):
    """Interrupted while the chart is chosen, and while latents are scored."""
    PATIENCE["left"] = 10**9
    wanted = mapped(patient, graph_limit=100, store=tmp_path / "whole")
    # Latents that a chart is chosen among are not scored again when their blocks are made.
    assert 10**9 - PATIENCE["left"] == CALIBRATED + SCORED
    pilot = open_store(tmp_path / "whole" / "pilot", partial=True)
    charting = 4 * (pilot.blocks - len(pilot.missing()))
    assert 8 <= charting < 20
    done = 6 if in_chart else charting + 10  # batches, of which four make a block
    PATIENCE["left"] = CALIBRATED + done
    with pytest.raises(KeyboardInterrupt):
        mapped(patient, graph_limit=100, store=tmp_path / "map")
    blocks_done = 0 if in_chart else done // 4
    assert len(open_store(tmp_path / "map", partial=True).missing()) == 8 - blocks_done
    with pytest.raises(CheckpointError, match="not complete"):
        load_quality(tmp_path / "map")
    PATIENCE["left"] = 10**9
    with pytest.raises(OutputError, match="a store is there, unfinished; go on with it by resume"):
        mapped(patient, graph_limit=100, store=tmp_path / "map")
    PATIENCE["left"] = 10**9
    same(mapped(patient, graph_limit=100, store=tmp_path / "map", resume=True), wanted)
    # What is known is not made again: neither the calibration nor blocks that are done.
    assert 10**9 - PATIENCE["left"] == SCORED - 4 * blocks_done
    PATIENCE["left"] = 0
    same(mapped(patient, graph_limit=100, store=tmp_path / "map", resume=True), wanted)
    PATIENCE["left"] = 10**9


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
import test_quality_stored as t
t.mapping.block_rows = lambda n, batch_size, dim: 128
t.mapped(store=sys.argv[2], graph_limit=0)
"""


def test_a_killed_map_goes_on_to_the_same(tmp_path):
    command = [sys.executable, "-c", KILLED, os.path.dirname(__file__), str(tmp_path / "map")]  # noqa: PTH120
    done = subprocess.run(command, env={**os.environ, "LATENTKIT_TEST_KILL_AT": "700"}, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert open_store(tmp_path / "map", partial=True).missing() == [5, 6, 7]
    same(mapped(store=tmp_path / "map", resume=True, batch_size=None, graph_limit=0), mapped(graph_limit=0))


def test_another_call_does_not_go_on_with_a_map(tmp_path):
    mapped(store=tmp_path / "map")
    for change in (
        {"seed": 12},
        {"n": 1001},
        {"batch_size": 64},
        {"graph_limit": 0},
        {"method": "isotonic"},
        {"features": lambda x: x},
        {"critic": lambda x: log_ratio(x) / 2},
    ):
        with pytest.raises(OutputError, match=f"cannot go on .*({'|'.join(change).replace('n', 'rows|n')}|columns)"):
            mapped(**change, store=tmp_path / "map", resume=True)
    with pytest.raises(OutputError, match="cannot go on with the store"):
        lk.quality_map(
            G, log_ratio, real(599), n=1000, seed=SEED, batch_size=32, graph_limit=300, method="logistic",
            store=tmp_path / "map", resume=True,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"store": "x.zarr"}, ArgumentError, r"a folder without a suffix, got .*x.zarr"),
        ({"resume": True}, ArgumentError, "are for a map in a store; pass store=FOLDER"),
        ({"threads": 1}, ArgumentError, "are for a map in a store; pass store=FOLDER"),
        ({"store": "x", "workers": 2}, ArgumentError, "workers"),
        ({"store": "x", "n": 10**10}, OutputError, "needs 335 GiB, and 1 GiB are free there"),
        ({"store": "x", "critic": lambda x: 0 * x[:, 0]}, CriticError, "no quality map was made"),
    ],
)
def test_what_cannot_be_is_refused_before_the_run(options, error, text, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=2**30))
    if "store" in options:
        options = options | {"store": tmp_path / options["store"]}
    with pytest.raises(LatentkitError, match=text) as caught:
        mapped(**options)
    assert isinstance(caught.value, error)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_map_is_refused(tmp_path):
    path = tmp_path / "map"
    mapped(store=path)
    frame = (path / "map.npz").read_bytes()
    manifest = (path / "_latentkit.json").read_bytes()
    for damaged in (b"", frame[:100], frame[:-30], b"what?"):
        (path / "map.npz").write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"map\.npz is damaged"):
            load_quality(path)
    (path / "map.npz").unlink()
    for call in (lambda: load_quality(path), lambda: mapped(store=path, resume=True)):
        with pytest.raises(CheckpointError, match=r"there is no file .*map\.npz"):
            call()
    (path / "map.npz").write_bytes(frame)
    about = json.loads(manifest)
    about["plan"]["seed"] = 5
    (path / "_latentkit.json").write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match="is not that of the store it lies in"):
        load_quality(path)
    (path / "_latentkit.json").write_bytes(manifest)
    (path / "logits.npy").write_bytes((path / "logits.npy").read_bytes()[:-4])
    with pytest.raises(CheckpointError, match=r"logits\.npy is damaged"):
        load_quality(path)
    other = lk.Normal(2)
    from latentkit.sampling.stored import sample_to

    sample_to(tmp_path / "samples", lk.wrap(lambda z: z, other), 100)
    with pytest.raises(CheckpointError, match=r"there is no file .*map\.npz"):
        load_quality(tmp_path / "samples")


def test_a_stored_map_is_read_where_it_is_looked_at(tmp_path):
    made = mapped(store=tmp_path / "map", graph_limit=0)
    for name in COLUMNS[:-1]:
        assert type(np.asarray(getattr(made, name).numpy()).base).__name__ in ("memmap", "Tensor")
        assert getattr(made, name).is_contiguous()
    # What is changed in memory stays there.
    made.logits[0] = 99.0
    assert load_quality(tmp_path / "map").logits[0] != 99.0


@pytest.mark.parametrize("count", [1, 10, 900, 5000])
def test_the_best_are_found_block_by_block(count, monkeypatch):
    monkeypatch.setattr("latentkit.quality.choosing.BLOCK", 64)
    noise = torch.Generator().manual_seed(count)
    logits = torch.randn(5000, generator=noise).round(decimals=1)
    probability = logits.double().mul(2).round() / 9
    order = sorted(range(5000), key=lambda row: (-probability[row].item(), -logits[row].item(), row))
    assert best_rows(probability, logits, count).tolist() == order[:count]
    among = torch.rand(5000, generator=noise) < 0.5
    assert best_rows(probability, logits, count, among).tolist() == [row for row in order if among[row]][:count]
    assert rows_above(probability, 0.1).tolist() == [row for row in range(5000) if probability[row] >= 0.1]


def test_rows_are_drawn_in_their_order_whatever_lies_between():
    prior = lk.Normal(3)
    for wanted in ([5], [], [10**12, 3, 3, 4, 200, 2**40, 70], list(range(300, 0, -7))):
        rows = torch.tensor(wanted, dtype=torch.long)
        singles = [prior.sample(1, seed=1, start=k) for k in wanted]
        assert drawn_rows(prior, rows, 1).equal(torch.cat([torch.empty(0, 3), *singles]))


def test_blocks_are_whole_batches():
    for n in (1, 10_000, 10**7, 10**9):
        for batch in (1, 64, 100, 4096):
            for dim in (2, 512, 10**6):
                rows = block_rows(n, batch, dim)
                assert rows % batch == 0
                assert rows == batch or rows * dim <= 2**23


def test_the_work_is_a_function_of_the_rows_alone():
    made = mapped()
    picked = chosen(made.probability >= made.threshold, 300)
    work = ScoreWork(G, log_ratio, made.calibration, SEED, 32, made.chart, picked)
    whole, part = work(0, 256), work(64, 128)
    for name, values in part.items():
        assert values.tobytes() == whole[name][64:128].tobytes()
        assert torch.from_numpy(values).equal(getattr(made, name)[64:128])
    again = work.placed("cpu")(0, 48)
    assert all(again[name].tobytes() == values[:48].tobytes() for name, values in whole.items())
    assert set(whole) == set(blocks.columns_of(True, None))
    assert math.isclose(float(whole["probability"][0]), float(made.probability[0]))
