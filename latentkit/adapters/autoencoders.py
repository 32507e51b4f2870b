"""Image autoencoders of diffusers: their decoder as a generator over image latents, their encoder for inversion."""

import json
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentkit.adapters.foreign import needed, reason
from latentkit.checks import as_count, require_finite
from latentkit.errors import ArgumentError, CheckpointError, ShapeError
from latentkit.nets.fitting import initialised
from latentkit.priors import Empirical, Normal, Prior
from latentkit.protocols import evaluating, place_of

__all__ = ["ImageAutoencoder", "ImageDecoder", "ImageEncoder", "from_autoencoder", "load_autoencoder"]

#: The classes of diffusers that are known to fit.
_KINDS = ("AutoencoderKL", "VQModel", "AutoencoderTiny")
_WEIGHTS = "diffusion_pytorch_model.safetensors"
_LARGEST_COVARIANCE = 1024  # coordinates up to which a prior is fitted with a full covariance
_BATCH = 16


@dataclass(frozen=True, eq=False)
class ImageDecoder:
    """The decoder of an image autoencoder over flattened latents: a `Generator`, with gradients.

    A `VQModel` puts the nearest entry of its codebook in the place of each latent, and lets gradients pass by that.

    Attributes: `module`, the model; `prior`; `shape` (C, h, w) of the image latents; `origin` and `unit` (C, 1, 1):
    the model's own latents are origin + unit * z.
    """

    module: Any
    prior: Prior
    shape: tuple[int, int, int]
    origin: Tensor
    unit: Tensor

    def __call__(self, z: Tensor, /) -> Tensor:
        """Return images (N, channels, size, size) in [-1, 1] for latents (N, C * h * w)."""
        codes = self.origin.to(z) + self.unit.to(z) * z.unflatten(1, self.shape)
        return self.module.decode(codes).sample.clamp(-1.0, 1.0)


@dataclass(frozen=True, eq=False)
class ImageEncoder:
    """The encoder of an image autoencoder, without its noise: an `Encoder`.

    Attributes: as of `ImageDecoder`; `channels` of an image.
    """

    module: Any
    shape: tuple[int, int, int]
    origin: Tensor
    unit: Tensor

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return latents (N, C * h * w) for images (N, channels, size, size) in [-1, 1]."""
        codes = _encoded(self.module, x)
        if codes.shape[1:] != self.shape:
            raise ShapeError(
                f"images must give latents {self.shape}, got {tuple(codes.shape[1:])} for {tuple(x.shape)}; make the "
                "autoencoder for this size"
            )
        return ((codes - self.origin.to(codes)) / self.unit.to(codes)).flatten(1)


@dataclass(frozen=True, eq=False)
class ImageAutoencoder:
    """An image autoencoder of diffusers for images of one size: `generator` and `encoder`.

    Attributes: `generator`, `encoder`.
    """

    generator: ImageDecoder
    encoder: ImageEncoder

    def fitted(self, images: Tensor) -> "ImageAutoencoder":
        """Return it with a prior that fits the latents of images (M, channels, size, size) in [-1, 1].

        Up to 1,024 coordinates the prior is the Gaussian of their mean and covariance. Larger ones would need too
        many images for that: there the latents are scaled, channel by channel, to mean 0 and standard deviation 1,
        and the prior is standard normal. Its draws have no spatial structure, which the latents of real images do.

        Raises:
            ShapeError: if the images do not fit, or are fewer than two.
            NonFiniteError: if a latent holds NaN or infinity.
        """
        device, dtype = place_of(self.encoder)
        with evaluating(self.encoder), torch.no_grad():
            parts = [self.encoder(part.to(device, dtype)).float().cpu() for part in images.split(_BATCH)]
        codes = require_finite(torch.cat(parts), "the latents of the images") if parts else torch.empty(0)
        if len(codes) < 2:
            raise ShapeError(f"a prior is fitted to at least 2 images, got {len(codes)}")
        if codes.shape[1] <= _LARGEST_COVARIANCE:
            return replace(self, generator=replace(self.generator, prior=Empirical.fit(codes)))
        maps = codes.unflatten(1, self.generator.shape)
        mean, spread = maps.mean((0, 2, 3))[:, None, None], maps.std((0, 2, 3))[:, None, None].clamp(min=1e-6)
        origin = self.generator.origin + self.generator.unit * mean
        unit = self.generator.unit * spread
        return ImageAutoencoder(
            replace(self.generator, origin=origin, unit=unit), replace(self.encoder, origin=origin, unit=unit)
        )


def from_autoencoder(model: Any, *, size: int | None = None) -> ImageAutoencoder:
    """Make a generator and an encoder of an image autoencoder of diffusers.

    Latents are in the unit of diffusion models, the model's own times its `scaling_factor`, and flattened. The prior is
    standard normal, which says where latents lie but nothing of how they hang together: `fitted` makes a better one.

    Args:
        model: an `AutoencoderKL`, `VQModel` or `AutoencoderTiny`; it runs where it is.
        size: side of the images in pixels; by default the model's `sample_size`.

    Raises:
        ArgumentError: if it is no such model, or the size does not fit it.
    """
    if not isinstance(model, nn.Module) or type(model).__name__ not in _KINDS:
        raise ArgumentError(
            f"from_autoencoder takes one of diffusers' {', '.join(_KINDS)}, got {type(model).__name__}; others go "
            "through latentkit.wrap"
        )
    settings: Any = model.config
    size = as_count(getattr(settings, "sample_size", None) if size is None else size, "size")
    device, dtype = place_of(model)
    try:
        with evaluating(model), torch.no_grad():
            codes = _encoded(model, torch.zeros(1, settings.in_channels, size, size, device=device, dtype=dtype))
            made = getattr(model, "decode")(codes).sample  # noqa: B009 - diffusers' models are not typed
    except (RuntimeError, ValueError) as error:
        raise ArgumentError(f"this autoencoder takes no images of side {size}: {reason(error)}") from error
    if made.shape[2:] != (size, size):
        raise ArgumentError(
            f"this autoencoder makes images of side {made.shape[2]} of those of side {size}; take a size that its "
            "halvings divide"
        )
    shape = (codes.shape[1], codes.shape[2], codes.shape[3])
    origin = torch.full((shape[0], 1, 1), float(getattr(settings, "shift_factor", None) or 0.0))
    unit = torch.full((shape[0], 1, 1), 1.0 / float(getattr(settings, "scaling_factor", None) or 1.0))
    prior = Normal(math.prod(shape))
    return ImageAutoencoder(ImageDecoder(model, prior, shape, origin, unit), ImageEncoder(model, shape, origin, unit))


def load_autoencoder(folder: str | os.PathLike[str], *, size: int | None = None) -> ImageAutoencoder:
    """Load an image autoencoder from a folder as diffusers' `save_pretrained` writes it, from safetensors only.

    Args:
        folder: with `config.json` and `diffusion_pytorch_model.safetensors`, for example the folder "vae" of a
            pipeline; see `hub_snapshot` for one of the Hugging Face Hub.
        size: as in `from_autoencoder`.

    Raises:
        MissingDependencyError: if diffusers is not installed.
        CheckpointError: if a file is missing or damaged, is of another class, or does not fit wholly.
        ArgumentError: as `from_autoencoder`.
    """
    library = needed("diffusers", "diffusers")
    place = Path(folder)
    try:
        kind = json.loads((place / "config.json").read_text(encoding="utf-8"))["_class_name"]
    except OSError as error:
        raise CheckpointError(f"cannot read {place / 'config.json'}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{place / 'config.json'} holds no settings of diffusers: {error!r}") from None
    if kind not in _KINDS:
        raise CheckpointError(f"{place} holds a {kind}, which is none of {', '.join(_KINDS)}; nothing was loaded")
    if not (place / _WEIGHTS).is_file():
        raise CheckpointError(f"{place} has no {_WEIGHTS}; only safetensors are read, save it with save_pretrained")
    options = {"use_safetensors": True, "local_files_only": True, "low_cpu_mem_usage": False}
    try:
        # Read by diffusers, which knows the older names of some weights. It draws all weights first.
        model, told = initialised(
            lambda: getattr(library, kind).from_pretrained(str(place), output_loading_info=True, **options), 0
        )
    except Exception as error:  # diffusers, safetensors and the classes' own checks have no common error
        raise CheckpointError(f"{place} cannot be loaded: {reason(error)}") from error
    wrong = [f"{name.removesuffix('_keys')}: {', '.join(map(str, told[name][:3]))}" for name in told if told[name]]
    if wrong:
        raise CheckpointError(f"{place} does not fit its {kind}; nothing was loaded ({'; '.join(wrong)})")
    return from_autoencoder(model.eval().requires_grad_(False), size=size)


def _encoded(model: Any, x: Tensor) -> Tensor:
    """Return the model's own latents (N, C, h, w) of images, the means where it gives a distribution."""
    found = model.encode(x)
    return found.latent_dist.mode() if hasattr(found, "latent_dist") else found.latents
