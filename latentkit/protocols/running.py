"""How a model of any kind is run: its modules in eval mode, where its weights are, with one row out for each in."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from latentkit.errors import ShapeError

__all__ = ["check_rows", "evaluating", "modules_of", "moved", "place_of"]


def modules_of(model: Any, seen: frozenset[int] = frozenset()) -> list[nn.Module]:
    """Return the modules that a model calls, as far as can be seen.

    Looks through wrappers, bound methods, partial functions, and the variables that a function closes over.
    """
    if isinstance(model, nn.Module):
        return [model]
    inside = [getattr(model, name) for name in ("module", "__self__", "func") if hasattr(model, name)]
    for cell in getattr(model, "__closure__", None) or ():
        try:
            inside.append(cell.cell_contents)
        except ValueError:  # a variable that has no value yet
            continue
    seen |= {id(model)}  # a function may close over itself
    # Only what can be called can be a model: a closed-over number or tensor has nothing to look into.
    parts = [part for part in inside if callable(part) and id(part) not in seen]
    return [found for part in parts for found in modules_of(part, seen)]


def place_of(model: Any) -> tuple[torch.device, torch.dtype]:
    """Return where a model's parameters are and their dtype: the CPU and float32 if it has none.

    A model whose attribute `takes` is a dtype takes inputs of that one, whatever its parameters are in.
    """
    taken = getattr(model, "takes", None)
    for module in modules_of(model):
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                return tensor.device, taken if isinstance(taken, torch.dtype) else tensor.dtype
    return torch.device("cpu"), torch.float32


def moved(device: str, *models: Any) -> None:
    """Put the modules of models on a device."""
    for model in models:
        for module in modules_of(model):
            module.to(device)


@contextmanager
def evaluating(*models: Any) -> Iterator[None]:
    """Put models into eval mode, and every submodule back into the mode that it had."""
    modules = [module for model in models for module in modules_of(model)]
    before = [(part, part.training) for module in modules for part in module.modules()]
    try:
        for module in modules:
            module.eval()
        yield
    finally:
        for part, mode in before:
            part.training = mode


def check_rows(output: Any, rows: int, what: str) -> Tensor:
    """Return a model's output if it is a tensor of `rows` rows, or raise `ShapeError`."""
    if not isinstance(output, Tensor):
        hint = '; wrap(..., output="detect") finds the samples in it' if what == "the generator" else ""
        raise ShapeError(f"{what} must return a tensor ({rows}, ...), got {type(output).__name__}{hint}")
    if output.ndim < 1 or output.shape[0] != rows:
        raise ShapeError(f"{what} must return one row a latent ({rows}, ...), got {tuple(output.shape)}")
    return output
