"""Rows that are read block by block: of a tensor, of an array on the disk, or of whatever can be sliced."""

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from latentkit.checks import floating, require_finite
from latentkit.errors import NonFiniteError, ShapeError

__all__ = ["ArraySource", "Source", "block_rows", "require_finite_among", "rows_of"]

#: Values of a block, 32 MiB of them; a block of wide rows still holds enough rows to pay for a search among others.
VALUES, FEWEST = 2**23, 2048


class Source(Protocol):
    """N rows (N, F) that need not be in memory, each finite and of at least float32 when it is read."""

    @property
    def width(self) -> int:
        """How many values a row has, F."""
        ...

    def __len__(self) -> int: ...

    def whole(self) -> Tensor:
        """Return all rows (N, F)."""
        ...

    def take(self, rows: Tensor) -> Tensor:
        """Return the rows (M, F) of ascending numbers (M,) long."""
        ...

    def blocks(self, size: int) -> Iterator[tuple[int, Tensor]]:
        """Yield the number of a block's first row and its rows (M, F), M at most `size`, in order."""
        ...

    def check(self) -> None:
        """Read what can be read at little cost, and raise `NonFiniteError` if a value is not finite."""
        ...


def block_rows(width: int) -> int:
    """Return how many rows of so many values make a block."""
    return max(FEWEST, VALUES // width)


def rows_of(features: Any, name: str = "features") -> Tensor:
    """Return features (N, ...) as finite rows (N, F) of at least float32 on the CPU.

    Raises:
        ShapeError: if there are no rows, or nothing in them.
        NonFiniteError: if a value is not finite; the text names the rows.
    """
    return _flat(require_finite(_shaped(features, name), name))


def require_finite_among(rows: Tensor, numbers: Tensor, total: int, name: str = "features") -> Tensor:
    """Return rows (M, F) unchanged, or raise `NonFiniteError` with the numbers (M,) that bad ones have among all."""
    finite = torch.isfinite(rows)
    if bool(finite.all()):
        return rows
    bad = numbers[~finite.all(1)]
    shown = ", ".join(map(str, bad[:5].tolist())) + (", ..." if len(bad) > 5 else "")
    raise NonFiniteError(
        f"{name} must be finite, got NaN or infinite values in {len(bad)} of {len(rows)} rows read last, of {total} "
        f"({shown}); remove or replace them"
    )


class ArraySource:
    """Rows of a tensor, of a NumPy array such as one mapped from a file, or of a column of a store.

    Attributes: `shape`, that of a row.

    Args:
        features: (N, ...); what is neither a tensor nor an array must have a length and give NumPy arrays for slices
            and for arrays of row numbers.
        name: what errors call them.

    Raises:
        ShapeError: if there are no rows, nothing in them, or no numbers.
    """

    def __init__(self, features: Any, name: str = "features") -> None:
        self._name = name
        sliced = hasattr(features, "__getitem__") and hasattr(features, "__len__")
        if isinstance(features, Tensor | str | bytes | list | tuple | dict) or not sliced:
            features = _shaped(features, name)
        self._features, self._length = features, 0 if getattr(features, "shape", None) == () else len(features)
        self.shape = tuple(_shaped(self._read(slice(0, 1)) if self._length else torch.empty(0, 1), name).shape[1:])

    @property
    def width(self) -> int:
        """How many values a row has, F."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        """Return how many rows there are."""
        return self._length

    def whole(self) -> Tensor:
        """Return all rows (N, F)."""
        given = self._read(slice(0, len(self)))
        rows = rows_of(given, self._name)
        # A layout must not change with what it was made of.
        at = given.data_ptr() if isinstance(given, Tensor) else np.asarray(given).ctypes.data
        return rows.clone() if rows.data_ptr() == at else rows

    def take(self, rows: Tensor) -> Tensor:
        """Return the rows (M, F) of ascending numbers (M,) long."""
        return rows_of(self._read(rows if isinstance(self._features, Tensor) else rows.numpy()), self._name)

    def blocks(self, size: int) -> Iterator[tuple[int, Tensor]]:
        """Yield the number of a block's first row and its rows (M, F), M at most `size`, in order."""
        for start in range(0, len(self), size):
            rows = _flat(_shaped(self._read(slice(start, min(start + size, len(self)))), self._name))
            yield start, require_finite_among(rows, torch.arange(start, start + len(rows)), len(self), self._name)

    def check(self) -> None:
        """Read all rows once, and raise `NonFiniteError` if a value is not finite."""
        for _ in self.blocks(block_rows(self.width)):
            pass

    def _read(self, rows: Any) -> Any:
        part = self._features[rows]
        if isinstance(part, np.ndarray) and not part.flags.writeable:
            # torch has no tensors that cannot be written to.
            part = np.array(part)
        return part


def _shaped(features: Any, name: str) -> Tensor:
    rows = floating(features, name)
    if rows.ndim < 2 or rows.numel() == 0:
        raise ShapeError(f"{name} must be (N, ...) with at least one row, got {tuple(rows.shape)}")
    return rows


def _flat(rows: Tensor) -> Tensor:
    rows = rows.flatten(1).cpu()
    return rows.to(torch.promote_types(rows.dtype, torch.float32))
