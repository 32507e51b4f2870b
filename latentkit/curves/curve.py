"""A curve through the latent space."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentkit.checks import as_count, floating
from latentkit.errors import ArgumentError, ShapeError
from latentkit.priors import Prior

__all__ = ["Curve"]


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve through the latent space: `curve(t (T,)) -> z (T, D)` for t in [0, 1].

    Curves between batches of ends (N, D) give (T, N, D). Attributes: `kind` names the construction;
    `dim` is D; `segments` is the number of pieces between keyframes; `closed` says whether the curve
    ends where it began; `prior` is the prior that it was matched to, or None.
    """

    at: Callable[[Tensor], Tensor]
    kind: str
    dim: int
    segments: int = 1
    closed: bool = False
    prior: Prior | None = None

    def __call__(self, t: Tensor | Sequence[float] | float) -> Tensor:
        """Return the latents at times t (T,) in [0, 1]: (T, D), or (T, N, D) between batches.

        Raises:
            ShapeError: if t is not (T,) real numbers.
            ArgumentError: if a time lies outside of [0, 1] or is not finite.
        """
        given: Any = t
        if not isinstance(t, Tensor):
            # Python's numbers in full: as float32 a third would not be one, and a keyframe would be missed.
            with suppress(TypeError, ValueError, RuntimeError):  # of which `floating` says what is wrong
                given = np.asarray(t)
        times = floating(given, "times").double().cpu()
        times = times[None] if times.ndim == 0 else times
        if times.ndim != 1:
            raise ShapeError(f"times must be (T,), got {tuple(times.shape)}")
        if not bool(((times >= 0.0) & (times <= 1.0)).all()):
            raise ArgumentError(f"times must lie in [0, 1], got {times.min():g} to {times.max():g}")
        return self.at(times)

    def steps(self, n: int, *, closed: bool | None = None) -> Tensor:
        """Return n latents at even times: (n, D).

        An open curve gives both ends. A closed one leaves out the end, which is its start again, so
        that a film of it loops without a doubled frame.

        Args:
            n: how many latents, at least 1 (1 gives the start).
            closed: whether to leave out the end; by default as the curve is.
        """
        n = as_count(n, "n")
        closed = self.closed if closed is None else closed
        times = torch.arange(n, dtype=torch.float64) / max(n if closed else n - 1, 1)
        return self(times)

    def steps_per_segment(self, n: int) -> Tensor:
        """Return n steps between neighbouring keyframes, every keyframe among the latents.

        For k keyframes that is (k - 1) n + 1 latents on an open curve and k n on a closed one.
        """
        n = as_count(n, "n")
        return self.steps(self.segments * n + (0 if self.closed else 1))
