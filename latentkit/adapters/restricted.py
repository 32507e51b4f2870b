"""Pickles read without running anything in them: tensors, arrays and plain settings come out, all else is refused.

A pickle is a program that may call any function that Python can import. Here the names that it asks for are looked up
in a closed table of makers of inert things, and nothing is imported. Objects of the classes that StyleGAN's pickles
carry together with their source code become a `Record` of the class's name and state; the source code stays text.
"""

import io
import math
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from latentkit.adapters.foreign import reason
from latentkit.errors import CheckpointError

__all__ = ["Record", "read_pickle", "safely_loaded"]

_TENSORFLOW = ("dnnlib.tflib", "tflib", "tfutil", "network")
_MOST_SIDES = 32  # axes of an array


@dataclass(frozen=True)
class Record:
    """An object of a class that was not built: the name of the class, and the object's attributes."""

    class_name: str
    state: dict[str, Any]


def read_pickle(file: BinaryIO, name: str = "the pickle") -> Any:
    """Return what a pickle holds, without running anything in it.

    Args:
        file: open for reading bytes; read up to the end of its first pickle.
        name: what it is called in errors.

    Returns:
        Numbers, text, bytes, lists, tuples, sets and dictionaries as they are; tensors on the CPU without gradients;
        NumPy arrays; and a `Record` for each object of a class that carries its source code.

    Raises:
        CheckpointError: if it asks for anything else, which is named, or is damaged.

    Examples:
        >>> import pickle
        >>> read_pickle(io.BytesIO(pickle.dumps({"z_dim": 512})))
        {'z_dim': 512}
    """
    try:
        return _plain(_Reader(file, name).load())
    except CheckpointError:
        raise
    except (MemoryError, RecursionError):
        raise CheckpointError(f"{name} asks for more memory than there is; nothing was loaded") from None
    except Exception as error:  # a crafted pickle fails in every way that there is
        raise CheckpointError(
            f"{name} is damaged or no pickle ({type(error).__name__}: {reason(error)}); nothing was loaded"
        ) from None


def safely_loaded(file: BinaryIO, name: str) -> Any:
    """Return what a file of `torch.save` holds, on the CPU, by torch's safe loader.

    Raises:
        CheckpointError: if it holds anything but tensors and plain values, or is damaged.
    """
    import argparse
    import re
    import warnings

    try:
        # A namespace holds attributes and does nothing; training scripts store their options in one.
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            return torch.load(file, map_location="cpu", weights_only=True)  # noqa: TID251 - the safe loader
    except Exception as error:  # whatever the file makes it fail with
        asked = re.search(r"GLOBAL (\S+)", str(error))
        if asked:
            raise CheckpointError(_refusal(name, asked[1])) from None
        raise CheckpointError(f"{name} cannot be read by torch's safe loader: {reason(error)}") from None


def _refusal(name: str, asked: str) -> str:
    return (
        f"{name} asks for {asked}, which is neither a tensor nor a plain setting; nothing of it was run or loaded; "
        "save the network's state_dict() instead"
    )


class _Maker:
    """A function that a pickle may call. It takes no attributes, so that no pickle can change it."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "_make", make)

    def __call__(self, *args: Any) -> Any:
        return self._make(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise TypeError("a pickle may not change what it calls")

    def __setstate__(self, state: Any) -> None:
        raise TypeError("a pickle may not change what it calls")


class _Name:
    """Stands for a class that a pickle only names."""

    __slots__ = ()


class _Dtype:
    """A NumPy dtype as its text and byte order; NumPy's own would take its insides from the pickle."""

    __slots__ = ("code", "swapped")

    def __init__(self, code: str, *others: Any) -> None:
        self.code, self.swapped = str(code), False

    def __setstate__(self, state: Any) -> None:
        self.swapped = state[1] == (">" if sys.byteorder == "little" else "<")

    def dtype(self) -> np.dtype[Any]:
        found = np.dtype(self.code)
        if found.kind not in "biufc" or found.subdtype is not None:
            raise ValueError(f"arrays of {self.code!r} are no numbers")
        return found.newbyteorder() if self.swapped else found


class _Array:
    """A NumPy array that is being read: filled by the state that follows it."""

    __slots__ = ("value",)

    def __init__(self, *args: Any) -> None:
        self.value = np.empty(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, columns_first, data = state
        if len(shape) > _MOST_SIDES or not isinstance(data, bytes):
            raise ValueError("an array must be its bytes")
        flat = np.frombuffer(data, kind.dtype())
        self.value = flat.reshape(shape, order="F" if columns_first else "C").copy()


def _buffered(data: bytes | bytearray, kind: _Dtype, shape: tuple[int, ...], order: str, axes: Any = None) -> Any:
    """Return an array from the bytes that NumPy stores it as in a newer pickle."""
    stored = np.frombuffer(data, kind.dtype()).reshape(shape, order="F" if order == "F" else "C")
    return (stored if axes is None else stored.transpose(axes)).copy()


def _scalar(kind: _Dtype, data: bytes) -> int | float | complex | bool:
    return np.frombuffer(data, kind.dtype(), count=1)[0].item()


def _storage(data: bytes) -> Tensor:
    """Return the numbers (K,) of a storage that a pickle holds as a file within."""
    found = safely_loaded(io.BytesIO(data), "a tensor in the pickle")
    if not isinstance(found, torch.TypedStorage):
        raise ValueError(f"a tensor's numbers are a {type(found).__name__}")
    empty = torch.empty(0, dtype=found.dtype)
    return empty.set_(found._untyped_storage, 0, (found._size(),), (1,))


def _tensor(numbers: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *others: Any) -> Tensor:
    """Return a tensor of its storage's numbers (K,); the strides may not lead out of them."""
    if not isinstance(numbers, Tensor) or len(size) != len(stride) or min((offset, *size, *stride)) < 0:
        raise ValueError("a tensor does not fit its numbers")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if math.prod(size) > len(numbers) or (math.prod(size) and last >= len(numbers)):
        raise ValueError("a tensor reaches beyond its numbers")
    return torch.as_strided(numbers, size, stride, offset).clone()


def _record(meta: dict[str, Any]) -> Record:
    return Record(str(meta["class_name"]), dict(meta["state"]))


def _encoded(text: str, encoding: str) -> bytes:
    """Return bytes that an older pickle holds as text."""
    if encoding != "latin1":
        raise ValueError(f"bytes are held as latin1 text, not as {encoding!r}")
    return text.encode("latin1")


#: What a pickle may name. Types are those that cannot be changed and do nothing when they are called.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): _Maker(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Maker(lambda tensor, *others: tensor),
    ("torch.storage", "_load_from_bytes"): _Maker(_storage),
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _Maker(_record),
    ("collections", "OrderedDict"): dict,
    ("dnnlib.util", "EasyDict"): dict,
    ("dnnlib", "EasyDict"): dict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("_codecs", "encode"): _Maker(_encoded),
    ("numpy", "ndarray"): _Name(),
    ("numpy", "dtype"): _Maker(_Dtype),
    ("numpy.core.numeric", "_frombuffer"): _Maker(_buffered),
    ("numpy._core.numeric", "_frombuffer"): _Maker(_buffered),
    **{
        (f"{home}.multiarray", name): _Maker(make)
        for home in ("numpy.core", "numpy._core")
        for name, make in (("_reconstruct", _Array), ("scalar", _scalar))
    },
}


class _Reader(pickle.Unpickler):
    """Builds only what the table allows."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        super().__init__(file)
        self._name = name

    def find_class(self, module: str, name: str) -> Any:
        """Return the inert maker of a name, or refuse it."""
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module.startswith(_TENSORFLOW[0]) or (module.split(".")[-1] in _TENSORFLOW and name == "Network"):
            raise CheckpointError(
                f"{self._name} is of StyleGAN's TensorFlow releases; convert it with legacy.py of NVIDIA's PyTorch "
                "release, which writes a .pkl that can be read here"
            )
        raise CheckpointError(_refusal(self._name, f"{module}.{name}"))

    def persistent_load(self, pid: Any) -> Any:
        """Refuse what lies outside of the pickle."""
        raise CheckpointError(f"{self._name} refers to data outside of it; it is only a part of a file")


def _plain(value: Any) -> Any:
    """Return a value with its arrays as NumPy's, and none of the reader's own objects in it."""
    seen: dict[int, Any] = {}

    def visit(part: Any) -> Any:
        if id(part) in seen:
            return seen[id(part)]
        if isinstance(part, _Array):
            return part.value
        if isinstance(part, (_Maker, _Name, _Dtype, type)):
            return None  # a name that nothing was made of
        if isinstance(part, dict):
            made: dict[Any, Any] = {}
            seen[id(part)] = made
            made.update((key, visit(inner)) for key, inner in part.items())
            return made
        if isinstance(part, list):
            items: list[Any] = []
            seen[id(part)] = items
            items.extend(map(visit, part))
            return items
        if isinstance(part, tuple):
            return tuple(map(visit, part))
        if isinstance(part, Record):
            record = Record(part.class_name, {})
            seen[id(part)] = record
            record.state.update(visit(part.state))
            return record
        return part

    return visit(value)
