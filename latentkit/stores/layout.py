"""The files that every store has: the manifest that says what it is, and one small marker for each block that is done.

Nothing that a file says is ever used as a path: a store's files have fixed names.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentkit import __version__
from latentkit.errors import ArgumentError, CheckpointError
from latentkit.files import new_folders, write_json
from latentkit.stores.columns import Column, Table

__all__ = [
    "MANIFEST",
    "Manifest",
    "Sum",
    "done_blocks",
    "mark_done",
    "plain_file",
    "read_json",
    "read_manifest",
    "remove_markers",
]

KIND = "latentkit store"
#: The number of the layout; a larger one was written by a later version.
FORMAT = 1
#: Names with an underscore are passed over by those who read a folder of Parquet files.
MANIFEST, MARKERS = "_latentkit.json", "_blocks"
KINDS = ("npy", "zarr", "parquet")

_MARKER = re.compile(r"(\d{8})\.json")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LARGEST_MANIFEST, _LARGEST_MARKER = 2**30, 4096


@dataclass(frozen=True)
class Sum:
    """What is known of a block that is done: the SHA-256 of its numbers, and its bytes on disk."""

    sha256: str
    nbytes: int


@dataclass(frozen=True)
class Manifest:
    """What a store says of itself.

    Attributes: `kind`, "npy", "zarr" or "parquet"; `table`, what it holds; `plan`, plain JSON values that say what is
    computed; `sums` of all blocks in their order, None as long as the store is not complete.
    """

    kind: str
    table: Table
    plan: dict[str, Any]
    sums: tuple[Sum, ...] | None = None

    def write(self, folder: Path) -> None:
        """Write it into a store's folder, in one step."""
        sums = self.sums
        columns = {name: {"dtype": c.dtype, "shape": list(c.shape)} for name, c in self.table.columns.items()}
        about = {
            "kind": KIND,
            "format": FORMAT,
            "latentkit": __version__,
            "store": self.kind,
            "rows": self.table.rows,
            "block": self.table.block,
            "columns": columns,
            "plan": self.plan,
            "complete": sums is not None,
        }
        if sums is not None:
            about |= {"sha256": [one.sha256 for one in sums], "bytes": [one.nbytes for one in sums]}
        write_json(folder / MANIFEST, about)


def plain_file(path: Path) -> Path:
    """Return a path if no link is there: a store from elsewhere must not lead out of its folder."""
    if path.is_symlink():
        raise CheckpointError(f"{path} is a link, and a store has none; put the file itself there")
    return path


def read_json(path: Path, limit: int = 2**20) -> dict[str, Any]:
    """Return the JSON object in a file of a store, or raise `CheckpointError`."""
    try:
        if plain_file(path).stat().st_size > limit:
            raise CheckpointError(f"{path} is too large for what it should be ({path.stat().st_size:,} bytes)")
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {error}; copy the store again, or make it anew") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is damaged: it holds no JSON object")
    return value


def read_manifest(folder: Path) -> Manifest:
    """Return what a store says of itself.

    Raises:
        CheckpointError: if there is none, or it is damaged, somebody else's, or written by a later version.
    """
    path = folder / MANIFEST
    if not path.exists():
        what = "there is nothing" if not folder.exists() else "is a file" if folder.is_file() else f"has no {MANIFEST}"
        raise CheckpointError(f"{folder} is no store ({what}); pass a folder that latentkit wrote as one")
    about = read_json(path, _LARGEST_MANIFEST)
    version = about.get("format")
    if about.get("kind") != KIND or not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise CheckpointError(f"{path} does not describe a {KIND}")
    if version > FORMAT:
        raise CheckpointError(
            f"{folder} has store format {version} (latentkit {about.get('latentkit')}), newer than format {FORMAT} of "
            f"this latentkit {__version__}; upgrade latentkit to read it"
        )
    try:
        columns = {name: Column(c["dtype"], tuple(c["shape"])) for name, c in about["columns"].items()}
        table = Table(about["rows"], about["block"], columns)
        plan, kind = about["plan"], about["store"]
        if kind not in KINDS or not isinstance(plan, dict) or table.block != about["block"]:
            raise ValueError("its kind, plan or blocks are none")
        sums = None
        if about["complete"] is True:
            pairs = zip(about["sha256"], about["bytes"], strict=True)
            sums = tuple(_sum(sha256, nbytes) for sha256, nbytes in pairs)
            if len(sums) != table.blocks:
                raise ValueError(f"it lists {len(sums)} of {table.blocks} blocks")
    except (KeyError, TypeError, ValueError, AttributeError, ArgumentError) as error:
        raise CheckpointError(f"{path} is damaged: {error}; copy the store again, or make it anew") from error
    return Manifest(kind, table, plan, sums)


def _sum(sha256: Any, nbytes: Any) -> Sum:
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ValueError(f"{sha256!r:.80} is no SHA-256")
    if not isinstance(nbytes, int) or isinstance(nbytes, bool) or nbytes < 0:
        raise ValueError(f"{nbytes!r:.80} is no number of bytes")
    return Sum(sha256, nbytes)


def mark_done(folder: Path, k: int, found: Sum) -> None:
    """Say that a block is done; the block's own files must be on the disk by then."""
    markers = folder / MARKERS
    with new_folders(markers):
        write_json(markers / f"{k:08d}.json", {"sha256": found.sha256, "bytes": found.nbytes})


def done_blocks(folder: Path, table: Table, *, read: bool = False) -> Mapping[int, Sum | None]:
    """Return the blocks that are done, and what is known of them if they are to be read.

    A marker that cannot be read says nothing, so its block is not done.
    """
    markers = folder / MARKERS
    if not markers.is_dir() or markers.is_symlink():
        return {}
    found: dict[int, Sum | None] = {}
    for path in markers.iterdir():
        match = _MARKER.fullmatch(path.name)
        if match is None or int(match[1]) >= table.blocks:
            continue
        known = None
        if read:
            try:
                said = read_json(path, _LARGEST_MARKER)
                known = _sum(said.get("sha256"), said.get("bytes"))
            except (CheckpointError, ValueError):
                continue
        found[int(match[1])] = known
    return found


def remove_markers(folder: Path, *blocks: int) -> None:
    """Remove the markers of some blocks, or of all with their folder; what stays does no harm in a complete store."""
    markers = folder / MARKERS
    with suppress(OSError):
        names = [markers / f"{k:08d}.json" for k in blocks] if blocks else list(markers.iterdir())
        for path in names:
            path.unlink(missing_ok=True)
        if not blocks:
            markers.rmdir()
