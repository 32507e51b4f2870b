"""Conditional generators as generators of one signature: narrowed to a class, or over all classes at once."""

import operator
from dataclasses import dataclass, replace
from typing import Any, overload

import torch
from torch import Tensor

from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_latents
from latentkit.errors import ArgumentError, LabelError, ShapeError
from latentkit.nets.critic import FeatureCritic
from latentkit.priors import Normal, Prior
from latentkit.protocols import ConditionalGenerator

__all__ = ["Conditioned", "ConditionedCritic", "Marginal", "condition", "marginal"]


@dataclass(frozen=True, eq=False)
class Conditioned:
    """A conditional generator narrowed to one class: a `Generator` with the same latents.

    Attributes: `module`, the conditional generator; `index`, the number of the class.
    """

    module: ConditionalGenerator
    index: int

    @property
    def prior(self) -> Prior:
        """The distribution that latents are drawn from."""
        return self.module.prior

    @property
    def label(self) -> str:
        """The name of the class."""
        return self.module.classes[self.index]

    def __call__(self, z: Tensor, /) -> Tensor:
        """Return samples (N, *S) of the class for latents (N, D)."""
        return self.module(z, _filled(z, self.index))


@dataclass(frozen=True, eq=False)
class ConditionedCritic:
    """A conditional critic that is told that every sample is of one class: a `Critic`.

    Attributes: `module`, called with samples (N, *S) and class numbers (N,); `index`, the number of
    the class.
    """

    module: FeatureCritic
    index: int

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return logits (N,) for samples (N, *S) as ones of the class."""
        return self.module(x, _filled(x, self.index))


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
        wanted = _filled(z, int(wanted)) if wanted.ndim == 0 else wanted.long()
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
def condition(model: ConditionalGenerator, label: str | int) -> Conditioned: ...
@overload
def condition(model: Checkpoint, label: str | int) -> Checkpoint: ...
def condition(model: ConditionalGenerator | Checkpoint, label: str | int) -> Conditioned | Checkpoint:
    """Narrow a conditional generator, or a checkpoint that holds one, to one class.

    A narrowed checkpoint is all about its class: the generator makes it, a bundled critic with classes
    scores every sample as one of it, and the held-out samples are those of it (none, if they have no
    labels).

    Args:
        model: the conditional generator or checkpoint.
        label: the class, by name or number.

    Raises:
        LabelError: if the model has no classes, or not this one.

    Examples:
        >>> import latentkit as lk
        >>> shifted = lk.wrap(lambda z, y: z + y[:, None], lk.Normal(2), classes=["near", "far"])
        >>> far = lk.condition(shifted, "far")
        >>> z = far.prior.sample(1, seed=0)
        >>> (lk.generate(far, z) - z).round().tolist()
        [[1.0, 1.0]]
    """
    generator = _conditional(model)
    index = _index_of(label, generator.classes)
    narrow = Conditioned(generator, index)
    if not isinstance(model, Checkpoint):
        return narrow
    critic, holdout, labels = model.critic, model.holdout[:0], None
    if isinstance(critic, FeatureCritic) and critic.classes:
        critic = ConditionedCritic(critic, index)
    if model.holdout_labels is not None:
        holdout = model.holdout[model.holdout_labels == index]
        labels = torch.zeros(len(holdout), dtype=torch.long)
    return replace(
        model, generator=narrow, critic=critic, holdout=holdout, holdout_labels=labels, classes=(narrow.label,)
    )


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
    generator = _conditional(model)
    prior = generator.prior
    if not isinstance(prior, Normal):
        raise ArgumentError(
            f"all classes at once need a normal prior, and this generator's is {type(prior).__name__}; narrow it to a "
            "class with condition(generator, label)"
        )
    whole = Marginal(generator, Normal(prior.dim + len(generator.classes), prior.mean, prior.std))
    return replace(model, generator=whole, encoder=None) if isinstance(model, Checkpoint) else whole


def _conditional(model: Any) -> ConditionalGenerator:
    generator = model.generator if isinstance(model, Checkpoint) else model
    if not isinstance(generator, ConditionalGenerator):
        what = "generator" if generator is model else "checkpoint's generator"
        raise LabelError(f"this {what} is not conditional, so it has no classes to choose from; use it as it is")
    return generator


def _index_of(label: Any, classes: tuple[str, ...]) -> int:
    index = -1
    if isinstance(label, str):
        index = classes.index(label) if label in classes else -1
    elif not isinstance(label, bool) and hasattr(label, "__index__"):
        index = operator.index(label)
    if not 0 <= index < len(classes):
        raise LabelError(f"label must be one of {', '.join(classes)} (or 0 to {len(classes) - 1}), got {label!r}")
    return index


def _filled(rows: Tensor, index: int) -> Tensor:
    return torch.full((len(rows),), index, dtype=torch.long, device=rows.device)
