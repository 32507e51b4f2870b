"""Checks at the door of the public functions: one clear error before any work starts."""

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentkit.errors import ArgumentError, NonFiniteError, ShapeError

__all__ = [
    "as_count",
    "as_latents",
    "as_number",
    "as_seed",
    "as_vector",
    "floating",
    "one_of",
    "require_finite",
    "writable",
]

SEED_LIMIT = 2**64


def as_seed(seed: Any) -> int:
    """Return `seed` as an int in [0, 2**64 - 1], or raise `ArgumentError`."""
    try:
        value = operator.index(seed)
    except TypeError:
        raise ArgumentError(f"seed must be a whole number, got {seed!r}") from None
    if isinstance(seed, bool) or not 0 <= value < SEED_LIMIT:
        raise ArgumentError(f"seed must be a whole number from 0 to 2**64 - 1, got {seed!r}")
    return value


def as_count(value: Any, name: str, *, least: int = 1) -> int:
    """Return `value` as an int of at least `least`, or raise `ArgumentError`."""
    try:
        count = operator.index(value)
    except TypeError:
        raise ArgumentError(f"{name} must be a whole number, got {value!r}") from None
    if isinstance(value, bool) or count < least:
        raise ArgumentError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return count


def as_number(
    value: Any, name: str, *, least: float = -math.inf, most: float = math.inf, open_least: bool = False
) -> float:
    """Return `value` as a finite float within [least, most], or raise `ArgumentError`."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(f"{name} must be a number, got {value!r}") from None
    if isinstance(value, str | bytes | bytearray | bool):  # which float() takes
        raise ArgumentError(f"{name} must be a number, got {value!r}")
    below = number <= least if open_least else number < least
    if not math.isfinite(number) or below or number > most:
        low = f"{'above' if open_least else 'at least'} {least:g}" if least > -math.inf else ""
        high = f"at most {most:g}" if most < math.inf else ""
        wanted = " and ".join(part for part in (low, high) if part)
        raise ArgumentError(f"{name} must be a finite number{', ' + wanted if wanted else ''}, got {value!r}")
    return number


def floating(values: Any, name: str) -> Tensor:
    """Return `values` as a floating-point CPU or device tensor, detached and never copied needlessly."""
    if isinstance(values, Tensor):
        tensor = values.detach()
    else:
        try:
            tensor = torch.as_tensor(writable(values))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ShapeError(f"{name} must be a tensor of floats, got {type(values).__name__}") from error
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise ShapeError(f"{name} must be a tensor of floats, got dtype {tensor.dtype}")
    return tensor if tensor.is_floating_point() else tensor.to(torch.float32)


def writable(values: Any) -> Any:
    """Return `values`, or a copy of an array that cannot be written to: torch has no such tensors."""
    return values.copy() if isinstance(values, np.ndarray) and not values.flags.writeable else values


def require_finite(tensor: Tensor, name: str) -> Tensor:
    """Return `tensor` (N, ...) unchanged, or raise `NonFiniteError` naming the first bad rows."""
    finite = torch.isfinite(tensor)
    if bool(finite.all()):
        return tensor
    rows = (~finite.reshape(tensor.shape[0], -1).all(1)).nonzero().flatten().tolist() if tensor.ndim else [0]
    shown = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
    raise NonFiniteError(
        f"{name} must be finite, got NaN or infinite values in {len(rows)} of "
        f"{tensor.shape[0] if tensor.ndim else 1} rows ({shown}); remove or replace them"
    )


def as_latents(values: Any, dim: int | None = None, name: str = "latents", *, least: int = 1) -> Tensor:
    """Return `values` as finite floating-point latents (N, D).

    Raises:
        ShapeError: if they are not (N, dim), or fewer than `least` rows.
        NonFiniteError: if a row holds NaN or infinity.
    """
    latents = floating(values, name)
    wanted = f"(N, {dim})" if dim is not None else "(N, D)"
    if latents.ndim != 2 or latents.shape[1] == 0 or (dim is not None and latents.shape[1] != dim):
        hint = "; for one latent pass z[None]" if latents.ndim == 1 else ""
        raise ShapeError(f"{name} must be {wanted}, got {tuple(latents.shape)}{hint}")
    if latents.shape[0] < least:
        raise ShapeError(f"{name} must have at least {least} rows, got {latents.shape[0]}")
    return require_finite(latents, name)


def as_vector(values: Any, dim: int | None = None, name: str = "vector") -> Tensor:
    """Return `values` as one finite floating-point vector (D,)."""
    vector = floating(values, name)
    if vector.ndim != 1 or vector.shape[0] == 0 or (dim is not None and vector.shape[0] != dim):
        raise ShapeError(f"{name} must be ({dim if dim is not None else 'D'},), got {tuple(vector.shape)}")
    require_finite(vector[None], name)
    return vector


def one_of(value: Any, name: str, choices: Sequence[str]) -> str:
    """Return `value` if it is one of `choices`, or raise `ArgumentError` listing them."""
    if value not in choices:
        raise ArgumentError(f"{name} must be one of {', '.join(choices)}; got {value!r}")
    return value
