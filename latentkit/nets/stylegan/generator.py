"""StyleGAN generators: a mapping network and a synthesis network, and what lies between them."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from latentkit.checks import as_count, as_number, one_of
from latentkit.errors import ArgumentError, ShapeError
from latentkit.nets.settings import START, at_least_single, checked, class_columns
from latentkit.nets.stylegan.aliasfree import Synthesis3
from latentkit.nets.stylegan.mapping import Mapping
from latentkit.nets.stylegan.styled import ARCHITECTURES, Synthesis2

__all__ = ["StyleGAN2Generator", "StyleGAN3Generator", "StyleGenerator"]


class StyleGenerator(nn.Module):
    """What the StyleGANs share: latents z to intermediate latents w to one style a layer to images.

    Attributes: `mapping`, `synthesis`, `layers`, the number L of styles, and the sizes `z_dim` and `w_dim`.
    """

    network: ClassVar[str]
    mapping: Mapping
    synthesis: "Synthesis2 | Synthesis3"
    settings: dict[str, Any]

    @property
    def layers(self) -> int:
        """How many styles an image is made of."""
        return self.synthesis.layers

    @property
    def z_dim(self) -> int:
        """Size of a latent z."""
        return self.settings["latent_dim"]

    @property
    def w_dim(self) -> int:
        """Size of an intermediate latent w."""
        return self.settings["w_dim"]

    @property
    def classes(self) -> int:
        """How many classes there are, or 0."""
        return self.settings["classes"]

    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return intermediate latents w (N, w_dim) for latents (N, latent_dim).

        Args:
            z: the latents.
            labels: class numbers (N,), or weights of the classes (N, classes), if there are classes.

        Raises:
            LabelError: if there are classes and no fitting labels, or labels and no classes.
        """
        if not self.classes and labels is None:
            return self.mapping(z)
        return self.mapping(z, class_columns(labels, len(z), self.classes).to(z))

    def truncated(self, ws: Tensor, psi: float, cutoff: int | None = None) -> Tensor:
        """Pull styles towards their mean in training: mean + psi (w - mean).

        Args:
            ws: (N, L, w_dim).
            psi: 1 leaves them as they are, 0 gives the mean; values above 1 exaggerate.
            cutoff: layers below this number are pulled, the coarse ones; None for all.

        Raises:
            ArgumentError: if psi is not finite, or the cut-off not from 0 to L.

        References:
            Karras, Laine, Aila (2019), "A style-based generator architecture", appendix B.
        """
        psi = as_number(psi, "psi")
        count = self.layers if cutoff is None else as_count(cutoff, "cutoff", least=0)
        if count > self.layers:
            raise ArgumentError(f"cutoff must be at most the {self.layers} layers, got {count}")
        if psi == 1.0 or count == 0:
            return ws
        return torch.cat([torch.lerp(self.mapping.w_avg, ws[:, :count], psi), ws[:, count:]], 1)

    def synthesise(self, ws: Tensor, noises: Sequence[Tensor] | None = None) -> Tensor:
        """Return images (N, channels, size, size) for styles (N, L, w_dim), clamped to [-1, 1] in eval mode.

        Args:
            ws: the styles.
            noises: noise (side, side) of each layer that adds some; None for no noise.

        Raises:
            ShapeError: if the styles are not (N, L, w_dim).
        """
        if ws.ndim != 3 or ws.shape[1:] != (self.layers, self.w_dim):
            raise ShapeError(f"styles must be (N, {self.layers}, {self.w_dim}), got {tuple(ws.shape)}")
        images = at_least_single(self.synthesis(ws, noises))
        return images if self.training else images.clamp(-1.0, 1.0)

    def repeated(self, w: Tensor) -> Tensor:
        """Return styles (N, L, w_dim) that are the same w (N, w_dim) in every layer."""
        return w[:, None].expand(-1, self.layers, -1)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return images (N, channels, size, size) for latents (N, latent_dim), with the stored noise."""
        return self.synthesise(self.repeated(self.map(z, labels)), self.synthesis.noises())


def _optional(value: Any, name: str) -> float | None:
    return None if value is None else as_number(value, name, least=0.0, open_least=True)


class StyleGAN2Generator(StyleGenerator):
    """Turns latents (N, latent_dim) into images (N, channels, size, size): StyleGAN2, as in ADA.

    Args:
        latent_dim: size of a latent z.
        channels: 1 for grey, 3 for colour.
        size: side of an image in pixels, a power of two from 8 to 1024.
        w_dim: size of an intermediate latent.
        mapping_depth: layers of the mapping network.
        channel_base: feature maps of a side have `channel_base` / side channels,
        channel_max: but at most so many.
        classes: number of classes, or 0.
        architecture: "skip" as published for the generator, "resnet" or "orig".
        conv_clamp: largest size of an activation; None for no limit.
        lr_multiplier: relative speed of learning of the mapping network, which its weights are stored divided by.

    Raises:
        ArgumentError: if an argument is out of its range.

    References:
        Karras, Laine, Aittala, Hellsten, Lehtinen, Aila (2020), "Analyzing and improving the image quality of
            StyleGAN".
        Karras, Aittala, Hellsten, Laine, Lehtinen, Aila (2020), "Training generative adversarial networks with limited
            data".
    """

    network: ClassVar[str] = "stylegan2-generator"

    def __init__(
        self,
        latent_dim: int,
        channels: int,
        size: int,
        *,
        w_dim: int = 512,
        mapping_depth: int = 8,
        channel_base: int = 32768,
        channel_max: int = 512,
        classes: int = 0,
        architecture: str = "skip",
        conv_clamp: float | None = None,
        lr_multiplier: float = 0.01,
    ) -> None:
        super().__init__()
        plain = checked(
            2 * START,
            latent_dim=latent_dim,
            channels=channels,
            size=size,
            w_dim=w_dim,
            mapping_depth=mapping_depth,
            channel_base=channel_base,
            channel_max=channel_max,
            classes=classes,
        )
        one_of(architecture, "architecture", ARCHITECTURES)
        clamp = _optional(conv_clamp, "conv_clamp")
        rate = as_number(lr_multiplier, "lr_multiplier", least=0.0, open_least=True)
        self.settings = {**plain, "architecture": architecture, "conv_clamp": clamp, "lr_multiplier": rate}
        self.synthesis = Synthesis2(
            w_dim,
            size,
            channels,
            channel_base=channel_base,
            channel_max=channel_max,
            architecture=architecture,
            clamp=clamp,
        )
        self.mapping = Mapping(latent_dim, w_dim, mapping_depth, classes=classes, lr_multiplier=rate)


class StyleGAN3Generator(StyleGenerator):
    """Turns latents (N, latent_dim) into images (N, channels, size, size): StyleGAN3, configuration T or R.

    Configuration T, which follows translations, is the default; R, which follows rotations as well, has `kernel` 1,
    `radial` filters, and twice the channels (`channel_base` 65536, `channel_max` 1024).

    Args:
        latent_dim: size of a latent z.
        channels: 1 for grey, 3 for colour.
        size: side of an image in pixels, a power of two from 16 to 1024.
        w_dim: size of an intermediate latent.
        mapping_depth: layers of the mapping network.
        channel_base: maps that hold frequencies up to f cycles an image have `channel_base` / (2 f) channels,
        channel_max: but at most so many.
        classes: number of classes, or 0.
        kernel: side of the convolutions' weights, 3 or 1.
        radial: filters that are the same in every direction.
        depth: number of layers before that of the image.
        critical: how many of the last ones are critically sampled.
        first_cutoff: cut-off of the first layer in cycles an image.
        first_stopband: frequency in cycles an image from which the first layer holds nothing.
        last_stopband_rel: that of the last layer, relative to its cut-off.
        margin: pixels that maps go on beyond the image on every side.
        output_scale: what the last layer puts out is multiplied by it.
        filter_size: taps of a filter for each doubling or halving of the rate.
        oversampling: rate of the leaky ReLUs, relative to the maps'.
        conv_clamp: largest size of an activation; None for no limit.
        lr_multiplier: relative speed of learning of the mapping network, which its weights are stored divided by.

    Raises:
        ArgumentError: if an argument is out of its range.

    References:
        Karras, Aittala, Laine, Härkönen, Hellsten, Lehtinen, Aila (2021), "Alias-free generative adversarial networks".
    """

    network: ClassVar[str] = "stylegan3-generator"

    def __init__(
        self,
        latent_dim: int,
        channels: int,
        size: int,
        *,
        w_dim: int = 512,
        mapping_depth: int = 2,
        channel_base: int = 32768,
        channel_max: int = 512,
        classes: int = 0,
        kernel: int = 3,
        radial: bool = False,
        depth: int = 14,
        critical: int = 2,
        first_cutoff: float = 2.0,
        first_stopband: float = 2.0**2.1,
        last_stopband_rel: float = 2.0**0.3,
        margin: int = 10,
        output_scale: float = 0.25,
        filter_size: int = 6,
        oversampling: int = 2,
        conv_clamp: float | None = 256.0,
        lr_multiplier: float = 0.01,
    ) -> None:
        super().__init__()
        plain = checked(
            latent_dim=latent_dim,
            channels=channels,
            size=size,
            w_dim=w_dim,
            mapping_depth=mapping_depth,
            channel_base=channel_base,
            channel_max=channel_max,
            classes=classes,
            kernel=kernel,
            depth=depth,
            filter_size=filter_size,
            oversampling=oversampling,
        )
        for name, value, least in (("critical", critical, 0), ("margin", margin, 0)):
            plain[name] = as_count(value, name, least=least)
        for name, value in (
            ("first_cutoff", first_cutoff),
            ("first_stopband", first_stopband),
            ("last_stopband_rel", last_stopband_rel),
            ("output_scale", output_scale),
            ("lr_multiplier", lr_multiplier),
        ):
            plain[name] = as_number(value, name, least=0.0, open_least=True)
        if critical >= depth:
            raise ArgumentError(f"critical must be below the depth of {depth}, got {critical}")
        clamp = _optional(conv_clamp, "conv_clamp")
        self.settings = {**plain, "radial": bool(radial), "conv_clamp": clamp}
        self.synthesis = Synthesis3(
            w_dim,
            size,
            channels,
            channel_base=channel_base,
            channel_max=channel_max,
            kernel=kernel,
            radial=bool(radial),
            depth=depth,
            critical=critical,
            first_cutoff=float(first_cutoff),
            first_stopband=float(first_stopband),
            last_stopband_rel=float(last_stopband_rel),
            margin=margin,
            output_scale=float(output_scale),
            filter_size=filter_size,
            oversampling=oversampling,
            clamp=clamp,
        )
        self.mapping = Mapping(latent_dim, w_dim, mapping_depth, classes=classes, lr_multiplier=plain["lr_multiplier"])
