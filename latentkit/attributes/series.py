"""Attributes of series over time and of rows of a table."""

from torch import Tensor

from latentkit.errors import ShapeError

__all__ = ["level", "loudness", "roughness"]


def _series(series: Tensor) -> Tensor:
    if series.ndim not in (2, 3) or series[:1].numel() == 0:
        raise ShapeError(f"this attribute is measured on series (N, T) or (N, C, T), got {tuple(series.shape)}")
    return series.double()


def level(series: Tensor) -> Tensor:
    """Return the mean (N,) of series (N, T) or (N, C, T)."""
    return _series(series).flatten(1).mean(1)


def loudness(series: Tensor) -> Tensor:
    """Return the root of the mean square (N,) of series (N, T) or (N, C, T)."""
    return _series(series).flatten(1).square().mean(1).sqrt()


def roughness(series: Tensor) -> Tensor:
    """Return the mean absolute step (N,) from value to value of series (N, T) or (N, C, T); 0 for a single value."""
    steps = _series(series).diff(dim=-1).abs().flatten(1)
    return steps.sum(1) / max(steps.shape[1], 1)
