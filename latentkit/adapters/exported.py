"""Files of `torch.export` as generators: read as data and computed node by node, with nothing in them run.

PyTorch's own loader evaluates text in the file (its symbols, and what it unpickles), and says to trust the source. But
the file is a list of tensor operators with their arguments, in JSON, beside raw weights. Here that list is read, its
operators are looked up in PyTorch's table of tensor operators and nowhere else, and the network calls them in turn.
"""

import json
import math
import operator
import os
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentkit.adapters.operators import is_checked
from latentkit.adapters.torch_modules import fitted_to, read_start
from latentkit.errors import CheckpointError
from latentkit.priors import Normal, Prior
from latentkit.protocols import Output, wrap

__all__ = ["ExportedNetwork", "load_exported"]

_OPERATOR = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")
#: What sizes are computed with.
_ON_NUMBERS: dict[str, Callable[..., Any]] = {
    **{f"_operator.{name}": getattr(operator, name) for name in ("add", "sub", "mul", "floordiv", "mod", "neg", "pow")},
    **{
        f"_operator.{name}": getattr(operator, name)
        for name in ("truediv", "eq", "ne", "lt", "le", "gt", "ge", "getitem")
    },
    **{f"math.{name}": getattr(math, name) for name in ("ceil", "floor", "trunc", "sqrt")},
    "torch.sym_int": int,
    "torch.sym_max": max,
    "torch.sym_min": min,
    "torch.sym_float": float,
}
#: The numbers that the format gives to dtypes and memory formats.
_DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
_MEMORY = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d, 4: torch.preserve_format}
_PLAIN = ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string", "as_strings")
_BY_NAME = 2  # the kind of an argument that is not given by its place
_MOST_JSON = 256 * 2**20


class ExportedNetwork(nn.Module):
    """A network that computes the graph of a `torch.export` file.

    Args:
        file: what `torch.export.save` wrote with PyTorch 2.9 or newer.

    Attributes: `latent_shape`, of its first input without the first axis; `batch`, the only size of batch that it
    takes, or None for any; `inputs`, how many it takes.

    Raises:
        CheckpointError: if the file is missing or damaged, or holds anything but tensor operators and raw weights.
    """

    def __init__(self, file: str | os.PathLike[str]) -> None:
        super().__init__()
        self._path = Path(file)
        model, tensors = _read(self._path)
        try:
            self._build(model, tensors)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise self._error(f"its graph can't be followed ({type(error).__name__}: {error})") from None

    def _build(self, model: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        module = model["graph_module"]
        graph, signature = module["graph"], module["signature"]
        self._names: dict[str, str] = {}
        names: list[str] = []
        for spec in signature["input_specs"]:
            ((kind, about),) = spec.items()
            if kind == "user_input":
                names.append(about["arg"]["as_tensor"]["name"])
                continue
            field = {"parameter": "parameter_name", "buffer": "buffer_name", "tensor_constant": "tensor_constant_name"}
            if kind not in field:
                raise self._error(f"it takes a {kind}")
            held = f"held_{len(self._names)}"  # registered under names of our own
            self.register_buffer(held, tensors[about[field[kind]]])
            self._names[about["arg"]["name"]] = held
        outputs = [spec["user_output"]["arg"] for spec in signature["output_specs"] if "user_output" in spec]
        if len(outputs) != len(signature["output_specs"]) or not outputs or not names:
            raise self._error("it changes its own state, or has no input or output")
        self._inputs, self._outputs = names, outputs
        self._nodes = [(self._operator(node["target"]), node["inputs"], node["outputs"]) for node in graph["nodes"]]
        sizes = graph["tensor_values"][names[0]]["sizes"]
        self.batch = sizes[0].get("as_int")
        self.latent_shape = tuple(int(side["as_int"]) for side in sizes[1:])
        self.inputs = len(names)

    def _error(self, why: str) -> CheckpointError:
        return CheckpointError(f"{self._path} is no exported generator that can be read: {why}; nothing was run")

    def _operator(self, target: str) -> Callable[..., Any]:
        """Return the operator of a name from the tables, the only places where one is looked for."""
        if target in _ON_NUMBERS:
            return _ON_NUMBERS[target]
        match = _OPERATOR.fullmatch(target)
        packet = getattr(torch.ops.aten, match[1], None) if match else None
        if not isinstance(packet, torch._ops.OpOverloadPacket) or match is None or match[2] not in packet.overloads():
            raise self._error(f"it calls {target!r}, which is no tensor operator")
        if not is_checked(match[1]):
            raise self._error(f"it calls {target!r}, which reaches beyond tensors or does not check what it is given")
        return getattr(packet, match[2])

    def forward(self, *inputs: Tensor) -> Any:
        """Return the graph's output, or a tuple of several, for its inputs (N, ...)."""
        values: dict[str, Any] = {name: getattr(self, held) for name, held in self._names.items()}
        values.update(zip(self._inputs, inputs, strict=True))
        for function, arguments, results in self._nodes:
            given = [self._argument(one["arg"], values) for one in arguments]
            # Kind 1 is by position; what has a default may be left out, so that others come by name.
            places = [value for one, value in zip(arguments, given, strict=True) if one.get("kind", 1) == 1]
            named = {one["name"]: value for one, value in zip(arguments, given, strict=True) if one.get("kind", 1) != 1}
            self._keep(function(*places, **named), results, values)
        made = [self._argument(output, values) for output in self._outputs]
        return made[0] if len(made) == 1 else tuple(made)

    def _keep(self, made: Any, results: list[dict[str, Any]], values: dict[str, Any]) -> None:
        """Store what an operator returned under the names of its results."""
        if len(results) == 1 and "as_tensors" in results[0]:
            results = [{"as_tensor": one} for one in results[0]["as_tensors"]]
        parts = made if isinstance(made, (tuple, list)) else (made,)
        for result, part in zip(results, parts, strict=True):
            ((kind, about),) = result.items()
            if kind != "as_none":
                values[about["name"] if "name" in about else about["as_name"]] = part

    def _argument(self, about: dict[str, Any], values: dict[str, Any]) -> Any:
        """Return an argument: what was computed under a name, or the constant that it is."""
        ((kind, value),) = about.items()
        if kind == "as_none":
            return None
        if kind in _PLAIN:
            return value
        if kind == "as_tensor":
            return values[value["name"]]
        if kind == "as_tensors":
            return [values[one["name"]] for one in value]
        if kind == "as_optional_tensors":
            return [None if "as_none" in one else values[one["as_tensor"]["name"]] for one in value]
        if kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
            return self._number(value, values)
        if kind in ("as_sym_ints", "as_sym_floats", "as_sym_bools"):
            return [self._number(one, values) for one in value]
        if kind == "as_scalar_type":
            return _DTYPES[value]
        if kind == "as_memory_format":
            return _MEMORY[value]
        if kind == "as_layout":
            return torch.strided
        if kind == "as_device":  # the file's device may not be here: computed is where the weights are
            return next((buffer.device for buffer in self.buffers()), torch.device("cpu"))
        raise self._error(f"it has an argument {kind}")

    @staticmethod
    def _number(about: dict[str, Any], values: dict[str, Any]) -> Any:
        ((kind, value),) = about.items()
        return values[value] if kind == "as_name" else value


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the description and the tensors by name of an archive, without unpickling any."""
    read_start(path)
    try:
        with zipfile.ZipFile(path) as archive:
            lead = archive.namelist()[0].split("/", 1)[0] if archive.namelist() else ""
            names = set(archive.namelist())
            if f"{lead}/models/model.json" not in names:
                others = any("aotinductor" in name for name in names)
                what = "machine code" if others else "no network of torch.export (2.9 or newer)"
                raise CheckpointError(f"{path} holds {what}; nothing was run")
            model = _json(archive, f"{lead}/models/model.json")
            tensors: dict[str, Tensor] = {}
            for folder in ("weights", "constants"):
                table = f"{lead}/data/{folder}/model_{folder}_config.json"
                for name, entry in (_json(archive, table)["config"] if table in names else {}).items():
                    if entry.get("use_pickle") or not isinstance(entry.get("tensor_meta"), dict):
                        raise CheckpointError(f"{path} holds {name} as a pickle, which is not loaded; nothing was run")
                    data = archive.read(f"{lead}/data/{folder}/{Path(str(entry['path_name'])).name}")
                    tensors[name] = _tensor(data, entry["tensor_meta"])
            return model, tensors
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise CheckpointError(f"{path} is no file of torch.export ({error}); nothing was run") from None
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{path} is damaged ({type(error).__name__}: {error}); nothing was run") from None


def _json(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    if archive.getinfo(name).file_size > _MOST_JSON:
        raise ValueError(f"{name} is too large")
    return json.loads(archive.read(name))


def _tensor(data: bytes, about: dict[str, Any]) -> Tensor:
    """Return a tensor of raw numbers; its strides may not lead out of them."""
    dtype, start = _DTYPES[about["dtype"]], int(about["storage_offset"]["as_int"])
    sizes, strides = ([int(one["as_int"]) for one in about[key]] for key in ("sizes", "strides"))
    flat = torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)
    last = start + sum((size - 1) * step for size, step in zip(sizes, strides, strict=True))
    if min((start, *sizes, *strides, 0)) < 0 or (math.prod(sizes) and last >= len(flat)):
        raise ValueError("a tensor reaches beyond its numbers")
    return torch.as_strided(flat, sizes, strides, start).clone()


def load_exported(
    file: str | os.PathLike[str],
    prior: Prior | None = None,
    *,
    output: Output | str | None = None,
    classes: Sequence[str] | int | None = None,
) -> Any:
    """Make a file of `torch.export` a generator, without running anything in it.

    Args:
        file: what `torch.export.save` wrote with PyTorch 2.9 or newer, in eval mode. A network that was exported for
            one size of batch is called with batches of that size.
        prior: the distribution of the latents; by default normal, of the size that the network takes.
        output: what it returns; see `wrap`.
        classes: the names of its classes, or how many there are; see `wrap`.

    Returns:
        A `Generator`, or with classes a `ConditionalGenerator`, on the CPU; gradients reach the latents.

    Raises:
        CheckpointError: if the file is missing or damaged, or holds anything but tensor operators and raw weights, or
            it takes another number of inputs; nothing is run.
        ShapeError: if the prior has another size than its latents.
    """
    network = ExportedNetwork(file).eval()
    wanted = 1 if classes is None else 2
    if network.inputs != wanted:
        needs = "give classes" if network.inputs == 2 else "wrap a function that fills the others in"
        raise CheckpointError(f"{file} takes {network.inputs} inputs, and {wanted} is what it would get; {needs}")
    prior = Normal(math.prod(network.latent_shape)) if prior is None else prior
    fitted = fitted_to(network, prior.dim, network.latent_shape, network.batch)
    return wrap(fitted, prior, output=output, classes=classes)
