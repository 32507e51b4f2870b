"""What a model's output means: which part of it are the samples, where their channels are, what range they have."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentkit.checks import as_count, as_number, one_of
from latentkit.errors import ArgumentError, ShapeError

__all__ = ["Converted", "Output"]


@dataclass(frozen=True)
class Output:
    """What a model's output means, so that it can become samples as latentkit has them.

    Args:
        low: the value that becomes -1.
        high: the value that becomes 1. With low -1 and high 1, values stay as they are, whatever they mean.
        channels: "first" for samples (N, C, H, W), "last" for (N, H, W, C).
        key: where the samples are: the key of a mapping, the name of an attribute, or the number of a tuple's item;
            None if the output is the samples.
        shape: the shape of one sample as the model means it, if it returns its numbers in another: (1, 28, 28) for
            rows of 784.

    Raises:
        ArgumentError: if an argument is out of range.

    Examples:
        >>> Output(0, 255, channels="last").samples(np.full((2, 4, 4, 3), 255, np.uint8), 2).shape
        torch.Size([2, 3, 4, 4])
    """

    low: float = -1.0
    high: float = 1.0
    channels: str = "first"
    key: str | int | None = None
    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        low, high = as_number(self.low, "low"), as_number(self.high, "high")
        if high <= low:
            raise ArgumentError(f"high must be above low, got {low:g} to {high:g}")
        one_of(self.channels, "channels", ("first", "last"))
        if self.key is not None and (isinstance(self.key, bool) or not isinstance(self.key, (str, int))):
            raise ArgumentError(f"key must be a name, a number or None, got {self.key!r}")
        if self.shape is not None:
            if not isinstance(self.shape, Sequence) or not self.shape:
                raise ArgumentError(f"shape must be that of one sample, such as (1, 28, 28), got {self.shape!r}")
            object.__setattr__(self, "shape", tuple(as_count(side, "a side of shape") for side in self.shape))
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    def part(self, output: Any) -> Any:
        """Return the samples' part of a model's output, as the model has it.

        Raises:
            ShapeError: if there is no such part.
        """
        key = self.key
        try:
            if key is None:
                return output
            if isinstance(key, int) or isinstance(output, Mapping):
                return output[key]
            return getattr(output, key)
        except (KeyError, IndexError, TypeError, AttributeError):
            raise ShapeError(f"the model's output, a {type(output).__name__}, has no part {key!r}") from None

    def samples(self, output: Any, rows: int) -> Tensor:
        """Return samples (rows, *S), floats, for a model's output.

        Args:
            output: what the model returned.
            rows: how many latents it was called with.

        Raises:
            ShapeError: if the samples' part is missing, is no tensor or array, or does not have `rows` rows.
        """
        part = self.part(output)
        if isinstance(part, np.ndarray):
            part = torch.from_numpy(np.ascontiguousarray(part))
        if not isinstance(part, Tensor) or part.is_complex():
            raise ShapeError(f"the samples of the model's output must be a tensor or an array, got {_named(part)}")
        if part.ndim < 1 or len(part) != rows:
            raise ShapeError(f"the model must return one row a latent ({rows}, ...), got {tuple(part.shape)}")
        if self.shape is not None:
            if math.prod(self.shape) * rows != part.numel():
                raise ShapeError(f"samples {tuple(part.shape)} cannot have the shape {self.shape} each")
            part = part.reshape(rows, *self.shape)
        if self.channels == "last" and part.ndim > 2:
            part = part.movedim(-1, 1)
        floats = part if part.is_floating_point() else part.to(torch.float32)
        if (self.low, self.high) == (-1.0, 1.0):
            return floats
        return (floats - self.low) * (2.0 / (self.high - self.low)) - 1.0

    def undone(self, samples: Tensor) -> Tensor:
        """Return samples (N, *S) as the model has them, channels and range; the inverse of `samples`, but for `key`."""
        part = samples
        if (self.low, self.high) != (-1.0, 1.0):
            part = (part + 1.0) * ((self.high - self.low) / 2.0) + self.low
        return part.movedim(1, -1) if self.channels == "last" and part.ndim > 2 else part


def _named(part: Any) -> str:
    return f"a complex tensor {tuple(part.shape)}" if isinstance(part, Tensor) else type(part).__name__


@dataclass(frozen=True, eq=False)
class Converted:
    """A module or function whose output becomes samples as an `Output` says."""

    module: Callable[..., Any]
    output: Output

    def __call__(self, z: Tensor, *labels: Tensor) -> Tensor:
        """Return samples (N, *S) for latents (N, D), and class numbers (N,) if the module takes them."""
        return self.output.samples(self.module(z, *labels), len(z))
