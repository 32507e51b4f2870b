"""The classes of a conditional generator: finding one, and giving it to rows."""

import operator
from typing import Any

import torch
from torch import Tensor

from latentkit.checkpoint import Checkpoint
from latentkit.errors import LabelError
from latentkit.protocols import ConditionalGenerator

__all__ = ["conditional_of", "filled", "index_of"]


def conditional_of(model: Any) -> ConditionalGenerator:
    """Return the conditional generator that a model is, or a checkpoint holds, or raise `LabelError`."""
    generator = model.generator if isinstance(model, Checkpoint) else model
    if not isinstance(generator, ConditionalGenerator):
        what = "generator" if generator is model else "checkpoint's generator"
        raise LabelError(f"this {what} is not conditional, so it has no classes to choose from; use it as it is")
    return generator


def index_of(label: Any, classes: tuple[str, ...]) -> int:
    """Return the number of a class given by name or number, or raise `LabelError`."""
    index = -1
    if isinstance(label, str):
        index = classes.index(label) if label in classes else -1
    elif not isinstance(label, bool) and hasattr(label, "__index__"):
        index = operator.index(label)
    if not 0 <= index < len(classes):
        raise LabelError(f"label must be one of {', '.join(classes)} (or 0 to {len(classes) - 1}), got {label!r}")
    return index


def filled(rows: Tensor, index: int) -> Tensor:
    """Return the class number `index` for each of some rows (N, ...): (N,) int64."""
    return torch.full((len(rows),), index, dtype=torch.long, device=rows.device)
