"""The synthesis network of StyleGAN3: maps that stand for band-limited signals, whose layers add no aliasing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.nets.stylegan.layers import Dense, modulated
from latentkit.nets.stylegan.resampling import lowpass, upfirdn

__all__ = ["Band", "Synthesis3", "bands"]

_SLOPE = 0.2


@dataclass(frozen=True)
class Band:
    """How the maps of one layer are sampled; frequencies in cycles an image.

    Attributes: `cutoff`, up to which the filters pass; `half_width` of their transition band; `rate` in samples an
    image; `side` of a map, margins included; `channels`.
    """

    cutoff: float
    half_width: float
    rate: int
    side: int
    channels: int


def bands(
    size: int,
    channels: int,
    *,
    depth: int,
    critical: int,
    first_cutoff: float,
    first_stopband: float,
    last_stopband_rel: float,
    margin: int,
    channel_base: int,
    channel_max: int,
) -> list[Band]:
    """Return the bands of `depth` layers and of that of the image: cut-offs and stop-bands grow geometrically.

    References:
        Karras et al. (2021), "Alias-free generative adversarial networks", section 3.2, figure 4.
    """
    last_cutoff = size / 2.0
    last_stopband = last_cutoff * last_stopband_rel
    found = []
    for i in range(depth + 1):
        share = min(i / (depth - critical), 1.0)
        cutoff = first_cutoff * (last_cutoff / first_cutoff) ** share
        stopband = first_stopband * (last_stopband / first_stopband) ** share
        rate = 2 ** math.ceil(math.log2(min(2.0 * stopband, float(size))))
        # The last two have the image's side: what a margin held has no further to go.
        side = size if i >= depth - 1 else rate + 2 * margin
        count = channels if i == depth else round(min(channel_base / 2.0 / cutoff, channel_max))
        found.append(Band(cutoff, max(stopband, rate / 2.0) - cutoff, rate, side, count))
    return found


class FourierInput(nn.Module):
    """Waves of fixed random frequencies (N, channels, side, side), turned and moved as the first style says.

    `transform` (3, 3), the inverse of a rotation and translation in units of the image, turns and moves all of them.

    References:
        Karras et al. (2021), "Alias-free generative adversarial networks", section 3.1 and appendix F.
    """

    transform: Tensor
    freqs: Tensor
    phases: Tensor

    def __init__(self, w_dim: int, band: Band) -> None:
        super().__init__()
        self.band = band
        directions = torch.empty(band.channels, 2).normal_()
        radii = directions.square().sum(1, keepdim=True).sqrt()
        # From a normal radius to one that fills the disc of frequencies up to the cut-off almost evenly.
        freqs = directions / (radii * radii.square().exp().pow(0.25)) * band.cutoff
        self.weight = nn.Parameter(torch.empty(band.channels, band.channels).normal_())
        self.affine = Dense(w_dim, 4)
        with torch.no_grad():
            self.affine.weight.zero_()
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", freqs)
        self.register_buffer("phases", torch.empty(band.channels).uniform_(-0.5, 0.5))

    def forward(self, w: Tensor) -> Tensor:
        """Return the waves for the first style w (N, w_dim)."""
        move = self.affine(w)
        move = move / move[:, :2].norm(dim=1, keepdim=True)
        cosine, sine, right, low = move.unbind(1)
        zero, one = torch.zeros_like(cosine), torch.ones_like(cosine)
        turn = torch.stack([cosine, -sine, zero, sine, cosine, zero, zero, zero, one], 1).reshape(-1, 3, 3)
        shift = torch.stack([one, zero, -right, zero, one, -low, zero, zero, one], 1).reshape(-1, 3, 3)
        place = turn @ shift @ self.transform
        phases = self.phases + (self.freqs @ place[:, :2, 2:]).squeeze(2)
        freqs = self.freqs @ place[:, :2, :2]
        # Turning and scaling may take a frequency beyond what the samples can hold: it fades out before.
        rate, cutoff = self.band.rate, self.band.cutoff
        strengths = (1.0 - (freqs.norm(dim=2) - cutoff) / (rate / 2.0 - cutoff)).clamp(0.0, 1.0)
        side = self.band.side
        line = ((torch.arange(side, device=w.device) + 0.5) / side - 0.5).to(w.dtype) * (side / rate)
        angles = (line[:, None, None] * freqs[:, None, None, :, 1]) + (line[:, None] * freqs[:, None, None, :, 0])
        waves = torch.sin(2.0 * math.pi * (angles + phases[:, None, None])) * strengths[:, None, None]
        mixed = waves @ (self.weight / math.sqrt(self.band.channels)).T
        return mixed.permute(0, 3, 1, 2)


class FilteredStyledConv2d(nn.Module):
    """A modulated convolution whose leaky ReLU acts at a higher sampling rate, between two low-pass filters.

    The kink of a leaky ReLU makes frequencies without end; most of those that it makes at the higher rate are filtered
    away before the rate is lowered. `magnitude_ema` is the mean square of the input in training, which is divided by
    its root.

    References:
        Karras et al. (2021), "Alias-free generative adversarial networks", sections 2 and 3, appendix F.
    """

    up_filter: Tensor | None
    down_filter: Tensor | None
    magnitude_ema: Tensor

    def __init__(
        self,
        w_dim: int,
        before: Band,
        after: Band,
        *,
        image: bool,
        kernel: int,
        radial: bool,
        filter_size: int,
        oversampling: int,
        clamp: float | None,
    ) -> None:
        super().__init__()
        self.image, self.clamp = image, clamp
        kernel = 1 if image else kernel
        rate = max(before.rate, after.rate) * (1 if image else oversampling)
        self.up, self.down = rate // before.rate, rate // after.rate
        up_taps, down_taps = (filter_size * n if n > 1 and not image else 1 for n in (self.up, self.down))
        self.affine = Dense(w_dim, before.channels, bias=1.0)
        self.weight = nn.Parameter(torch.empty(after.channels, before.channels, kernel, kernel).normal_())
        self.bias = nn.Parameter(torch.zeros(after.channels))
        self.register_buffer("magnitude_ema", torch.ones(()))
        self.register_buffer("up_filter", lowpass(up_taps, before.cutoff, 2.0 * before.half_width, rate))
        self.register_buffer(
            "down_filter", lowpass(down_taps, after.cutoff, 2.0 * after.half_width, rate, radial=radial)
        )
        # What makes a map of the side before into one of the side after: half of it on either side.
        padding = (after.side - 1) * self.down + 1 - (before.side + kernel - 1) * self.up + up_taps + down_taps - 2
        low = (padding + self.up) // 2
        self.padding = low, padding - low

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Return maps (N, after.channels, after.side, after.side) for maps and w (N, w_dim)."""
        styles, weight = self.affine(w), self.weight
        if self.image:
            y = functional.conv2d(x * (styles / math.sqrt(weight.shape[1]))[:, :, None, None], weight)
        else:
            # Scales that demodulation takes out again; without them its small constant would count.
            weight = weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
            styles = styles * styles.square().mean(1, keepdim=True).rsqrt()
            x, factors = modulated(x, weight, styles)
            y = functional.conv2d(x, weight, padding=weight.shape[-1] - 1) * factors
        y = y * self.magnitude_ema.rsqrt() + self.bias[:, None, None]
        y = upfirdn(y, self.up_filter, up=self.up, padding=self.padding, gain=float(self.up**2))
        if not self.image:
            y = functional.leaky_relu(y, _SLOPE) * math.sqrt(2.0)
        if self.clamp is not None:
            y = y.clamp(-self.clamp, self.clamp)
        return upfirdn(y, self.down_filter, down=self.down)


class Synthesis3(nn.Module):
    """Styles w (N, L, w_dim), the first for the waves and one for each layer, to images (N, channels, size, size).

    Layers are called `L<number>_<side>_<channels>`. There is no noise. `StyleGAN3Generator` says what the arguments
    mean.
    """

    def __init__(
        self,
        w_dim: int,
        size: int,
        channels: int,
        *,
        kernel: int,
        radial: bool,
        filter_size: int,
        oversampling: int,
        output_scale: float,
        clamp: float | None,
        depth: int,
        critical: int,
        first_cutoff: float,
        first_stopband: float,
        last_stopband_rel: float,
        margin: int,
        channel_base: int,
        channel_max: int,
    ) -> None:
        super().__init__()
        self.output_scale = output_scale
        plan = bands(
            size,
            channels,
            depth=depth,
            critical=critical,
            first_cutoff=first_cutoff,
            first_stopband=first_stopband,
            last_stopband_rel=last_stopband_rel,
            margin=margin,
            channel_base=channel_base,
            channel_max=channel_max,
        )
        self.input = FourierInput(w_dim, plan[0])
        for i, after in enumerate(plan):
            layer = FilteredStyledConv2d(
                w_dim,
                plan[max(i - 1, 0)],
                after,
                image=i == depth,
                kernel=kernel,
                radial=radial and i < depth - critical,
                filter_size=filter_size,
                oversampling=oversampling,
                clamp=clamp,
            )
            self.add_module(f"L{i}_{after.side}_{after.channels}", layer)
        self.layers = depth + 2

    def noises(self) -> None:
        """There is none."""
        return

    def forward(self, ws: Tensor, noises: Sequence[Tensor] | None = None) -> Tensor:
        """Return images for styles (N, L, w_dim).

        Args:
            ws: the styles.
            noises: must be None.
        """
        first, *others = ws.unbind(1)
        x = self.input(first)
        for layer, w in zip(list(self.children())[1:], others, strict=True):
            x = layer(x, w)
        return x * self.output_scale
