"""Copies of models of any kind, with the modules that they call, as far as those can be seen."""

import copy
from dataclasses import fields, is_dataclass
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import nn

from latentkit.console import machine_memory
from latentkit.protocols import modules_of

__all__ = ["MOST_MEMORY", "NotCopied", "copied"]

#: Share of the machine's memory that the copied weights of a module may take.
MOST_MEMORY = 1 / 8


class NotCopied(Exception):
    """A part of a model that can't be copied, or of which nobody can say that the copy would be the same."""


def copied(part: Any, copies: dict[int, nn.Module]) -> Any:
    """Return a part of a model with copies of its modules, which are added to `copies` by the original's id."""
    if isinstance(part, nn.Module):
        if id(part) not in copies:
            copies[id(part)] = _module_copied(part)
        return copies[id(part)]
    if not modules_of(part):
        return part
    if isinstance(part, MethodType):
        return MethodType(part.__func__, copied(part.__self__, copies))
    if isinstance(part, partial):
        return partial(copied(part.func, copies), *part.args, **part.keywords)
    if not is_dataclass(part) or isinstance(part, type):
        raise NotCopied(f"a {type(part).__name__} is not known")
    twin = copy.copy(part)
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, nn.Module) or callable(value):
            object.__setattr__(twin, field.name, copied(value, copies))
    return twin


def _module_copied(module: nn.Module) -> nn.Module:
    for part in module.modules():
        if part._forward_hooks or part._forward_pre_hooks:
            raise NotCopied("it has hooks, which mean this module")
        if "forward" in vars(part) or isinstance(part, torch.jit.ScriptModule | nn.DataParallel):
            raise NotCopied(f"a {type(part).__name__} runs something else than its modules")
    weights = sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))
    if weights > MOST_MEMORY * machine_memory():
        raise NotCopied("it is too large to be there twice")
    return copy.deepcopy(module).eval().requires_grad_(False)
