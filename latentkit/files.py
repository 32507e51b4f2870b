"""The one writer for every output: a temporary file beside the target, then a rename.

Whatever goes wrong, interrupts included, the temporary file goes and what was there stays. A link is
followed: what it names is written, and the link stays. Nothing is removed that was not written here.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from latentkit.errors import OutputError

__all__ = [
    "Marker",
    "check_folder",
    "check_target",
    "check_writable",
    "is_temporary",
    "new_folders",
    "refuse_others",
    "sha256",
    "write_bytes",
    "write_json",
    "write_text",
    "writing",
    "writing_folder",
]

_PREFIX, _SUFFIX = ".latentkit-", ".part"
_LARGEST_MARKER = 64 * 2**20


@dataclass(frozen=True)
class Marker:
    """The JSON file by which a folder is known to be ours: by what it says, since its name is anybody's.

    Args:
        name: the file's name.
        kind: what it says it is.
        format: the number of its layout.
    """

    name: str
    kind: str
    format: int = 1

    def read(self, folder: Path) -> dict[str, Any] | None:
        """Return what the folder's marker says, or None if it has none, a damaged one or somebody else's."""
        path = folder / self.name
        try:
            if not path.is_file() or path.stat().st_size > _LARGEST_MARKER:
                return None
            value = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) and value.get("kind") == self.kind else None

    def write(self, folder: Path, **facts: Any) -> Path:
        """Mark a folder of plain files as ours, with a list of all of them, and return the marker's path."""
        files = sorted({*(entry.name for entry in folder.iterdir()), self.name})
        return write_json(folder / self.name, {"kind": self.kind, "format": self.format, **facts, "files": files})

    def listed(self, folder: Path) -> list[str]:
        """Return the names of the plain files there that the marker lists, itself last; none without a marker."""
        said = self.read(folder) or {}
        names = said.get("files")
        if said.get("format") != self.format or not isinstance(names, list):
            return []
        # A list that names anything else was not written here, and nothing in it may be trusted.
        if not all(isinstance(name, str) and name and name == Path(name).name for name in names):
            return []
        paths = {name: folder / name for name in names if name != self.name}
        return [name for name, path in paths.items() if path.is_file() and not path.is_symlink()] + [self.name]


def is_temporary(name: str) -> bool:
    """Whether a file or folder of this name is one that is being written, or was when its process was killed."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def _reason(path: str | os.PathLike[str], error: OSError) -> str:
    text = f"cannot write {os.fspath(path)}: {error.strerror or error}"
    with suppress(OSError):
        free = shutil.disk_usage(_existing(Path(path).absolute().parent)).free
        text += f" ({free / 2**20:,.0f} MiB free there)"
    return text


def _resolved(path: str | os.PathLike[str]) -> Path:
    """Return where `path` leads, links followed, if the file system can take such a name at all."""
    try:
        target = Path(os.path.realpath(path))
        with suppress(FileNotFoundError, NotADirectoryError):
            target.lstat()
        if target.is_symlink():  # what is left of links that lead to each other
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write {os.fspath(path)!r}: {reason}; choose another path") from error
    return target


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _check_parent(folder: Path, path: str | os.PathLike[str]) -> None:
    base = _existing(folder)
    if not base.is_dir():
        raise OutputError(f"cannot write {os.fspath(path)}: {base} is a file, not a folder; choose another path")
    # A real try: permission bits say nothing on read-only or network file systems, or to root.
    try:
        with tempfile.NamedTemporaryFile(prefix=_PREFIX, suffix=_SUFFIX, dir=base):
            pass
    except OSError as error:
        raise OutputError(f"{_reason(path, error)}; choose a folder that you can write to") from error


def check_target(path: str | os.PathLike[str]) -> Path:
    """Return `path` if a file can be written there; call it before the first heavy step.

    Raises:
        OutputError: if it is a folder or a device, or its folder cannot be made or written to.
    """
    target = _resolved(path)
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
    folder = _resolved(path)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"cannot write the folder {os.fspath(path)}: a file has that name; choose another path")
    _check_parent(folder, path)
    return folder


def refuse_others(path: str | os.PathLike[str], known: Iterable[str], hint: str = "") -> None:
    """Refuse a folder that holds anything but `known` names and what is being written.

    Raises:
        OutputError: if there is something else, or the folder cannot be listed.
    """
    folder, known = _resolved(path), set(known)
    try:
        names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise OutputError(f"cannot write the folder {os.fspath(path)}: {error.strerror or error}") from error
    others = [name for name in names if name not in known and not is_temporary(name)]
    if others:
        raise OutputError(
            f"cannot write the folder {os.fspath(path)}: it already holds other files ({others[0]}"
            f"{', ...' if len(others) > 1 else ''}){hint}; choose a new or empty folder"
        )


def check_folder(path: str | os.PathLike[str], *, marker: Marker) -> Path:
    """Return `path` if a folder of ours can be written there; call it before the first heavy step.

    It may be new, empty, or hold the files that its marker lists and nothing else.

    Raises:
        OutputError: if it is a file, is not writable, or holds something that was not written here.
    """
    folder = check_writable(path)
    known = marker.listed(folder)
    odd = not known and (folder / marker.name).exists()
    refuse_others(path, known, f", and its {marker.name} is damaged or not that of a {marker.kind}" if odd else "")
    return Path(path)


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
            raise OutputError(_reason(folder, error)) from error
        yield
    except BaseException:
        for place in missing:
            with suppress(OSError):  # somebody else may have put something there
                place.rmdir()
        raise


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
    target = _resolved(check_target(path))
    try:
        with new_folders(target.parent):
            descriptor, name = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX, dir=target.parent)
            temporary = Path(name)
            try:
                with os.fdopen(descriptor, "w+b") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                temporary.chmod(0o666 & ~_mask())
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{_reason(path, error)}; what was there before is untouched") from error


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
def writing_folder(path: str | os.PathLike[str], *, marker: Marker) -> Iterator[Path]:
    """Give an empty folder to fill with plain files, which become those of `path` only when the block ends well.

    The block marks it with `marker.write`. The files of an older folder of ours are replaced as a whole.

    Raises:
        OutputError: if the folder cannot be written, or holds something that was not written here.
    """
    target = _resolved(check_folder(path, marker=marker))
    # A folder that is there may be the current one, a mount point or served to somebody: it stays, its files change.
    there = target.is_dir()
    home = target if there else target.parent
    try:
        with new_folders(home), _workplace(home) as (new, old):
            yield new
            if there:
                check_folder(path, marker=marker)  # the work may have taken minutes
                _exchange(new, old, target, marker)
            else:
                new.rename(target)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{_reason(path, error)}; what was there before is untouched") from error


@contextmanager
def _workplace(home: Path) -> Iterator[tuple[Path, Path]]:
    """Give two empty folders in a hidden one that goes at the end."""
    place = Path(tempfile.mkdtemp(prefix=_PREFIX, suffix=_SUFFIX, dir=home))
    new, old = place / "new", place / "old"
    try:
        new.mkdir()
        old.mkdir()
        yield new, old
    finally:
        # Files that could not be put back are all that is left of the older folder.
        if not (old.is_dir() and any(old.iterdir())):
            shutil.rmtree(place, ignore_errors=True)


def _exchange(new: Path, old: Path, target: Path, marker: Marker) -> None:
    """Put the files of `new` in the place of those that the marker in `target` lists; all, or on failure none."""
    # The marker goes last and comes first: a process that is killed on the way leaves a folder that is still ours.
    moves = [(target / name, old / name) for name in marker.listed(target)]
    made = sorted((entry.name for entry in new.iterdir()), key=lambda name: name != marker.name)
    moves += [(new / name, target / name) for name in made]
    begun: list[tuple[Path, Path]] = []
    try:
        for source, goal in moves:
            begun.append((source, goal))
            source.rename(goal)
    except BaseException:
        for source, goal in reversed(begun):
            if not source.exists():
                goal.rename(source)
        raise
    shutil.rmtree(old, ignore_errors=True)
