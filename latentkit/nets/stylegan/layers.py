"""The layers of StyleGAN: of equalised learning rate, with filtered resampling, and steered by a style.

A style scales the input channels of a convolution, and the convolution's output is scaled back to unit variance as
if its input had been. Done on the activations rather than on the weights, one convolution serves the whole batch; on a
CPU that is several times as fast as one set of weights a sample, and the same map.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.nets.layers import EqualLinear
from latentkit.nets.stylegan.resampling import binomial_kernel, convolved

__all__ = ["HALF", "Dense", "FilteredConv2d", "activated", "modulated"]

#: Gain of either branch of a residual block, so that their sum keeps the variance.
HALF = math.sqrt(0.5)
_SLOPE = 0.2


def activated(
    x: Tensor, bias: Tensor | None, *, leaky: bool = True, gain: float = 1.0, clamp: float | None = None
) -> Tensor:
    """Return values (N, C, ...) with a bias (C,), after a leaky ReLU that keeps the variance.

    Args:
        x: the values.
        bias: a number a channel, or None.
        leaky: apply the leaky ReLU of slope 0.2, and its gain of sqrt(2).
        gain: what comes out is multiplied by it.
        clamp: the largest size of what comes out, before the gain; None for no limit.
    """
    if bias is not None:
        x = x + bias.reshape(1, -1, *[1] * (x.ndim - 2))
    limit = None if clamp is None else clamp * gain
    if leaky:
        x, gain = functional.leaky_relu(x, _SLOPE), gain * math.sqrt(2.0)
    if gain != 1.0:
        x = x * gain
    return x if limit is None else x.clamp(-limit, limit)


class Dense(EqualLinear):
    """A linear layer of equalised learning rate whose weights and bias may learn more slowly than others.

    Args:
        in_features: size of the input.
        out_features: size of the output.
        leaky: a leaky ReLU follows.
        lr_multiplier: relative speed of learning; weights and bias are stored divided by it.
        bias: what the layer adds before anything is learned.

    References:
        Karras, Laine, Aila (2019), "A style-based generator architecture for generative adversarial networks", appendix
            C: the mapping network learns at a hundredth of the rate.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        leaky: bool = False,
        lr_multiplier: float = 1.0,
        bias: float = 0.0,
    ) -> None:
        super().__init__(in_features, out_features, gain=lr_multiplier)
        self.leaky, self.lr_multiplier = leaky, lr_multiplier
        with torch.no_grad():
            self.weight.div_(lr_multiplier)
            self.bias.fill_(bias / lr_multiplier)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_features) for (N, in_features)."""
        line = functional.linear(x, self.weight * self.scale)
        return activated(line, self.bias * self.lr_multiplier, leaky=self.leaky)


class FilteredConv2d(nn.Module):
    """A convolution of equalised learning rate that may halve or double the side, with a filter against aliasing.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the weight, odd.
        bias: whether it adds one.
        leaky: a leaky ReLU follows.
        up: 2 doubles the side.
        down: 2 halves it.
        clamp: see `activated`.
    """

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        bias: bool = True,
        leaky: bool = True,
        up: int = 1,
        down: int = 1,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.leaky, self.up, self.down, self.clamp = leaky, up, down, clamp
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel, kernel).normal_())
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.scale = 1.0 / math.sqrt(in_channels * kernel**2)
        self.register_buffer("resample_filter", binomial_kernel())

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """Return (N, out_channels, H', W') for (N, in_channels, H, W), multiplied by `gain`."""
        y = convolved(x, self.weight * self.scale, self.resample_filter, up=self.up, down=self.down)
        return activated(y, self.bias, leaky=self.leaky, gain=gain, clamp=self.clamp)


def modulated(x: Tensor, weight: Tensor, styles: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a modulated convolution takes and what its output is to be multiplied by.

    With input channels scaled by a style s, an output channel o of weights W has the standard deviation
    sqrt(sum_i s_i^2 sum_k W_oik^2) for an input of unit variance. Both scales are the sample's own, and neither
    depends on the place, so that they are applied to the activations.

    Args:
        x: (N, I, H, W).
        weight: (O, I, k, k).
        styles: (N, I).

    Returns:
        The scaled input (N, I, H, W), and the factors (N, O, 1, 1) that demodulate.

    References:
        Karras, Laine, Aittala, Hellsten, Lehtinen, Aila (2020), "Analyzing and improving the image quality of
            StyleGAN", equations 1 to 3.
    """
    energy = styles.square() @ weight.square().sum((2, 3)).T
    return x * styles[:, :, None, None], torch.rsqrt(energy + 1e-8)[:, :, None, None]
