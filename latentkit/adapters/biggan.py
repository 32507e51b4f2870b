"""BigGAN as in pytorch-pretrained-biggan: its class embedding is a part of the latent, so that classes interpolate."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentkit.adapters.foreign import needed, reason
from latentkit.adapters.weights import filled, read_weights, unwrapped
from latentkit.checks import as_latents, as_number
from latentkit.conditional.blend import Blend
from latentkit.errors import ArgumentError, CheckpointError, LabelError
from latentkit.nets.settings import class_columns
from latentkit.priors import Empirical, Joint, Normal, OneHot
from latentkit.protocols import ConditionalGenerator

__all__ = ["BigGAN", "ClassView", "EmbeddingView", "from_biggan", "load_biggan"]

#: The package draws its noise from a normal distribution that ends here, in standard deviations.
_CUT = 2.0
_OUTSIDE = 0.5 * math.erfc(_CUT / math.sqrt(2.0))  # what lies beyond on one side
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def _noise(z: Tensor, truncation: float) -> Tensor:
    """Return the truncated noise (N, D) whose normal scores are z (N, D), differentiably."""
    # Between the 52-bit ends of (0, 1), so that a far latent gives the largest noise and never infinity.
    u = torch.special.ndtr(z.double()).clamp(2.0**-52, 1.0 - 2.0**-52)
    return (truncation * torch.special.ndtri(_OUTSIDE + (1.0 - 2.0 * _OUTSIDE) * u)).to(z.dtype)


@dataclass(frozen=True, eq=False)
class ClassView:
    """A BigGAN that is called with latents and classes.

    Attributes: `module`, the package's network; `truncation`.
    """

    module: Any
    truncation: float

    def __call__(self, z: Tensor, labels: Tensor, /) -> Tensor:
        """Return images (N, 3, size, size) for latents (N, D) and class numbers (N,), or weights (N, K) as floats."""
        columns = class_columns(labels, len(z), self.module.embeddings.in_features).to(z)
        return self.module(_noise(z, self.truncation), columns, self.truncation)


@dataclass(frozen=True, eq=False)
class EmbeddingView:
    """A BigGAN whose latents are those of its noise, and then a class embedding.

    Attributes: `module`, the package's network; `prior`; `truncation`.
    """

    module: Any
    prior: Joint
    truncation: float

    def __call__(self, z: Tensor, /) -> Tensor:
        """Return images (N, 3, size, size) for latents (N, D + E)."""
        noise, embedding = self.prior.parts(z)
        return self.module.generator(torch.cat([_noise(noise, self.truncation), embedding], 1), self.truncation)


@dataclass(frozen=True, eq=False)
class BigGAN:
    """A BigGAN, and the generators that can be made of it at one truncation.

    The package draws noise from a normal distribution that is cut off at 2 standard deviations, times the truncation.
    Here a latent is the normal score of that noise: the prior is exactly standard normal, and draws of it give exactly
    the package's noise. `noise` and `latents` go from one to the other.

    `conditional` takes a class and `embedded` has its embedding as the last E coordinates of its latents, with a
    Gaussian as their prior that has the mean and covariance of the classes' embeddings: most draws lie between
    classes, and `latents` gives those of a class. Gradients flow to all coordinates. The package has no
    discriminator. Its batch norm reads statistics that were measured at the truncation.

    Attributes: `network`, the package's; `classes`, their names; `truncation`.

    References:
        Brock, Donahue, Simonyan (2019), "Large scale GAN training for high fidelity natural image synthesis", section
        3.1.
    """

    network: nn.Module
    classes: tuple[str, ...]
    truncation: float

    @cached_property
    def conditional(self) -> ConditionalGenerator:
        """The generator that needs a class, which `condition`, `marginal` and `blend` take."""
        view = ClassView(self.network, self.truncation)
        return ConditionalGenerator(view, Normal(_sizes(self.network)[0]), self.classes)

    @cached_property
    def embedded(self) -> EmbeddingView:
        """The generator of latents (N, D + E) that hold a class embedding."""
        prior = Joint(Normal(_sizes(self.network)[0]), Empirical.fit(self.embeddings))
        return EmbeddingView(self.network, prior, self.truncation)

    @property
    def embeddings(self) -> Tensor:
        """The embeddings (K, E) of the classes, on the CPU."""
        return _embedding(self.network).weight.detach().cpu().T

    def noise(self, z: Tensor) -> Tensor:
        """Return the package's noise (N, D), within 2 truncations of 0, for latents (N, D)."""
        return _noise(as_latents(z, _sizes(self.network)[0]), self.truncation)

    def latents(self, noise: Tensor) -> Tensor:
        """Return the latents (N, D) of the package's noise (N, D), `truncated_noise_sample` at this truncation.

        Raises:
            ShapeError: if the noise is not (N, D).
            ArgumentError: if it lies beyond 2 truncations.
        """
        noise = as_latents(noise, _sizes(self.network)[0], "noise")
        largest = float(noise.abs().max()) if len(noise) else 0.0
        if largest > _CUT * self.truncation * (1.0 + 1e-6):
            raise ArgumentError(
                f"noise of truncation {self.truncation:g} lies within {_CUT * self.truncation:g} of 0, got "
                f"{largest:g}; draw it at this truncation"
            )
        inside = torch.special.ndtr(noise.double() / self.truncation) - _OUTSIDE
        u = (inside / (1.0 - 2.0 * _OUTSIDE)).clamp(2.0**-52, 1.0 - 2.0**-52)
        return torch.special.ndtri(u).to(noise.dtype)

    def in_class(self, z: Tensor, labels: Sequence[str | int] | Tensor | str | int) -> Tensor:
        """Return the latents (N, D + E) of `embedded` for latents (N, D) and classes.

        Args:
            z: (N, D).
            labels: the name or number of a class for all, one for each, or weights (N, K) as floats.

        Raises:
            ShapeError: if the latents are not (N, D), or the classes not one a latent.
            LabelError: if a class is not known.
        """
        prior = Joint(self.conditional.prior, OneHot(len(self.classes)))
        z, weights = prior.parts(Blend(self.conditional, prior).latents(z, labels))
        return torch.cat([z, weights @ self.embeddings.to(weights)], 1)


def from_biggan(model: Any, *, truncation: float = 0.4, classes: Sequence[str] | None = None) -> BigGAN:
    """Make generators of a `BigGAN` of the package pytorch-pretrained-biggan.

    Args:
        model: the package's model, for example of its `BigGAN.from_pretrained`; it runs where it is.
        truncation: above 0, at most 1: less variety and more typical images below 1. Best a multiple of 0.02, where the
            package has statistics; between two of them it weighs them the wrong way round, which is kept.
        classes: the names of the classes; by default their numbers.

    Raises:
        ArgumentError: if it is no BigGAN, or the truncation is out of its range.
        LabelError: if there are not as many names as classes.
    """
    if not isinstance(model, nn.Module) or not all(hasattr(model, part) for part in ("embeddings", "generator")):
        raise ArgumentError(
            f"from_biggan takes a BigGAN of pytorch-pretrained-biggan, got {type(model).__name__}; other generators "
            "go through latentkit.wrap"
        )
    truncation = as_number(truncation, "truncation", least=0.0, most=1.0, open_least=True)
    count = _embedding(model).in_features
    names = tuple(map(str, range(count))) if classes is None else tuple(map(str, classes))
    if len(names) != count or len(set(names)) != count:
        raise LabelError(f"this BigGAN has {count} classes, so it takes as many distinct names, got {len(names)}")
    return BigGAN(model, names, truncation)


def load_biggan(
    folder: str | os.PathLike[str], *, truncation: float = 0.4, classes: Sequence[str] | None = None
) -> BigGAN:
    """Load a BigGAN from a folder with `config.json` and `pytorch_model.bin` or `model.safetensors`.

    Nothing in the files is run, and the weights must fit wholly; the package itself would keep random weights in the
    place of missing ones.

    Args:
        folder: as the package's own `from_pretrained` takes it.
        truncation: as in `from_biggan`.
        classes: as in `from_biggan`.

    Raises:
        MissingDependencyError: if pytorch-pretrained-biggan is not installed.
        CheckpointError: if a file is missing, damaged, or does not fit.
        ArgumentError, LabelError: as `from_biggan`.
    """
    library = needed("pytorch_pretrained_biggan", "biggan")
    place = Path(folder)
    try:
        settings = json.loads((place / "config.json").read_text(encoding="utf-8"))
        config = library.BigGANConfig.from_dict(settings)
    except OSError as error:
        raise CheckpointError(f"cannot read {place / 'config.json'}: {error.strerror or error}") from None
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{place / 'config.json'} holds no settings of a BigGAN: {reason(error)}") from None
    file = next((place / name for name in _WEIGHTS if (place / name).exists()), place / _WEIGHTS[0])
    state = read_weights(file)
    if not isinstance(state, dict):
        raise CheckpointError(f"{file} holds a {type(state).__name__}, not a state dict; nothing was loaded")

    def make() -> nn.Module:
        try:
            return library.BigGAN(config)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, RuntimeError, ArithmeticError) as error:
            raise CheckpointError(f"{place / 'config.json'} describes no BigGAN: {reason(error)}") from None

    return from_biggan(filled(make, unwrapped(state), str(file)), truncation=truncation, classes=classes)


def _embedding(model: Any) -> nn.Linear:
    return model.embeddings


def _sizes(model: Any) -> tuple[int, int]:
    """Return the sizes D of the noise and E of a class embedding."""
    embedding = _embedding(model).out_features
    return model.generator.gen_z.in_features - embedding, embedding
