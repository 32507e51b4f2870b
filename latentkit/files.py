"""The one writer for every output: a temporary file beside the target, then a rename.

Whatever goes wrong, interrupts included, the temporary file goes and what was there stays. A link is
followed: what it names is written, and the link stays. Nothing is removed that was not written here.
"""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from latentkit.errors import OutputError

__all__ = [
    "check_target",
    "check_writable",
    "is_temporary",
    "new_folders",
    "reason",
    "resolved",
    "temporary_name",
    "write_bytes",
    "write_json",
    "write_text",
    "writing",
]

PREFIX, SUFFIX = ".latentkit-", ".part"


def is_temporary(name: str) -> bool:
    """Whether a file or folder of this name is one that is being written, or was when its process was killed."""
    return name.startswith(PREFIX) and name.endswith(SUFFIX)


def reason(path: str | os.PathLike[str], error: OSError) -> str:
    """Return why `path` cannot be written, with the space that is left there."""
    text = f"cannot write {os.fspath(path)}: {error.strerror or error}"
    with suppress(OSError):
        free = shutil.disk_usage(_existing(Path(path).absolute().parent)).free
        text += f" ({free / 2**20:,.0f} MiB free there)"
    return text


def resolved(path: str | os.PathLike[str]) -> Path:
    """Return where `path` leads, links followed, if the file system can take such a name at all."""
    try:
        target = Path(os.path.realpath(path))
        with suppress(FileNotFoundError, NotADirectoryError):
            target.lstat()
        if target.is_symlink():  # what is left of links that lead to each other
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write {os.fspath(path)!r}: {why}; choose another path") from error
    return target


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _check_parent(folder: Path, path: str | os.PathLike[str]) -> None:
    base = _existing(folder)
    if not base.is_dir():
        raise OutputError(f"cannot write {os.fspath(path)}: {base} is a file, not a folder; choose another path")
    # A real try: permission bits say nothing on read-only or network file systems, or to root. Where the system has
    # files without a name it is one of those, which not even a kill can leave behind.
    try:
        with tempfile.TemporaryFile(prefix=PREFIX, suffix=SUFFIX, dir=base):
            pass
    except OSError as error:
        raise OutputError(f"{reason(path, error)}; choose a folder that you can write to") from error


def check_target(path: str | os.PathLike[str]) -> Path:
    """Return `path` if a file can be written there; call it before the first heavy step.

    Raises:
        OutputError: if it is a folder or a device, or its folder cannot be made or written to.
    """
    target = resolved(path)
    if target.is_dir():
        raise OutputError(f"cannot write {os.fspath(path)}: it is a folder; name a file in it")
    if target.exists() and not target.is_file():
        raise OutputError(f"cannot write {os.fspath(path)}: it is no plain file; choose another path")
    _check_parent(target.parent, path)
    return Path(path)


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Return where the folder `path` leads, links followed, if it is one that can be written to, or can be made.

    Raises:
        OutputError: if it is a file, or is not writable.
    """
    folder = resolved(path)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"cannot write the folder {os.fspath(path)}: a file has that name; choose another path")
    _check_parent(folder, path)
    return folder


@contextmanager
def new_folders(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; if the block fails, the ones that were made go again.

    Raises:
        OutputError: if it cannot be made.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(reason(folder, error)) from error
        yield
    except BaseException:
        for place in missing:
            with suppress(OSError):  # somebody else may have put something there
                place.rmdir()
        raise


def temporary_name(folder: Path) -> Path:
    """Return a path in a folder that nothing has, by which `is_temporary` knows what is being written.

    It is known before anything is made there: whoever makes it can begin to guard it first, so that no interrupt falls
    between the two.
    """
    return folder / f"{PREFIX}{os.urandom(8).hex()}{SUFFIX}"


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a binary file that becomes `path` only when the block ends well.

    Raises:
        OutputError: if the file cannot be written; an earlier file of that name is untouched.
    """
    target = resolved(check_target(path))
    try:
        with new_folders(target.parent):
            temporary = temporary_name(target.parent)
            try:
                with temporary.open("x+b") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{reason(path, error)}; what was there before is untouched") from error


def write_bytes(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write `data` to `path` as one step and return the path."""
    with writing(path) as file:
        file.write(data)
    return Path(path)


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write `text` as UTF-8 to `path` as one step and return the path."""
    return write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike[str], value: Any) -> Path:
    """Write `value` as strict JSON (no NaN) to `path` as one step and return the path."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
