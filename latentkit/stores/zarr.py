"""Columns as a Zarr group: one array a column, whose chunks are the blocks, as they are and uncompressed.

Written by the specification, which for uncompressed chunks asks for no library: a file of JSON a node, and one file of
numbers a chunk. Any reader of Zarr opens the result, such as `zarr.open(path)["samples"]`.

References:
    Miles et al. (2024), "Zarr core specification, version 3.0": array metadata, the regular chunk grid, the default
    chunk key encoding and the "bytes" codec.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentkit.errors import CheckpointError
from latentkit.files import new_folders, write_json, writing
from latentkit.stores.columns import Column, Table
from latentkit.stores.layout import plain_file, read_json

__all__ = ["ZarrFiles"]

_NODE = "zarr.json"


class ZarrFiles:
    """The columns of a store as the arrays of a Zarr group.

    Args:
        folder: of the store, which is the group.
        table: what it holds.
    """

    def __init__(self, folder: Path, table: Table) -> None:
        self.folder, self.table = folder, table

    def prepare(self) -> None:
        """Write what describes the group and its arrays."""
        arrays = {name: self._about(column) for name, column in self.table.columns.items()}
        for name, about in arrays.items():
            with new_folders(self.folder / name):
                write_json(self.folder / name / _NODE, about)
        # With the arrays listed here, readers need not look through the folder, where our own files are too.
        listed = {"kind": "inline", "must_understand": False, "metadata": arrays}
        group = {"zarr_format": 3, "node_type": "group", "attributes": {}, "consolidated_metadata": listed}
        write_json(self.folder / _NODE, group)

    def write(self, k: int, arrays: Mapping[str, NDArray[Any]]) -> int:
        """Write the chunks of a block, down to the disk, and return their bytes."""
        written = 0
        for name, array in arrays.items():
            path = self._chunk(name, k)
            plain_file(path.parents[len(self.table.columns[name].shape)])
            with writing(path) as file:
                file.write(array.reshape(-1).view(np.uint8).data)
                # All chunks are of one size; what lies beyond the last row is filled up.
                file.write(b"\0" * (self._size(name) - array.nbytes))
            written += self._size(name)
        return written

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return the rows [start, stop) of a column, which lie in one block or in several."""
        column, block = self.table.columns[name], self.table.block
        found = np.empty((stop - start, *column.shape), column.numpy)
        for k in range(start // block, -(-stop // block)):
            first, last = max(start, k * block), min(stop, (k + 1) * block)
            self._check_one(name, k)
            part = np.fromfile(
                self._chunk(name, k), column.numpy, (last - first) * (column.nbytes // column.numpy.itemsize),
                offset=(first - k * block) * column.nbytes,
            )  # fmt: skip
            found[first - start : last - start] = part.reshape(last - first, *column.shape)
        return found

    def check(self, done: Mapping[int, int | None]) -> None:
        """Raise `CheckpointError` if a chunk is missing or has another size, or an array says something else."""
        for name, column in self.table.columns.items():
            plain_file(self.folder / name)
            if done and read_json(self.folder / name / _NODE) != self._about(column):
                raise CheckpointError(f"{self.folder / name / _NODE} does not describe the column that the store has")
            for k in done:
                self._check_one(name, k)

    def _check_one(self, name: str, k: int) -> None:
        path = plain_file(self._chunk(name, k))
        try:
            size = path.stat().st_size
        except OSError as error:
            raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
        if size != self._size(name):
            raise CheckpointError(
                f"{path} is damaged: it has {size:,} bytes instead of {self._size(name):,}; copy the store again, or "
                "make it anew"
            )

    def _size(self, name: str) -> int:
        return self.table.block * self.table.columns[name].nbytes

    def _chunk(self, name: str, k: int) -> Path:
        within = self.table.columns[name].shape
        return self.folder.joinpath(name, "c", str(k), *("0" for _ in within))

    def _about(self, column: Column) -> dict[str, Any]:
        kind = column.numpy.kind
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [self.table.rows, *column.shape],
            "data_type": column.dtype,
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": [self.table.block, *column.shape]},
            },
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": False if kind == "b" else 0.0 if kind == "f" else 0,
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "attributes": {},
            "storage_transformers": [],
        }
