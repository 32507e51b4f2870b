"""Columns as a folder of Parquet files: one file a block, which readers take as one data set in the order of rows.

A column `index` says each row's number. A row's array is a list of fixed length; the shape is in the field's metadata.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentkit.errors import ArgumentError, CheckpointError, MissingDependencyError
from latentkit.files import writing
from latentkit.stores.columns import Table
from latentkit.stores.layout import plain_file

__all__ = ["ParquetFiles"]


class ParquetFiles:
    """The columns of a store as one Parquet file a block.

    Args:
        folder: of the store.
        table: what it holds.

    Raises:
        ArgumentError: if a column is called index, which is what the number of a row is called.
        MissingDependencyError: if pyarrow is not installed.
    """

    def __init__(self, folder: Path, table: Table) -> None:
        if "index" in table.columns:
            raise ArgumentError("a Parquet store has a column index of its own, so no other can have that name")
        _library()
        self.folder, self.table = folder, table

    def prepare(self) -> None:
        """Do nothing: files come with their blocks."""

    def write(self, k: int, arrays: Mapping[str, NDArray[Any]]) -> int:
        """Write the file of a block, down to the disk, and return its bytes."""
        pa, parquet = _library()
        start, stop = self.table.span(k)
        fields, columns = [pa.field("index", pa.int64(), nullable=False)], [pa.array(np.arange(start, stop))]
        for name, column in self.table.columns.items():
            values = pa.array(arrays[name].reshape(-1))
            kind, about = values.type, None
            if column.shape:
                size = column.nbytes // column.numpy.itemsize
                # Its elements cannot be missing, which spares readers a mask of them.
                kind = pa.list_(pa.field("element", values.type, nullable=False), size)
                values = pa.FixedSizeListArray.from_arrays(values, type=kind)
                about = {"shape": json.dumps(list(column.shape))}
            fields.append(pa.field(name, kind, nullable=False, metadata=about))
            columns.append(values)
        shapes = {name: list(column.shape) for name, column in self.table.columns.items()}
        table = pa.Table.from_arrays(columns, schema=pa.schema(fields, {"shapes": json.dumps(shapes)}))
        path = self._path(k)
        with writing(path) as file:
            # Uncompressed: numbers of a network hardly repeat, and how much room they need is known before.
            parquet.write_table(
                table,
                file,
                row_group_size=stop - start,
                compression="none",
                use_dictionary=[path for name in self.table.columns for path in self._short(name)],
                write_statistics=["index"],
            )
        return path.stat().st_size

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return the rows [start, stop) of a column, which lie in one block or in several."""
        _, parquet = _library()
        column, block = self.table.columns[name], self.table.block
        found = np.empty((stop - start, *column.shape), column.numpy)
        for k in range(start // block, -(-stop // block)):
            first, last = max(start, k * block), min(stop, (k + 1) * block)
            path = plain_file(self._path(k))
            try:
                with parquet.ParquetFile(path) as file:
                    part = file.read(columns=[name]).column(0)
                values = part.combine_chunks() if part.num_chunks != 1 else part.chunk(0)
                values = values.flatten() if column.shape else values
                numbers = values.to_numpy(zero_copy_only=False).astype(column.numpy, copy=False)
                rows = numbers.reshape(min((k + 1) * block, self.table.rows) - k * block, *column.shape)
            except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:  # pyarrow's errors are such
                raise CheckpointError(f"{path} is damaged or missing: {error}; copy the store again") from error
            found[first - start : last - start] = rows[first - k * block : last - k * block]
        return found

    def check(self, done: Mapping[int, int | None]) -> None:
        """Raise `CheckpointError` if a file is missing or has another size than it was written with."""
        for k, nbytes in done.items():
            path = plain_file(self._path(k))
            try:
                size = path.stat().st_size
            except OSError as error:
                raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
            if nbytes is not None and size != nbytes:
                raise CheckpointError(
                    f"{path} is damaged: it has {size:,} bytes instead of {nbytes:,}; copy the store again, or make it "
                    "anew"
                )

    def _short(self, name: str) -> list[str]:
        """Return the column as Parquet names it if its numbers are short: as they are each would take four bytes."""
        column = self.table.columns[name]
        if column.numpy.kind not in "iu" or column.numpy.itemsize > 2:
            return []
        return [f"{name}.list.element" if column.shape else name]

    def _path(self, k: int) -> Path:
        return self.folder / f"part-{k:08d}.parquet"


def _library() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            'Parquet needs pyarrow, which is not installed: pip install "latentkit[parquet]"'
        ) from error
    return pyarrow, parquet
