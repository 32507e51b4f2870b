"""Files of weights that others wrote: read by what they are, and put into a network whole or not at all."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from latentkit.adapters.restricted import read_pickle, safely_loaded
from latentkit.errors import CheckpointError

__all__ = ["filled", "misfit", "read_weights", "unwrapped"]

_POINTER = b"version https://git-lfs"
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
#: The first thing in a file of `torch.save` from before it wrote zip archives.
_LEGACY = 0x1950A86A20F9469CFC6C
#: What wrappers for parallel training and compilation put before every key.
_WRAPPERS = ("module.", "_orig_mod.")

Network = TypeVar("Network", bound=nn.Module)


def read_weights(file: str | os.PathLike[str]) -> Any:
    """Return what a file of weights holds, without running anything in it.

    Safetensors, files of `torch.save`, and pickles such as StyleGAN's are told apart by what is in them.

    Args:
        file: the file.

    Returns:
        A dictionary of tensors for safetensors; else whatever was stored, see `latentkit.adapters.restricted`.

    Raises:
        CheckpointError: if there is no such file, it holds no weights, or more than tensors and plain settings.
    """
    path = Path(file)
    try:
        with path.open("rb") as opened:
            start = opened.read(64)
            opened.seek(0)
            if start.startswith(_POINTER):
                raise CheckpointError(
                    f"{path} is a Git LFS pointer, not the weights themselves; fetch them with `git lfs pull`"
                )
            if start.lstrip()[:1] == b"<":
                raise CheckpointError(f"{path} is a web page, not weights; the download went wrong")
            if start.startswith(_ZIP):
                return safely_loaded(opened, str(path))
            if start[8:9] == b"{":
                return _safetensors(path)
            if not start.startswith(_PICKLE):
                raise CheckpointError(f"{path} is no file of weights: safetensors, torch.save's, or a pickle")
            found = read_pickle(opened, str(path))
            if found != _LEGACY:
                return found
            opened.seek(0)
            return safely_loaded(opened, str(path))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from None


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError, KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} does not hold tensors: {error}") from None


def unwrapped(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state dict without the prefixes of wrappers, each stripped only where all keys have it.

    Examples:
        >>> unwrapped({"module._orig_mod.fc.weight": 1, "module._orig_mod.fc.bias": 2})
        {'fc.weight': 1, 'fc.bias': 2}
        >>> unwrapped({"module.weight": 1, "bias": 2})
        {'module.weight': 1, 'bias': 2}
    """
    plain = dict(state)
    while plain:
        prefix = next((p for p in _WRAPPERS if all(key.startswith(p) for key in plain)), None)
        if prefix is None:
            break
        plain = {key.removeprefix(prefix): value for key, value in plain.items()}
    return plain


def misfit(wanted: Mapping[str, Tensor], found: Mapping[str, Any]) -> str | None:
    """Return how tensors by name differ from those that are wanted, in one line, or None if they fit.

    Examples:
        >>> misfit({"a": torch.zeros(2), "b": torch.zeros(3)}, {"a": torch.zeros(4), "c": torch.zeros(3)})
        'missing: b; unexpected: c; shape: a (4,) instead of (2,)'
    """
    missing = [key for key in wanted if key not in found]
    unexpected = [key for key in found if key not in wanted]
    strangers = [key for key in found if key in wanted and not isinstance(found[key], Tensor)]
    shapes = [
        f"{key} {tuple(found[key].shape)} instead of {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if isinstance(found.get(key), Tensor) and found[key].shape != tensor.shape
    ]
    groups = (("missing", missing), ("unexpected", unexpected), ("no tensor", strangers), ("shape", shapes))
    parts = [f"{title}: {_few(items)}" for title, items in groups if items]
    return "; ".join(parts) or None


def _few(items: list[str]) -> str:
    return ", ".join(items[:3]) + (f", ... ({len(items)} in all)" if len(items) > 3 else "")


def filled(make: Callable[[], Network], state: Mapping[str, Any], source: str) -> Network:
    """Return a network with its weights, in float32 and eval mode, without gradients.

    Args:
        make: makes the network; nothing is drawn or allocated for what it makes.
        state: the weights by name, as the network's `state_dict()` names them.
        source: what they are called in errors.

    Raises:
        CheckpointError: if a tensor is missing, left over, of another shape or not finite; nothing is loaded then.
    """
    with torch.device("meta"):
        network = make()
    wrong = misfit(network.state_dict(), state)
    if wrong is not None:
        raise CheckpointError(f"{source} does not fit its network; nothing was loaded ({wrong})")
    ready = {}
    for key, value in state.items():
        ready[key] = value.detach().to("cpu", torch.float32) if value.is_floating_point() else value.detach().cpu()
        if not bool(torch.isfinite(ready[key]).all()):
            raise CheckpointError(f"{source} has weights that are not finite ({key}); nothing was loaded")
    network.load_state_dict(ready, strict=True, assign=True)
    return network.eval().requires_grad_(False)
