"""What a sample is by its shape, and the scale that series and rows are drawn to."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from latentkit.checks import require_finite
from latentkit.errors import ShapeError

__all__ = ["MOST_COLUMNS", "MOST_LANES", "channels_of", "limits_of", "limits_of_channels", "sample_kind"]

#: A sample of so many numbers is a row of a table, a longer one a series over time.
MOST_COLUMNS = 24

#: So many channels are drawn as lines above each other, more as heat.
MOST_LANES = 16

_TRIFLE = 1e-6  # what rounding to float32 may add to a round number


def sample_kind(shape: Sequence[int]) -> str | None:
    """Return what one sample of a shape is: "image", "point", "row" or "series", or None if it can't be drawn.

    Images are (1 or 3, H, W), points of the plane (2,), rows of a table have up to 24 numbers, series over time are
    (T,), or (C, T) of C channels. A square of more than 3 a side is no series: it is likelier an image without an axis
    of channels.

    Examples:
        >>> [sample_kind(shape) for shape in ((3, 64, 64), (2,), (5,), (16000,), (2, 16000), (28, 28))]
        ['image', 'point', 'row', 'series', 'series', None]
    """
    shape = tuple(shape)
    if not shape or min(shape) < 1:
        return None
    if len(shape) == 1:
        return "point" if shape == (2,) else "row" if shape[0] <= MOST_COLUMNS else "series"
    if len(shape) == 2:
        return None if shape[0] == shape[1] > 3 else "series"
    return "image" if len(shape) == 3 and shape[0] in (1, 3) else None


def channels_of(samples: Tensor) -> Tensor:
    """Return series as (N, C, T), and rows as (N, F, 1): what has limits of its own comes second."""
    if sample_kind(samples.shape[1:]) not in ("row", "series"):
        raise ShapeError(f"series are (N, T) or (N, C, T) and rows (N, F), got {tuple(samples.shape)}")
    samples = samples.detach().float().cpu()
    if samples.ndim == 3:
        return samples
    return samples[:, :, None] if sample_kind(samples.shape[1:]) == "row" else samples[:, None]


def limits_of(samples: Tensor) -> Tensor:
    """Return the least and largest value (C, 2) that pictures show of each channel or column, rounded outwards.

    Args:
        samples: series (N, T) or (N, C, T), or rows (N, F), at least one.

    Raises:
        ShapeError: if they are neither, or none.
        NonFiniteError: if one holds NaN or infinity.

    Examples:
        >>> limits_of(torch.tensor([[-0.9, 0.7] * 20])).tolist()
        [[-1.0, 1.0]]
    """
    return limits_of_channels(channels_of(samples))


def limits_of_channels(values: Tensor) -> Tensor:
    """Return the scale (C, 2), float64, of values (N, C, T)."""
    if len(values) == 0:
        raise ShapeError("there must be at least one sample to draw, got none")
    require_finite(values, "samples")
    pairs = zip(values.amin((0, 2)).tolist(), values.amax((0, 2)).tolist(), strict=True)
    return torch.tensor([_rounded(low, high) for low, high in pairs], dtype=torch.float64)


def _rounded(low: float, high: float) -> tuple[float, float]:
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # a constant still needs a scale
        return low - max(abs(low), 1.0), high + max(abs(high), 1.0)
    if low < 0 < high and min(-low, high) >= max(-low, high) / 4:
        most = _nice(max(-low, high))
        return -most, most
    step = _nice(high - low) / 5
    return math.floor(low / step + _TRIFLE) * step, math.ceil(high / step - _TRIFLE) * step


def _nice(value: float) -> float:
    """Return the least of 1, 2, 5 times a power of ten that is no smaller."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(times * power for times in (1.0, 2.0, 5.0, 10.0) if times * power >= value * (1 - _TRIFLE))
