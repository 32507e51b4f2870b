import errno
import json
import os
import resource
import stat
from contextlib import contextmanager

import pytest

from latentkit import files
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
        with files.writing_folder(tmp_path / "b", marker="m") as folder:
            (folder / "m").write_bytes(b"")
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


@pytest.mark.parametrize("late", ["fsync", "chmod", "replace"])
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
    for check in (files.check_target, lambda path: files.check_folder(path, marker="m")):
        with pytest.raises(OutputError, match="choose a folder that you can write to"):
            check("/proc/latentkit/out")


def test_checking_leaves_nothing_behind(tmp_path):
    files.check_target(tmp_path / "a" / "b")
    files.check_folder(tmp_path / "c" / "d", marker="m")
    assert names(tmp_path) == []


def test_a_folder_of_somebody_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_bytes(b"")
    with pytest.raises(OutputError, match=r"already holds other files \(thesis.tex\).*choose a new or empty folder"):
        files.check_folder(tmp_path, marker="m")
    with pytest.raises(OutputError, match="a file has that name"):
        files.check_folder(tmp_path / "thesis.tex", marker="m")
    (tmp_path / "m").write_bytes(b"")
    assert files.check_folder(tmp_path, marker="m") == tmp_path


def fill(path, text):
    with files.writing_folder(path, marker="m") as folder:
        (folder / "m").write_text(text)
        (folder / text).write_text(text)


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    fill(tmp_path / "out", "one")
    fill(tmp_path / "out", "two")
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["m", "two"]


def test_on_failure_the_old_folder_stays(tmp_path, monkeypatch):
    fill(tmp_path / "out", "one")

    def interrupted():
        with files.writing_folder(tmp_path / "out", marker="m") as folder:
            (folder / "m").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["m", "one"]

    rename = files.Path.rename

    def fail_at_the_end(self, target):
        if str(self).endswith(".part"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(files.Path, "rename", fail_at_the_end)
    with pytest.raises(OutputError, match="what was there before is untouched"):
        fill(tmp_path / "out", "two")
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["m", "one"]


def test_sha256_is_the_known_one(tmp_path):
    path = files.write_bytes(tmp_path / "a", b"abc")
    assert files.sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
