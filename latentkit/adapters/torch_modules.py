"""Modules of the user's own, filled from files of weights, and called with the latents that they were built for."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentkit.adapters.weights import filled, read_weights, unwrapped
from latentkit.checks import as_count
from latentkit.errors import ArgumentError, CheckpointError, ShapeError
from latentkit.nets.fitting import initialised
from latentkit.priors import Prior
from latentkit.protocols import Output, wrap

__all__ = ["InBatches", "Shaped", "fitted_to", "load_module", "parts_of", "read_start", "state_of"]

#: What training scripts call a generator's weights in their files, the averaged ones first.
_PARTS = (
    *("G_ema", "g_ema", "netG_ema", "generator_ema", "ema", "generator", "netG", "G", "g", "gen", "decoder"),
    *("state_dict", "model_state_dict", "model", "weights", "params"),
)
_COUNTER = ".num_batches_tracked"


def load_module(
    make: Callable[[], nn.Module],
    file: str | os.PathLike[str],
    prior: Prior,
    *,
    part: str | None = None,
    latent_shape: Sequence[int] | None = None,
    output: Output | str | None = None,
    classes: Sequence[str] | int | None = None,
) -> Any:
    """Make a module of your own a generator with the weights in a file, without running anything in the file.

    Args:
        make: makes the module; its initial weights are replaced by the file's.
        file: safetensors, or what `torch.save` wrote: a state dict, or a dictionary that holds one, from any device.
            The prefixes that wrappers put before all keys (`module.`, `_orig_mod.`) are taken off.
        prior: the distribution of the latents.
        part: which part of the file, where it holds several state dicts; by default the averaged generator's.
        latent_shape: the shape in which the module takes one latent, such as (100, 1, 1); by default (D,).
        output: what the module returns; see `wrap`.
        classes: the names of its classes, or how many there are; see `wrap`.

    Returns:
        A `Generator`, or with classes a `ConditionalGenerator`; its module is in eval mode, without gradients for its
        weights.

    Raises:
        CheckpointError: if the file is missing or damaged, holds more than tensors and plain settings, or its
            weights are not the module's; the text has a short diff, and nothing is loaded.
        ShapeError: if the latent's shape does not fit the prior.
    """
    source = str(Path(file))
    state = state_of(read_weights(file), source, part)
    module = initialised(make, 0)
    if not isinstance(module, nn.Module):
        raise ArgumentError(f"make must return a module, got {type(module).__name__}")
    own = module.state_dict()
    # A part of the module's own may be called as a wrapper is: what was taken off for a wrapper's goes back on.
    lead = next(iter(own), "").removesuffix(next(iter(unwrapped(own)), ""))
    state = {lead + key: value for key, value in state.items()}
    # Files from before batch norm counted its batches lack the counters, which eval mode doesn't use.
    state = {**{key: own[key] for key in own if key.endswith(_COUNTER)}, **state}
    network = filled(lambda: module, state, source)
    return wrap(fitted_to(network, prior.dim, latent_shape), prior, output=output, classes=classes)


def read_start(file: str | os.PathLike[str], count: int = 64) -> bytes:
    """Return the first bytes of a file that may hold a network.

    Raises:
        CheckpointError: if it can't be read, or is a Git LFS pointer.
    """
    path = Path(file)
    try:
        with path.open("rb") as opened:
            start = opened.read(count)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from None
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path} is a Git LFS pointer, not the network itself; fetch it with `git lfs pull`")
    return start


def parts_of(found: Any, source: str) -> dict[str, dict[str, Tensor]]:
    """Return the state dicts in what a file holds, by name, without wrappers' prefixes; a bare one is called "".

    Raises:
        CheckpointError: if there is none.
    """
    if isinstance(found, Mapping) and found and _is_state(found):
        return {"": unwrapped(found)}
    if isinstance(found, Mapping):
        parts = {str(key): unwrapped(value) for key, value in found.items() if _is_state(value) and value}
        if parts:
            return parts
    raise CheckpointError(
        f"{source} holds no state dict, but a {type(found).__name__}; save the network's state_dict() instead"
    )


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())


def state_of(found: Any, source: str, part: str | None = None) -> dict[str, Tensor]:
    """Return one state dict of what a file holds: the part that is named, the only one, or a generator's.

    Raises:
        CheckpointError: if there is none, or it cannot be told which is meant.
    """
    parts = parts_of(found, source)
    if part is not None:
        if part not in parts:
            raise CheckpointError(f"{source} has no part {part!r}; it holds {_named(parts)}")
        return parts[part]
    if len(parts) == 1:
        return next(iter(parts.values()))
    chosen = next((name for name in _PARTS if name in parts), None)
    if chosen is None:
        raise CheckpointError(f"{source} holds {_named(parts)}; say which part is the generator's")
    return parts[chosen]


def _named(parts: Mapping[str, Any]) -> str:
    return ", ".join(name or "one bare state dict" for name in list(parts)[:8])


@dataclass(frozen=True, eq=False)
class Shaped:
    """A module or function that takes each latent in a shape of its own."""

    module: Callable[..., Any]
    shape: tuple[int, ...]

    def __call__(self, z: Tensor, *labels: Tensor) -> Any:
        """Return the module's output for latents (N, D)."""
        return self.module(z.reshape(len(z), *self.shape), *labels)


@dataclass(frozen=True, eq=False)
class InBatches:
    """A module or function that only takes batches of one size: fewer rows are filled up, more are split."""

    module: Callable[..., Any]
    size: int

    def __call__(self, z: Tensor, *labels: Tensor) -> Any:
        """Return the module's output for latents (N, D); one of several tensors comes back as a tuple."""
        made = []
        for start in range(0, len(z), self.size):
            rows = torch.arange(start, start + self.size, device=z.device).clamp(max=len(z) - 1)
            made.append(self.module(z[rows], *(part[rows] for part in labels)))
        if not made:
            raise ShapeError("there must be at least one latent")
        if isinstance(made[0], (tuple, list)):
            return tuple(torch.cat(list(parts))[: len(z)] for parts in zip(*made, strict=True))
        return torch.cat(made)[: len(z)]


def fitted_to(
    module: Callable[..., Any], dim: int, latent_shape: Sequence[int] | None, batch: int | None = None
) -> Callable[..., Any]:
    """Return what takes latents (N, dim), for a module that takes (batch or N, *latent_shape).

    Raises:
        ShapeError: if the latent's shape does not hold `dim` numbers.
    """
    shape = (dim,) if latent_shape is None else tuple(as_count(side, "a side of latent_shape") for side in latent_shape)
    if math.prod(shape) != dim:
        raise ShapeError(f"latents of {dim} numbers don't have the shape {shape} that the model takes them in")
    fitted = module if batch is None else InBatches(module, as_count(batch, "batch"))
    return fitted if shape == (dim,) else Shaped(fitted, shape)
