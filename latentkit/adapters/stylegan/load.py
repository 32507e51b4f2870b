"""StyleGANs from files: NVIDIA's pickles, and state dicts of theirs and of the common re-implementation."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentkit.adapters.restricted import Record
from latentkit.adapters.stylegan.described import critic_settings, generator_settings
from latentkit.adapters.stylegan.model import DRAWS, StyleGAN
from latentkit.adapters.stylegan.renamed import renamed_critic, renamed_generator
from latentkit.adapters.weights import filled, read_weights, unwrapped
from latentkit.errors import CheckpointError, LabelError
from latentkit.nets.stylegan import (
    StyleGAN2Critic,
    StyleGAN2Generator,
    StyleGAN3Generator,
    StyleGenerator,
    binomial_kernel,
)
from latentkit.priors import Normal

__all__ = ["load_stylegan"]

#: What the parts of a file are called, the averaged generator first: its images are the better ones.
_GENERATORS = ("G_ema", "g_ema", "G", "g")
_CRITICS = ("D", "d")
_FAMILIES: dict[str, type[StyleGenerator]] = {
    "stylegan2-generator": StyleGAN2Generator,
    "stylegan3-generator": StyleGAN3Generator,
}


def load_stylegan(file: str | os.PathLike[str], *, classes: Sequence[str] | None = None) -> StyleGAN:
    """Load a StyleGAN2, StyleGAN2-ADA or StyleGAN3 (T or R) from a file, without running anything in it.

    Taken are the pickles that NVIDIA's PyTorch releases write; files of `torch.save` and safetensors that hold their
    state dicts, bare or under "G_ema", "G" and "D"; and checkpoints of the common re-implementation of StyleGAN2 with
    their "g_ema", "g" and "d". A state dict does not hold all settings: the clamp of activations is then that of the
    published configuration in float32, none for StyleGAN2 and 256 for StyleGAN3. Everything is computed in float32.

    Args:
        file: the file.
        classes: the names of the classes of a conditional one; by default their numbers.

    Returns:
        The model, on the CPU, in eval mode.

    Raises:
        CheckpointError: if the file is missing or damaged, holds anything but tensors and plain settings, or the
            weights do not fit a StyleGAN; the text names what is wrong, and nothing is loaded.
        LabelError: if there are not as many names as classes.

    References:
        Karras, Laine, Aittala, Hellsten, Lehtinen, Aila (2020), "Analyzing and improving the image quality of
            StyleGAN".
        Karras, Aittala, Laine, Härkönen, Hellsten, Lehtinen, Aila (2021), "Alias-free generative adversarial networks".
    """
    source = str(Path(file))
    parts = _parts(read_weights(file), source)
    key = next((name for name in _GENERATORS if parts.get(name) is not None), None)
    if key is None:
        if any(name in parts for name in _CRITICS):
            raise CheckpointError(f"{source} holds a discriminator and no generator; nothing was loaded")
        raise CheckpointError(f"{source} holds {', '.join(map(str, list(parts)[:5]))} and no generator's weights")
    network = _generator(*_state(parts[key], source), source, parts.get("latent_avg"))
    other = next((name for name in _CRITICS if parts.get(name) is not None), None)
    critic = None if other is None else _critic(*_state(parts[other], source), source)
    found = network.classes
    if classes is not None and len(classes) != found:
        raise LabelError(f"{source} has {found} classes, so it takes as many names, got {len(classes)}")
    names = tuple(map(str, range(found))) if classes is None else tuple(map(str, classes))
    if len(set(names)) != len(names):
        raise LabelError(f"the names of classes must be distinct, got {', '.join(names)}")
    if critic is not None and (critic.classes, critic.size) != (found, network.settings["size"]):
        raise CheckpointError(
            f"{source} has a generator of {found} classes and side {network.settings['size']}, and a discriminator of "
            f"{critic.classes} and {critic.size}; nothing was loaded"
        )
    return StyleGAN(network, names, critic)


def _parts(found: Any, source: str) -> dict[str, Any]:
    """Return what a file holds by the names of its parts; a bare network is the generator "G"."""
    if isinstance(found, Record):
        return {"G": found}
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{source} holds a {type(found).__name__}, not networks; nothing was loaded")
    if found and _is_state(found):
        plain = unwrapped(found)
        names = {key.split(".", 1)[0] for key in plain}
        if not names <= {*_GENERATORS, *_CRITICS}:
            return {"G": plain}
        return {
            name: {key.split(".", 1)[1]: value for key, value in plain.items() if key.startswith(f"{name}.")}
            for name in names
        }
    return dict(found)


def _is_state(found: Mapping[Any, Any]) -> bool:
    """Whether all that a dictionary holds is tensors by name."""
    return all(isinstance(key, str) and isinstance(value, Tensor) for key, value in found.items())


def _state(part: Any, source: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return a part's weights by name, and the arguments that its network was built with as far as they are known."""
    if isinstance(part, Record):
        about = part.state.get("_init_kwargs")
        return dict(_tensors(part, "", source)), dict(about) if isinstance(about, Mapping) else {}
    if not isinstance(part, Mapping) or not _is_state(part):
        raise CheckpointError(f"{source} holds a {type(part).__name__} in place of a network's state dict")
    return unwrapped(part), {}


def _tensors(record: Record, lead: str, source: str) -> list[tuple[str, Tensor]]:
    """Return the parameters and buffers of a network that was not built, as its `state_dict()` would name them."""
    groups = [record.state.get(name) for name in ("_parameters", "_buffers", "_modules")]
    if not all(isinstance(group, Mapping) for group in groups):
        raise CheckpointError(f"{source} holds a {record.class_name} that is no network; nothing was loaded")
    parameters, buffers, modules = (dict(group or {}) for group in groups)
    own = [(lead + str(name), value) for name, value in {**parameters, **buffers}.items() if isinstance(value, Tensor)]
    for name, inner in modules.items():
        if isinstance(inner, Record):
            own += _tensors(inner, f"{lead}{name}.", source)
    return own


def _generator(state: dict[str, Tensor], about: dict[str, Any], source: str, average: Tensor | None) -> StyleGenerator:
    foreign = "style.1.weight" in state and "input.input" in state
    if "final_linear.0.weight" in state:
        raise CheckpointError(f"{source} holds a discriminator where a generator is wanted; nothing was loaded")
    if foreign:
        state = renamed_generator(state, source)
        mean = average.flatten() if isinstance(average, Tensor) else torch.zeros(len(state["mapping.fc0.bias"]))
        state["mapping.w_avg"] = mean
    name, settings = generator_settings(state, about, source)

    def make() -> StyleGenerator:
        return _FAMILIES[name](**settings)

    network = filled(make, _with_filters(state, make) if foreign else state, source)
    if foreign and average is None:
        with torch.no_grad():
            z = Normal(network.z_dim).sample(DRAWS, seed=0)
            network.mapping.w_avg.copy_(torch.cat([network.map(part) for part in z.split(1024)]).mean(0))
    return network


def _critic(state: dict[str, Tensor], about: dict[str, Any], source: str) -> StyleGAN2Critic:
    foreign = "final_linear.0.weight" in state
    if foreign:
        state = renamed_critic(state, source)
    settings = critic_settings(state, about, source)

    def make() -> StyleGAN2Critic:
        return StyleGAN2Critic(**settings)

    if settings["group"]:  # as published a batch's own number takes its place
        state = {"b4.mbstd.running_std": torch.zeros(()), **state}
    return filled(make, _with_filters(state, make) if foreign else state, f"{source}, its discriminator,")


def _with_filters(state: Mapping[str, Tensor], make: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """Return weights with the published filter wherever the network has one: a re-implementation names it otherwise."""
    with torch.device("meta"):
        names = make().state_dict()
    return {**{name: binomial_kernel() for name in names if name.endswith("resample_filter")}, **state}
