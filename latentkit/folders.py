"""Output folders: known to be ours by what their marker says, and replaced as a whole or not at all."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentkit.errors import OutputError
from latentkit.files import PREFIX, SUFFIX, check_writable, is_temporary, new_folders, reason, resolved, write_json

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
    known = marker.listed(folder)
    odd = not known and (folder / marker.name).exists()
    refuse_others(path, known, f", and its {marker.name} is damaged or not that of a {marker.kind}" if odd else "")
    return Path(path)


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
                check_folder(path, marker=marker)  # the work may have taken minutes
                _exchange(new, old, target, marker)
            else:
                new.rename(target)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{reason(path, error)}; what was there before is untouched") from error


@contextmanager
def _workplace(home: Path) -> Iterator[tuple[Path, Path]]:
    """Give two empty folders in a hidden one that goes at the end."""
    place = Path(tempfile.mkdtemp(prefix=PREFIX, suffix=SUFFIX, dir=home))
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
