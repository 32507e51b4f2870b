"""A disk that is full, at any point of a write: what was there is untouched, and nothing half-written stays."""

import ctypes
import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_files import small_disk
from writers import MORE_WRITERS, WRITERS, brief_report, content

from latentkit import cli, load
from latentkit.errors import OutputError
from latentkit.files import is_temporary
from latentkit.manifest import snapshot_path, snapshot_steps
from trainers import GANConfig, ring, train_gan
from trainers import __main__ as training
from trainers.snapshots import whole_state

pytestmark = [
    pytest.mark.promise("full"),
    pytest.mark.filterwarnings("ignore:the samples are nearly identical"),
    pytest.mark.filterwarnings("ignore:the critic tells every sample"),
]

PAGE = 4096
SIZE = 4 * 2**20  # of the disk, in bytes


def mount(folder):
    """Mount a disk of its own at a folder, and return whether this system and user can."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.mount(b"none", os.fsencode(folder), b"tmpfs", 0, f"size={SIZE}".encode()) == 0


def unmount(folder):
    assert ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(folder), 2) == 0  # MNT_DETACH


def can_mount():
    """Whether a disk can be mounted here, tried by doing it."""
    with tempfile.TemporaryDirectory() as folder:
        able = mount(folder)
        if able:
            unmount(folder)
    return able


#: What is full: a disk, or, where none can be mounted, the size that this process may give to a file.
LIMIT = "tmpfs" if can_mount() else "file size"
SPACE = r"\(0 MiB free there\)" if LIMIT == "tmpfs" else r"\([\d,]+ MiB free there\)"
WORDS = os.strerror(errno.ENOSPC if LIMIT == "tmpfs" else errno.EFBIG)


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A folder that is a disk of 4 MiB, where that can be; it is empty again for each test."""
    folder = tmp_path_factory.mktemp("disk")
    if LIMIT != "tmpfs":
        yield folder
        return
    assert mount(folder)
    try:
        yield folder
    finally:
        unmount(folder)


@pytest.fixture
def place(disk):
    work = disk / "work"
    work.mkdir()
    yield work
    shutil.rmtree(work)


@contextmanager
def room(place, needed):
    """Leave `needed` bytes of room on the disk of a folder, in whole pages, or let no file be larger."""
    if LIMIT != "tmpfs":
        with small_disk(max(1, needed)):
            yield
        return
    filler = place.parent / "filler"
    state = os.statvfs(place)
    filled = state.f_bavail * state.f_frsize - needed // PAGE * PAGE
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, filled)
    try:
        yield
    finally:
        filler.unlink()


def size(held):
    """How much of a disk files take; of the limit of a file's size the largest counts."""
    pages = [-(-len(data) // PAGE) * PAGE for data in held.values()]
    return sum(pages) if LIMIT == "tmpfs" else max(map(len, held.values()))


def nothing_partial(place):
    return not [entry for entry in place.rglob("*") if is_temporary(entry.name)]


def tried(write, place, over, share):
    """Write to a disk with room for a share of it, over an older version or not, and return what was said."""
    new = content(write(place, 1))
    for entry in place.iterdir():
        remove(entry)
    old = content(write(place, 0)) if over else {}
    with room(place, int(share * size(new))), pytest.raises(OutputError) as caught:
        write(place, 1)
    assert nothing_partial(place)
    if over:
        (path,) = place.iterdir()
        assert content(path) == old
    else:
        assert list(place.iterdir()) == []
    assert content(write(place, 1)) == new, "with room it is as if nothing had been"
    return str(caught.value)


def remove(entry):
    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def is_one_line(text, place):
    pattern = rf"cannot write {re.escape(str(place))}/[^\n]*: {WORDS} {SPACE}; what was there before is untouched"
    assert re.search(pattern, text), text
    assert "\n" not in text.strip()


@pytest.mark.parametrize("limit", [LIMIT])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("over", [False, True], ids=["fresh", "over an older one"])
@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_costs_nothing_that_was_there(kind, over, share, limit, place):
    is_one_line(tried(WRITERS[kind], place, over, share), place)


@pytest.mark.parametrize("limit", [LIMIT])
@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("over", [False, True], ids=["fresh", "over an older one"])
@pytest.mark.parametrize("kind", MORE_WRITERS)
def test_nor_with_the_other_writers(kind, over, share, limit, place):
    is_one_line(tried(MORE_WRITERS[kind], place, over, share), place)


VERBS = {
    "sample": ("samples.npz", ["-n", "5000"]),
    "sample, a sheet": ("samples.png", ["-n", "4"]),
    "animate": ("film.gif", ["--frames", "4"]),
    "report": ("report", ["-n", "500"]),
}


@pytest.mark.parametrize("limit", [LIMIT])
@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("over", [False, True], ids=["fresh", "over an older one"])
@pytest.mark.parametrize("verb", VERBS)
def test_the_command_line_says_it_in_one_line(verb, over, share, limit, place, point_run, capsys):
    name, options = VERBS[verb]

    def write(folder, version):
        argv = [verb.partition(",")[0], point_run, "--out", folder / name, "--seed", version, *options]
        with brief_report():
            status = cli.main(list(map(str, argv)))
        said = capsys.readouterr().err
        if status:
            assert status == 2
            raise OutputError(said)
        return folder / name

    text = tried(write, place, over, share)
    assert text.startswith("latentkit: ")
    is_one_line(text, place)


CONFIG = {"steps": 18, "batch_size": 16, "width": 32, "threads": 1, "save_every": 6, "check_every": 7}


@pytest.mark.parametrize("limit", [LIMIT])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9])
def test_a_training_ends_with_the_last_good_snapshot(share, limit, place, tmp_path):
    config = GANConfig(**CONFIG)
    whole = train_gan(ring(n=200), config, out=tmp_path / "whole", progress=False)
    needed = size(content(snapshot_path(tmp_path / "whole", 12)))
    out, full = place / "run", room(place, int(share * needed))

    def fill(state):
        if state.step == 7:
            full.__enter__()

    with pytest.raises(OutputError) as caught:
        train_gan(ring(n=200), config, out=out, on_step=fill, progress=False)
    full.__exit__(None, None, None)
    is_one_line(str(caught.value), place)
    assert f"{snapshot_path(out, 6)} is the last one, and resuming goes on from there" in str(caught.value)
    assert snapshot_steps(out, whole=False) == [6]
    whole_state(snapshot_path(out, 6))
    assert nothing_partial(place)
    resumed = train_gan(ring(n=200), config, out=out, resume=True, progress=False)
    assert resumed.fingerprint == load(out).fingerprint == whole.fingerprint


@pytest.mark.parametrize("limit", [LIMIT])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_so_does_the_command_that_trains(share, limit, place, tmp_path, capsys):
    """Over a finished run, of which everything stays."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in CONFIG.items()]

    def train(out, seed):
        argv = ["gan", "--data", "ring", "--out", str(out), *options, "--seed", str(seed), "--quiet"]
        return training.main(argv), capsys.readouterr().err

    assert train(place / "run", 0)[0] == 0
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    needed = size(content(snapshot_path(place / "run", 18)))
    with room(place, int(share * needed)):
        status, said = train(place / "run", 1)
    assert status == 2
    assert said.splitlines()[-1].startswith("latentkit-train: ")
    is_one_line(said.splitlines()[-1], place)
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize(
    ("module", "argv"), [("latentkit.cli", ["--help"]), ("latentkit.cli", ["--version"]), ("trainers", ["--help"])]
)
def test_an_output_that_cannot_be_written_is_said_in_one_line(module, argv):
    # Without a buffer argparse itself writes, and takes no notice.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", module, *argv]
    with FULL.open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment)
    assert done.returncode == 2
    program = "latentkit" if module == "latentkit.cli" else "latentkit-train"
    assert done.stderr == f"{program}: cannot write the output: {os.strerror(errno.ENOSPC)}; make room there\n"
