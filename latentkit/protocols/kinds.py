"""The kinds of model: Generator, Critic and Encoder, and generators made of a module and a prior."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from latentkit.errors import LabelError
from latentkit.priors import Prior

__all__ = ["ConditionalGenerator", "Critic", "Encoder", "Generator", "Wrapped"]


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
