"""Output folders: known to be ours by what their marker says, and replaced as a whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentkit.errors import OutputError
from latentkit.files import (
    check_writable,
    is_temporary,
    new_folders,
    reason,
    resolved,
    temporary_name,
    write_json,
)

__all__ = ["Marker", "check_folder", "refuse_others", "writing_folder"]

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

    def names(self, folder: Path) -> list[str]:
        """Return the names of plain files that the folder's marker lists, there or not; none without a marker."""
        said = self.read(folder) or {}
        names = said.get("files")
        if said.get("format") != self.format or not isinstance(names, list):
            return []
        # A list that names anything else was not written here, and nothing in it may be trusted.
        if not all(isinstance(name, str) and name and name == Path(name).name for name in names):
            return []
        return names

    def listed(self, folder: Path) -> list[str]:
        """Return the names of the plain files there that the marker lists, itself last; none without a marker."""
        names = self.names(folder)
        return [*_plain(folder, set(names) - {self.name}), self.name] if names else []


def _plain(folder: Path, names: Iterable[str]) -> list[str]:
    paths = {name: folder / name for name in sorted(names)}
    return [name for name, path in paths.items() if path.is_file() and not path.is_symlink()]


def refuse_others(path: str | os.PathLike[str], known: Iterable[str], hint: str = "") -> None:
    """Refuse a folder that holds anything but `known` names and what is being written.

    Raises:
        OutputError: if there is something else, or the folder cannot be listed.
    """
    folder, known = resolved(path), set(known)
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
    _check_files(path, _ours(folder, marker, _unfinished(folder, marker)), marker)
    return Path(path)


def _check_files(path: str | os.PathLike[str], known: Iterable[str], marker: Marker) -> None:
    folder = resolved(path)
    odd = not marker.listed(folder) and (folder / marker.name).exists()
    refuse_others(path, known, f", and its {marker.name} is damaged or not that of a {marker.kind}" if odd else "")


def _unfinished(folder: Path, marker: Marker) -> list[Path]:
    """Return the hidden folders of processes that were killed while they put their files into this folder of ours."""
    if not folder.is_dir():
        return []
    hidden = [entry for entry in folder.iterdir() if is_temporary(entry.name) and not entry.is_symlink()]
    return [place for place in hidden if marker.names(place / "new")]


def _ours(folder: Path, marker: Marker, unfinished: Iterable[Path]) -> list[str]:
    """Return the names of the files of a folder that are ours, by its marker or by one that did not get there."""
    names = {name for place in unfinished for name in marker.names(place / "new")} - {marker.name}
    listed = marker.listed(folder)
    return [*_plain(folder, names.difference(listed)), *listed]


@contextmanager
def writing_folder(path: str | os.PathLike[str], *, marker: Marker) -> Iterator[Path]:
    """Give an empty folder to fill with plain files, which become those of `path` only when the block ends well.

    The block marks it with `marker.write`. The files of an older folder of ours are replaced as a whole.

    Raises:
        OutputError: if the folder cannot be written, or holds something that was not written here.
    """
    target = resolved(check_folder(path, marker=marker))
    # A folder that is there may be the current one, a mount point or served to somebody: it stays, its files change.
    there = target.is_dir()
    home = target if there else target.parent
    try:
        with new_folders(home), _workplace(home) as (new, old):
            yield new
            if there:
                left = [place for place in _unfinished(target, marker) if place != new.parent]
                known = _ours(target, marker, left)
                _check_files(path, known, marker)  # the work may have taken minutes
                _exchange(new, old, target, marker, known)
                for place in left:
                    shutil.rmtree(place, ignore_errors=True)
            else:
                new.rename(target)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{reason(path, error)}; what was there before is untouched") from error


@contextmanager
def _workplace(home: Path) -> Iterator[tuple[Path, Path]]:
    """Give two empty folders in a hidden one that goes at the end."""
    place = temporary_name(home)
    new, old = place / "new", place / "old"
    try:
        place.mkdir(0o700)
        new.mkdir()
        old.mkdir()
        yield new, old
    finally:
        # Files that could not be put back are all that is left of the older folder.
        if not (old.is_dir() and any(old.iterdir())):
            shutil.rmtree(place, ignore_errors=True)


def _exchange(new: Path, old: Path, target: Path, marker: Marker, known: Iterable[str]) -> None:
    """Put the files of `new` in the place of the `known` ones in `target`; all, or on failure none.

    Each name is replaced in one step, in the order in which the files were written and the marker last, so that at no
    time a file is missing or half there. What a process that is killed on the way has put there is known to be ours by
    the new marker, which is still in `new`.
    """
    made = sorted((entry for entry in new.iterdir() if entry.name != marker.name), key=lambda e: e.stat().st_mtime_ns)
    before, after = list(known), [entry.name for entry in made]
    try:
        for name in before:
            _keep(target / name, old / name)
    except BaseException:
        shutil.rmtree(old, ignore_errors=True)
        raise
    try:
        for name in after:
            (new / name).replace(target / name)
        for name in [name for name in before if name not in (*after, marker.name)]:
            (target / name).unlink()
        (new / marker.name).replace(target / marker.name)
    except BaseException:
        for name in before:
            (old / name).replace(target / name)
        for name in [name for name in (*after, marker.name) if name not in before]:
            (target / name).unlink(missing_ok=True)
        shutil.rmtree(old, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _keep(file: Path, kept: Path) -> None:
    """Keep what a file holds under a second name: the same file where the file system has links, else a copy."""
    try:
        os.link(file, kept)
    except OSError:
        shutil.copy2(file, kept)
