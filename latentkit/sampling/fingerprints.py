"""What tells models apart, so that work on one is never gone on with by another."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["fingerprint"]


def fingerprint(*things: Any) -> str:
    """Return sixteen hexadecimal digits that models, priors, tensors and plain values have in common with no others.

    A module goes by its class, those of its parts, and its weights; a function by its code and what it closes over; a
    dataclass, such as a generator with its prior or its class, by its fields. What a function finds in a global
    variable is not looked at.

    Examples:
        >>> import latentkit as lk
        >>> one, other = (lk.wrap(lambda z, k=k: k * z, lk.Normal(2)) for k in (1.0, 2.0))
        >>> fingerprint(one) == fingerprint(one), fingerprint(one) == fingerprint(other)
        (True, False)
    """
    found = hashlib.sha256()
    for thing in things:
        _take(thing, found.update, set())
    return found.hexdigest()[:16]


def _take(thing: Any, update: Callable[[bytes], None], within: set[int]) -> None:
    kind = type(thing)
    update(f"({kind.__module__}.{kind.__qualname__}:".encode())
    if id(thing) in within:  # a function may close over itself
        return
    inside: list[Any] = []
    if isinstance(thing, Tensor):
        array = thing.detach().cpu()
        update(f"{array.dtype}{tuple(array.shape)}".encode())
        update(array.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    elif isinstance(thing, np.ndarray) and thing.dtype != object:
        update(f"{thing.dtype}{thing.shape}".encode() + thing.tobytes())
    elif isinstance(thing, nn.Module):
        update(" ".join(f"{name}={type(part).__qualname__}" for name, part in thing.named_modules()).encode())
        inside = [getattr(thing, "settings", None), *thing.state_dict().items()]
    elif dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        inside = [(field.name, getattr(thing, field.name)) for field in dataclasses.fields(thing) if field.init]
    elif isinstance(thing, functools.partial):
        inside = [thing.func, thing.args, thing.keywords]
    elif isinstance(thing, FunctionType):
        inside = [thing.__qualname__, thing.__code__, thing.__defaults__, thing.__kwdefaults__, *_cells(thing)]
    elif isinstance(thing, CodeType):
        update(thing.co_code)
        inside = [thing.co_consts, thing.co_names]
    elif isinstance(thing, MethodType):
        inside = [thing.__func__, thing.__self__]
    elif isinstance(thing, Mapping):
        inside = list(thing.items())
    elif isinstance(thing, list | tuple):
        inside = list(thing)
    elif isinstance(thing, set | frozenset):
        inside = sorted(map(repr, thing))
    elif thing is None or isinstance(thing, bool | int | float | complex | str | bytes | torch.dtype | torch.device):
        update(repr(thing).encode())
    elif isinstance(thing, type | BuiltinFunctionType):
        update(f"{thing.__module__}.{thing.__qualname__}".encode())
    else:
        inside = sorted(getattr(thing, "__dict__", {}).items())
    for part in inside:
        _take(part, update, within | {id(thing)})
    update(b")")


def _cells(function: FunctionType) -> list[Any]:
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # a variable that has no value yet
            continue
    return found
