"""ONNX files as generators, run by onnxruntime; they have no gradients."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentkit.adapters.foreign import needed
from latentkit.adapters.torch_modules import fitted_to, read_start
from latentkit.errors import ArgumentError, CheckpointError
from latentkit.priors import Normal, Prior
from latentkit.protocols import Output, wrap

__all__ = ["ONNXModel", "load_onnx"]

_DTYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
_LABELS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


class ONNXModel:
    """An ONNX network as a function from tensors to tensors, on the CPU.

    Args:
        file: the ONNX file, with its weights in it.

    Attributes: `latent_shape`, of its first input without the first axis, None where the file leaves it open;
    `batch`, the only size of batch that it takes, or None for any; `inputs`, how many it takes.

    Raises:
        CheckpointError: if the file is missing, damaged, or needs operators that onnxruntime does not have.
        MissingDependencyError: if onnxruntime is not installed.
    """

    def __init__(self, file: str | os.PathLike[str]) -> None:
        path = Path(file)
        read_start(path)
        self._session = _session(path.read_bytes(), path)
        inputs = self._session.get_inputs()
        if not inputs or inputs[0].type not in _DTYPES or not inputs[0].shape:
            kinds = ", ".join(f"{one.name} {one.type}" for one in inputs) or "none"
            raise CheckpointError(f"{path} must take latents as floats first, and its inputs are {kinds}")
        self._names = [one.name for one in inputs]
        self._types = [{**_DTYPES, **_LABELS}.get(one.type) for one in inputs]
        first, sides = inputs[0].shape[0], inputs[0].shape[1:]
        self.batch: int | None = first if isinstance(first, int) else None
        known = all(isinstance(side, int) for side in sides)
        self.latent_shape: tuple[int, ...] | None = tuple(map(int, sides)) if known else None
        self.inputs = len(inputs)

    def __call__(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the network's output, or a tuple of several, for its inputs (N, ...).

        Raises:
            ArgumentError: if gradients are asked for.
        """
        if torch.is_grad_enabled() and any(part.requires_grad for part in inputs):
            raise ArgumentError(_NO_GRADIENTS)
        try:
            arrays = [part.detach().cpu().numpy() for part in inputs]
        except RuntimeError:  # tensors inside of torch.func's derivatives have no numbers
            raise ArgumentError(_NO_GRADIENTS) from None
        feed = {
            name: np.ascontiguousarray(array, dtype=kind)
            for name, array, kind in zip(self._names, arrays, self._types, strict=True)
        }
        try:
            made = [torch.from_numpy(np.array(part)) for part in self._session.run(None, feed)]
        except Exception as error:  # onnxruntime's errors share no base class but this one
            raise ArgumentError(f"the ONNX network fails: {str(error).strip().splitlines()[0][:200]}") from error
        return made[0] if len(made) == 1 else tuple(made)


_NO_GRADIENTS = (
    "an ONNX network has no gradients, and this needs them: samples, curves, maps, projections, reports and "
    "invert_without_gradients work"
)


def _session(data: bytes, path: Path) -> Any:
    onnxruntime = needed("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # what is wrong comes as an error
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class but this one
        lines = str(error).strip().splitlines() or ["no reason given"]
        hint = "; save it with its weights in one file" if "external" in str(error).lower() else ""
        raise CheckpointError(f"{path} cannot be run by onnxruntime: {lines[0][:200]}{hint}") from None


def load_onnx(
    file: str | os.PathLike[str],
    prior: Prior | None = None,
    *,
    latent_shape: Sequence[int] | None = None,
    output: Output | str | None = None,
    classes: Sequence[str] | int | None = None,
) -> Any:
    """Make an ONNX file a generator, run by onnxruntime on the CPU.

    There are no gradients: samples, curves, arithmetic, maps, projections, reports and gradient-free inversion work,
    and what needs gradients says so.

    Args:
        file: the ONNX file, with its weights in it.
        prior: the distribution of the latents; by default normal, of the size that the network takes.
        latent_shape: the shape in which it takes one latent; by default as the file says.
        output: what it returns; see `wrap`.
        classes: the names of its classes, or how many there are: its second input are then class numbers.

    Returns:
        A `Generator`, or with classes a `ConditionalGenerator`.

    Raises:
        CheckpointError: if the file is missing, damaged, or takes another number of inputs.
        MissingDependencyError: if onnxruntime is not installed.
        ArgumentError: if the file leaves the latents' size open and no prior is given.
        ShapeError: if the prior has another size than its latents.
    """
    network = ONNXModel(file)
    wanted = 1 if classes is None else 2
    if network.inputs != wanted:
        needs = "give classes" if network.inputs == 2 else "wrap a function that fills the others in"
        raise CheckpointError(f"{file} takes {network.inputs} inputs, and {wanted} is what it would get; {needs}")
    shape = network.latent_shape if latent_shape is None else latent_shape
    if prior is None:
        if shape is None:
            raise ArgumentError(f"{file} does not say how large its latents are; give a prior such as Normal(128)")
        prior = Normal(math.prod(shape))
    return wrap(fitted_to(network, prior.dim, shape, network.batch), prior, output=output, classes=classes)
