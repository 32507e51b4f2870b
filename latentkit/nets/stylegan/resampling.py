"""Changing the sampling rate of feature maps: zeros between the samples, a filter, and every n-th sample kept."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["binomial_kernel", "convolved", "downsampled", "lowpass", "upfirdn", "upsampled"]

#: Taps of the filter that StyleGAN2 resamples with.
TAPS = (1, 3, 3, 1)


def binomial_kernel(taps: Sequence[float] = TAPS) -> Tensor:
    """Return the outer product (K, K) of filter taps (K,) with itself, of sum 1."""
    line = torch.tensor(taps, dtype=torch.float32)
    square = line[:, None] * line
    return square / square.sum()


def upfirdn(
    x: Tensor,
    kernel: Tensor | None,
    *,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int] = (0, 0),
    gain: float = 1.0,
) -> Tensor:
    """Put zeros between the samples of maps, filter them, and keep every `down`-th sample, alike along both axes.

    Args:
        x: (N, C, H, W).
        kernel: (K, K), or (K,) for one that is the same filter along either axis; None filters nothing.
        up: each sample is followed by `up` - 1 zeros.
        down: every `down`-th filtered sample is kept, from the first one on.
        padding: zeros before and after each row and column, after those between the samples; below 0, samples that
            are cut off.
        gain: the filter is multiplied by it.

    Returns:
        (N, C, H', W'), H' = ceil((H up + padding - K + 1) / down).

    References:
        Karras, Aittala, Laine, Härkönen, Hellsten, Lehtinen, Aila (2021), "Alias-free generative adversarial networks",
            section 3.
    """
    filters = [kernel] if kernel is None or kernel.ndim == 2 else [kernel[:, None], kernel[None, :]]
    for place, taps in enumerate(filters):
        shape = (1, 1) if taps is None else taps.shape
        weight = x.new_ones(1, 1) if taps is None else taps.to(x.dtype)
        # Of a separable filter each pass resamples its own axis; the gain is that of both.
        scale = gain if place == 0 else 1.0
        own = (True, True) if len(filters) == 1 else (place == 0, place == 1)
        x = _along(x, weight * scale, shape, [(up, down, padding) if mine else (1, 1, (0, 0)) for mine in own])
    return x


def _along(x: Tensor, weight: Tensor, shape: Sequence[int], axes: list[tuple[int, int, tuple[int, int]]]) -> Tensor:
    """Resample with a filter (KH, KW), each axis by its own (up, down, padding)."""
    channels = x.shape[1]
    (up_y, down_y, pad_y), (up_x, down_x, pad_x) = axes
    if up_y == up_x == 1:
        x = _padded(x, pad_y, pad_x)
        stacked = weight.flip(0, 1).expand(channels, 1, *shape)
        return functional.conv2d(x, stacked, stride=(down_y, down_x), groups=channels)
    # A transposed convolution never multiplies the zeros; it leaves out those after the last sample.
    stacked = weight.expand(channels, 1, *shape)
    full = functional.conv_transpose2d(x, stacked, stride=(up_y, up_x), groups=channels)
    low_y, low_x = shape[0] - 1, shape[1] - 1
    full = _padded(
        full,
        (pad_y[0] - low_y, pad_y[1] - low_y + up_y - 1),
        (pad_x[0] - low_x, pad_x[1] - low_x + up_x - 1),
    )
    return full if down_y == down_x == 1 else full[:, :, ::down_y, ::down_x]


def _padded(x: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    """Return maps with zeros before and after their rows and columns, or without as many of them as are below 0."""
    return functional.pad(x, (*columns, *rows)) if any((*rows, *columns)) else x


def upsampled(x: Tensor, kernel: Tensor) -> Tensor:
    """Return maps (N, C, H, W) at twice the side, filtered with a kernel (K, K) of sum 1."""
    size = kernel.shape[-1]
    return upfirdn(x, kernel, up=2, padding=((size + 1) // 2, (size - 2) // 2), gain=4.0)


def downsampled(x: Tensor, kernel: Tensor) -> Tensor:
    """Return maps (N, C, H, W) at half the side, filtered with a kernel (K, K) of sum 1."""
    size = kernel.shape[-1]
    return upfirdn(x, kernel, down=2, padding=((size - 1) // 2, (size - 2) // 2))


def convolved(x: Tensor, weight: Tensor, kernel: Tensor, *, up: int = 1, down: int = 1) -> Tensor:
    """Convolve maps with a weight of odd side, at twice their side (`up` = 2) or to half of it (`down` = 2).

    Where the side stays or is halved, the weight is that of `torch.nn.Conv2d`; where it is doubled, it is turned by
    180 degrees, as that of `torch.nn.ConvTranspose2d` is: so it was published.

    Args:
        x: (N, I, H, W).
        weight: (O, I, k, k).
        kernel: (K, K) of sum 1, the filter against aliasing.
        up: 1 or 2.
        down: 1 or 2; not both of them 2.

    Returns:
        (N, O, H up / down, W up / down).
    """
    side, size = weight.shape[-1], kernel.shape[-1]
    if down == 2:
        if side == 1:  # the filter and a pointwise weight can change places: fewer samples to weigh
            return functional.conv2d(downsampled(x, kernel), weight)
        before, after = side // 2 + (size - 1) // 2, side // 2 + (size - 2) // 2
        return functional.conv2d(upfirdn(x, kernel, padding=(before, after)), weight, stride=2)
    if up == 2:
        if side == 1:
            return upsampled(functional.conv2d(x, weight), kernel)
        spread = functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        before, after = (size + 1) // 2 - side // 2, size // 2 - side // 2
        return upfirdn(spread, kernel, padding=(before, after), gain=4.0)
    return functional.conv2d(x, weight, padding=side // 2)


def lowpass(taps: int, cutoff: float, width: float, rate: float, *, radial: bool = False) -> Tensor | None:
    """Design a low-pass filter by the Kaiser window.

    Args:
        taps: length K; 1 is no filter.
        cutoff: frequency in cycles a unit of length up to which it passes, above 0.
        width: of the transition band, centred on the cut-off, in the same unit.
        rate: samples a unit of length, above twice the cut-off.
        radial: the same in every direction, rather than along the axes.

    Returns:
        (K,), or (K, K) for a radial one, float32 of sum 1; None for no filter.

    References:
        Karras et al. (2021), "Alias-free generative adversarial networks", appendix C.
        Kaiser (1974), "Nonrecursive digital filter design using the I0-sinh window function".
    """
    if taps == 1:
        return None
    import numpy as np
    from scipy import signal, special

    if not radial:
        line = signal.firwin(taps, cutoff=cutoff, width=width, fs=rate)
        return torch.tensor(np.asarray(line).tolist(), dtype=torch.float32)
    window = np.kaiser(taps, signal.kaiser_beta(signal.kaiser_atten(taps, width / (rate / 2.0))))
    places = (np.arange(taps) - (taps - 1) / 2.0) / rate
    radius = np.hypot(places[:, None], places)
    # The jinc function, the transform of a disc; at the centre its limit.
    with np.errstate(invalid="ignore", divide="ignore"):
        jinc = special.j1(2.0 * math.pi * cutoff * radius) / (math.pi * radius)
    disc = np.where(radius == 0.0, cutoff, jinc) * window[:, None] * window
    return torch.tensor((disc / disc.sum()).tolist(), dtype=torch.float32)
