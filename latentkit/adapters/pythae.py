"""Autoencoders of pythae: their decoder as a generator, their encoder for inversion."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentkit.adapters.foreign import needed, reason
from latentkit.adapters.weights import filled, read_weights
from latentkit.checks import as_number, require_finite
from latentkit.errors import ArgumentError, CheckpointError, ShapeError
from latentkit.priors import Empirical, Normal, Prior, Sphere
from latentkit.protocols import evaluating, place_of

__all__ = ["PythaeDecoder", "PythaeEncoder", "PythaeModel", "from_pythae", "load_pythae"]

#: Models that are trained towards a standard normal distribution of their latents, by pythae's names.
_NORMAL = (
    *("VAE", "BetaVAE", "BetaTCVAE", "DisentangledBetaVAE", "FactorVAE", "INFOVAE_MMD", "WAE_MMD", "MSSSIM_VAE"),
    *("IWAE", "MIWAE", "CIWAE", "PIWAE", "VAEGAN", "Adversarial_AE"),
)
_SPHERE = "SVAE"
#: Those whose latents have no distribution to draw from until one is fitted.
_FITTED = ("AE", "RAE_GP", "RAE_L2", "VAMP")
_CUSTOM = ("encoder.pkl", "decoder.pkl")
_BATCH = 64


@dataclass(frozen=True, eq=False)
class PythaeDecoder:
    """The decoder of an autoencoder: a `Generator`.

    Attributes: `module`, the model; `prior`; `low` and `high`, the values of the model that become -1 and 1.
    """

    module: Any
    prior: Prior
    low: float
    high: float

    def __call__(self, z: Tensor, /) -> Tensor:
        """Return samples (N, *S) for latents (N, D)."""
        made = self.module.decoder(z)["reconstruction"]
        made = made.reshape(len(z), *self.module.model_config.input_dim)
        return (made - self.low) * (2.0 / (self.high - self.low)) - 1.0


@dataclass(frozen=True, eq=False)
class PythaeEncoder:
    """The encoder of an autoencoder, without its noise: an `Encoder`.

    Attributes: `module`, the model; `low` and `high`, the values of the model that stand for -1 and 1.
    """

    module: Any
    low: float
    high: float

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return latents (N, D), the means where the encoder gives a distribution, for samples (N, *S)."""
        shape = tuple(self.module.model_config.input_dim)
        if x.shape[1:] != shape:
            raise ShapeError(f"samples must be (N, {', '.join(map(str, shape))}), got {tuple(x.shape)}")
        code = self.module.encoder(self.low + (x + 1.0) * ((self.high - self.low) / 2.0))["embedding"].flatten(1)
        if self.module.model_name == _SPHERE:
            code = code / code.norm(dim=1, keepdim=True)
        return code


@dataclass(frozen=True, eq=False)
class PythaeModel:
    """An autoencoder of pythae: `generator` and `encoder`, both with gradients."""

    generator: PythaeDecoder
    encoder: PythaeEncoder


def from_pythae(model: Any, *, images: Tensor | None = None, values: tuple[float, float] = (0.0, 1.0)) -> PythaeModel:
    """Make a generator and an encoder of an autoencoder of pythae.

    The prior is the one that the model was trained with, a normal one or the unit sphere. Autoencoders without one
    need samples: theirs is then the Gaussian that has the mean and covariance of the samples' latents.

    Args:
        model: the trained model, for example of pythae's `AutoModel.load_from_folder`; it runs where it is.
        images: (M, *S) samples in [-1, 1] to fit a prior to, in the place of the model's own.
        values: what the model's data calls black and white: (0, 1) as in pythae's examples; (-1, 1) leaves the
            samples as they are, which is right for what is no image.

    Raises:
        ArgumentError: if it is no such model, its latents are no vectors, it has no prior and no samples are given,
            or `values` is no range.
        ShapeError: if the samples do not fit the model.
        NonFiniteError: if a sample's latent holds NaN or infinity.
    """
    named = isinstance(model, nn.Module) and isinstance(getattr(model, "model_name", None), str)
    if not named or not all(hasattr(model, part) for part in ("encoder", "decoder", "model_config")):
        raise ArgumentError(f"from_pythae takes an autoencoder of pythae, got {type(model).__name__}")
    low, high = (as_number(value, "values") for value in values)
    if not low < high:
        raise ArgumentError(f"values must be a low and a high one, got ({low:g}, {high:g})")
    encoder = PythaeEncoder(model, low, high)
    prior = _prior(model, encoder, images)
    _require_vectors(model, prior.dim)
    return PythaeModel(PythaeDecoder(model, prior, low, high), encoder)


def load_pythae(
    folder: str | os.PathLike[str], *, images: Tensor | None = None, values: tuple[float, float] = (0.0, 1.0)
) -> PythaeModel:
    """Load an autoencoder with pythae's own networks from the folder that its `save` wrote, running nothing in it.

    Args:
        folder: with `model_config.json` and `model.pt`.
        images: as in `from_pythae`.
        values: as in `from_pythae`.

    Raises:
        MissingDependencyError: if pythae is not installed.
        CheckpointError: if a file is missing, damaged or does not fit, or the model has networks of its own, which
            pythae stores as pickles that would run code: build such a model yourself and use `from_pythae`.
        ArgumentError, ShapeError, NonFiniteError: as `from_pythae`.
    """
    library = needed("pythae.models", "pythae")
    place = Path(folder)
    own = [name for name in _CUSTOM if (place / name).exists()]
    if own:
        raise CheckpointError(
            f"{place / own[0]} is a pickle that would run code; build this model's networks yourself, load the "
            "state dict of model.pt into them, and use from_pythae"
        )
    state = read_weights(place / "model.pt")
    state = state.get("model_state_dict") if isinstance(state, dict) else None
    if not isinstance(state, dict):
        raise CheckpointError(f"{place / 'model.pt'} holds no state dict of pythae; nothing was loaded")

    file = place / "model_config.json"
    try:
        config = needed("pythae.models.auto_model", "pythae").AutoConfig.from_json_file(str(file))
        name = str(config.name).removesuffix("Config").rstrip("_")
    except Exception as error:  # pythae and what it checks settings with have no common error
        raise CheckpointError(f"{file} holds no settings of pythae: {reason(error)}") from error
    if name not in (*_NORMAL, *_FITTED, _SPHERE):
        raise CheckpointError(f"{file} is of a {name}, which is no generator of plain latents; nothing was loaded")

    def make() -> nn.Module:
        try:
            return getattr(library, name)(config)
        except Exception as error:  # whatever settings make it fail with
            raise CheckpointError(f"{file} describes no {name}: {reason(error)}") from error

    return from_pythae(filled(make, state, str(place / "model.pt")), images=images, values=values)


def _prior(model: Any, encoder: PythaeEncoder, images: Tensor | None) -> Prior:
    name, dim = model.model_name, model.model_config.latent_dim
    if name not in (*_NORMAL, *_FITTED, _SPHERE):
        raise ArgumentError(
            f"a {name} does more between its encoder and its decoder than to hand latents on; wrap its decoder with "
            "latentkit.wrap and the prior of what that takes"
        )
    if images is not None:
        device, dtype = place_of(model)
        with evaluating(model), torch.no_grad():
            codes = torch.cat([encoder(part.to(device, dtype)).float().cpu() for part in images.split(_BATCH)])
        return Empirical.fit(require_finite(codes, "the latents of the samples"))
    if name in _FITTED:
        raise ArgumentError(f"a {name} has no prior that can be drawn from; give samples to fit one, images=...")
    return Sphere(dim) if name == _SPHERE else Normal(dim)


def _require_vectors(model: Any, dim: int) -> None:
    """Raise `ArgumentError` unless the decoder takes latents (N, dim) and makes samples of the model's shape."""
    device, dtype = place_of(model)
    shape = model.model_config.input_dim
    try:
        with evaluating(model), torch.no_grad():
            made = model.decoder(torch.zeros(2, dim, device=device, dtype=dtype))["reconstruction"]
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise ArgumentError(
            f"the decoder of this {model.model_name} takes no latents (N, {dim}) ({reason(error)}); "
            "wrap it yourself with latentkit.wrap"
        ) from error
    if shape is None or made.numel() != 2 * math.prod(shape):
        raise ArgumentError(f"the decoder makes {tuple(made.shape)}, and the model's input_dim is {shape}")
