"""TensorBoard, for those who have it: the recorded numbers of a training as event files."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from latentkit.errors import MissingDependencyError, OutputError
from latentkit.files import check_writable

__all__ = ["Board", "board"]


class Board:
    """Writes numbers by step; without a writer it writes nothing."""

    def __init__(self, writer: Any = None) -> None:
        self._writer = writer

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write the numbers of a step, by name."""
        if self._writer is not None:
            for name, value in values.items():
                if name != "step":
                    self._writer.add_scalar(name, value, step)


@contextmanager
def board(folder: str | os.PathLike[str] | None, leads: bool = True) -> Iterator[Board]:
    """Open a board that writes event files to `folder`; nothing is written without one.

    Raises:
        MissingDependencyError: if TensorBoard is not installed.
        OutputError: if the folder cannot be made or written to.
    """
    if folder is None or not leads:
        yield Board()
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingDependencyError(
            'TensorBoard is not installed: pip install "latentkit[tensorboard]", or leave log_dir out'
        ) from error
    # Its whole path, of which TensorBoard takes nothing for an address in a network.
    place = check_writable(folder)
    try:
        os.fspath(place).encode("utf-8")  # as TensorBoard will, once it has made the folder
        writer = SummaryWriter(os.fspath(place))
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write the folder {os.fspath(folder)!r}: {why}; choose another path") from error
    with writer:
        yield Board(writer)
