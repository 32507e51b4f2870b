"""Engines: blocks are made once, by whom and in whatever order, and what is lost on the way is made again."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from latentkit import wrap
from latentkit.cli import main
from latentkit.engines import check_engine, cluster, pool, run_blocks
from latentkit.engines.quiet import quiet_ray
from latentkit.errors import ArgumentError, DataError, EngineError, MissingDependencyError, NonFiniteError
from latentkit.priors import Normal
from latentkit.sampling.stored import sample_to
from latentkit.stores import Column, create_store, open_store

ROWS, BLOCK = 95, 10


class Squares:
    """Row i is i squared; on its way each block leaves a file that says who made it."""

    def __init__(self, seen, *, pause=0.0, kills=None, always=False, fails=None):
        self.seen, self.pause, self.kills, self.always, self.fails = Path(seen), pause, kills, always, fails

    def __call__(self, start, stop):
        first = not list(self.seen.glob(f"{start}.*"))
        (self.seen / f"{start}.{os.getpid()}").touch()
        time.sleep(self.pause)
        if start == self.kills and (first or self.always):
            os.kill(os.getpid(), signal.SIGKILL)
        if start == self.fails:
            raise NonFiniteError("a row is not finite")
        return {"x": np.arange(start, stop, dtype=np.float64) ** 2}

    def made(self):
        """The first rows of the blocks that were begun."""
        return sorted({int(path.name.partition(".")[0]) for path in self.seen.iterdir()})

    def makers(self):
        return {path.name.partition(".")[2] for path in self.seen.iterdir()}


@pytest.fixture
def squares(tmp_path):
    (tmp_path / "seen").mkdir()
    return lambda **how: Squares(tmp_path / "seen", **how)


@pytest.fixture
def store(tmp_path):
    def _store(name="store", *, kind="npy", resume=False):
        columns = {"x": Column("float64")}
        return create_store(
            tmp_path / name, kind=kind, rows=ROWS, block=BLOCK, columns=columns, plan={"of": "squares"}, resume=resume
        )

    return _store


def expected():
    return np.arange(ROWS, dtype=np.float64) ** 2


def test_every_block_is_made_once_and_the_store_is_finished(store, squares):
    work = squares()
    done = run_blocks(store(), work)
    assert done.complete
    assert (done["x"][:] == expected()).all()
    assert work.made() == list(range(0, ROWS, BLOCK))


def test_an_interrupt_costs_no_block_that_is_done(store, squares):
    def interrupted(start, stop):
        if start == 40:
            raise KeyboardInterrupt
        return squares()(start, stop)

    with pytest.raises(KeyboardInterrupt):
        run_blocks(store(), interrupted)
    half = store(resume=True)
    assert half.missing() == [4, 5, 6, 7, 8, 9]
    for path in squares().seen.iterdir():
        path.unlink()
    work = squares()
    assert (run_blocks(half, work)["x"][:] == expected()).all()
    assert work.made() == [40, 50, 60, 70, 80, 90]


def test_a_finished_store_is_left_alone(store, squares):
    run_blocks(store(), squares())
    assert run_blocks(store(resume=True), None).complete  # there is nothing to be done, so that nobody is asked


def test_an_error_says_in_which_block_it_arose(store, squares):
    with pytest.raises(NonFiniteError, match=r"a row is not finite \(in block 3 of .*store, rows 30 to 39; the blocks"):
        run_blocks(store(), squares(fails=30))
    assert store(resume=True).missing() == [3, 4, 5, 6, 7, 8, 9]

    def broken(start, stop):
        raise ZeroDivisionError("by zero")

    with pytest.raises(ZeroDivisionError) as caught:
        run_blocks(store(resume=True), broken)
    assert "in block 3 of" in caught.value.__notes__[0]


def test_threads_are_those_that_were_asked_for_and_put_back(store):
    import torch

    def threads(start, stop):
        return {"x": np.full(stop - start, float(torch.get_num_threads()))}

    before = torch.get_num_threads()
    assert (run_blocks(store(), threads, threads=2)["x"][:] == 2.0).all()
    assert torch.get_num_threads() == before


def test_options_of_the_other_engine_are_refused():
    for options in ({"address": "auto"}, {"workers": 2}, {"gpus": 1.0}):
        (name,) = options
        with pytest.raises(ArgumentError, match=f"{name} are for the engine 'ray', and this one is 'local'"):
            check_engine("local", **options)
        check_engine("ray", **options)
    for wrong in ({"engine": "dask"}, {"workers": 0}, {"threads": 0}, {"threads": 10**6}, {"gpus": -1.0}):
        with pytest.raises(ArgumentError, match=next(iter(wrong))):
            check_engine(**{"engine": "ray", **wrong})


def test_without_ray_its_installation_is_named(store, squares, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "latentkit\[ray\]"'):
        run_blocks(store(), squares(), engine="ray")


def test_an_error_that_cannot_travel_comes_as_what_it_says():
    class LocalError(Exception):
        def __reduce__(self):
            raise TypeError("not to be taken apart")

    from ray import cloudpickle

    for error, kind in ((DataError("no such file"), DataError), (LocalError("of this place"), EngineError)):
        found, text = cloudpickle.loads(pool._carried(error))
        assert type(found) is kind
        assert str(error) in str(found)
        assert str(error) in text


def test_a_cluster_that_does_not_answer_is_named(store, squares):
    with pytest.raises(EngineError, match=r"no Ray cluster answers at '127\.0\.0\.1:1' .*ray start --head"):
        run_blocks(store(), squares(), engine="ray", address="127.0.0.1:1")


@pytest.fixture(scope="module")
def connected():
    """One cluster of this machine with two workers, to which this process stays connected."""
    with quiet_ray() as ray:
        connection = cluster.joined(ray, None, 2, 0)
        connection.__enter__()
    yield ray
    with quiet_ray():
        connection.__exit__(None, None, None)


def test_a_worker_that_is_killed_costs_nothing_but_time(connected, store, squares, tmp_path, capfd):
    alone = run_blocks(store("alone"), squares())
    (tmp_path / "seen").rename(tmp_path / "seen alone")
    (tmp_path / "seen").mkdir()
    work = squares(kills=30, pause=0.05)
    shared = run_blocks(store("shared"), work, engine="ray", threads=1)
    assert shared.complete
    assert shared.sums == alone.sums, "bit for bit"
    assert len(list(work.seen.glob("30.*"))) == 2, "the killed worker's block was made by another"
    assert len(work.makers()) == 3
    assert connected.is_initialized(), "a cluster that was joined goes on"
    assert capfd.readouterr() == ("", ""), "Ray says nothing"


def test_a_block_that_ends_its_workers_is_named_and_the_others_are_made(connected, store, squares, monkeypatch):
    monkeypatch.setattr(pool, "ATTEMPTS", 2)
    with pytest.raises(EngineError, match=r"1 of 10 blocks of .*store ended 2 workers each and were left out \(6\)"):
        run_blocks(store(), squares(kills=60, always=True), engine="ray")
    half = store(resume=True)
    assert half.missing() == [6]
    assert (run_blocks(half, squares())["x"][:] == expected()).all()


def test_the_error_of_a_worker_is_that_of_the_work(connected, store, squares):
    with pytest.raises(NonFiniteError, match=r"a row is not finite \(in block 0 of .*store, rows 0 to 9"):
        run_blocks(store(), squares(fails=0), engine="ray")
    assert 0 in store(resume=True).missing()


def test_an_interrupt_of_a_cluster_leaves_what_is_done(connected, store, squares):
    half = store()

    def interrupt():
        while len(half.missing()) > ROWS // BLOCK - 1:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt, daemon=True)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        run_blocks(half, squares(pause=0.5), engine="ray")
    watcher.join()
    assert 0 < len(half.missing()) < half.blocks
    assert (run_blocks(store(resume=True), squares())["x"][:] == expected()).all()


def test_the_command_shares_samples_among_workers(connected, image_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("latentkit.sampling.stored.BLOCK_BYTES", 40_000)
    options = ["-n", "200", "--seed", "5", "--latents", "--threads", "1", "--batch-size", "16", "--json"]
    for engine in ("local", "ray"):
        out = tmp_path / f"{engine}.zarr"
        assert main(["sample", str(image_run), "--out", str(out), "--engine", engine, *options]) == 0
        printed, err = capsys.readouterr()
        assert json.loads(printed)["blocks"] == 7
        assert err == ""
    one, two = (open_store(tmp_path / f"{engine}.zarr") for engine in ("local", "ray"))
    assert one.sums == two.sums, "bit for bit"
    assert (two["latents"][:] == Normal(8).sample(200, seed=5).numpy()).all()


def test_work_that_cannot_travel_is_refused(connected, tmp_path):
    lock = threading.Lock()
    locked = wrap(lambda z: z if lock else -z, Normal(2))
    with pytest.raises(ArgumentError, match="this work cannot be sent to other processes"):
        sample_to(tmp_path / "store", locked, 10, engine="ray")


def test_another_cluster_than_that_of_this_process_is_refused(connected, store, squares):
    with pytest.raises(EngineError, match=r"is connected to the Ray cluster at .*, not 10\.0\.0\.1:6379"):
        run_blocks(store(), squares(), engine="ray", address="10.0.0.1:6379")


def test_more_than_the_cluster_has_is_refused(connected, store, squares):
    with pytest.raises(EngineError, match=r"a worker needs 1 processors and 1 GPUs, and the cluster has 2 and 0"):
        run_blocks(store(), squares(), engine="ray", gpus=1.0)
