import errno
import json
import os
import resource
import stat
from contextlib import contextmanager

import pytest

from latentkit import files, folders
from latentkit.errors import OutputError


@contextmanager
def small_disk(limit):
    """No file may grow beyond `limit` bytes: what a full disk does to a writer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("name", ["plain.txt", "实验 ü 😀 a b.txt", 'a"quote\nline.txt', "x" * 200])
def test_what_was_written_is_read_back(tmp_path, name):
    target = tmp_path / "new" / "folder" / name
    assert files.write_text(target, "ü\n") == target
    assert target.read_bytes() == "ü\n".encode()
    assert files.write_bytes(str(target), b"other") == target
    assert target.read_bytes() == b"other"
    assert names(target.parent) == [name]


def test_json_is_strict(tmp_path):
    assert json.loads(files.write_json(tmp_path / "a.json", {"ü": [1, None]}).read_text("utf-8")) == {"ü": [1, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", float("nan"))
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"ü": [1, None]}


def test_outputs_keep_normal_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        path = files.write_bytes(tmp_path / "a", b"")
        with folders.writing_folder(tmp_path / "b", marker=OURS) as folder:
            OURS.write(folder)
    finally:
        assert os.umask(before) == 0o027
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o750


@pytest.mark.parametrize(
    "failure", [ValueError("x"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")]
)
def test_on_any_failure_the_old_file_stays_and_nothing_else(tmp_path, failure):
    target = files.write_bytes(tmp_path / "a", b"old")

    def write():
        with files.writing(target) as file:
            file.write(b"half of the new")
            raise failure

    with pytest.raises((type(failure), OutputError)) as caught:
        write()
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]
    if isinstance(failure, OSError):
        assert isinstance(caught.value, OutputError)
        assert isinstance(caught.value, OSError)


def test_a_full_disk_keeps_the_old_file_and_names_path_and_space(tmp_path):
    target = files.write_bytes(tmp_path / "a", b"old" * 1000)
    with pytest.raises(OutputError, match=r"cannot write .*/a: .* MiB free there.*what was there before is untouched"):  # noqa: SIM117
        with small_disk(256 * 1024):
            files.write_bytes(target, bytes(2**20))
    assert target.read_bytes() == b"old" * 1000
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("late", ["fsync", "replace"])
def test_a_late_failure_leaves_no_partial_file(tmp_path, monkeypatch, late):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    target = files.write_bytes(tmp_path / "a", b"old")
    monkeypatch.setattr(*((os, "fsync") if late == "fsync" else (files.Path, late)), fail)
    with pytest.raises(OutputError, match="Input/output error"):
        files.write_bytes(target, b"new")
    monkeypatch.undo()
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("", "it is a folder"),
        ("file/inside", "is a file, not a folder"),
        ("x" * 300, "File name too long"),
        ("a\0b", "null byte"),
    ],
)
def test_impossible_targets_are_refused_before_the_work(tmp_path, target, reason):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=reason):
        files.check_target(f"{tmp_path}/{target}")
    assert names(tmp_path) == ["file"]


def test_a_folder_that_cannot_be_written_is_refused_before_the_work():
    for check in (files.check_target, lambda path: folders.check_folder(path, marker=OURS)):
        with pytest.raises(OutputError, match="choose a folder that you can write to"):
            check("/proc/latentkit/out")


def test_checking_leaves_nothing_behind(tmp_path):
    files.check_target(tmp_path / "a" / "b")
    folders.check_folder(tmp_path / "c" / "d", marker=OURS)
    assert names(tmp_path) == []


@pytest.mark.parametrize("place", ["link", "dangling", "chain"])
def test_a_link_is_followed_and_stays(tmp_path, place):
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "a"
    if place != "dangling":
        target.write_bytes(b"old")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "dangling").symlink_to(target)
    (tmp_path / "chain").symlink_to(tmp_path / "link")
    assert files.write_bytes(tmp_path / place, b"new") == tmp_path / place
    assert (tmp_path / place).is_symlink()
    assert target.read_bytes() == b"new"
    assert names(tmp_path / "real") == ["a"]


def test_links_that_go_round_and_devices_are_refused(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (("a", "symbolic links"), ("pipe", "no plain file")):
        with pytest.raises(OutputError, match=reason):
            files.write_bytes(tmp_path / name, b"")
    assert names(tmp_path) == ["a", "b", "pipe"]


def test_folders_that_were_made_for_a_failure_go_again(tmp_path):
    with pytest.raises(KeyboardInterrupt), files.writing(tmp_path / "new" / "folder" / "a"):
        raise KeyboardInterrupt
    assert names(tmp_path) == []


# ---- folders of ours


OURS = folders.Marker("m.json", "test folder")


def fill(path, text):
    with folders.writing_folder(path, marker=OURS) as folder:
        (folder / "page").write_text(text)
        (folder / text).write_text(text)
        OURS.write(folder)


def content(folder):
    return {entry.name: entry.read_text() for entry in folder.iterdir()}


def test_a_marker_lists_the_files(tmp_path):
    fill(tmp_path / "out", "one")
    said = json.loads((tmp_path / "out" / "m.json").read_text())
    assert said == {"kind": "test folder", "format": 1, "files": ["m.json", "one", "page"]}
    assert OURS.listed(tmp_path / "out") == ["one", "page", "m.json"]


@pytest.mark.parametrize(
    "said",
    [
        {"kind": "web app", "format": 1, "files": ["m.json", "theirs"]},
        {"kind": "test folder", "format": 2, "files": ["m.json", "theirs"]},
        {"kind": "test folder", "format": 1},
        {"kind": "test folder", "format": 1, "files": "theirs"},
        {"kind": "test folder", "format": 1, "files": ["m.json", "theirs", "../out/theirs"]},
        {"kind": "test folder", "format": 1, "files": ["m.json", "theirs", ""]},
        {"kind": "test folder", "format": 1, "files": ["m.json", "theirs", 3]},
        {},
        [],
        "{",
        "\udcff",
    ],
)
def test_the_marker_s_content_decides_not_its_name(tmp_path, said):
    text = said if isinstance(said, str) else json.dumps(said)
    (tmp_path / "m.json").write_text(text, errors="surrogateescape")
    (tmp_path / "theirs").write_text("mine")
    with pytest.raises(
        OutputError, match=r"other files \(m.json, ...\), and its m.json is damaged or not that of a test"
    ):
        fill(tmp_path, "one")
    assert names(tmp_path) == ["m.json", "theirs"]


@pytest.mark.parametrize("kind", ["file", "folder", "a folder in a file's place", "a link in a file's place"])
def test_what_was_not_written_here_is_never_removed(tmp_path, kind):
    out = tmp_path / "out"
    fill(out, "one")
    if kind == "file":
        (out / "notes.txt").write_text("mine")
    elif kind == "folder":
        (out / "notes.txt").mkdir()
    else:
        (out / "one").unlink()
        (out / "one").mkdir() if "folder" in kind else (out / "one").symlink_to(tmp_path)
    before = names(out)
    with pytest.raises(OutputError, match=r"already holds other files \((notes.txt|one)\); choose a new"):
        fill(out, "two")
    assert names(out) == before
    assert (out / "page").read_text() == "one"


@pytest.mark.parametrize("ours", [[], ["late.txt"]])
def test_what_comes_while_the_work_goes_on_is_not_removed(tmp_path, ours):
    """Not even if a file of ours is to have the same name."""
    fill(tmp_path / "out", "one")

    def work():
        with folders.writing_folder(tmp_path / "out", marker=OURS) as folder:
            for name in ours:
                (folder / name).write_text("new")
            OURS.write(folder)
            (tmp_path / "out" / "late.txt").write_text("mine")

    with pytest.raises(OutputError, match=r"other files \(late.txt\)"):
        work()
    assert names(tmp_path / "out") == ["late.txt", "m.json", "one", "page"]
    assert (tmp_path / "out" / "late.txt").read_text() == "mine"


def test_what_a_killed_process_had_put_there_is_ours(tmp_path, monkeypatch):
    """Its marker, which comes last, is in its hidden folder still."""
    fill(tmp_path, "one")

    def killed(folder, **_):
        assert folder.name.startswith(".latentkit-")

    with monkeypatch.context() as patched:
        patched.setattr(folders, "_exchange", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        patched.setattr(folders.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            fill(tmp_path, "two")
    (tmp_path / "two").write_text("two")
    fill(tmp_path, "three")
    assert names(tmp_path) == ["m.json", "page", "three"]


def test_a_folder_of_somebody_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_bytes(b"")
    with pytest.raises(OutputError, match=r"already holds other files \(thesis.tex\); choose a new or empty folder"):
        folders.check_folder(tmp_path, marker=OURS)
    with pytest.raises(OutputError, match="a file has that name"):
        folders.check_folder(tmp_path / "thesis.tex", marker=OURS)


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    for text in ("one", "two"):
        fill(tmp_path / "out", text)
        assert names(tmp_path) == ["out"]
        assert names(tmp_path / "out") == sorted(["m.json", "page", text])
        assert (tmp_path / "out" / "page").read_text() == text
        assert folders.check_folder(tmp_path / "out", marker=OURS) == tmp_path / "out"


@pytest.mark.parametrize("before", ["nothing", "one"])
def test_the_current_folder_is_filled_in_place(tmp_path, monkeypatch, before):
    monkeypatch.chdir(tmp_path)
    if before == "one":
        fill(".", "one")
    place = tmp_path.stat().st_ino
    fill(".", "two")
    assert names(tmp_path) == ["m.json", "page", "two"]
    assert tmp_path.stat().st_ino == place


@pytest.mark.parametrize("before", ["nothing", "empty", "one"])
def test_a_link_to_a_folder_stays_a_link(tmp_path, before):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    if before == "empty":
        (tmp_path / "real").mkdir()
    if before == "one":
        fill(tmp_path / "real", "one")
    fill(tmp_path / "link", "two")
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path) == ["link", "real"]
    assert names(tmp_path / "real") == ["m.json", "page", "two"]


def test_what_a_killed_process_left_does_not_bar_the_next(tmp_path):
    fill(tmp_path, "one")
    (tmp_path / ".latentkit-abc.part").mkdir()
    fill(tmp_path, "two")
    assert names(tmp_path) == [".latentkit-abc.part", "m.json", "page", "two"]


@pytest.mark.parametrize("before", ["nothing", "empty", "one"])
def test_on_failure_the_old_folder_stays(tmp_path, before):
    out = tmp_path / "runs" / "out"
    if before == "empty":
        out.mkdir(parents=True)
    if before == "one":
        fill(out, "one")
    held = content(out) if out.exists() else None

    def interrupted():
        with folders.writing_folder(out, marker=OURS) as folder:
            OURS.write(folder)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == ([] if before == "nothing" else ["runs"])
    assert held is None or content(out) == held


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", range(7))
@pytest.mark.parametrize("links", [True, False])
def test_on_a_failure_in_the_last_steps_the_old_files_are_put_back(tmp_path, monkeypatch, step, moment, error, links):
    """Three files go out and three come in: each change in turn fails, or is interrupted when it is done."""
    out, calls = tmp_path / "out", []
    fill(out, "one")
    held = content(out)

    def failing_once(owner, name):
        change = getattr(owner, name)

        def changed(*given, **options):
            calls.append(name)
            fails = len(calls) == step + 1
            if not fails or moment == "after":
                change(*given, **options)
            if fails:
                raise error

        monkeypatch.setattr(owner, name, changed)

    def no_links(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    exchange = folders._exchange

    def watched(*given):
        for owner, name in ((folders, "_keep"), (files.Path, "replace"), (files.Path, "unlink")):
            failing_once(owner, name)
        exchange(*given)

    monkeypatch.setattr(folders, "_exchange", watched)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        fill(out, "two")
    monkeypatch.undo()
    assert content(out) == held
    assert names(tmp_path) == ["out"]
    fill(out, "two")
    assert names(out) == ["m.json", "page", "two"]
