"""What metrics take: real and generated samples as rows of equal width."""

from typing import Any

from torch import Tensor

from latentkit.checks import floating, require_finite
from latentkit.errors import ShapeError

__all__ = ["as_pair", "as_rows"]


def as_rows(values: Any, name: str, *, least: int, wanted: str | None = None) -> Tensor:
    """Return samples (N, ...) as finite rows (N, F) on the CPU.

    Args:
        values: the samples.
        name: what they are, for the error.
        least: fewest rows.
        wanted: how many rows are wanted, in words; by default "at least `least` rows".

    Raises:
        ShapeError: if they are not (N, ...) with at least `least` rows.
        NonFiniteError: if a value is not finite.
    """
    rows = floating(values, name)
    if rows.ndim < 2 or len(rows) < least or rows[0].numel() == 0:
        raise ShapeError(f"{name} must be (N, ...) with {wanted or f'at least {least} rows'}, got {tuple(rows.shape)}")
    return require_finite(rows, name).flatten(1).cpu()


def as_pair(
    real: Any, generated: Any, *, least: int, wanted: str | None = None, what: str = "samples"
) -> tuple[Tensor, Tensor]:
    """Return real and generated samples as rows (M, F) and (N, F); see `as_rows`.

    Raises:
        ShapeError: if a side is not (N, ...) with at least `least` rows, or the widths differ.
        NonFiniteError: if a value is not finite.
    """
    r = as_rows(real, f"real {what}", least=least, wanted=wanted)
    g = as_rows(generated, f"generated {what}", least=least, wanted=wanted)
    if r.shape[1] != g.shape[1]:
        raise ShapeError(f"real and generated {what} must have one shape, got {r.shape[1]} and {g.shape[1]} values")
    return r, g
