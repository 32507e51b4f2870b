"""Images in a file: a tensor whose rows are read when they are used, for sets larger than memory.

Trainers see one kind of samples: a mapped tensor has the shape and the type of one in memory, indexing its rows
gives ordinary tensors, and any other operation reads what it needs. A selection of rows, such as the training
part of a split, holds only their numbers.
"""

import os
import shutil
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map

from latentkit.errors import DataError

__all__ = ["MappedSamples"]


@dataclass(frozen=True)
class _Place:
    """Where bytes lie in a file, and the file's size and time when they were first mapped."""

    path: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    stamp: tuple[int, int]


def _stamp(path: str) -> tuple[int, int]:
    about = Path(path).stat()
    return about.st_size, about.st_mtime_ns


class MappedSamples(Tensor):
    """Bytes (N, ...) in a file, or a selection of their rows, as a tensor that can be read but not changed.

    It can be pickled: a worker process opens the file again instead of getting a copy.
    """

    _bytes: Tensor
    _place: _Place
    _selected: Tensor | None

    @staticmethod
    def __new__(cls: Any, stored: Tensor, place: _Place, selected: Tensor | None = None) -> "MappedSamples":
        """Return a tensor without memory of its own over `stored` (M, ...), or over its rows `selected` (N,)."""
        count = len(stored) if selected is None else len(selected)
        made = Tensor._make_wrapper_subclass(cls, (count, *stored.shape[1:]), dtype=stored.dtype)
        made._bytes, made._place, made._selected = stored, place, selected
        return made

    def __init__(self, *_: Any) -> None:
        super().__init__()

    @classmethod
    def of_file(
        cls,
        path: str | os.PathLike[str],
        shape: Sequence[int],
        *,
        offset: int,
        stride: Sequence[int] | None = None,
        owned: str | os.PathLike[str] | None = None,
    ) -> "MappedSamples":
        """Map the bytes of a file that begin at `offset`.

        Args:
            path: the file.
            shape: (N, ...).
            offset: of the first sample, in bytes.
            stride: bytes from one index to the next along each dimension; None for rows one after another.
            owned: a folder to remove when the samples are no longer used, or the process ends.
        """
        if stride is None:
            stride = torch.empty(tuple(shape), dtype=torch.uint8, device="meta").stride()
        whole = str(Path(path).absolute())  # a worker process may start in another folder
        place = _Place(whole, offset, tuple(shape), tuple(stride), _stamp(whole))
        raw = _raw(place)
        if owned is not None:
            weakref.finalize(raw, _remove, os.fspath(owned), os.getpid())
        return cls(_shaped(raw, place), place)

    def subset(self, rows: Tensor) -> "MappedSamples":
        """Return the rows (M,) int64 as a tensor of the same kind: only their numbers are held."""
        return MappedSamples(self._bytes, self._place, rows if self._selected is None else self._selected[rows])

    def whole(self) -> Tensor:
        """Return an ordinary tensor of all rows: in memory if it is a selection, else over the file."""
        return self._bytes if self._selected is None else self._bytes[self._selected]

    def __getitem__(self, key: Any) -> Tensor:
        """Return rows, or parts of them, in memory."""
        if self._selected is None:
            return self._bytes[key].clone()
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) and key else (key, ())
        by_row = isinstance(first, int | slice | list) or (isinstance(first, Tensor) and first.ndim == 1)
        if not by_row or not all(isinstance(part, int | slice) for part in rest):
            return self.whole()[key]
        chosen = self._bytes[self._selected[first]]
        return chosen[rest if isinstance(first, int) else (slice(None), *rest)]

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function as it is: its results are ordinary tensors, not ones of this class."""
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run any operation on ordinary tensors."""
        args, kwargs = tree_map(lambda value: value.whole() if isinstance(value, cls) else value, (args, kwargs or {}))
        return operation(*args, **kwargs)

    def numpy(self, *, force: bool = False) -> NDArray[Any]:
        """Return all rows as an array."""
        return self.whole().numpy(force=force)

    def tolist(self) -> list[Any]:
        """Return all rows as nested lists."""
        return self.whole().tolist()

    def __repr__(self, **_: Any) -> str:
        return f"{type(self).__name__}({tuple(self.shape)} {self.dtype} in {self._place.path})"

    def __deepcopy__(self, memo: Any) -> "MappedSamples":
        return self  # nothing in it changes

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _reopened, (self._place, self._selected)


def _reopened(place: _Place, selected: Tensor | None) -> MappedSamples:
    try:
        found = _stamp(place.path)
    except OSError as error:
        raise DataError(f"cannot map {place.path} again: {error.strerror or error}; load the data anew") from error
    if found != place.stamp:
        raise DataError(f"{place.path} has changed since it was mapped; load the data anew")
    return MappedSamples(_shaped(_raw(place), place), place, selected)


def _raw(place: _Place) -> NDArray[np.uint8]:
    # A private mapping: a stray write stays in this process. Torch warns of arrays that cannot be written to.
    return np.memmap(place.path, np.uint8, "c", offset=place.offset)


def _shaped(raw: NDArray[np.uint8], place: _Place) -> Tensor:
    return torch.from_numpy(raw).as_strided(place.shape, place.stride)


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # not in a worker process that was forked from it
        shutil.rmtree(folder, ignore_errors=True)
