"""The kinds of files that can be imported, in a closed table: how each is read, and with which options."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from latentkit.adapters.autoencoders import load_autoencoder
from latentkit.adapters.biggan import load_biggan
from latentkit.adapters.dcgan import load_dcgan
from latentkit.adapters.exported import ExportedNetwork, load_exported
from latentkit.adapters.exporting import made_by
from latentkit.adapters.gan_zoo import load_gan_zoo
from latentkit.adapters.onnx import ONNXModel, load_onnx
from latentkit.adapters.pythae import load_pythae
from latentkit.adapters.scores import as_critic
from latentkit.adapters.scripted import load_torchscript, read_torchscript
from latentkit.adapters.stylegan import load_stylegan
from latentkit.adapters.torch_modules import load_module
from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_count, one_of
from latentkit.errors import ArgumentError
from latentkit.priors import Normal, Prior, Sphere, Uniform
from latentkit.protocols import ConditionalGenerator, Critic, Encoder, Generator, Output

__all__ = ["KINDS", "Kind", "output_of"]

Source = str | os.PathLike[str]

_PRIORS: dict[str, Callable[[int], Prior]] = {"normal": Normal, "uniform": Uniform, "sphere": Sphere}


@dataclass(frozen=True)
class Kind:
    """A kind of file that can be imported.

    Attributes: `about`, what it is, in a few words; `options`, the names of the options that it takes; `load`, which
    takes the file and those options that were given, and returns a checkpoint; `runs_code`, whether that runs code of
    the user's: then it is done at import only, and never because a reference says so.
    """

    about: str
    options: tuple[str, ...]
    load: Callable[..., Checkpoint]
    runs_code: bool = False


def _checkpoint(generator: Generator, critic: Critic | None = None, encoder: Encoder | None = None) -> Checkpoint:
    """Return a checkpoint of what was read; it has no held-out samples."""
    classes = generator.classes if isinstance(generator, ConditionalGenerator) else ()
    return Checkpoint(generator, critic, torch.empty(0), classes=classes, encoder=encoder, trainer="imported")


def _network(load: Callable[..., Any], read: Callable[..., Any]) -> Callable[..., Checkpoint]:
    """Return what reads a kind of networks: `load` makes a generator of a file, `read` the bare network of a critic."""

    def loaded(
        source: Source,
        *,
        latent_dim: int | None = None,
        prior: str = "normal",
        output: Mapping[str, Any] | str = "detect",
        critic: str | None = None,
        **options: Any,
    ) -> Checkpoint:
        family = _PRIORS[one_of(prior, "prior", tuple(_PRIORS))]
        drawn = None if latent_dim is None else family(as_count(latent_dim, "latent_dim"))
        declared = output_of(output)
        generator = load(source, drawn, output=declared, **options)
        if drawn is None:
            generator = replace(generator, prior=family(generator.prior.dim))
        return _checkpoint(generator, None if critic is None else as_critic(read(critic), declared))

    return loaded


def _stylegan(
    source: Source,
    *,
    classes: Sequence[str] | None = None,
    view: str = "z",
    psi: float | None = None,
    label: str | None = None,
) -> Checkpoint:
    model = load_stylegan(source, classes=classes)
    one_of(view, "view", ("z", "w", "wplus"))
    if view == "z" and label is not None:
        raise ArgumentError("label chooses the class of the views w and wplus; of z it is chosen with --class")
    strength = 1.0 if psi is None else psi
    if view == "z":
        generator = model.z if psi is None else model.view_z(psi=strength)
    else:
        generator = (model.view_w if view == "w" else model.view_wplus)(psi=strength, label=label)
    return _checkpoint(generator, model.critic)


def _pytorch(
    source: Source,
    *,
    factory: str | None = None,
    latent_dim: int | None = None,
    prior: str = "normal",
    output: Mapping[str, Any] | str = "detect",
    **options: Any,
) -> Checkpoint:
    if factory is None or latent_dim is None:
        raise ArgumentError(
            "a state dict needs the code of its network and the size of its latents: factory, such as "
            "models.py:Generator or package.module:make, and latent_dim"
        )
    drawn = _PRIORS[one_of(prior, "prior", tuple(_PRIORS))](as_count(latent_dim, "latent_dim"))
    generator = load_module(made_by(factory), source, drawn, output=output_of(output), **options)
    return _checkpoint(generator)


def _biggan(
    source: Source, *, view: str = "classes", truncation: float = 0.4, classes: Sequence[str] | None = None
) -> Checkpoint:
    model = load_biggan(source, truncation=truncation, classes=classes)
    one_of(view, "view", ("classes", "embedding"))
    return _checkpoint(model.conditional if view == "classes" else model.embedded)


def _gan_zoo(source: Source) -> Checkpoint:
    model = load_gan_zoo(source)
    return _checkpoint(model.generator, model.critic)


def _autoencoder(source: Source, *, size: int | None = None) -> Checkpoint:
    model = load_autoencoder(source, size=size)
    return _checkpoint(model.generator, encoder=model.encoder)


def _pythae(source: Source) -> Checkpoint:
    model = load_pythae(source)
    return _checkpoint(model.generator, encoder=model.encoder)


def output_of(output: Mapping[str, Any] | str) -> Output | None:
    """Return the `Output` of its fields, or None if it is to be detected."""
    if output == "detect":
        return None
    if not isinstance(output, Mapping):
        raise ArgumentError(f'output must be the fields of an Output, or "detect", got {output!r}')
    try:
        return Output(**{**output, "shape": None if output.get("shape") is None else tuple(output["shape"])})
    except TypeError:
        raise ArgumentError(f"output has the fields low, high, channels, key and shape, got {dict(output)!r}") from None


_COMMON = ("latent_dim", "prior", "output", "classes", "critic")

#: The kinds of files that can be imported, by name.
KINDS: dict[str, Kind] = {
    "autoencoder": Kind("a folder of diffusers' AutoencoderKL, AutoencoderTiny or VQModel", ("size",), _autoencoder),
    "biggan": Kind("a folder of pytorch-pretrained-biggan", ("view", "truncation", "classes"), _biggan),
    "dcgan": Kind("state dicts by the names of PyTorch's DCGAN example", ("critic", "part"), load_dcgan),
    "exported": Kind("a .pt2 file of torch.export.save", _COMMON, _network(load_exported, ExportedNetwork)),
    "gan-zoo": Kind("a file of torch.hub's pytorch_GAN_zoo: PGAN or DCGAN", (), _gan_zoo),
    "onnx": Kind("an ONNX file", (*_COMMON, "latent_shape"), _network(load_onnx, ONNXModel)),
    "pythae": Kind("a folder of pythae", (), _pythae),
    "pytorch": Kind(
        "a state dict of your own network, with the code that makes it (which is run)",
        ("factory", "latent_dim", "prior", "output", "classes", "latent_shape", "part"),
        _pytorch,
        runs_code=True,
    ),
    "stylegan": Kind("StyleGAN2, ADA or 3: a pickle or state dict", ("classes", "view", "psi", "label"), _stylegan),
    "torchscript": Kind(
        "a file of torch.jit.save", (*_COMMON, "latent_shape"), _network(load_torchscript, read_torchscript)
    ),
}
