"""What a store holds: columns of one dtype and shape a row, and how its rows are split into blocks."""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentkit.checks import as_count
from latentkit.errors import ArgumentError, ShapeError

__all__ = ["DTYPES", "Column", "Table"]

#: What a column may be made of, by NumPy's names: what all kinds of store can hold.
DTYPES = (
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64"),
)

#: Columns are files, so their names are plain words: no dots, no separators, nothing that leads out of the folder.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

#: Blocks are numbered with eight digits.
_MOST_BLOCKS = 10**8
_MOST_BYTES = 2**62


@dataclass(frozen=True)
class Column:
    """One column of a store.

    Args:
        dtype: NumPy's name of it, such as "float32" or "uint8".
        shape: of one row; () for one number.

    Raises:
        ArgumentError: if a store cannot hold that.
    """

    dtype: str
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ArgumentError(f"a column's dtype must be one of {', '.join(DTYPES)}; got {self.dtype!r}")
        try:
            shape = tuple(as_count(size, "a size in a column's shape") for size in self.shape)
        except TypeError:
            raise ArgumentError(f"a column's shape must be a tuple of whole numbers, got {self.shape!r}") from None
        object.__setattr__(self, "shape", shape)

    @property
    def numpy(self) -> np.dtype[Any]:
        """The dtype, with the bytes of a number in the order in which files have them: the least first."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def nbytes(self) -> int:
        """Bytes of one row."""
        return self.numpy.itemsize * math.prod(self.shape)


@dataclass(frozen=True)
class Table:
    """The columns of a store, and how many rows it has.

    Args:
        rows: how many.
        block: rows of one block; the last one has what is left.
        columns: by name, a word in small letters.

    Raises:
        ArgumentError: if there is no row or column, or a name is no word.
    """

    rows: int
    block: int
    columns: dict[str, Column]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", as_count(self.rows, "rows"))
        object.__setattr__(self, "block", min(as_count(self.block, "block"), self.rows))
        if not isinstance(self.columns, dict) or not self.columns:
            raise ArgumentError("a store needs at least one column")
        for name, column in self.columns.items():
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise ArgumentError(f"a column's name must be a word such as samples or density_ratio, got {name!r}")
            if not isinstance(column, Column):
                raise ArgumentError(f"the column {name} must be a Column, got {type(column).__name__}")
        if self.blocks > _MOST_BLOCKS or self.nbytes > _MOST_BYTES:
            raise ArgumentError(
                f"a store can have {_MOST_BLOCKS:,} blocks and {_MOST_BYTES:.3g} bytes, {self.rows:,} rows in blocks "
                f"of {self.block:,} are {self.blocks:,} blocks and {self.nbytes:.3g} bytes; take larger blocks"
            )

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return -(-self.rows // self.block)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, of all columns."""
        return sum(column.nbytes for column in self.columns.values())

    @property
    def nbytes(self) -> int:
        """Bytes of all rows, as numbers in memory would have."""
        return self.rows * self.row_bytes

    def span(self, k: int) -> tuple[int, int]:
        """Return the rows [start, stop) of block k.

        Raises:
            ArgumentError: if there is no such block.
        """
        if not 0 <= as_count(k, "a block", least=0) < self.blocks:
            raise ArgumentError(f"blocks are 0 to {self.blocks - 1}, got {k}")
        return k * self.block, min((k + 1) * self.block, self.rows)

    def checked(self, k: int, arrays: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Return the arrays of block k as they are written, in the columns' order.

        Raises:
            ShapeError: if a column is missing or unknown, or has another shape or dtype.
        """
        start, stop = self.span(k)
        if set(arrays) != set(self.columns):
            raise ShapeError(f"a block must have the columns {', '.join(self.columns)}; got {', '.join(arrays)}")
        found = {}
        for name, column in self.columns.items():
            array = np.asarray(arrays[name])
            wanted = (stop - start, *column.shape)
            if array.shape != wanted or array.dtype != np.dtype(column.dtype):
                raise ShapeError(
                    f"column {name} of block {k} must be {wanted} {column.dtype}, got {array.shape} {array.dtype}"
                )
            found[name] = np.ascontiguousarray(array, dtype=column.numpy).reshape(wanted)
        return found

    def digest(self, arrays: Mapping[str, NDArray[Any]]) -> str:
        """Return the SHA-256 of a block's numbers, the same for every kind of store."""
        found = hashlib.sha256()
        for name, column in self.columns.items():
            found.update(np.ascontiguousarray(arrays[name], dtype=column.numpy).reshape(-1).view(np.uint8).data)
        return found.hexdigest()
