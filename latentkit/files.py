"""The one writer for every output: a temporary file beside the target, then a rename.

Whatever goes wrong, interrupts included, the temporary file goes and what was there stays.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from latentkit.errors import OutputError

__all__ = [
    "check_folder",
    "check_target",
    "sha256",
    "write_bytes",
    "write_json",
    "write_text",
    "writing",
    "writing_folder",
]


def _reason(path: Path, error: OSError) -> str:
    text = f"cannot write {path}: {error.strerror or error}"
    try:
        free = shutil.disk_usage(_existing(path.parent)).free
        text += f" ({free / 2**20:,.0f} MiB free there)"
    except OSError:
        pass
    return text


def _possible(path: str | os.PathLike[str]) -> Path:
    """Return `path` if the file system can take such a name at all."""
    target = Path(path)
    try:
        target.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write {str(target)!r}: {reason}; choose another path") from error
    return target


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _writable(folder: Path, target: Path) -> None:
    base = _existing(folder)
    if not base.is_dir():
        raise OutputError(f"cannot write {target}: {base} is a file, not a folder; choose another path")
    # A real try: permission bits say nothing on read-only or network file systems, or to root.
    try:
        with tempfile.NamedTemporaryFile(prefix=".latentkit-", dir=base):
            pass
    except OSError as error:
        raise OutputError(f"{_reason(target, error)}; choose a folder that you can write to") from error


def check_target(path: str | os.PathLike[str]) -> Path:
    """Return `path` if a file can be written there; call it before the first heavy step.

    Raises:
        OutputError: if it is a folder, or its folder cannot be made or written to.
    """
    target = _possible(path)
    if target.is_dir():
        raise OutputError(f"cannot write {target}: it is a folder; name a file in it")
    _writable(target.parent, target)
    return target


def check_folder(path: str | os.PathLike[str], *, marker: str) -> Path:
    """Return `path` if a folder of ours can be written there; call it before the first heavy step.

    A folder that holds other things and no file called `marker` is somebody else's and is refused.

    Raises:
        OutputError: if it is a file, is not writable, or belongs to something else.
    """
    folder = _possible(path)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"cannot write the folder {folder}: a file has that name; choose another path")
    _writable(folder, folder)
    if folder.is_dir() and not (folder / marker).exists():
        others = sorted(entry.name for entry in folder.iterdir())
        if others:
            raise OutputError(
                f"cannot write the folder {folder}: it already holds other files ({others[0]}"
                f"{', ...' if len(others) > 1 else ''}); choose a new or empty folder"
            )
    return folder


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a binary file that becomes `path` only when the block ends well.

    Raises:
        OutputError: if the file cannot be written; an earlier file of that name is untouched.
    """
    target = check_target(path)
    temporary = None
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(prefix=".latentkit-", suffix=".part", dir=target.parent)
            with os.fdopen(descriptor, "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o666 & ~_mask())
            Path(temporary).replace(target)
            temporary = None
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"{_reason(target, error)}; what was there before is untouched") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


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


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing_folder(path: str | os.PathLike[str], *, marker: str) -> Iterator[Path]:
    """Give an empty folder to fill, which becomes `path` only when the block ends well.

    An older folder of ours at `path` (one that holds `marker`) is replaced as a whole.

    Raises:
        OutputError: if the folder cannot be written or belongs to something else.
    """
    target = check_folder(path, marker=marker)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name[:40]}-", suffix=".part", dir=target.parent))
    except OSError as error:
        raise OutputError(_reason(target, error)) from error
    try:
        yield temporary
        temporary.chmod(0o777 & ~_mask())
        old = temporary.with_suffix(".old")
        if target.exists():
            target.rename(old)
        try:
            temporary.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{_reason(target, error)}; what was there before is untouched") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
