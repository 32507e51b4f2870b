"""TorchScript files as generators."""

import os
import re
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import nn

from latentkit.adapters.foreign import reason
from latentkit.adapters.operators import is_checked
from latentkit.adapters.torch_modules import fitted_to, read_start
from latentkit.errors import ArgumentError, CheckpointError
from latentkit.priors import Prior
from latentkit.protocols import Output, wrap

__all__ = ["load_torchscript", "read_torchscript"]

#: Words by which TorchScript reaches beyond tensors: for files, and for what is named by text.
_WORDS = re.compile(r"\b(?:(?:torch\.)?(?:from_file|save|load)|getattr)\b")
#: The only way in which PyTorch writes a part's name as text, since a name like "0" is no word.
_NUMBERED = re.compile(r'\bgetattr\([\w.]+, "[^"\\\n]*"\)')
#: Operators, of which only PyTorch's own are taken, written as PyTorch writes them.
_OPERATORS = re.compile(r"\bops\b(?!\.(?:prim|aten)\.\w)[\s.\w]{0,40}")
_WORD = re.compile(r"\w+")
_Packet = torch._ops.OpOverloadPacket
_MOST_CODE = 64 * 2**20


def load_torchscript(
    file: str | os.PathLike[str],
    prior: Prior | None,
    *,
    latent_shape: Sequence[int] | None = None,
    output: Output | str | None = None,
    classes: Sequence[str] | int | None = None,
) -> Any:
    """Make a TorchScript file a generator.

    Such a file is a program. It runs inside TorchScript's interpreter, which knows tensor operators and no Python, so
    it can compute anything and import nothing; one that names an operator that reads or writes files, or one of
    another library, or that looks names up by text, is refused unread. It can still use up memory and time.
    TorchScript is deprecated in PyTorch: a file of `torch.export` is the better one to keep.

    Args:
        file: what `torch.jit.save` wrote.
        prior: the distribution of the latents; a TorchScript file does not tell their size, so it must be given.
        latent_shape: the shape in which it takes one latent; by default (D,), and (D, 1, 1) where that fails.
        output: what it returns; see `wrap`.
        classes: the names of its classes, or how many there are; see `wrap`.

    Returns:
        A `Generator`, or with classes a `ConditionalGenerator`, on the CPU; gradients reach the latents.

    Raises:
        CheckpointError: if the file is missing or damaged, or no TorchScript; nothing of it is run.
        ArgumentError: if it does not take such latents.
    """
    if prior is None:
        raise ArgumentError(f"{file} does not say how large its latents are; give their size, with Normal(128) or such")
    module = read_torchscript(file)
    labelled = classes is not None
    shape = latent_shape if latent_shape is not None else _latent_shape(module, prior, labelled, Path(file))
    return wrap(fitted_to(module, prior.dim, shape), prior, output=output, classes=classes)


def read_torchscript(file: str | os.PathLike[str]) -> nn.Module:
    """Return the module in a TorchScript file, on the CPU, in eval mode, without gradients for its weights.

    Raises:
        CheckpointError: if the file is missing or damaged, no TorchScript, or reaches beyond tensors.
    """
    path = Path(file)
    _check(path)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*torch.jit.load.*deprecated.*", DeprecationWarning)
            with path.open("rb") as opened:  # not the path, which may be no UTF-8
                module = torch.jit.load(opened, map_location="cpu")
    except (RuntimeError, ValueError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as TorchScript: {str(error).strip().splitlines()[0]}") from None
    for weight in module.parameters():  # all at once is not for scripted modules
        weight.requires_grad_(False)
    return module.eval()


def _check(path: Path) -> None:
    """Refuse what is no TorchScript, or names what reaches beyond tensors, before anything is loaded."""
    read_start(path)
    opened = ExitStack()
    try:
        # PyTorch's own reader, as it reads what will be compiled: others take a crafted archive for another one.
        archive = torch._C.PyTorchFileReader(opened.enter_context(path.open("rb")))  # a path may be no UTF-8
        names = archive.get_all_records()
        code = [name for name in names if name.lower().startswith("code/") and name.lower().endswith(".py")]
        if not code:
            what = "a pickle of torch.save" if "data.pkl" in names else "a zip archive"
            raise CheckpointError(
                f"{path} is {what} without TorchScript in it; a state dict goes with its network's code "
                "(load_module), a pickled network is not loaded: save it with torch.export.save"
            )
        if len({name.lower() for name in names}) < len(names):  # it doesn't tell capitals
            raise CheckpointError(f"{path} holds two files of one name; nothing was loaded")
        if sum(archive.get_record_size(name) for name in code) > _MOST_CODE:
            raise CheckpointError(f"{path} holds too much code for a network; nothing was loaded")
        for name in code:
            text = archive.get_record(name).decode("utf-8", "replace")
            found = _reaching(text)
            if found:
                raise CheckpointError(f"{path} calls {found[0]}, which reaches beyond tensors; nothing was loaded")
            word = _believing(text)
            if word:
                raise CheckpointError(f"{path} calls {word}, which does not check what it is given; nothing was loaded")
    except (RuntimeError, OSError) as error:
        raise CheckpointError(f"{path} is no TorchScript file ({reason(error)}); nothing was loaded") from None
    finally:
        opened.close()


def _reaching(code: str) -> re.Match[str] | None:
    """Return where TorchScript reaches beyond tensors, or None."""
    found = _OPERATORS.search(code) or next((one for one in _WORDS.finditer(code) if one[0] != "getattr"), None)
    count = 1
    while count:  # from the inside out
        code, count = _NUMBERED.subn("part", code)
    return found or _WORDS.search(code)


def _believing(code: str) -> str | None:
    """Return an operator that TorchScript names and that does not check what it is given, or None."""
    words = sorted(word for word in set(_WORD.findall(code)) if not is_checked(word))
    return next((word for word in words if isinstance(getattr(torch.ops.aten, word, None), _Packet)), None)


def _latent_shape(module: nn.Module, prior: Prior, labelled: bool, path: Path) -> tuple[int, ...]:
    """Return the first shape of a latent that the module takes; the file does not tell."""
    z = prior.sample(2, seed=0)
    labels = (torch.zeros(2, dtype=torch.int64),) if labelled else ()
    why = ""
    for shape in ((prior.dim,), (prior.dim, 1, 1)):
        try:
            with torch.no_grad():
                module(z.reshape(2, *shape), *labels)
            return shape
        except RuntimeError as error:
            why = why or str(error).strip().splitlines()[-1]
    raise ArgumentError(
        f"{path} takes latents neither as (N, {prior.dim}) nor as (N, {prior.dim}, 1, 1) ({why[:160]}); give their "
        "size by the prior, or latent_shape; a discriminator takes samples, not latents"
    )
