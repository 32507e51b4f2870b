"""The parts of a checkpoint's folder, and the manifest that holds them together.

The manifest names every part with its size and SHA-256 and is replaced last, in one step: until then
the older checkpoint stays whole, since a part carries its hash in its name and a new one gets a new name.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from latentkit import __version__
from latentkit.bundled import BUNDLED
from latentkit.errors import CheckpointError, OutputError
from latentkit.files import check_writable, is_temporary, new_folders, write_bytes, write_json
from latentkit.folders import Marker, refuse_others

__all__ = [
    "FORMAT",
    "MANIFEST",
    "SNAPSHOTS",
    "check_place",
    "parse_json",
    "read_manifest",
    "read_part",
    "remove_parts",
    "snapshot_path",
    "snapshot_steps",
    "write_parts",
]

FORMAT = 1
MANIFEST = "manifest.json"
#: Where a training keeps its snapshots, each a checkpoint, in the folder of the checkpoint that it will become.
SNAPSHOTS = "snapshots"
_MARKER = Marker(MANIFEST, "latentkit checkpoint", FORMAT)
_NAME = re.compile(r"[a-z]+-[0-9a-f]{16}\.(?:safetensors|json)")
_PART = re.compile(r"(?:generator|critic|encoder|holdout|about|training)-[0-9a-f]{16}\.(?:safetensors|json)")
_SNAPSHOT = re.compile(r"step-(\d{8,})")
_LARGEST_JSON = 64 * 2**20


def check_place(folder: str | os.PathLike[str]) -> Path:
    """Return where `folder` leads if a checkpoint can be saved there; call it before the first heavy step.

    It may be new, empty, or hold a checkpoint, beside which other files do no harm.

    Raises:
        OutputError: if it is a file, is not writable, or holds other things and no checkpoint.
    """
    place = check_writable(folder)
    if not os.path.lexists(place / MANIFEST):
        refuse_others(
            place, {*_parts(place), *_snapshots(place)}
        )  # parts are what is left of a save whose process was killed
    elif _MARKER.read(place) is None:
        raise OutputError(
            f"cannot write the folder {os.fspath(folder)}: its {MANIFEST} is damaged or not that of a "
            f"{_MARKER.kind}; move it away, or choose a new or empty folder"
        )
    return place


def _parts(place: Path) -> set[str]:
    """Return the names in a folder that are those of a checkpoint's parts, as nothing else is called."""
    return {entry.name for entry in place.iterdir() if _PART.fullmatch(entry.name)} if place.is_dir() else set()


def _snapshots(place: Path) -> set[str]:
    """Return the name of the folder of snapshots, if nothing else is in it."""
    inside = place / SNAPSHOTS
    ours = inside.is_dir() and all(_SNAPSHOT.fullmatch(e.name) or is_temporary(e.name) for e in inside.iterdir())
    return {SNAPSHOTS} if ours else set()


def _referenced(place: Path) -> set[str]:
    """Return the names that the manifest in a folder lists now; none without one."""
    files = (_MARKER.read(place) or {}).get("files")
    entries = files.values() if isinstance(files, dict) else ()
    return {str(entry.get("name")) for entry in entries if isinstance(entry, dict)}


def _remove_unreferenced(place: Path, parts: set[str]) -> None:
    for name in parts - _referenced(place):
        with suppress(OSError):  # one that stays does no harm
            (place / name).unlink()


@contextmanager
def _without_orphans(place: Path) -> Iterator[None]:
    """Remove the parts that the block wrote if it fails, unless its manifest was in place by then."""
    before = _parts(place)
    try:
        yield
    except BaseException:
        _remove_unreferenced(place, _parts(place) - before)
        raise


def write_parts(folder: str | os.PathLike[str], parts: Mapping[str, bytes]) -> None:
    """Write a checkpoint's parts by role, then the manifest; what the older manifest alone named goes last.

    Raises:
        OutputError: if the folder is a file, is not writable, or holds other things and no checkpoint.
    """
    target = check_place(folder)
    files, contents = {}, {}
    for role, data in parts.items():
        digest = hashlib.sha256(data).hexdigest()
        name = f"{role}-{digest[:16]}.{'json' if role == 'about' else 'safetensors'}"
        files[role] = {"name": name, "bytes": len(data), "sha256": digest}
        contents[name] = data
    manifest = {"kind": _MARKER.kind, "format": FORMAT, "latentkit": __version__, "files": files}
    with new_folders(target), _without_orphans(target):
        for name, data in contents.items():
            write_bytes(target / name, data)
        write_json(target / MANIFEST, manifest)
        _remove_unreferenced(target, _parts(target))


def snapshot_path(out: Path, step: int) -> Path:
    """Return where the snapshot of a step is in a run's folder."""
    return out / SNAPSHOTS / f"step-{step:08d}"


def snapshot_steps(out: Path, *, whole: bool = True) -> list[int]:
    """Return the steps of the snapshots in a run's folder, newest first.

    Args:
        out: the run's folder.
        whole: leave out those without a manifest: they are what a process left that was killed while it wrote one.
    """
    inside = out / SNAPSHOTS
    if not inside.is_dir():
        return []
    found = [(_SNAPSHOT.fullmatch(entry.name), entry) for entry in inside.iterdir() if entry.is_dir()]
    return sorted(
        (int(name[1]) for name, entry in found if name and not (whole and not os.path.lexists(entry / MANIFEST))),
        reverse=True,
    )


def remove_parts(folder: Path) -> None:
    """Remove a snapshot, whole, damaged or half-written, and its folder unless other things are in it."""
    with suppress(OSError):
        (folder / MANIFEST).unlink(missing_ok=True)
        left = [entry.name for entry in folder.iterdir() if is_temporary(entry.name) and entry.is_file()]
        for name in (*_parts(folder), *left):
            (folder / name).unlink()
        folder.rmdir()


def parse_json(data: bytes, path: Path) -> dict[str, Any]:
    """Return the JSON object in the bytes of `path`, or raise `CheckpointError`."""
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} does not hold a JSON object")
    return value


def _read_bytes(path: Path, limit: int | None = None) -> bytes:
    try:
        if limit is not None and path.stat().st_size > limit:
            raise CheckpointError(f"{path} is too large for what it should be ({path.stat().st_size:,} bytes)")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error


def read_manifest(source: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of a checkpoint's manifest by role, or raise `CheckpointError`."""
    try:
        there = source.exists()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise CheckpointError(f"cannot read {str(source)[:300]}: {why}; give the folder of a checkpoint") from error
    if not there:
        raise CheckpointError(
            f"there is no checkpoint at {source}; train one with latentkit-train, or use a bundled one: "
            f"{', '.join(BUNDLED)}"
        )
    if not (source / MANIFEST).is_file():
        what = "is a file" if source.is_file() else f"has no {MANIFEST}"
        raise CheckpointError(f"{source} {what}, so it is not a latentkit checkpoint (a checkpoint is a folder)")
    manifest = parse_json(_read_bytes(source / MANIFEST, _LARGEST_JSON), source / MANIFEST)
    version, files = manifest.get("format"), manifest.get("files")
    if manifest.get("kind") != _MARKER.kind or not isinstance(version, int) or version < 1:
        raise CheckpointError(f"{source / MANIFEST} does not describe a latentkit checkpoint")
    if version > FORMAT:
        raise CheckpointError(
            f"{source} has checkpoint format {version} (latentkit {manifest.get('latentkit')}), newer than "
            f"format {FORMAT} of this latentkit {__version__}; upgrade latentkit to read it"
        )
    if not isinstance(files, dict) or not {"generator", "holdout", "about"} <= set(files):
        raise CheckpointError(f"{source / MANIFEST} does not list the generator, holdout and about files")
    for role, entry in files.items():
        wanted = (
            isinstance(entry, dict) and isinstance(entry.get("bytes"), int) and isinstance(entry.get("sha256"), str)
        )
        if not wanted or not _NAME.fullmatch(str(entry.get("name"))):
            raise CheckpointError(f"{source / MANIFEST} has an unusable entry for {role!r}")
    return files


def read_part(source: Path, files: dict[str, dict[str, Any]], role: str) -> bytes:
    """Return the bytes of a part if they are those that the manifest names, or raise `CheckpointError`."""
    if role not in files:
        raise CheckpointError(f"{source / MANIFEST} does not list the {role} file")
    entry = files[role]
    path = source / entry["name"]
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; the checkpoint is not complete")
    data = _read_bytes(path, max(entry["bytes"], 0))
    if len(data) != entry["bytes"]:
        raise CheckpointError(f"{path} is damaged: it has {len(data):,} bytes instead of {entry['bytes']:,}")
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise CheckpointError(f"{path} is damaged: its SHA-256 differs from the manifest's")
    return data
