"""A store: written block by block, finished, read and verified."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from latentkit.errors import ArgumentError, CheckpointError
from latentkit.stores.columns import Column, Table
from latentkit.stores.layout import Manifest, Sum, done_blocks, mark_done, read_manifest, remove_markers
from latentkit.stores.npy import NpyFiles
from latentkit.stores.parquet import ParquetFiles
from latentkit.stores.rows import Rows
from latentkit.stores.zarr import ZarrFiles

__all__ = ["Store"]


class _Files(Protocol):
    """How the columns of a store lie in its folder."""

    def prepare(self) -> None:
        """Make what must be there before the first block; what is there already stays."""
        ...

    def write(self, k: int, arrays: Mapping[str, NDArray[Any]]) -> int:
        """Write the arrays of block k, down to the disk, and return their bytes there."""
        ...

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return the rows [start, stop) of a column."""
        ...

    def check(self, done: Mapping[int, int | None]) -> None:
        """Raise `CheckpointError` if a file of these blocks is missing or has another size than it must have."""
        ...


_FILES = {"npy": NpyFiles, "zarr": ZarrFiles, "parquet": ParquetFiles}


@dataclass(frozen=True, eq=False)
class Store:
    """A table of arrays on disk, written in blocks and read a few rows at a time: `store["samples"][10:20]`.

    It holds no open file, so it can be pickled, and goes to workers that see the same folder.

    Attributes: `path`, its folder; `kind`, "npy", "zarr" or "parquet"; `table`, its rows, blocks and columns; `plan`,
    plain JSON values that say what is computed; `complete`, whether all of it is there.
    """

    path: Path
    kind: str
    table: Table
    plan: dict[str, Any] = field(repr=False)
    sums: tuple[Sum, ...] | None = field(default=None, repr=False)

    @property
    def complete(self) -> bool:
        """Whether all blocks are there and the manifest says so."""
        return self.sums is not None

    @property
    def rows(self) -> int:
        """How many rows there are, done or not."""
        return self.table.rows

    @property
    def block(self) -> int:
        """Rows of a block; the last one has what is left."""
        return self.table.block

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return self.table.blocks

    @property
    def columns(self) -> dict[str, Column]:
        """The columns by name."""
        return self.table.columns

    @property
    def nbytes(self) -> int:
        """Bytes of all numbers, whatever the kind of store."""
        return self.table.nbytes

    @property
    def files(self) -> _Files:
        """How the columns lie in the folder."""
        return _FILES[self.kind](self.path, self.table)

    def span(self, k: int) -> tuple[int, int]:
        """Return the rows [start, stop) of block k, 0 to blocks - 1."""
        return self.table.span(k)

    def missing(self) -> list[int]:
        """Return the blocks that are not done, in order."""
        if self.complete:
            return []
        done = done_blocks(self.path, self.table)
        return [k for k in range(self.blocks) if k not in done]

    def write(self, k: int, arrays: Mapping[str, Any]) -> None:
        """Write block k, so that it is done or, whatever happens meanwhile, not done.

        Any process may write any block, and one that is written twice is as if written once.

        Args:
            k: the block, 0 to blocks - 1.
            arrays: (rows of the block, *S) of each column, of its dtype.

        Raises:
            ShapeError: if a column is missing or unknown, or has another shape or dtype.
            ArgumentError: if the store is complete.
            OutputError: if it cannot be written, as on a full disk; what is done stays.
        """
        if self.complete:
            raise ArgumentError(f"{self.path} is complete; nothing can be added to it")
        checked = self.table.checked(k, arrays)
        nbytes = self.files.write(k, checked)
        mark_done(self.path, k, Sum(self.table.digest(checked), nbytes))

    def finish(self) -> "Store":
        """Say that the store is complete, with the SHA-256 of every block, and return it as such.

        Raises:
            CheckpointError: if blocks are missing, or a file has another size than it must have.
        """
        if self.complete:
            return self
        done = done_blocks(self.path, self.table, read=True)
        sums = [done.get(k) for k in range(self.blocks)]
        known = tuple(one for one in sums if one is not None)
        if len(known) < self.blocks:
            if (again := read_manifest(self.path)).sums is not None:  # another process was first
                return Store(self.path, self.kind, self.table, self.plan, again.sums)
            lacking = [k for k, one in enumerate(sums) if one is None]
            remove_markers(self.path, *lacking)  # those that are there cannot be read
            raise CheckpointError(
                f"{self.path} is not complete: {len(lacking):,} of {self.blocks:,} blocks are missing, the first is "
                f"{lacking[0]}; go on with it by resume"
            )
        self.files.check({k: one.nbytes for k, one in enumerate(known)})
        Manifest(self.kind, self.table, self.plan, known).write(self.path)
        remove_markers(self.path)
        return Store(self.path, self.kind, self.table, self.plan, known)

    def verify(self) -> None:
        """Read all blocks that are done and compare them with what was written.

        Raises:
            CheckpointError: if numbers have changed, or a file is missing; the text names the blocks.
        """
        if self.sums is not None:
            wanted: Mapping[int, Sum | None] = dict(enumerate(self.sums))
        else:
            wanted = done_blocks(self.path, self.table, read=True)
        bad = [k for k, one in sorted(wanted.items()) if one is None or self._digest(k) != one.sha256]
        if bad:
            start, stop = self.span(bad[0])
            raise CheckpointError(
                f"{self.path} is damaged: {len(bad):,} of {len(wanted):,} blocks differ from what was written, the "
                f"first is {bad[0]} (rows {start} to {stop - 1}); copy the store again, or make it anew"
            )

    def _digest(self, k: int) -> str:
        files, span = self.files, self.span(k)
        return self.table.digest({name: files.read(name, *span) for name in self.columns})

    def require_rows(self, blocks: Iterable[int]) -> None:
        """Raise `CheckpointError` if one of these blocks is not done."""
        if self.complete:
            return
        done = done_blocks(self.path, self.table)
        for k in blocks:
            if k not in done:
                start, stop = self.span(k)
                raise CheckpointError(
                    f"rows {start} to {stop - 1} of {self.path} are not there yet (block {k}); go on with it by resume"
                )

    def __getitem__(self, name: str) -> Rows:
        """Return a column, of which rows are read when they are asked for.

        Raises:
            ArgumentError: if there is no such column.
        """
        if name not in self.columns:
            raise ArgumentError(f"this store has the columns {', '.join(self.columns)}; got {name!r}")
        return Rows(self, name)

    def __len__(self) -> int:
        return self.rows

    def __repr__(self) -> str:
        columns = ", ".join(f"{name} {c.dtype}{list(c.shape) or ''}" for name, c in self.columns.items())
        state = "complete" if self.complete else f"{self.blocks - len(self.missing()):,} of {self.blocks:,} blocks"
        return f"Store({os.fspath(self.path)!r}, {self.kind}, {self.rows:,} rows of {columns}: {state})"
