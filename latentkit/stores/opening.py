"""Stores from their paths: made anew, gone on with, or opened."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentkit.checks import one_of
from latentkit.errors import ArgumentError, CheckpointError, OutputError
from latentkit.files import check_writable, new_folders
from latentkit.folders import refuse_others
from latentkit.stores.columns import Column, Table
from latentkit.stores.layout import KINDS, MANIFEST, Manifest, done_blocks, read_manifest
from latentkit.stores.room import check_room
from latentkit.stores.store import Store

__all__ = ["begun", "create_store", "kind_asked", "kind_of", "open_store"]


def kind_of(path: str | os.PathLike[str]) -> str | None:
    """Return the kind of store that a path's name asks for, or None if it is the name of no store.

    Examples:
        >>> kind_of("runs/faces"), kind_of("faces.zarr"), kind_of("faces.parquet"), kind_of("faces.png")
        ('npy', 'zarr', 'parquet', None)
    """
    return {"": "npy", ".zarr": "zarr", ".parquet": "parquet"}.get(Path(path).suffix.lower())


def kind_asked(path: str | os.PathLike[str]) -> str:
    """Return the kind of store that a path's name asks for.

    Raises:
        ArgumentError: if it is the name of no store.
    """
    kind = kind_of(path)
    if kind is None:
        raise ArgumentError(
            f"a store is a folder without a suffix, or named .zarr or .parquet; {os.fspath(path)!r} is neither"
        )
    return kind


def begun(path: str | os.PathLike[str], resume: bool) -> Store | None:
    """Return the store that is to be gone on with, if there is one."""
    return open_store(path, partial=True) if resume and (Path(path) / MANIFEST).exists() else None


def create_store(
    path: str | os.PathLike[str],
    *,
    kind: str,
    rows: int,
    block: int,
    columns: Mapping[str, Column],
    plan: Mapping[str, Any],
    resume: bool = False,
) -> Store:
    """Make an empty store, or go on with one.

    Args:
        path: of its folder: new, empty, or with `resume` a store of the same plan, rows, blocks and columns.
        kind: "npy", "zarr" or "parquet".
        rows: how many.
        block: rows of one block, the unit that is written, and lost, as a whole.
        columns: by name.
        plan: plain JSON values that say what is computed, so that nothing else is ever mixed in.
        resume: go on with a store that is there; without one, begin.

    Raises:
        OutputError: if the folder holds other things, or a store and `resume` is False, or one of another plan; or if
            what is missing does not fit on the disk.
        CheckpointError: if the store that is there is damaged, or written by a later version.
        ArgumentError: if an argument is out of range, or the plan is not plain JSON.
    """
    one_of(kind, "kind", KINDS)
    table = Table(rows, block, dict(columns))
    try:
        asked = json.loads(json.dumps(dict(plan), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"the plan of a store must be plain JSON values: {error}") from error
    folder = check_writable(path)
    store = Store(folder, kind, table, asked)
    files = store.files  # of a kind whose library is there
    if os.path.lexists(folder / MANIFEST):
        store = _continued(store, resume)
        if not store.complete:
            check_room(path, len(store.missing()) * table.block * table.row_bytes)
            files.prepare()
        return store
    refuse_others(path, ())
    check_room(path, table.nbytes)
    with new_folders(folder):
        # The manifest comes first, so that whatever happens the folder is known to be ours.
        Manifest(kind, table, asked).write(folder)
    files.prepare()
    return store


def _continued(asked: Store, resume: bool) -> Store:
    """Return the store that is there, if it is the one that is asked for."""
    found = read_manifest(asked.path)
    if not resume:
        state = "complete" if found.sums is not None else "unfinished"
        raise OutputError(
            f"cannot write the folder {asked.path}: a store is there, {state}; go on with it by resume, or choose "
            "another path"
        )
    there = {"kind": found.kind, "rows": found.table.rows, "block": found.table.block, **found.plan}
    wanted = {"kind": asked.kind, "rows": asked.rows, "block": asked.block, **asked.plan}
    there["columns"], wanted["columns"] = (
        {name: f"{c.dtype}{list(c.shape)}" for name, c in table.columns.items()} for table in (found.table, asked.table)
    )
    differing = [name for name in {**wanted, **there} if there.get(name, ...) != wanted.get(name, ...)]
    if differing:
        said = "; ".join(f"{name} is {there.get(name)!r:.60}, not {wanted.get(name)!r:.60}" for name in differing[:4])
        raise OutputError(
            f"cannot go on with the store {asked.path}: there {said}; ask for what it was begun with, or choose "
            "another path"
        )
    return _opened(asked.path, found)


def _opened(folder: Path, found: Manifest) -> Store:
    """Return a store whose files are there and of the right size."""
    store = Store(folder, found.kind, found.table, found.plan, found.sums)
    if found.sums is not None:
        known: Mapping[int, int | None] = {k: one.nbytes for k, one in enumerate(found.sums)}
    else:
        known = dict.fromkeys(done_blocks(folder, found.table))
    store.files.check(known)
    return store


def open_store(path: str | os.PathLike[str], *, partial: bool = False) -> Store:
    """Return the store at a path.

    The sizes of its files are checked here, its numbers by `Store.verify`.

    Args:
        path: of its folder.
        partial: take one that is not complete, of which only blocks that are done can be read.

    Raises:
        CheckpointError: if it is none, damaged, not complete, or written by a later version.
        MissingDependencyError: if its kind needs a library that is not installed.
    """
    folder = Path(os.path.realpath(path))
    found = read_manifest(folder)
    store = _opened(folder, found)
    if not (store.complete or partial):
        left = len(store.missing())
        raise CheckpointError(
            f"{os.fspath(path)} is not complete: {left:,} of {store.blocks:,} blocks are missing; go on with it by "
            "resume, or open it with partial=True"
        )
    return store
