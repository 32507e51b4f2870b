"""The command line under random calls, valid and broken: a line and an exit code, never a traceback or a remnant.

The calls are drawn from the parsers themselves, so an option that is added is tried without a word here.
"""

import argparse
import contextlib
import functools
import io
import json
import random
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentkit import animate, loop
from latentkit.cli import main as explore
from latentkit.files import is_temporary
from latentkit.options import parser
from trainers.__main__ import _parser as trainers_parser
from trainers.__main__ import main as train
from trainers.families import FAMILIES

pytestmark = pytest.mark.promise("command")

#: Calls of the usual run, and of the long one; one more of each sort is only another seed.
USUAL, LONG = 100, 1_000

#: Seconds of this process in which a call must have found what is wrong with it, all being imported.
QUICK = 2.0

#: Seconds after which a call counts as one that never ends.
FOREVER = 60

#: What a number can be that is none, or none that was meant.
NUMBERS = (
    *("-1", "0", "-0", "nan", "inf", "-inf", "1e309", "1e-320", "-1e18", "99999999999999999999", "0.0", "1.5", "1e3"),
    *("18446744073709551615", "18446744073709551616", "79228162514264337593543950336", "1" * 5_000, "2**3", "0x10"),
    *("1_0", " 3 ", "\u0663", "+2", "1,000", "", "one", "--", "-"),
)
TEXTS = (
    *("", " ", "\u5b9f\u9a13 \U0001f600", "-x", "--no-such-option", "a\nb", "\u202etxt", "\udcff\udc80", "..", "/"),
    *("none", "0", "-1", "z0", "z0/z1", "sefa:0", "sefa:99", "layer:", "layer:nothing", "1x1", "0x3", "999x999"),
    *("{}", "[1", "x" * 5_000, "brightness:1", "no-such-class", "nan", "%s%n", "*", "~", "$HOME", "\x1b[2J"),
)

#: Values that an option takes, by its name; of others a number or a text at random.
VALUES = {
    "n": ("1", "3"),
    "attribute": ("brightness", "area", "slant", "x", "radius", "zero"),
    "against": ("width", "height", "area"),
    "direction": ("sefa:1", "jacobian:1", "activations:1", "layer:0"),
    "formula": ("z0 - z1 + z2", "0.5*z3 + 0.5*z0", "z1"),
    "vicinity": ("0", "0.5"),
    "label": ("zero", "One", "2"),
    "classes": ("zero", "One", "two & more"),
    "grid": ("2x2", "3x1"),
    "factory": ("nowhere.py:make",),
    "prior": ("normal", "uniform"),
    "best": ("0.5", "1"),
    "truncation": ("1", "0.7"),
    "extreme": ("0.1", "0.3"),
    "strength": ("1", "0.5"),
    "keys": ("3", "4"),
    "frames": ("2", "5"),
    "starts": ("1", "2"),
    "pool": ("8", "40"),
    "seed": ("0", "7", "18446744073709551615"),
    "size": ("16", "32"),
    "latent_dim": ("1", "3"),
    "batch_size": ("2", "8"),
    "threads": ("1",),
    "network": ("conv", "residual", "dense"),
    "device": ("cpu",),
    "precision": ("float32", "bfloat16"),
    "width": ("2", "4"),
    "holdout": ("20", "100"),
    "optimiser": ("adam", "rmsprop"),
    "ema": ("0", "0.5"),
    "save_every": ("1", "1000"),
}
SHARES = ("0", "0.25", "0.5", "0.9", "1", "2.0")

#: What keeps a call small where it is not asked for otherwise.
SMALL = {
    "quality": {"n": "300"},
    "tide": {"n": "300", "frames": "3"},
    "route": {"n": "300", "steps": "4"},
    "project": {"n": "60", "method": "pca"},
    "invert": {"n": "1", "steps": "3", "pool": "20"},
    "interpolate": {"steps": "3"},
    "edit": {"n": "1", "steps": "2"},
    "animate": {"keys": "3", "frames": "4"},
    "sample": {"n": "3"},
    "report": {"n": "500"},
}
SMALL_TRAINING = {
    "steps": "2",
    "batch_size": "8",
    "width": "4",
    "latent_dim": "2",
    "holdout": "60",
    "widest": "8",
    "phase_steps": "2",
    "sizes": "2",
    "samples": "20",
    "inverted": "2",
    "inversion_steps": "1",
    "inversion_starts": "1",
    "ranked": "2",
}

#: What a verb's file can be.
PICTURES, FILMS = (".png", ".npz"), (".gif", ".webp", ".apng")
SUFFIXES = {
    "sample": PICTURES,
    "project": PICTURES,
    "invert": PICTURES,
    "quality": (".npz",),
    "interpolate": (*PICTURES, *FILMS),
    "edit": (*PICTURES, *FILMS),
    "route": (*FILMS, ".png"),
    "tide": FILMS,
    "animate": FILMS,
    "replay": FILMS,
}

#: What calls have wrong with them, as often as they stand here.
MISTAKES = (
    *("number", "number", "number", "text", "text", "out", "out", "checkpoint"),
    *("drop", "empty", "unknown", "extra", "twice", "short"),
)


class Hang(BaseException):
    """A call that does not end."""


class Place:
    """A folder with what calls are about: checkpoints, good and bad, films, images and arrays."""

    def __init__(self, folder, runs, checkpoint):
        self.folder = folder
        self.good = [str(run) for run in runs]
        self.bad = list(self._bad(runs[0]))
        self.film = str(folder / "film.gif")
        prior = checkpoint.generator.prior
        animate(checkpoint.generator, loop(prior.sample(3, seed=0)), frames=3).save(self.film)
        self.images = folder / "images"
        self.images.mkdir()
        for k in range(6):
            Image.fromarray(np.full((32, 32), 40 * k, dtype=np.uint8)).save(self.images / f"{k}.png")
        np.save(folder / "points.npy", np.linspace(-1, 1, 400, dtype=np.float32).reshape(200, 2))
        (folder / "text.png").write_text("no picture")
        (folder / "film.txt").write_text("no film")

    def _bad(self, run):
        yield from ("", "no-such-run", "\u5b9f\u9a13", "a\nb", "x" * 300, "/dev/null", "no/such/folder", "\udcff")
        empty, foreign, cut, newer, odd = (self.folder / name for name in ("empty", "foreign", "cut", "newer", "odd"))
        empty.mkdir()
        foreign.mkdir()
        (foreign / "notes.txt").write_text("mine")
        for copy in (cut, newer, odd):
            shutil.copytree(run, copy)
        part = next(cut.glob("generator-*"))
        part.write_bytes(part.read_bytes()[:-7])
        manifest = json.loads((newer / "manifest.json").read_text())
        (newer / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
        (odd / "manifest.json").write_text('{"kind": ')
        refers = self.folder / "refers"
        refers.mkdir()
        (refers / "reference.json").write_text('{"kind": "latentkit reference", "format": 1, "source": "../../x"}')
        yield from map(str, (empty, foreign, cut, newer, odd, refers, Path(run) / "manifest.json"))

    def state(self):
        """Return what there is: names, and the contents of what a call could overwrite."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes() if path.is_file() else None
            for path in self.folder.rglob("*")
        }


@functools.cache
def verbs_of(program):
    """Return the parser of each verb of a program."""
    command = parser() if program == "latentkit" else trainers_parser([*FAMILIES, "sweep"])
    (verbs,) = (a for a in command._actions if isinstance(a, argparse._SubParsersAction))
    return verbs.choices


class Call:
    """One call of a program: the words, and whether they are meant to be right."""

    def __init__(self, seed, place):
        self.random, self.place = random.Random(seed), place
        draw = self.random
        self.training = draw.random() < 0.3
        verbs = verbs_of("latentkit-train" if self.training else "latentkit")
        # A report takes seconds, and a sweep is several trainings: they are called, but less often.
        names = [name for name in verbs for _ in range(1 if name in ("report", "sweep") else 6)]
        self.verb = draw.choice(names)
        self.faults = draw.choices((0, 1, 2), (3, 5, 2))[0]
        if self.verb == "report":
            self.faults = max(self.faults, 1)
        groups = self._words(verbs[self.verb])
        for _ in range(self.faults):
            self._spoil(groups)
        draw.shuffle(groups[0])
        self.words = [self.verb, *(word for group in groups[0] for word in group), *groups[1]]
        if self.faults and draw.random() < 0.04:
            self.words = draw.choice(([], ["nothing"], self.words[1:], ["--version"], [self.verb, "--help"], [""]))
        self.main = train if self.training else explore

    def _words(self, sub):
        """Return the options with their values, a group each, and the positional words."""
        draw, wanted, excluded = self.random, [], set()
        for group in sub._mutually_exclusive_groups:
            chosen = draw.choice(group._group_actions)
            excluded |= {a.dest for a in group._group_actions if a is not chosen}
            wanted += [chosen.dest] * group.required
        small = SMALL_TRAINING if self.training else SMALL.get(self.verb, {})
        options, positional = [], []
        share = draw.random() * 0.5
        for action in sub._actions:
            if isinstance(action, (argparse._HelpAction, argparse._VersionAction)) or action.dest in excluded:
                continue
            if not action.option_strings:
                positional += self._values(action)
                continue
            given = action.required or action.dest in wanted or draw.random() < share
            if self.training and action.dest in small:
                options.append([action.option_strings[0], small[action.dest]])
            elif given:
                options.append([draw.choice(action.option_strings), *self._values(action)])
            elif action.dest in small:
                options.append([action.option_strings[0], small[action.dest]])
        return options, positional

    def _values(self, action):
        """Return as many values as an option takes, such as it takes."""
        draw, count = self.random, action.nargs
        if count == 0 or isinstance(action, argparse.BooleanOptionalAction):
            return []
        number = count if isinstance(count, int) else draw.randint(1, 3) if count in ("+", "*") else 1
        return [self._value(action) for _ in range(number)]

    def _value(self, action):
        draw, place, name = self.random, self.place, action.dest
        if name == "checkpoint":
            return draw.choice(place.good)
        if name == "out":
            return self._out()
        if name in ("film", "source", "critic"):
            return place.film
        if name == "files":
            return str(place.images / f"{draw.randrange(6)}.png")
        if name == "data":
            return draw.choice(("ring", "grid25", "digits", str(place.images), str(place.folder / "points.npy")))
        if name in ("data_dir", "real"):
            return str(place.images)
        if name in ("cache", "tensorboard"):
            return str(place.folder / f"new-{name}")
        if name == "movie":
            return str(place.folder / "training.gif")
        if action.choices:
            return draw.choice(list(action.choices))
        usual = VALUES.get(name)
        if usual is not None:
            return draw.choice(usual)
        if action.type is int:
            return str(draw.randint(1, 3))
        return draw.choice(SHARES) if action.type is float else draw.choice(("a", "b.npz", "1"))

    def _out(self):
        draw = self.random
        suffix = "" if self.training else draw.choice(SUFFIXES.get(self.verb, ("",)))
        folders = ("", "new/", "new/er/", "\u00fc \u5b9f\u9a13/")
        there = "there" if suffix else "\U0001f600"
        return str(self.place.folder / f"{draw.choice(folders)}{draw.choice(('made', there))}{suffix}")

    def _spoil(self, groups):
        """Make one mistake."""
        options, positional = groups
        draw = self.random
        at = draw.randrange(len(options)) if options else None
        kind = draw.choice(MISTAKES)
        outs = [group for group in options if group[0] in ("--out", "--movie", "--cache")]
        if kind == "checkpoint" and positional:
            positional[draw.randrange(len(positional))] = draw.choice(self.place.bad)
        elif kind == "out" and outs:
            draw.choice(outs)[1:] = [draw.choice(self._bad_outs())]
        elif kind == "unknown":
            options.append(["--" + draw.choice(("frobnicate", "ou", "seeds", "verbose=3", "\u00fc"))])
        elif kind == "extra":
            positional.append(draw.choice(TEXTS))
        elif at is None:
            positional.clear()
        elif kind == "drop":
            # Not what keeps the call small: the usual number of steps is no mistake.
            needless = [group for group in options if group[0] in ("--out", "--data", "--sizes", "--attribute")]
            options.remove(draw.choice(needless or options[-1:]))
        elif kind == "empty":
            options[at] = options[at][:1]
        elif kind == "twice":
            options.append(options[at])
        elif kind == "short" and len(options[at][0]) > 4:
            options[at] = [options[at][0][:-1], *options[at][1:]]
        else:
            numbers = [group for group in options if len(group) > 1 and group[1].replace(".", "").isdigit()]
            group = draw.choice(numbers) if kind == "number" and numbers else options[at]
            bad = draw.choice(NUMBERS if kind == "number" else TEXTS)
            if len(group) > 1:
                group[draw.randrange(1, len(group))] = bad
            else:
                group.append(bad)

    def _bad_outs(self):
        folder = self.place.folder
        suffix = self.random.choice((".png", ".npz", ".gif"))
        yes = (f"/proc/no{suffix}", f"/sys/no/such{suffix}", f"/dev/null/x{suffix}", "/dev/full", f"{folder}/images")
        no = ("", ".", "/", "x", "x.txt", f"{'y' * 260}{suffix}", f"a\nb{suffix}.", f"{folder}/text.png/x{suffix}")
        return [*yes, *no, f"\udcff{suffix}x", f"{folder}/odd", f"{folder}/foreign", f"{folder}/there{suffix}"]


@pytest.fixture(scope="module")
def runs(image_run, point_run, conditional_run):
    """What calls explore; all that verbs and trainers import is imported, so that the clock runs for them alone."""
    import latentkit.adapters.importing
    import latentkit.verbs
    import trainers.sweep

    assert latentkit.verbs
    assert trainers.sweep
    for family in FAMILIES.values():
        family.defaults()
    return image_run, point_run, conditional_run


@pytest.fixture
def place(runs, image_checkpoint, tmp_path, monkeypatch):
    place = Place(tmp_path, runs, image_checkpoint)
    for suffix in (".png", ".npz", ".gif", ".webp", ".apng", ""):
        name = tmp_path / f"{'there' if suffix else chr(0x1F600)}{suffix}"
        name.write_bytes(b"what was there")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for film in ("bakeoffs.FRAMES", "classes.FRAMES", "manifold.FRAMES", "walks.FRAMES", "ways.STEPS"):
        monkeypatch.setattr(f"latentkit.reports.{film}", 4)
    return place


@contextlib.contextmanager
def _ending():
    """Raise `Hang` after a time."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_):
        raise Hang(f"no end after {FOREVER} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, FOREVER)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run(call):
    """Return a call's exit code, its two outputs, and the seconds of the processor that it took."""
    out, err = io.StringIO(), io.StringIO()
    began = time.process_time()
    with warnings.catch_warnings(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _ending():
        warnings.simplefilter("default")
        code = call.main(call.words)
    return code, out.getvalue(), err.getvalue(), time.process_time() - began


#: What is no mistake of the call's, and found by the work alone: a critic that knows nothing, a training that diverges.
FOUND_OUT = ("critic", "no quality map", "not finite", "diverge", "collapse", "samples")


def check(call):
    """Run a call and check all that is promised of any."""
    place, program = call.place, "latentkit-train" if call.training else "latentkit"
    said = f"{program} {shlex.join(call.words)}"[:3_000]
    before = place.state()
    try:
        code, out, err, seconds = run(call)
    except BaseException as error:
        raise AssertionError(f"{type(error).__name__}: {error}\n{said}") from error
    assert code in (0, 2), f"exit code {code}\n{said}"
    lines = err.splitlines()
    mistakes = [line for line in lines if not line.startswith(f"{program}: warning: ")]
    assert not any("Traceback" in line for line in lines), said
    assert len(mistakes) == (code == 2), f"{err}\n{said}"
    assert all(line.startswith(f"{program}: ") for line in mistakes), f"{err}\n{said}"
    after = place.state()
    assert not [name for name in after if any(is_temporary(part) for part in Path(name).parts)], said
    if code == 0:
        if "--json" in call.words and "--help" not in call.words:
            json.loads(out)
        return
    assert out == "", said
    # A training that has begun keeps its snapshots; nothing else is left of a call that failed.
    gone = {name for name, held in before.items() if after.get(name, b"") != held}
    assert not gone, f"{gone} changed\n{said}"
    if not call.training:
        assert after.keys() == before.keys(), f"{after.keys() - before.keys()} left\n{said}"
    if not any(sign in err for sign in FOUND_OUT):
        assert seconds < QUICK, f"{seconds:.1f} s to say {err}\n{said}"


@pytest.mark.parametrize(
    "seed", [*range(USUAL), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(USUAL, LONG))]
)
def test_any_call_is_answered(seed, place):
    check(Call(seed, place))


def test_the_calls_are_of_all_sorts(place):
    calls = [Call(seed, place) for seed in range(5 * LONG)]
    verbs = {call.verb for call in calls}
    assert verbs >= {
        "info",
        "sample",
        "edit",
        "invert",
        "quality",
        "route",
        "import",
        "replay",
        "report",
        "gan",
        "sweep",
    }
    assert {call.faults for call in calls} == {0, 1, 2}
    options = {word for call in calls for word in call.words if word.startswith("-")}
    for program in ("latentkit", "latentkit-train"):
        for name, verb in verbs_of(program).items():
            for action in verb._actions:
                assert not action.option_strings or options & set(action.option_strings), f"{name} {action.dest}"


PROCESSES = {
    "unknown option": ["latentkit.cli", ["sample", "{run}", "--out", "x.png", "--frobnicate"], 2],
    "no checkpoint": ["latentkit.cli", ["quality", "\u5b9f\u9a13", "--out", "x.npz"], 2],
    "nowhere to write": ["latentkit.cli", ["animate", "{run}", "--out", "/proc/x.gif"], 2],
    "a sample": ["latentkit.cli", ["sample", "{run}", "--out", "x.png", "-n", "2"], 0],
    "no such data": ["trainers", ["gan", "--data", "nothing", "--out", "run"], 2],
}


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_answers_likewise(name, point_run, tmp_path):
    module, words, wanted = PROCESSES[name]
    command = [sys.executable, "-m", module, *(word.format(run=point_run) for word in words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)
    assert (done.returncode, done.stderr.count("\n")) == (wanted, int(wanted == 2)), done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == (["x.png"] if wanted == 0 else [])


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_terminal_is_told_texts_and_no_orders(encoding, options, point_checkpoint, tmp_path, monkeypatch):
    classes = ("\x1b[2J\x9b31m", "\u202egnp", "\u5b9f\u9a13")
    run = replace(point_checkpoint, classes=classes).save(tmp_path / "\u5b9f\u9a13")
    taken = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(taken, encoding=encoding))
    assert explore(["info", str(run), *options]) == 0
    said = taken.getvalue().decode(encoding)
    assert "\x1b" not in said
    if options:
        assert json.loads(said)["classes"] == list(classes)
    else:
        shown = "\u5b9f\u9a13" if encoding == "utf-8" else r"\u5b9f\u9a13"
        assert rf"\x1b[2J\x9b31m, \u202egnp, {shown}" in said
