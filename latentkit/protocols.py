"""What a model must be: Generator, Critic and Encoder, and how to adapt anything to them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from latentkit.errors import ArgumentError, LabelError, ShapeError
from latentkit.priors import Prior

__all__ = [
    "ConditionalGenerator",
    "Critic",
    "Encoder",
    "Generator",
    "Wrapped",
    "evaluating",
    "modules_of",
    "place_of",
    "wrap",
]


@runtime_checkable
class Generator(Protocol):
    """Turns latents into samples: `generator(z (N, D)) -> x (N, *S)`, with the prior of z."""

    @property
    def prior(self) -> Prior:
        """The distribution that latents are drawn from."""
        ...

    def __call__(self, z: Tensor, /) -> Tensor:
        """Return samples (N, *S) for latents (N, D); images are floats in [-1, 1]."""
        ...


@runtime_checkable
class Critic(Protocol):
    """Scores samples: `critic(x (N, *S)) -> logits (N,)`, larger means more real."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return logits (N,) for samples (N, *S)."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """Turns samples into latents: `encoder(x (N, *S)) -> z (N, D)`."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return latents (N, D) for samples (N, *S)."""
        ...


@dataclass(frozen=True, eq=False)
class Wrapped:
    """A module or function with the prior of its latents: a `Generator`."""

    module: Callable[[Tensor], Tensor]
    prior: Prior

    def __call__(self, z: Tensor, /) -> Tensor:
        """Return samples (N, *S) for latents (N, D)."""
        return self.module(z)


@dataclass(frozen=True, eq=False)
class ConditionalGenerator:
    """A generator that needs a class: `condition(generator, label)` or `marginal(generator)` makes it a `Generator`.

    Attributes: `module`, called with latents (N, D) and class numbers (N,); `prior` of the latents;
    `classes`, their names.
    """

    module: Callable[[Tensor, Tensor], Tensor]
    prior: Prior
    classes: tuple[str, ...]

    def __call__(self, z: Tensor, labels: Tensor | None = None, /) -> Tensor:
        """Return samples (N, *S) for latents (N, D) and class numbers (N,).

        Raises:
            LabelError: if no labels are given.
        """
        if labels is None:
            raise LabelError(
                "this generator needs a class; narrow it with condition(generator, label), where label is one of "
                f"{', '.join(self.classes)}, or see all classes at once with marginal(generator)"
            )
        return self.module(z, labels)


def wrap(module: Callable[..., Tensor], prior: Prior, *, classes: Sequence[str] | int | None = None) -> Any:
    """Make any module or function a generator.

    Args:
        module: takes latents (N, D), or latents and class numbers (N,) if `classes` is given. Modules run in
            eval mode, also those whose method is given or that a function closes over; one that a function
            only finds in a global variable must be put into eval mode by you.
        prior: the distribution of the latents.
        classes: the names of the classes, or how many there are, for a conditional module.

    Returns:
        A `Generator`, or a `ConditionalGenerator`, which `condition` and `marginal` make one.

    Raises:
        ArgumentError: if `module` cannot be called or `prior` is no prior.

    Examples:
        >>> import latentkit as lk
        >>> double = lk.wrap(lambda z: 2 * z, lk.Normal(2))
        >>> lk.generate(double, double.prior.sample(4, seed=0)).shape
        torch.Size([4, 2])
    """
    if not callable(module):
        raise ArgumentError(f"wrap takes a module or a function, got {type(module).__name__}")
    if not isinstance(prior, Prior):
        raise ArgumentError(f"wrap takes a prior such as Normal(128), got {prior!r}")
    if classes is None:
        return Wrapped(module, prior)
    if isinstance(classes, bool) or not isinstance(classes, (int, Sequence)):
        raise ArgumentError(f"classes must be distinct names, or how many there are, got {classes!r}")
    names = tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(map(str, classes))
    if not names or len(set(names)) != len(names):
        raise ArgumentError(f"classes must be distinct names, or how many there are, got {classes!r}")
    return ConditionalGenerator(module, prior, names)


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
    """Return where a model's parameters are and their dtype: the CPU and float32 if it has none."""
    for module in modules_of(model):
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                return tensor.device, tensor.dtype
    return torch.device("cpu"), torch.float32


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
        raise ShapeError(f"{what} must return a tensor ({rows}, ...), got {type(output).__name__}")
    if output.ndim < 1 or output.shape[0] != rows:
        raise ShapeError(f"{what} must return one row a latent ({rows}, ...), got {tuple(output.shape)}")
    return output
