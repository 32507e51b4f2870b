"""Labels as they come, numbers or words, as class numbers from 0 with names."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.errors import LabelError

__all__ = ["class_numbers"]


def class_numbers(
    labels: NDArray[Any], count: int, where: str, classes: Sequence[str] | None = None
) -> tuple[Tensor, tuple[str, ...]]:
    """Return class numbers (N,) int64 and the names of the classes.

    Without `classes` the distinct labels, sorted, are the classes: words by the alphabet, numbers by their size.

    Args:
        labels: whole numbers or text (N,) or (N, 1).
        count: how many samples there are.
        where: what the labels are called in messages.
        classes: the names, which numbers count from 0 and text must be among.

    Raises:
        LabelError: if there is not one label a sample, or one is of no class.

    Examples:
        >>> import numpy as np
        >>> class_numbers(np.array([30, 10, 30]), 3, "labels")
        (tensor([1, 0, 1]), ('10', '30'))
    """
    values = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if values.ndim == 2 and len(values) == count:
        raise LabelError(f"{where} must be one label a sample, got {values.shape}; of one-hot rows take the argmax")
    if values.shape != (count,):
        raise LabelError(f"{where} must be ({count},), one label a sample, got {tuple(labels.shape)}")
    if values.dtype.kind not in "biuUS":
        raise LabelError(f"{where} must be whole numbers or text, got {values.dtype}")
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "backslashreplace")
    if classes is None:
        names, numbers = np.unique(values, return_inverse=True)
        return torch.from_numpy(numbers.astype(np.int64)), tuple(str(name) for name in names)
    known = tuple(str(name) for name in classes)
    if values.dtype.kind == "U":
        of = {name: number for number, name in enumerate(known)}
        unknown = sorted(set(values.tolist()) - of.keys())
        if unknown:
            raise LabelError(f"{where} has labels that are not among the classes {known}: {', '.join(unknown[:5])}")
        return torch.tensor([of[value] for value in values.tolist()]), known
    if values.min() < 0 or values.max() >= len(known):
        raise LabelError(
            f"{where} must lie in 0 to {len(known) - 1} for {len(known)} classes, got {values.min()} to {values.max()}"
        )
    return torch.from_numpy(values.astype(np.int64)), known
