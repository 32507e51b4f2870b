"""A conditional generator over all its classes at once, each latent in one of them."""

from dataclasses import dataclass, replace
from typing import overload

import torch
from torch import Tensor

from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_latents
from latentkit.conditional.classes import conditional_of, filled
from latentkit.errors import ArgumentError, LabelError, ShapeError
from latentkit.priors import Normal
from latentkit.protocols import ConditionalGenerator

__all__ = ["Marginal", "marginal"]


@dataclass(frozen=True, eq=False)
class Marginal:
    """A conditional generator over all its classes: a `Generator` whose latents hold the class as well.

    Of a latent (D + K,) the first D coordinates are the conditional generator's; the class is the
    number of the largest of the other K. `marginal` says why.

    Attributes: `module`, the conditional generator; `prior`, normal with D + K coordinates.
    """

    module: ConditionalGenerator
    prior: Normal

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.module.classes

    def inner(self, z: Tensor) -> Tensor:
        """Return the conditional generator's latents (N, D) of latents (N, D + K)."""
        return z[:, : self.module.prior.dim]

    def labels(self, z: Tensor) -> Tensor:
        """Return the class numbers (N,) of latents (N, D + K)."""
        return z[:, self.module.prior.dim :].argmax(1)

    def in_class(self, z: Tensor, labels: Tensor | int) -> Tensor:
        """Return latents (N, D + K) like `z`, with the given class numbers (N,), or one for all.

        The largest class coordinate and that of the class change places, so that draws from the
        prior become draws from the prior given the class.

        Raises:
            ShapeError: if the latents are not (N, D + K), or the labels not one a latent.
            LabelError: if a class number is not among 0 to K - 1.
        """
        z = as_latents(z, self.prior.dim)
        wanted = torch.as_tensor(labels, device=z.device)
        wanted = filled(z, int(wanted)) if wanted.ndim == 0 else wanted.long()
        if wanted.shape != z.shape[:1]:
            raise ShapeError(f"labels must be one a latent, ({len(z)},), got {tuple(wanted.shape)}")
        if len(z) and not 0 <= int(wanted.min()) <= int(wanted.max()) < len(self.classes):
            raise LabelError(
                f"class numbers must lie in 0 to {len(self.classes) - 1}, got {int(wanted.min())} to "
                f"{int(wanted.max())}"
            )
        rows, first = torch.arange(len(z), device=z.device), self.module.prior.dim
        before, after = first + self.labels(z), first + wanted
        moved = z.clone()
        moved[rows, after], moved[rows, before] = z[rows, before], z[rows, after]
        return moved

    def __call__(self, z: Tensor, /) -> Tensor:
        """Return samples (N, *S) for latents (N, D + K), each of its latent's class."""
        return self.module(self.inner(z), self.labels(z))


@overload
def marginal(model: ConditionalGenerator) -> Marginal: ...
@overload
def marginal(model: Checkpoint) -> Checkpoint: ...
def marginal(model: ConditionalGenerator | Checkpoint) -> Marginal | Checkpoint:
    """Make a conditional generator, or a checkpoint that holds one, a plain generator over all classes.

    Its latents have K coordinates more than the conditional generator's D, and all of them are normal.
    The class is the number of the largest of the K. These are independent and of one distribution, so
    each is the largest equally often: every class has probability 1 / K, and nothing else decides it,
    so the first D coordinates are distributed as they are in each class. A draw from the prior is
    thus an even mixture of the classes exactly, and all that keeps latents on the prior (curves, sums,
    typicality, truncation) holds as it stands. The price is that a class has no in-between: along a
    curve samples change smoothly, and jump where another class coordinate becomes the largest. Walks
    and edits within a class are those of `condition`.

    A checkpoint's critic is kept: a bundled one with classes, called without labels, scores a sample
    whatever its class. Its encoder gives D coordinates, which are no latents of this view, and is left out.

    Args:
        model: the conditional generator or checkpoint; its prior must be normal.

    Raises:
        LabelError: if the model has no classes.
        ArgumentError: if the prior is not normal: K more coordinates would not have its distribution.

    Examples:
        >>> import latentkit as lk
        >>> shifted = lk.wrap(lambda z, y: z + 100 * y[:, None], lk.Normal(2), classes=["near", "far"])
        >>> both = lk.marginal(shifted)
        >>> z = both.prior.sample(1000, seed=0)
        >>> z.shape, round((lk.generate(both, z)[:, 0] > 50).float().mean().item(), 1)
        (torch.Size([1000, 4]), 0.5)
    """
    generator = conditional_of(model)
    prior = generator.prior
    if not isinstance(prior, Normal):
        raise ArgumentError(
            f"all classes at once need a normal prior, and this generator's is {type(prior).__name__}; narrow it to a "
            "class with condition(generator, label)"
        )
    whole = Marginal(generator, Normal(prior.dim + len(generator.classes), prior.mean, prior.std))
    return replace(model, generator=whole, encoder=None) if isinstance(model, Checkpoint) else whole
