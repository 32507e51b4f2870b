"""The rows of one column of a store, read from the disk when they are asked for."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentkit.errors import ArgumentError, ShapeError
from latentkit.stores.npy import NpyFiles

if TYPE_CHECKING:
    from latentkit.stores.store import Store

__all__ = ["Rows"]


class Rows:
    """One column (N, *S) of a store: `rows[i]`, `rows[i:j]` and `rows[[i, j, ...]]` read no more than the blocks there.

    Args:
        store: whose column.
        name: of the column.
    """

    def __init__(self, store: "Store", name: str) -> None:
        self._store, self._name = store, name
        column = store.columns[name]
        self.dtype, self.shape = np.dtype(column.dtype), (store.rows, *column.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"Rows({self._name}: {self.shape} {self.dtype})"

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Return the row of a number (*S), or the rows (M, *S) of a slice or of an array of numbers or of N bools.

        Raises:
            IndexError: if there is no such row.
            ShapeError: if that is no such index.
            CheckpointError: if a row is not there yet, or its file is damaged.
        """
        if isinstance(index, slice):
            found = range(*index.indices(len(self)))
            if found.step == 1:
                return self._span(found.start, max(found.start, found.stop))
            return self._take(np.arange(found.start, found.stop, found.step))
        rows = np.asarray(index)
        if rows.size == 0 and rows.dtype != bool:
            rows = rows.astype(np.int64)
        if rows.dtype == bool and rows.shape == (len(self),):
            rows = rows.nonzero()[0]
        if rows.ndim > 1 or rows.dtype.kind not in "iu":
            raise ShapeError(f"rows are asked for by a number, a slice, or an array (M,) of numbers, got {index!r:.80}")
        rows = rows.astype(np.int64)
        if rows.size and not -len(self) <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows lie in 0 to {len(self) - 1}, got {rows.min()} to {rows.max()}")
        rows = np.where(rows < 0, rows + len(self), rows)
        return self._take(rows) if rows.ndim else self._span(int(rows), int(rows) + 1)[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all rows in memory: `np.asarray(rows)`."""
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)

    def mapped(self) -> NDArray[Any]:
        """Return all rows (N, *S) as a memory map, of which only what is looked at is read; changes stay in memory.

        Raises:
            ArgumentError: if the store is no npy store.
        """
        files = self._store.files
        if not isinstance(files, NpyFiles):
            raise ArgumentError(f"only a store of kind npy can be mapped into memory, this one is {self._store.kind}")
        self._store.require_rows(range(self._store.blocks))
        return files.mapped(self._name)

    def _span(self, start: int, stop: int) -> NDArray[Any]:
        block = self._store.block
        self._store.require_rows(range(start // block, -(-stop // block) if stop > start else start // block))
        return self._store.files.read(self._name, start, stop).astype(self.dtype, copy=False)

    def _take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        files, at = self._store.files, rows // self._store.block
        self._store.require_rows(np.unique(at).tolist())
        if isinstance(files, NpyFiles):
            return files.take(self._name, rows).astype(self.dtype, copy=False)
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for k in np.unique(at):
            here = (at == k).nonzero()[0]
            start, stop = self._store.span(int(k))
            found[here] = files.read(self._name, start, stop)[rows[here] - start]
        return found
