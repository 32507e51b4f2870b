"""Runs stop, go on, keep what is good, and say what happened."""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch

import trainers.snapshots
from latentkit import load
from latentkit.errors import ArgumentError, CheckpointError, DivergenceError, OutputError
from trainers import GANConfig, ring, train_gan
from trainers.__main__ import main
from trainers.families import FAMILIES
from trainers.history import History
from trainers.interrupts import deferred_requests
from trainers.loop import Average
from trainers.run import Training
from trainers.snapshots import Snapshots
from trainers.study import MARKER

CONFIG = {"steps": 40, "batch_size": 16, "width": 8, "threads": 1, "save_every": 10, "check_every": 15}

pytestmark = pytest.mark.filterwarnings("ignore:the samples are nearly identical")


def train(out=None, *, data=None, resume=False, on_step=None, **changes):
    config = GANConfig(**{**CONFIG, **changes})
    return train_gan(data or ring(n=200), config, out=out, resume=resume, on_step=on_step, progress=False)


def state(path):
    """All tensors of a snapshot's training state."""
    from safetensors.torch import load_file

    (file,) = path.glob("training-*.safetensors")
    tensors = load_file(file)
    about = json.loads(bytes(tensors.pop("json").numpy()))
    return tensors, about


def interrupting(at):
    def on_step(state):
        if state.step == at:
            raise KeyboardInterrupt

    return on_step


class TestSnapshots:
    def test_the_newest_stay_and_each_is_a_checkpoint(self, tmp_path):
        finished = train(tmp_path / "run", keep=2)
        assert Snapshots(tmp_path / "run", 2).steps() == [40, 30]
        half = load(tmp_path / "run" / "snapshots" / "step-00000030")
        assert half.history["step"][-1] == 30
        assert half.fingerprint != finished.fingerprint
        assert load(tmp_path / "run").fingerprint == finished.fingerprint

    def test_nothing_is_written_without_a_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        train()
        assert list(tmp_path.iterdir()) == []

    def test_an_older_one_goes_only_after_a_newer_one_is_there(self, tmp_path, monkeypatch):
        train(tmp_path / "run", steps=10, keep=1)

        def full(*_):
            raise OutputError("no space left")

        monkeypatch.setattr("trainers.snapshots.write_parts", full)
        with pytest.raises(OutputError):
            train(tmp_path / "run", steps=20, keep=1, resume=True)
        assert Snapshots(tmp_path / "run", 1).steps() == [10]
        assert load(tmp_path / "run" / "snapshots" / "step-00000010").history["step"][-1] == 10

    def test_what_others_put_there_stays(self, tmp_path):
        train(tmp_path / "run", steps=10, keep=1)
        note = tmp_path / "run" / "snapshots" / "step-00000010" / "note.txt"
        note.write_text("mine")
        train(tmp_path / "run", steps=20, keep=1, resume=True)
        assert note.read_text() == "mine"
        assert [file.name for file in note.parent.iterdir()] == ["note.txt"]

    def test_a_new_run_in_a_finished_one_replaces_its_snapshots(self, tmp_path):
        train(tmp_path / "run")
        train(tmp_path / "run", steps=15, seed=1)
        assert Snapshots(tmp_path / "run", 2).steps() == [15, 10]


class TestResume:
    def test_stopped_anywhere_it_is_an_unbroken_run(self, tmp_path):
        whole = train(tmp_path / "whole")
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run", on_step=interrupting(17))
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run", on_step=interrupting(31), resume=True)
        resumed = train(tmp_path / "run", resume=True)
        assert resumed.fingerprint == whole.fingerprint
        ours, theirs = (state(tmp_path / name / "snapshots" / "step-00000040") for name in ("whole", "run"))
        assert ours[0].keys() == theirs[0].keys()
        assert {"critic_steps/0/exp_avg", "average/layers.0.weight"} <= ours[0].keys()
        for name, value in ours[0].items():
            assert torch.equal(theirs[0][name], value), name
        for part in (ours[1], theirs[1]):
            part["about"].pop("seconds")
            part["values"]["history/columns"].pop("seconds")
            part["values"]["history/latest"].pop("seconds")
        assert ours[1] == theirs[1]
        # The log goes on too, time included.
        assert resumed.history["seconds"] == sorted(resumed.history["seconds"])

    def test_more_steps_are_a_longer_run(self, tmp_path):
        train(tmp_path / "run", steps=20)
        longer = train(tmp_path / "run", steps=40, resume=True)
        whole = train()
        assert longer.fingerprint == whole.fingerprint
        for name in whole.history.keys() - {"seconds"}:
            assert longer.history[name] == whole.history[name], name

    def test_the_command_reads_a_state_once(self, tmp_path, monkeypatch, capsys):
        """Its settings, which say how the run goes on, are known without it."""
        train(tmp_path / "run", steps=20)
        read, roles = trainers.snapshots.read_part, []
        monkeypatch.setattr("trainers.snapshots.read_part", lambda *given: roles.append(given[2]) or read(*given))
        command = ["gan", "--data", "ring", "--out", str(tmp_path / "run"), "--quiet", "--resume"]
        assert main(command) == 2
        assert "data was" in capsys.readouterr().err, "and nothing but the data is other"
        assert roles.count("training") == roles.count("generator") == 1

    def test_the_command_goes_on_with_the_family_that_began(self, tmp_path, capsys):
        train(tmp_path / "run", steps=20)
        command = ["--data", "ring", "--out", str(tmp_path / "run"), "--quiet", "--resume"]
        assert main(["vae", *command]) == 2
        assert "trainer was 'gan' and is 'vae'; resume with what it had" in capsys.readouterr().err

    @pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
    def test_a_family_is_known_by_the_trainer_in_its_snapshots(self, family):
        defined = vars(importlib.import_module(f"trainers.{family.home}")).values()
        kinds = [kind for kind in defined if isinstance(kind, type) and issubclass(kind, Training)]
        assert [kind.name for kind in kinds if kind.__module__ == f"trainers.{family.home}"] == [family.home]

    def test_a_finished_run_cannot_be_filmed(self, tmp_path, capsys):
        train(tmp_path / "run", steps=20)
        command = [
            "gan",
            "--data",
            "ring",
            "--out",
            str(tmp_path / "run"),
            "--resume",
            "--movie",
            str(tmp_path / "x.gif"),
        ]
        assert main(command) == 2
        assert "has made all 20" in capsys.readouterr().err

    @pytest.mark.parametrize(("begun", "says"), [(False, "nothing was written"), (True, "keeps what is done")])
    def test_an_interrupted_study_says_what_is_left(self, tmp_path, capsys, monkeypatch, begun, says):
        def interrupted(*_, out, **__):
            if begun:
                out = Path(out)
                out.mkdir()
                (out / MARKER.name).write_text(json.dumps({"kind": MARKER.kind}))
            raise KeyboardInterrupt

        monkeypatch.setattr("trainers.sweep.latent_size_study", interrupted)
        assert main(["sweep", "--data", "ring", "--sizes", "1", "--out", str(tmp_path / "study")]) == 130
        assert says in capsys.readouterr().err

    def test_without_a_snapshot_it_begins(self, tmp_path):
        assert train(tmp_path / "run", resume=True).fingerprint == train().fingerprint

    def test_a_damaged_snapshot_is_passed_over(self, tmp_path):
        whole = train(tmp_path / "run")
        (file,) = (tmp_path / "run" / "snapshots" / "step-00000040").glob("training-*")
        file.write_bytes(file.read_bytes()[:-1] + b"x")
        with pytest.warns(UserWarning, match="SHA-256.*going on from step 30"):
            resumed = train(tmp_path / "run", resume=True)
        assert resumed.fingerprint == whole.fingerprint
        load(tmp_path / "run" / "snapshots" / "step-00000040")

    def test_what_is_wrong_is_said_of_the_line_that_trains(self, tmp_path):
        train(tmp_path / "run", steps=20)
        (file,) = (tmp_path / "run" / "snapshots" / "step-00000020").glob("training-*")
        file.write_bytes(b"x")
        config = GANConfig(**{**CONFIG, "steps": 20})
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            train_gan(ring(n=200), config, out=tmp_path / "run", resume=True, progress=False)
        assert [("damaged" in str(one.message), one.filename) for one in said] == [(True, __file__), (False, __file__)]

    def test_if_all_are_damaged_it_says_so(self, tmp_path):
        train(tmp_path / "run", keep=1)
        (tmp_path / "run" / "snapshots" / "step-00000040" / "manifest.json").write_text("{")
        with pytest.raises(CheckpointError, match=r"no snapshot in .* is whole"):
            train(tmp_path / "run", resume=True)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"width": 16}, "width was 8 and is 16"),
            ({"seed": 1}, "seed was 0 and is 1"),
            ({"data": ring(n=100)}, "data was"),
            ({"steps": 5}, "at step 20 already"),
        ],
    )
    def test_other_settings_or_data_are_refused(self, tmp_path, changes, said):
        train(tmp_path / "run", steps=20)
        before = load(tmp_path / "run").fingerprint
        with pytest.raises(ArgumentError, match=said):
            train(tmp_path / "run", resume=True, **changes)
        assert load(tmp_path / "run").fingerprint == before

    def test_an_unfinished_run_is_not_thrown_away(self, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run", on_step=interrupting(17))
        with pytest.raises(ArgumentError, match=r"unfinished run \(step 17 of 40\).*--resume"):
            train(tmp_path / "run")
        assert Snapshots(tmp_path / "run", 2).steps() == [17, 10]

    def test_resume_needs_a_folder(self):
        with pytest.raises(ArgumentError, match="resume needs out"):
            train(resume=True)


class TestDivergence:
    def test_it_names_the_step_the_number_and_what_is_good(self, tmp_path):
        train(tmp_path / "run", steps=20)
        good = load(tmp_path / "run").fingerprint

        def spoil(state):
            if state.step == 25:
                with torch.no_grad():
                    next(iter(state.critic.parameters())).fill_(float("nan"))

        with pytest.raises(DivergenceError, match=r"became nan at step 26.*last good snapshot is .*step-00000020"):
            train(tmp_path / "run", resume=True, on_step=spoil)
        assert Snapshots(tmp_path / "run", 2).steps() == [20, 10]
        assert load(tmp_path / "run").fingerprint == good

    @pytest.mark.parametrize(
        ("at", "says"),
        [
            (20, r"average holds numbers that are not finite.*step-00000010"),
            (15, r"samples, .* became infinite or NaN at step 15;.*step-00000010"),
        ],
        ids=["at a snapshot", "at a look"],
    )
    def test_weights_that_no_loss_shows_are_not_saved(self, tmp_path, monkeypatch, at, says):
        """The averaged generator is read by no loss, but a snapshot of it would be worthless."""

        update = Average.update

        def spoil(average, module):
            update(average, module)
            if average.state_dict()["updates"] == at:
                next(average.module.parameters()).fill_(float("inf"))

        monkeypatch.setattr(Average, "update", spoil)
        with pytest.raises(DivergenceError, match=says):
            train(tmp_path / "run")
        assert Snapshots(tmp_path / "run", 2).steps() == [10]

    def test_a_gradient_alone_is_enough(self, monkeypatch):
        real = torch.nn.utils.get_total_norm
        monkeypatch.setattr("torch.nn.utils.get_total_norm", lambda g: real(g) * float("inf"))
        with pytest.raises(DivergenceError, match="gradient became inf at step 1"):
            train()


class TestInterrupts:
    @pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_signal_saves_and_the_next_run_goes_on(self, tmp_path, number, status):
        out = tmp_path / "run"
        settings = ["--width", "8", "--batch-size", "16", "--threads", "1"]
        code = (
            "import os, sys, trainers.run, trainers.__main__ as command\n"
            "def kill(state):\n"
            f"    if state.step == 25: os.kill(os.getpid(), {int(number)})\n"
            "inner = trainers.run.run\n"
            "import trainers.gan\n"
            "trainers.gan.run = lambda training, **rest: inner(training, **{**rest, 'on_step': kill})\n"
            "sys.exit(command.main(sys.argv[1:]))"
        )
        command = ["gan", "--data", "ring", "--out", str(out), *settings, "--steps", "60"]
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        done = subprocess.run(
            [sys.executable, "-c", code, *command], capture_output=True, text=True, check=False, env=environment
        )
        word = "interrupted" if number == signal.SIGINT else "terminated"
        saved = out / "snapshots" / "step-00000025"
        assert done.returncode == status, done.stderr
        assert done.stderr == f"latentkit-train: {word}; {saved} is saved, and --resume goes on from there\n"
        assert not (out / "manifest.json").exists()
        assert load(saved).history["step"][-1] == 25

    def test_a_request_waits_for_the_step_and_the_second_does_not(self, monkeypatch):
        with deferred_requests() as requests:
            os.kill(os.getpid(), signal.SIGINT)
            assert requests.number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            requests.obey()
        with deferred_requests():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)  # as torchrun does with what the terminal has sent to all
            now = time.monotonic()
            monkeypatch.setattr(time, "monotonic", lambda: now + 2.0)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)

    def test_handlers_are_put_back(self):
        before = signal.getsignal(signal.SIGTERM)
        with deferred_requests():
            assert signal.getsignal(signal.SIGTERM) != before
        assert signal.getsignal(signal.SIGTERM) == before


class TestHistory:
    def test_means_are_of_the_steps_since_the_row_before(self):
        history = History()
        for step in range(1, 1001):
            history.add(step, step / 10, {"loss": float(step)}, newest=float(-step))
        columns = history.columns()
        assert {len(values) for values in columns.values()} == {len(columns["step"])}
        assert columns["step"][-1] == 1000
        begin = 0.0
        for step, loss, newest in zip(columns["step"], columns["loss"], columns["newest"], strict=True):
            assert loss == (begin + 1 + step) / 2
            assert newest == -step
            begin = step

    def test_what_is_measured_now_and_then_stands_until_the_next_time(self):
        history = History()
        for step in range(1, 201):
            history.add(step, 0.0, {"loss": 0.0}, **({"measured": float(step)} if step % 7 == 1 else {}))
            again = History()
            again.load_state_dict(json.loads(json.dumps(history.state_dict())))
            history = again
        columns = history.columns()
        assert columns["measured"] == [step - (step - 1) % 7 for step in columns["step"]]

    def test_rows_grow_with_the_logarithm(self):
        history = History()
        for step in range(1, 4097):
            history.add(step, 0.0, {"loss": 0.0})
        steps = history.columns()["step"]
        assert steps[:64] == [float(k) for k in range(1, 65)]
        assert sum(2048 < step <= 4096 for step in steps) == 32


def test_tensorboard_gets_the_recorded_numbers(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = GANConfig(**CONFIG)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checkpoint = train_gan(ring(n=200), config, log_dir=tmp_path / "board", progress=False)
        events = EventAccumulator(str(tmp_path / "board"))
        events.Reload()
    seen = events.Scalars("critic_loss")
    assert [event.step for event in seen] == checkpoint.history["step"]
    assert [event.value for event in seen] == pytest.approx(checkpoint.history["critic_loss"])


def test_tensorboard_that_is_missing_names_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r'pip install "latentkit\[tensorboard\]"'):
        train_gan(ring(n=200), GANConfig(**CONFIG), log_dir=tmp_path / "board", progress=False)
    assert not (tmp_path / "board").exists()


def test_the_folder_of_a_run_can_be_moved(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", on_step=interrupting(17))
    shutil.move(tmp_path / "run", tmp_path / "实验 ü")
    assert train(tmp_path / "实验 ü", resume=True).fingerprint == train().fingerprint
    assert Path(tmp_path / "实验 ü" / "manifest.json").exists()
