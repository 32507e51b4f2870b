"""Layers that the literature on generators adds to the usual ones.

A critic's score of a sample must not depend on the samples beside it, or an analysis would change with its
batches. The layers that compare the samples of a batch do so in training only: in eval mode they put the mean
that they saw in training in the comparison's place, a constant.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from latentkit.checks import as_count
from latentkit.errors import ArgumentError, ShapeError

__all__ = [
    "EqualConv2d",
    "EqualLinear",
    "MinibatchDiscrimination",
    "MinibatchStd",
    "PixelNorm",
    "VirtualBatchNorm2d",
    "normalise_spectra",
]

_MOMENTUM = 0.1  # share of the newest batch in a running mean, as in batch norm


def normalise_spectra(module: nn.Module) -> None:
    """Divide the weight of every linear, convolutional and embedding layer by its largest singular value, in place.

    The value comes from one power iteration a call in training mode; in eval mode it stays as it is. The state
    dict then holds `parametrizations.weight.original` in place of `weight`, and the iteration's two vectors.

    References:
        Miyato, Kataoka, Koyama, Yoshida (2018), "Spectral normalization for generative adversarial networks".
    """
    for part in list(module.modules()):
        if isinstance(part, nn.Linear | nn.Conv2d | nn.Embedding):
            parametrizations.spectral_norm(part)


class PixelNorm(nn.Module):
    """Scales the channels of each place to unit mean square: (N, C, ...) to the same shape.

    References:
        Karras, Aila, Laine, Lehtinen (2018), "Progressive growing of GANs", section 4.2.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return x / sqrt(mean over channels of x^2)."""
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class EqualLinear(nn.Module):
    """A linear layer of equalised learning rate: weights N(0, 1), scaled by gain / sqrt(fan-in) when used.

    An optimiser that divides a step by the gradient's size then moves every layer at the same relative speed.

    Args:
        in_features: size of the input.
        out_features: size of the output.
        gain: sqrt(2) before a leaky ReLU, 1 before nothing; keeps the variance of the activations at 1.

    References:
        Karras, Aila, Laine, Lehtinen (2018), "Progressive growing of GANs", section 4.1.
    """

    def __init__(self, in_features: int, out_features: int, gain: float = math.sqrt(2.0)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features).normal_())
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.scale = gain / math.sqrt(in_features)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_features) for (N, in_features)."""
        return functional.linear(x, self.weight * self.scale, self.bias)


class EqualConv2d(nn.Module):
    """A convolution of equalised learning rate that keeps the side; see `EqualLinear`.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the kernel, odd.
        gain: as in `EqualLinear`.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, gain: float = math.sqrt(2.0)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel, kernel).normal_())
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.scale = gain / math.sqrt(in_channels * kernel**2)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, H, W) for (N, in_channels, H, W)."""
        return functional.conv2d(x, self.weight * self.scale, self.bias, padding=self.weight.shape[-1] // 2)


class MinibatchStd(nn.Module):
    """Adds one constant feature map: how much the samples of the batch differ.

    In training it is the standard deviation over the batch, averaged over channels and places. In eval mode it is
    the running mean of that number, so that no sample's score depends on the others.

    Args:
        group: samples that are compared with one another, neighbours in the batch; 0 compares the whole batch.

    References:
        Karras, Aila, Laine, Lehtinen (2018), "Progressive growing of GANs", section 3.
    """

    running_std: Tensor

    def __init__(self, group: int = 0) -> None:
        super().__init__()
        self.group = as_count(group, "group", least=0)
        self.register_buffer("running_std", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C + 1, H, W) for (N, C, H, W).

        Raises:
            ShapeError: in training, if N is no multiple of `group`.
        """
        n, _, height, width = x.shape
        if self.training:
            group = self.group or n
            if n % group:
                raise ShapeError(f"the batch must be a multiple of the group of {group} samples, got {n}")
            variance = x.unflatten(0, (n // group, group)).var(1, correction=0)
            # The small number keeps the gradient finite where the samples are equal.
            spread = (variance + 1e-8).sqrt().flatten(1).mean(1)
            self.running_std.lerp_(spread.detach().mean().to(self.running_std.dtype), _MOMENTUM)
            spread = spread.repeat_interleave(group)
        else:
            spread = self.running_std.to(x.dtype).expand(n)
        return torch.cat([x, spread[:, None, None, None].expand(n, 1, height, width)], 1)


class MinibatchDiscrimination(nn.Module):
    """Adds features that say how close a sample is to the others of its batch.

    Each kernel b maps features f(x_i) linearly to a row M_ib of `dim` numbers; its feature is
    o(x_i)_b = sum over j != i of exp(-|M_ib - M_jb|_1). In eval mode the features are their running means from
    training, so that no sample's score depends on the others.

    Args:
        in_features: size F of the features.
        kernels: number B of the features that are added.
        dim: numbers that a kernel compares.

    References:
        Salimans et al. (2016), "Improved techniques for training GANs", section 3.2.
    """

    running_mean: Tensor

    def __init__(self, in_features: int, kernels: int, dim: int = 16) -> None:
        super().__init__()
        self.kernels, self.dim = as_count(kernels, "kernels"), as_count(dim, "dim")
        self.project = nn.Linear(in_features, kernels * dim, bias=False)
        self.register_buffer("running_mean", torch.zeros(kernels))

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, F + B) for features (N, F)."""
        if not self.training:
            return torch.cat([features, self.running_mean.to(features.dtype).expand(len(features), -1)], 1)
        rows = self.project(features).unflatten(1, (self.kernels, self.dim))
        # Not torch.cdist: a penalty on the critic's gradient differentiates this twice.
        distances = (rows[:, None] - rows[None]).abs().sum(3)
        closeness = torch.exp(-distances).sum(1) - 1.0  # less the sample's own term
        self.running_mean.lerp_(closeness.detach().mean(0).to(self.running_mean.dtype), _MOMENTUM)
        return torch.cat([features, closeness.to(features.dtype)], 1)


class VirtualBatchNorm2d(nn.Module):
    """Batch norm by the statistics of a fixed reference batch, so that samples do not depend on one another.

    In training the first `reference_rows` rows of a batch are the reference: they are normalised by their own
    statistics, gradients included, which are also kept as buffers. Every other row is normalised by the statistics
    of the reference and itself, in the proportion n : 1 for n reference rows; in eval mode with the kept ones.

    Args:
        channels: channels of the input.
        eps: added to the variance.

    References:
        Salimans et al. (2016), "Improved techniques for training GANs", section 3.5.
    """

    reference_mean: Tensor
    reference_var: Tensor
    reference_count: Tensor

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.reference_rows = 0
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("reference_mean", torch.zeros(channels))
        self.register_buffer("reference_var", torch.ones(channels))
        self.register_buffer("reference_count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W) for (N, C, H, W), normalised.

        Raises:
            ArgumentError: in training, if no reference was given.
        """
        if not self.training:
            return self._blend(x, self.reference_mean, self.reference_var, 1.0 / (self.reference_count + 1.0))
        n = self.reference_rows
        if not n:
            raise ArgumentError("virtual batch norm trains against a reference batch; call reference(z) first")
        reference = x[:n]
        var, mean = torch.var_mean(reference.to(self.reference_mean.dtype), (0, 2, 3), correction=0)
        with torch.no_grad():
            self.reference_mean.copy_(mean)
            self.reference_var.copy_(var)
            self.reference_count.fill_(n)
        parts = [self._scaled(reference, mean[:, None, None], var[:, None, None])]
        if len(x) > n:
            parts.append(self._blend(x[n:], mean, var, 1.0 / (n + 1)))
        return torch.cat(parts)

    def _blend(self, x: Tensor, mean: Tensor, var: Tensor, share: Tensor | float) -> Tensor:
        """Normalise each row by `share` of its own statistics and the rest of the reference's."""
        own_var, own_mean = torch.var_mean(x.to(mean.dtype), (2, 3), correction=0)
        # The variance of a mixture: the mean variance and the variance of the means.
        var = share * own_var + (1.0 - share) * var + share * (1.0 - share) * (own_mean - mean).square()
        mean = share * own_mean + (1.0 - share) * mean
        return self._scaled(x, mean[..., None, None], var[..., None, None])

    def _scaled(self, x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        scale = self.weight[:, None, None] * torch.rsqrt(var + self.eps)
        return ((x - mean) * scale + self.bias[:, None, None]).to(x.dtype)
