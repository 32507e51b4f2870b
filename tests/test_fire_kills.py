"""A trainer that is killed at any moment goes on as if nothing had been, and no writer leaves half a file.

`python -m pytest -m slow tests/test_fire_kills.py` tries ten times as many kills of trainers, and five times as many
of writers, as the usual run.
"""

import random
import shutil
import time
import warnings
from functools import cache

import pytest
import torch
from forks import Fork, Lines, usual_and_slow
from test_run import state
from writers import WRITERS, content

import latentkit.checkpoint
import trainers.snapshots
from latentkit import encoders, files, folders, load, manifest, render
from latentkit.files import is_temporary
from latentkit.manifest import snapshot_path, snapshot_steps
from trainers import GANConfig, GLOConfig, VAEConfig, digits, ring, train_gan, train_glo, train_vae

POINTS = {"steps": 18, "batch_size": 16, "width": 8, "threads": 1, "save_every": 6, "check_every": 7}
IMAGES = {**POINTS, "steps": 6, "batch_size": 4, "width": 4, "latent_dim": 4, "save_every": 2, "holdout": 32}

FAMILIES = {
    "gan": (train_gan, GANConfig(**POINTS, keep=1), ring),
    "vae": (train_vae, VAEConfig(**POINTS), ring),
    "glo": (train_glo, GLOConfig(**POINTS, keep=1, prior_components=1), ring),
    "gan, images": (train_gan, GANConfig(**IMAGES), digits),
}
RESULT = "the result"


# ---- trainers


def train(told, name, out, stop):
    """Train to the end, in a process of its own: tell of each step and each save, and wait within one to be killed."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")

    def watched(owner, key_of):
        write = owner.save

        def save(self, *given):
            key = key_of(*given)
            told.send(("saves", key))
            line = stop[1] if stop and stop[0] == key else None
            with Lines((files, manifest, trainers.snapshots), told, line) as lines:
                path = write(self, *given)
            told.send(("saved", key, lines.count))
            return path

        owner.save = save

    watched(trainers.snapshots.Snapshots, lambda step, *_: step)
    watched(latentkit.checkpoint.Checkpoint, lambda *_: RESULT)
    trainer, config, data = FAMILIES[name]
    trainer(data(), config, out=out, resume=True, on_step=lambda now: told.send(("step", now.step)), progress=False)


@cache
def unbroken(name, place):
    """What a run that nobody kills makes, how many lines each save has, and how long the start and a step take."""
    out = place / name
    began = time.monotonic()
    run = Fork(train, name, out, None)
    assert run.wait_for(("step", 1))
    start = time.monotonic() - began
    assert run.end() == 0
    step = (time.monotonic() - began - start) / (FAMILIES[name][1].steps + 1)
    lines = {told[1]: told[2] for told in run.heard if told[0] == "saved"}
    return out, lines, start, step


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("unbroken")


def killed(draw, name, out, place):
    """Start or go on, and kill it at a random moment, one of three within a save; False if it ended before."""
    _, lines, start, step = unbroken(name, place)
    done, steps = next(iter(snapshot_steps(out)), 0), FAMILIES[name][1].steps
    if draw.random() < 1 / 3 or done >= steps - 1:
        key = draw.choice([key for key in lines if key == RESULT or key > done])
        run = Fork(train, name, out, (key, draw.randrange(int(0.97 * lines[key]))))
        waits = run.wait_for("waits")
        assert not waits or run.heard[-2] == ("saves", key)
    else:
        after = draw.randrange(done, steps - 1)
        run = Fork(train, name, out, None)
        if after > done:
            run.wait_for(("step", after))
        time.sleep(draw.random() * (step if after > done else start))
    landed = run.kill()
    saved = max((told[1] for told in run.heard if told[0] == "saved" and told[1] != RESULT), default=done)
    kept = snapshot_steps(out)
    assert max(kept, default=0) >= saved, "a snapshot that was there is lost"
    for at in kept:
        trainers.snapshots.whole_state(snapshot_path(out, at))
    return landed


@pytest.mark.promise("kill")
@pytest.mark.parametrize("number", usual_and_slow(30, 300))
def test_a_trainer_that_is_killed_goes_on_as_if_nothing_had_been(number, tmp_path, place):
    draw = random.Random(number)
    name = list(FAMILIES)[number % len(FAMILIES)]
    landed = False
    while not landed:  # again if this machine was so slow that the run ended first
        out = tmp_path / "run"
        shutil.rmtree(out, ignore_errors=True)
        for _ in range(draw.choice([1, 1, 2, 3])):
            landed = killed(draw, name, out, place) or landed
    last = Fork(train, name, out, None)
    assert last.end() == 0
    same(out, unbroken(name, place)[0], FAMILIES[name][1].steps)
    assert all(is_temporary(entry.name) for entry in out.iterdir() if entry.name not in known(out))


def known(out):
    return {"manifest.json", "snapshots", *(entry["name"] for entry in manifest.read_manifest(out).values())}


def same(run, whole, steps):
    """Assert that two finished runs are the same: weights, averages, optimisers and the log, bit for bit."""
    one, other = (load(out) for out in (run, whole))
    assert one.fingerprint == other.fingerprint
    parts = [
        {role: entry for role, entry in manifest.read_manifest(out).items() if role != "about"} for out in (run, whole)
    ]
    assert parts[0] == parts[1]
    for name in other.history.keys() - {"seconds"}:
        assert one.history[name] == other.history[name], name
    assert one.history["seconds"] == sorted(one.history["seconds"])
    assert snapshot_steps(run, whole=False) == snapshot_steps(whole, whole=False)
    (ours, about), (theirs, said) = (state(snapshot_path(out, steps)) for out in (run, whole))
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name
    for part in (about, said):
        part["about"].pop("seconds")
        for rows in ("columns", "latest"):
            part["values"][f"history/{rows}"].pop("seconds")
    assert about == said


# ---- writers

# The last steps of all writers, and these with what comes before them.
WAYS = {"last": (files, folders, manifest), "all": (files, folders, manifest, encoders.gif, render)}


def write(told, kind, folder, way, stop):
    """Write the new version, in a process of its own, and wait at a line to be killed, if one is given."""
    torch.set_num_threads(1)
    told.send("writes")
    with Lines(WAYS[way], told, stop) as lines:
        WRITERS[kind](folder, 1)
    told.send(("wrote", lines.count))


@cache
def whole(kind, way, over, place):
    """What the new version is, how many lines write it, over an old one or not, and how long they take."""
    folder = place / f"{kind}-{way}-{over}"
    folder.mkdir()
    if over:
        WRITERS[kind](folder, 0)
    writing = Fork(write, kind, folder, way, None)
    assert writing.wait_for("writes")
    began = time.monotonic()
    assert writing.end() == 0
    seconds = time.monotonic() - began
    return content(WRITERS[kind](folder, 1)), writing.heard[-1][1], seconds


@pytest.mark.promise("whole")
@pytest.mark.parametrize("number", usual_and_slow(20, 100))
def test_a_writer_that_is_killed_leaves_the_old_or_the_new(number, tmp_path, place):
    draw = random.Random(number)
    kind = list(WRITERS)[number % len(WRITERS)]
    way = "all" if draw.random() < 0.3 else "last"
    over, timed, late = draw.random() < 0.7, draw.random() < 0.3, draw.random() < 0.6
    new, lines, seconds = whole(kind, way, over, place)
    landed = False
    while not landed:  # again if this machine was so slow that it was done before
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        old = content(WRITERS[kind](tmp_path, 0)) if over else {}
        line = draw.randrange(int(0.6 * lines) if late else 0, int(0.97 * lines))  # the names change at the end
        writing = Fork(write, kind, tmp_path, way, None if timed else line)
        assert writing.wait_for("writes" if timed else "waits")
        if timed:
            time.sleep(draw.random() * seconds)
        landed = writing.kill()
    left = {path.name: content(path) for path in tmp_path.iterdir() if not is_temporary(path.name)}
    assert len(left) == 1 if over else len(left) <= 1
    found = next(iter(left.values()), {})
    for name, data in found.items():
        assert data in (old.get(name), new.get(name)), f"{name} is neither the old nor the new one"
    if over:
        assert "index.html" in found or kind != "html"
    if kind == "checkpoint" and "manifest.json" in found:
        load(tmp_path / "run")
    assert content(WRITERS[kind](tmp_path, 1)) == new, "and the next one writes as if nothing had been"
