"""Ctrl-C and SIGTERM at any moment: the right exit code, one line, no traceback, nothing half-written, no process left.

`python -m pytest -m slow tests/test_fire_interrupts.py` tries four times as many as the usual run.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from forks import LONG, Fork, usual_and_slow
from writers import WRITERS, content

from latentkit import cli
from latentkit.files import is_temporary
from latentkit.manifest import snapshot_path, snapshot_steps
from trainers import __main__ as training
from trainers.snapshots import whole_state

pytestmark = pytest.mark.promise("leave")

#: What is interrupted: the arguments without the model and the output, the kind of output, and about how many seconds
#: it takes on a quiet machine; if it ended before the signal came, it is tried again with an earlier one.
VERBS = {
    "sample": (["-n", "20000"], "samples.npz", 0.3),
    "animate": (["--frames", "20"], "film.gif", 0.5),
    "report": (["-n", "500"], "report", 3.0),
    "quality": (["-n", "2000", "--allow-uninformative"], "map.npz", 0.5),
    "invert": (["-n", "2", "--steps", "50"], "found.png", 0.5),
    "project": (["-n", "500"], "map.png", 3.0),
}
RING = ["--data", "ring", "--width", "8", "--batch-size", "16", "--threads", "1", "--save-every", "5"]
TRAININGS = {
    "gan": ([*RING, "--steps", "300"], 1.0),
    "gan, files": (["--width", "4", "--batch-size", "4", "--threads", "1", "--save-every", "5", "--steps", "60"], 2.0),
    "glo": ([*RING, "--steps", "300"], 1.0),
}
SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


def command(told, program, argv, folder):
    """Be the command, in a session of its own, with its output in files."""
    os.setsid()
    for number, name in ((1, "output"), (2, "errors")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    tempfile.tempdir = str(folder / "temporary")
    sys.argv = [program, *map(str, argv)]
    told.send("begins")
    sys.exit({"latentkit": cli.main, "latentkit-train": training.main}[program]())


def in_session(leader):
    """The processes of a session that are alive, on systems that say so."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(entry.parent.name))
    return found


def all_gone(leader):
    """Whether no process of a session is alive after five seconds; those that are go."""
    until = time.monotonic() + 5.0
    while (left := in_session(leader)) and time.monotonic() < until:
        time.sleep(0.05)
    for process in left:
        os.kill(process, signal.SIGKILL)
    return not left


def said(text, program, number):
    """The last line of standard error, which is of the right kind, after warnings if there were any."""
    lines = text.splitlines()
    assert lines, "it said nothing"
    assert all(line.startswith(f"{program}: ") for line in lines), text
    assert lines[-1].startswith(f"{program}: {SIGNALS[number]}; "), text
    return lines[-1]


def interrupted(draw, program, argv, folder, seconds, number):
    """Run a command in a fork, send it a signal at a random moment, and return its last line."""
    while True:
        (folder / "temporary").mkdir(exist_ok=True)
        fork = Fork(command, program, argv, folder)
        assert fork.wait_for("begins")
        leader = fork.process.pid
        time.sleep(seconds * draw.random())
        fork.signal(number)
        code = fork.end()
        text = (folder / "errors").read_text()
        assert all_gone(leader), "a process is alive after 5 s"
        assert list((folder / "temporary").iterdir()) == []
        if code != 0:
            break
        assert text == "" or "warning: " in text, text
        seconds /= 2  # it was done before
    assert code == 128 + number, text
    return said(text, program, number)


@pytest.mark.parametrize("number", usual_and_slow(6, 30))
def test_a_verb_leaves_cleanly(number, tmp_path, point_run):
    draw = random.Random(number)
    verb = list(VERBS)[number % len(VERBS)]
    options, name, seconds = VERBS[verb]
    out = tmp_path / "out"
    out.mkdir()
    old = {}
    if draw.random() < 0.5:
        if name == "report":
            WRITERS["html"](out, 0)
        else:
            (out / name).write_bytes(b"old")
        old = content(out / name)
    argv = [verb, point_run, "--out", out / name, "--threads", "1", *options]
    line = interrupted(draw, "latentkit", argv, tmp_path, seconds, draw.choice(list(SIGNALS)))
    assert line.endswith("; nothing half-written was left")
    assert [entry.name for entry in out.iterdir()] in ([], [name])
    found = content(out / name)
    assert not any(is_temporary(entry) for entry in found)
    if found != old:  # the signal came when it was in its place already
        assert found.keys() == {name} or "index.html" in found
        assert all(len(data) > 100 for data in found.values())


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder of pictures, which are decoded by threads."""
    import numpy as np
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures")
    draws = np.random.default_rng(0)
    for k in range(300):
        Image.fromarray(draws.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{k}.png")
    return folder


@pytest.mark.parametrize("number", usual_and_slow(3, 15))
def test_a_training_leaves_cleanly(number, tmp_path, pictures):
    draw = random.Random(number)
    name = list(TRAININGS)[number % len(TRAININGS)]
    options, seconds = TRAININGS[name]
    out = tmp_path / "run"
    data = ["--data", "folder", "--data-dir", pictures, "--size", "16"] if "files" in name else []
    argv = [name.partition(",")[0], *options, *data, "--out", out]
    before = 0
    for _ in range(draw.choice([1, 2])):
        line = interrupted(draw, "latentkit-train", [*argv, "--resume"], tmp_path, seconds, draw.choice(list(SIGNALS)))
        steps = snapshot_steps(out)
        assert (
            steps == [] if line.endswith("nothing was written") else f"{snapshot_path(out, steps[0])} is saved" in line
        )
        assert max(steps, default=0) >= before
        before = max(steps, default=0)
        if steps:
            whole_state(snapshot_path(out, steps[0]))
        assert not [entry for entry in tmp_path.rglob("*") if is_temporary(entry.name)]


# ---- processes that begin from nothing


READY = "import os, sys, {module} as command; os.write(1, b'.'); sys.exit(command.main())"
PROGRAMS = {"latentkit": "latentkit.cli", "latentkit-train": "trainers.__main__"}


@pytest.mark.parametrize("number", usual_and_slow(2, 12))
def test_a_process_that_loads_its_libraries_leaves_cleanly(number, tmp_path, point_run):
    """From the first line of the command's own code on, to the last moment of the interpreter."""
    draw = random.Random(number)
    program = list(PROGRAMS)[number % len(PROGRAMS)]
    verb = ["sample", point_run, "--out", tmp_path / "out.npz"]
    argv = verb if program == "latentkit" else ["gan", *RING, "--steps", "20", "--out", tmp_path / "out"]
    sent = draw.choice(list(SIGNALS))
    seconds = 3.0
    while True:
        process = subprocess.Popen(
            [sys.executable, "-c", READY.format(module=PROGRAMS[program]), *map(str, argv)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stdout.read(1) == "."
        time.sleep(seconds * draw.random())
        process.send_signal(sent)
        text = process.communicate(timeout=LONG)[1]
        assert all_gone(process.pid)
        if process.returncode != 0:
            break
        seconds /= 2
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
    assert "Traceback" not in text, text
    assert "Exception ignored" not in text, text
    assert not [entry for entry in tmp_path.rglob("*") if is_temporary(entry.name)]
    if process.returncode == -sent:  # after all was done and said: the interpreter was on its way out
        assert (tmp_path / "out.npz").exists() or (tmp_path / "out" / "manifest.json").exists()
        assert text == ""
    else:
        assert process.returncode == 128 + sent, text
        said(text, program, sent)


@pytest.mark.parametrize("number", usual_and_slow(1, 4))
def test_two_processes_of_a_training_leave_cleanly(number, tmp_path):
    """A signal to torchrun alone, or to all of its processes at once, as a terminal sends Ctrl-C."""
    draw = random.Random(number)
    out, logs = tmp_path / "run", tmp_path / "logs"
    argv = ["gan", *RING, "--steps", "100000", "--out", out, "--quiet"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--redirects", "3"]
    process = subprocess.Popen(
        [sys.executable, *torchrun, "--log-dir", str(logs), "-m", "trainers", *map(str, argv)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + LONG
        while not snapshot_steps(out) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(draw.random())
        sent, everyone = draw.choice(list(SIGNALS)), draw.random() < 0.5
        before = max(snapshot_steps(out))
        if everyone:
            os.killpg(process.pid, sent)
        else:
            process.send_signal(sent)
        process.wait(LONG)
        assert all_gone(process.pid), "a process is alive 5 s after torchrun"
    finally:
        for left in in_session(process.pid):
            os.kill(left, signal.SIGKILL)
    errors = sorted(logs.rglob("stderr.log"))
    assert len(errors) == 2
    newest = max(snapshot_steps(out))
    assert newest >= before
    whole_state(snapshot_path(out, newest))
    for text in (file.read_text() for file in errors):
        assert f"{snapshot_path(out, newest)} is saved" in said(text, "latentkit-train", sent)
    assert not [entry for entry in out.rglob("*") if is_temporary(entry.name)]
