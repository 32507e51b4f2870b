"""Columns as NumPy files: one `.npy` a column, of its full size from the start, each block written at its place."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentkit.errors import CheckpointError, OutputError
from latentkit.files import reason, writing
from latentkit.stores.columns import Column, Table
from latentkit.stores.layout import plain_file

__all__ = ["NpyFiles"]


class NpyFiles:
    """The columns of a store as memory-mappable files.

    Args:
        folder: of the store.
        table: what it holds.
    """

    def __init__(self, folder: Path, table: Table) -> None:
        self.folder, self.table = folder, table

    def prepare(self) -> None:
        """Make the files that are missing, of their full size; on most file systems holes take no space."""
        for name, column in self.table.columns.items():
            if not os.path.lexists(self._path(name)):
                header = _header(self.table.rows, column)
                with writing(self._path(name)) as file:
                    file.write(header)
                    file.truncate(len(header) + self.table.rows * column.nbytes)

    def write(self, k: int, arrays: Mapping[str, NDArray[Any]]) -> int:
        """Write a block at its place, down to the disk, and return its bytes."""
        start, _ = self.table.span(k)
        for name, column in self.table.columns.items():
            path = plain_file(self._path(name))
            # Not through a memory map: on a full disk that is a fatal signal, and this is an error.
            try:
                with path.open("r+b", buffering=0) as file:
                    file.seek(len(_header(self.table.rows, column)) + start * column.nbytes)
                    left = arrays[name].reshape(-1).view(np.uint8).data
                    while len(left):
                        left = left[file.write(left) or 0 :]
                    os.fsync(file.fileno())
            except OSError as error:
                raise OutputError(f"{reason(path, error)}; what is done stays, and can be resumed") from error
        return sum(array.nbytes for array in arrays.values())

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return the rows [start, stop) of a column."""
        return np.array(self.mapped(name)[start:stop])

    def take(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return some rows (M,) of a column, in their order."""
        return np.array(self.mapped(name)[rows])

    def mapped(self, name: str) -> NDArray[Any]:
        """Return a column as a memory map: numbers are read when they are looked at, and changes stay in memory."""
        column, rows = self.table.columns[name], self.table.rows
        self._check_one(name)
        offset = len(_header(rows, column))
        return np.memmap(self._path(name), column.numpy, "c", offset, (rows, *column.shape))

    def check(self, done: Mapping[int, int]) -> None:
        """Raise `CheckpointError` if a file is missing, or has another size or header than it must have."""
        for name in self.table.columns:
            if done or os.path.lexists(self._path(name)):
                self._check_one(name)

    def _check_one(self, name: str) -> None:
        path, header = plain_file(self._path(name)), _header(self.table.rows, self.table.columns[name])
        wanted = len(header) + self.table.rows * self.table.columns[name].nbytes
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                same = file.read(len(header)) == header
        except OSError as error:
            raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
        if size != wanted or not same:
            what = f"it has {size:,} bytes instead of {wanted:,}" if size != wanted else "its header has changed"
            raise CheckpointError(f"{path} is damaged: {what}; copy the store again, or make it anew")

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"


def _header(rows: int, column: Column) -> bytes:
    """Return how the file of a column begins; it depends on nothing else."""
    file = io.BytesIO()
    about = {"descr": column.numpy.str, "fortran_order": False, "shape": (rows, *column.shape)}
    np.lib.format.write_array_header_1_0(file, about)
    return file.getvalue()
