"""A conditional generator between its classes: the class is a part of the latent, as weights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import overload

import torch
from torch import Tensor
from torch.nn import functional

from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_latents
from latentkit.conditional.classes import conditional_of, index_of
from latentkit.errors import LabelError, ShapeError
from latentkit.priors import Joint, OneHot
from latentkit.protocols import ConditionalGenerator, evaluating, place_of

__all__ = ["Blend", "blend"]

#: Classes that a module is tried on, at most.
TRIED = 16


@dataclass(frozen=True, eq=False)
class Blend:
    """A conditional generator whose latents hold the weights of the classes: a `Generator`.

    Of a latent (D + K,) the first D coordinates are the conditional generator's, the other K the weights of its
    classes. A unit vector is one class, exactly; what lies between is nothing that the generator was trained on, and
    the prior, which draws each class equally often, gives it a typicality of 0.

    Attributes: `module`, the conditional generator; `prior`, its prior and that of the classes, side by side.
    """

    module: ConditionalGenerator
    prior: Joint

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.module.classes

    def inner(self, z: Tensor) -> Tensor:
        """Return the conditional generator's latents (N, D) of latents (N, D + K)."""
        return self.prior.parts(z)[0]

    def weights(self, z: Tensor) -> Tensor:
        """Return the class weights (N, K) of latents (N, D + K)."""
        return self.prior.parts(z)[1]

    def latents(self, z: Tensor, labels: Sequence[str | int] | Tensor | str | int) -> Tensor:
        """Return latents (N, D + K) of the conditional generator's latents (N, D) and classes.

        Args:
            z: (N, D).
            labels: the name or number of a class for all, one for each, or weights (N, K) as floats.

        Raises:
            ShapeError: if the latents are not (N, D), or the classes not one a latent.
            LabelError: if a class is not known.
            NonFiniteError: if a latent or a weight holds NaN or infinity.
        """
        z = as_latents(z, self.module.prior.dim)
        if isinstance(labels, Tensor) and labels.ndim == 2:
            weights = as_latents(labels, len(self.classes), "class weights")
        else:
            alone = isinstance(labels, str) or not isinstance(labels, (Sequence, Tensor))
            alone = alone or (isinstance(labels, Tensor) and labels.ndim == 0)
            names = [labels] * len(z) if alone else list(labels)  # pyright: ignore
            numbers = torch.tensor([index_of(name, self.classes) for name in names], dtype=torch.long)
            weights = functional.one_hot(numbers, len(self.classes))
        if len(weights) != len(z):
            raise ShapeError(f"classes must be one a latent, ({len(z)},), got {len(weights)}")
        return torch.cat([z, weights.to(z)], 1)

    def __call__(self, z: Tensor, /) -> Tensor:
        """Return samples (N, *S) for latents (N, D + K)."""
        return self.module(self.inner(z), self.weights(z))


@overload
def blend(model: ConditionalGenerator) -> Blend: ...
@overload
def blend(model: Checkpoint) -> Checkpoint: ...
def blend(model: ConditionalGenerator | Checkpoint) -> Blend | Checkpoint:
    """Make a conditional generator, or a checkpoint that holds one, a generator that also lies between its classes.

    Its latents have K coordinates more, the weights of the classes. `class_walk` and `class_tour` go from class to
    class with them. Bundled generators take weights; another's module must, in the place of class numbers: it is
    called once to see whether weights that are all in one class give what the class's number gives.

    A checkpoint's critic is kept as for `marginal`; its encoder gives D coordinates and is left out.

    Args:
        model: the conditional generator or checkpoint, of any prior.

    Raises:
        LabelError: if the model has no classes, or its module takes class numbers only.

    Examples:
        >>> import latentkit as lk
        >>> from latentkit.conditional import blend
        >>> from latentkit.nets.settings import class_columns
        >>> place = lambda z, y: z + class_columns(y, len(z), 2) @ torch.tensor([[0.0], [8.0]])
        >>> between = blend(lk.wrap(place, lk.Normal(1), classes=["near", "far"]))
        >>> between(torch.tensor([[0.5, 1.0, 0.0], [0.5, 0.5, 0.5]])).flatten().tolist()
        [0.5, 4.5]
    """
    generator = conditional_of(model)
    _require_weights(generator)
    whole = Blend(generator, Joint(generator.prior, OneHot(len(generator.classes))))
    return replace(model, generator=whole, encoder=None) if isinstance(model, Checkpoint) else whole


def _require_weights(generator: ConditionalGenerator) -> None:
    """Raise `LabelError` unless one-hot weights make what class numbers make."""
    classes = len(generator.classes)
    device, dtype = place_of(generator)
    numbers = torch.arange(min(classes, TRIED), device=device)
    z = generator.prior.sample(len(numbers), seed=0).to(device, dtype)
    cause, same = None, False
    with evaluating(generator), torch.no_grad():
        wanted = generator(z, numbers)
        try:
            found = generator(z, functional.one_hot(numbers, classes).to(z))
            same = found.shape == wanted.shape and torch.allclose(found, wanted, rtol=1e-3, atol=1e-5)
        except Exception as error:  # whatever a foreign module raises, it does not take weights
            cause = error
    if not same:
        raise LabelError(
            "this generator takes class numbers only, so there is nothing between its classes; let its module take "
            f"float weights (N, {classes}) in their place, or see all classes with marginal(generator)"
        ) from cause
