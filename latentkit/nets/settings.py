"""Checks of what the networks are built from and called with, the same for every family."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from latentkit.checks import as_count
from latentkit.errors import ArgumentError, LabelError

__all__ = ["START", "as_labels", "at_least_single", "checked", "class_columns", "conditioned", "maps_by_side"]

START = 4  # side of the smallest feature map of an image network
_LARGEST = 1024
_MOST_LAYERS = 64
_MOST = 2**24  # of anything that is counted: a matrix with such a side fills the largest machine
_MOST_TIMES = 8  # the widest feature map has this many times `width` channels
_FLAGS = ("spectral", "virtual_batch_norm")
_MAY_BE_NONE = ("classes", "minibatch_kernels")  # where 0 means that there are none


def checked(smallest_side: int = 16, /, **settings: Any) -> dict[str, Any]:
    """Return a network's settings as plain JSON values, or raise `ArgumentError` for one out of its range.

    `size` must be a power of two from `smallest_side` to 1024, `depth` at most 64; flags must be bool, and
    everything else a whole number from 1 to 2**24, or 0 for `classes` and `minibatch_kernels`.
    """
    plain: dict[str, Any] = {}
    for name, value in settings.items():
        if name in _FLAGS:
            if not isinstance(value, bool):
                raise ArgumentError(f"{name} must be True or False, got {value!r}")
            plain[name] = value
        else:
            plain[name] = as_count(value, name, least=0 if name in _MAY_BE_NONE else 1)
            if plain[name] > _MOST:
                raise ArgumentError(f"{name} must be at most {_MOST:,}, got {plain[name]:,}")
    size, depth = plain.get("size", smallest_side), plain.get("depth", 1)
    if not smallest_side <= size <= _LARGEST or size & (size - 1):
        raise ArgumentError(f"size must be a power of two from {smallest_side} to {_LARGEST}, got {size}")
    if depth > _MOST_LAYERS:
        raise ArgumentError(f"depth must be at most {_MOST_LAYERS}, got {depth}")
    return plain


def maps_by_side(size: int, width: int) -> list[int]:
    """Return the channels of the feature maps of side 4, 8, ... up to size / 2.

    There are `width` at side size / 2; each halving doubles them, up to 8 times.
    """
    doublings = size.bit_length() - START.bit_length()
    return [width * min(2**k, _MOST_TIMES) for k in reversed(range(doublings))]


def as_labels(labels: Tensor | None, rows: int, classes: int) -> Tensor:
    """Return class numbers (rows,) as int64, or raise `LabelError`."""
    if not classes:
        raise LabelError("this network has no classes, so it takes no labels; call it without them")
    if labels is None:
        raise LabelError(f"this network needs labels ({rows},): class numbers from 0 to {classes - 1}")
    whole = isinstance(labels, Tensor) and not (
        labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool
    )
    if not whole or labels.shape != (rows,):
        came = f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        raise LabelError(f"labels must be whole numbers ({rows},), one a row, got {came}")
    if bool(((labels < 0) | (labels >= classes)).any()):
        raise LabelError(
            f"labels must be class numbers from 0 to {classes - 1}, got {labels.min().item()} to {labels.max().item()}"
        )
    return labels.long()


def class_columns(labels: Tensor | None, rows: int, classes: int) -> Tensor:
    """Return the columns (rows, classes) that tell a generator its classes.

    Class numbers (rows,) become one-hot columns. Floats (rows, classes) are weights of the classes, and are taken as
    they are: those that are one-hot say exactly what the numbers say, others lie between classes.

    Raises:
        LabelError: if there are no classes, or the labels are neither fitting numbers nor finite weights.
    """
    if not (classes and isinstance(labels, Tensor) and labels.is_floating_point() and labels.ndim == 2):
        return functional.one_hot(as_labels(labels, rows, classes), classes).to(torch.float32)
    if labels.shape != (rows, classes):
        raise LabelError(f"class weights must be ({rows}, {classes}), one a row and class, got {tuple(labels.shape)}")
    if not bool(torch.isfinite(labels).all()):
        raise LabelError("class weights must be finite, got NaN or infinity")
    return labels


def conditioned(z: Tensor, labels: Tensor | None, classes: int) -> Tensor:
    """Return what a generator's first layer takes: z (N, D), then the class columns (N, classes) if it has any.

    Raises:
        LabelError: if there are classes and no fitting labels, or labels and no classes.
    """
    if not classes and labels is None:
        return z
    return torch.cat([z, class_columns(labels, len(z), classes).to(z)], 1)


def at_least_single(values: Tensor) -> Tensor:
    """Return values of half precision as float32, which losses need; others as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
