"""Others' discriminators as critics: one logit a sample, of samples as the discriminator was trained on them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from latentkit.adapters.torch_modules import InBatches
from latentkit.errors import ShapeError
from latentkit.protocols import Output

__all__ = ["Scores", "as_critic"]


@dataclass(frozen=True, eq=False)
class Scores:
    """A discriminator as a `Critic`.

    Attributes: `module`; `output`, what its generator returns, which is what it takes, or None for samples as they are.
    """

    module: Callable[..., Any]
    output: Output | None = None

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return scores (N,) for samples (N, *S), larger means more real.

        Raises:
            ShapeError: if the discriminator does not return one number a sample.
        """
        made = self.module(x if self.output is None else self.output.undone(x))
        if not isinstance(made, Tensor) or made.numel() != len(x):
            came = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise ShapeError(f"a critic must return one number a sample, ({len(x)},), got {came}")
        return made.reshape(len(x))


def as_critic(module: Callable[..., Any], output: Output | None = None) -> Scores:
    """Return a discriminator as a critic.

    Its numbers are taken as they are, logits or probabilities: calibration maps either to probabilities, but a
    probability near 0 or 1 has lost its digits, so logits are better.

    Args:
        module: takes samples (N, *S) and returns (N,), (N, 1) or (N, 1, 1, 1), larger means more real.
        output: what the generator returned that it was trained with, if that was not samples as latentkit has them.
    """
    size = getattr(module, "batch", None)
    return Scores(module if size is None else InBatches(module, size), output)
