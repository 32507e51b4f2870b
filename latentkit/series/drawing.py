"""Series as waveforms, spectrograms and heat, rows as bars: one picture a sample.

Waveforms and bars are drawn pixel by pixel, without a plotting library, so that thousands of them take seconds: each
column of pixels is inked from the least to the largest value that falls into it.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from latentkit.checks import as_count, as_number, require_finite
from latentkit.errors import ShapeError
from latentkit.series.scales import MOST_LANES, channels_of, limits_of, sample_kind
from latentkit.style import COLOURS, GRID, SCALE

__all__ = ["CELL", "as_images", "pictures"]

Pixels = NDArray[np.uint8]

#: Width and height in pixels of a series on a sheet.
CELL = (160, 80)

#: Decibels below the loudest at which a spectrogram ends, and the length of its window in seconds, at least 64 values.
RANGE, WINDOW = 80.0, 0.025

_BLOCK = 64
_LINE = 1.5  # pixels


def pictures(
    samples: Tensor, *, size: tuple[int, int] = CELL, limits: Tensor | None = None, rate: float | None = None
) -> Pixels:
    """Return one picture (H, W, 3) for each series or row: (N, H, W, 3).

    A series is a waveform; one of several channels is several above each other, and one of more than 16 a map of heat.
    A row is a bar for each of its numbers.

    Args:
        samples: series (N, T) or (N, C, T), or rows (N, F).
        size: width and height of a picture in pixels.
        limits: (C, 2), the least and largest value that is shown of each channel, or of each column of rows; by default
            as in these samples. What lies beyond is cut off.
        rate: samples a second of a series: then the lower half of its picture is a spectrogram, from frequency 0 at the
            bottom to half the rate, down to 80 dB below the loudest of these samples.

    Raises:
        ShapeError: if the samples are neither series nor rows, or the limits not theirs.
        NonFiniteError: if one holds NaN or infinity.
    """
    values = require_finite(channels_of(samples), "samples")
    width, height = (as_count(side, "a side of size", least=8) for side in size)
    limits = limits_of(samples) if limits is None else limits.double()
    if tuple(limits.shape) != (values.shape[1], 2):
        raise ShapeError(f"limits must be ({values.shape[1]}, 2), got {tuple(limits.shape)}")
    rows = sample_kind(samples.shape[1:]) == "row"
    if rate is not None:
        if rows:
            raise ShapeError(f"a spectrogram is of a series over time, not of rows {tuple(samples.shape)}")
        rate = as_number(rate, "rate", least=0.0, open_least=True)
    upper = height if rate is None else height - height // 2
    drawn = np.full((len(values), height, width, 3), 255, dtype=np.uint8)
    draw = _bars if rows else _heat if values.shape[1] > MOST_LANES else _waves
    for start in range(0, len(values), _BLOCK):
        block = slice(start, start + _BLOCK)
        drawn[block, :upper] = draw(values[block], (width, upper), limits)
    if rate is not None and len(values):
        drawn[:, upper:] = _spectrograms(values.mean(1), rate, (width, height - upper))
    return drawn


def as_images(
    samples: Tensor, *, size: tuple[int, int] = CELL, limits: Tensor | None = None, rate: float | None = None
) -> Tensor:
    """Return the `pictures` of series or rows as images (N, 3, H, W) in [-1, 1]; images and points stay as they are.

    Raises:
        ShapeError: as `pictures`, where samples are neither of the four.
        NonFiniteError: if a series or row holds NaN or infinity.
    """
    if sample_kind(samples.shape[1:]) in ("image", "point"):
        return samples
    drawn = pictures(samples, size=size, limits=limits, rate=rate)
    return torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def _places(values: Tensor, limits: Tensor, height: int) -> Tensor:
    """Return how far below the top of a lane values (N, C, ...) lie, in pixels, within the lane."""
    low, high = (side.reshape(1, -1, *[1] * (values.ndim - 2)).float() for side in limits.unbind(1))
    return ((high - values) / (high - low)).clamp(0.0, 1.0) * (height - 1 - _LINE) + (1 + _LINE) / 2


def _inked(top: Tensor, bottom: Tensor, height: int) -> Tensor:
    """Return the share of each pixel (N, C, height, W) that lies between two heights (N, C, W)."""
    row = torch.arange(height, dtype=torch.float32)[:, None]
    return (torch.minimum(row + 1, bottom[:, :, None]) - torch.maximum(row, top[:, :, None])).clamp(0.0, 1.0)


def _colour(text: str) -> Tensor:
    return torch.tensor([int(text[i : i + 2], 16) for i in (1, 3, 5)], dtype=torch.float32)


def _waves(values: Tensor, size: tuple[int, int], limits: Tensor) -> Pixels:
    """Draw series (N, C, T) as lines, a lane for each channel."""
    width, height = size[0], max(size[1] // values.shape[1], 4)
    dense = functional.interpolate(values, size=4 * width + 1, mode="linear", align_corners=True)
    spans = dense.unfold(2, 5, 4)  # each shares its ends with its neighbours, so that the line has no gaps
    low, high = spans.amin(3), spans.amax(3)
    if values.shape[2] > width:  # of many values in a column none may be missed
        high = torch.maximum(high, functional.adaptive_max_pool1d(values, width))
        low = torch.minimum(low, -functional.adaptive_max_pool1d(-values, width))
    top, bottom = _places(high, limits, height), _places(low, limits, height)
    ink = _inked(top - _LINE / 2, bottom + _LINE / 2, height)[..., None]
    middle = _places(torch.zeros(1, len(limits), 1), limits, height)
    axis = _inked(middle - 0.5, middle + 0.5, height)[..., None]  # at zero, or at the end that is nearest to it
    ground = 255.0 + axis * (_colour(GRID) - 255.0)
    colours = torch.stack([_colour(COLOURS[k % len(COLOURS)]) for k in range(len(limits))])[None, :, None, None]
    lanes = (ground + ink * (colours - ground)).round().to(torch.uint8)
    return _fitted(lanes.flatten(1, 2), size)


def _bars(values: Tensor, size: tuple[int, int], limits: Tensor) -> Pixels:
    """Draw rows (N, F, 1) as bars from zero, or from the end of the scale that is nearest to it."""
    width, height = size
    column = (torch.arange(width) * len(limits)) // width
    heights = _places(values, limits, height)[:, :, 0]
    base = _places(torch.zeros(1, len(limits), 1), limits, height)[:, :, 0].expand_as(heights)
    top, bottom = torch.minimum(heights, base) - 0.5, torch.maximum(heights, base) + 0.5
    ink = _inked(top[:, None, column], bottom[:, None, column], height)[:, 0, :, :, None]
    if width >= 4 * len(limits):  # a gap before the next
        ink[:, :, torch.cat([column[1:] != column[:-1], torch.tensor([True])])] = 0.0
    return (255.0 + ink * (_colour(COLOURS[0]) - 255.0)).round().to(torch.uint8).numpy()


def _heat(values: Tensor, size: tuple[int, int], limits: Tensor) -> Pixels:
    """Draw series of many channels (N, C, T) as a map, the first channel at the top."""
    low, high = limits[:, :1].float(), limits[:, 1:].float()
    return _coloured(
        functional.interpolate(((values - low) / (high - low))[:, None], size=size[::-1], mode="area")[:, 0]
    )


def _coloured(shares: Tensor) -> Pixels:
    """Return numbers in [0, 1] (N, H, W) in the colours of the scale (N, H, W, 3)."""
    from matplotlib import colormaps

    palette = (colormaps[SCALE](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    return palette[(shares.clamp(0.0, 1.0) * 255).round().long().numpy()]


def _fitted(lanes: Tensor, size: tuple[int, int]) -> Pixels:
    """Return pictures (N, H', W, 3) with white rows at the bottom, or without some, so that they have the height."""
    lanes = lanes[:, : size[1]]
    return functional.pad(lanes, (0, 0, 0, 0, 0, size[1] - lanes.shape[1]), value=255).numpy()


def _spectrograms(series: Tensor, rate: float, size: tuple[int, int]) -> Pixels:
    """Draw the power of series (N, T) over time and frequency, in decibels, by Hann windows that overlap by 3/4."""
    length = series.shape[1]
    if length < 16:
        raise ShapeError(f"a spectrogram needs at least 16 numbers a series, got {length}")
    window = 2 ** min(round(math.log2(max(WINDOW * rate, 64.0))), int(math.log2(length)) - 1)
    power = torch.cat(
        [
            torch.stft(block, window, max(window // 4, 1), window=torch.hann_window(window), return_complex=True)
            .abs()
            .square()
            for block in series.split(_BLOCK)
        ]
    )
    loudest = max(float(power.max()), 1e-30)
    shares = 1.0 + 10.0 * torch.log10((power / loudest).clamp(min=10.0 ** (-RANGE / 10))) / RANGE
    shown = functional.interpolate(shares.flip(1)[:, None], size=size[::-1], mode="bilinear", align_corners=True)
    return _coloured(shown[:, 0])
