"""A conditional generator narrowed to one class."""

from dataclasses import dataclass, replace
from typing import overload

import torch
from torch import Tensor

from latentkit.checkpoint import Checkpoint
from latentkit.conditional.classes import conditional_of, filled, index_of
from latentkit.nets.critic import FeatureCritic
from latentkit.nets.stylegan import StyleGAN2Critic
from latentkit.priors import Prior
from latentkit.protocols import ConditionalGenerator

__all__ = ["Conditioned", "ConditionedCritic", "condition"]


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
        return self.module(z, filled(z, self.index))


@dataclass(frozen=True, eq=False)
class ConditionedCritic:
    """A conditional critic that is told that every sample is of one class: a `Critic`.

    Attributes: `module`, called with samples (N, *S) and class numbers (N,); `index`, the number of
    the class.
    """

    module: FeatureCritic | StyleGAN2Critic
    index: int

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return logits (N,) for samples (N, *S) as ones of the class."""
        return self.module(x, filled(x, self.index))


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
    generator = conditional_of(model)
    index = index_of(label, generator.classes)
    narrow = Conditioned(generator, index)
    if not isinstance(model, Checkpoint):
        return narrow
    critic, holdout, labels = model.critic, model.holdout[:0], None
    if isinstance(critic, FeatureCritic | StyleGAN2Critic) and critic.classes:
        critic = ConditionedCritic(critic, index)
    if model.holdout_labels is not None:
        holdout = model.holdout[model.holdout_labels == index]
        labels = torch.zeros(len(holdout), dtype=torch.long)
    return replace(
        model, generator=narrow, critic=critic, holdout=holdout, holdout_labels=labels, classes=(narrow.label,)
    )
