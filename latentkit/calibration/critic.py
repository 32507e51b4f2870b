"""Scoring samples with a critic, and the critic that a calibration makes of it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.calibration.fits import log_odds
from latentkit.checks import as_count, floating, require_finite
from latentkit.errors import NonFiniteError, ShapeError
from latentkit.protocols import Critic, check_rows, evaluating, place_of

__all__ = ["CalibratedCritic", "logits_of", "require_logits", "score", "score_batch"]


def score(critic: Critic, samples: Tensor, *, batch_size: int = 256) -> Tensor:
    """Return a critic's logits (N,) float32 for samples (N, *S), on the CPU.

    The critic runs where it is, in eval mode, and gets its mode back.

    Raises:
        ShapeError: if the critic does not return one number a sample.
        NonFiniteError: if a sample or a logit is not finite.
    """
    samples = floating(samples, "samples")
    if samples.ndim < 2:
        raise ShapeError(f"samples must be (N, ...), got {tuple(samples.shape)}")
    require_finite(samples, "samples")
    parts = [score_batch(critic, part) for part in samples.split(as_count(batch_size, "batch_size"))]
    return torch.cat(parts) if parts else torch.empty(0)


def score_batch(critic: Critic, samples: Tensor) -> Tensor:
    """Return the logits (N,) float32 of one batch (N, *S), on the CPU."""
    return require_logits(logits_of(critic, samples).to("cpu"))


def logits_of(critic: Critic, samples: Tensor) -> Tensor:
    """Return the logits (N,) float32 of one batch (N, *S), where the critic is; not looked at yet.

    Samples that are there already, in the critic's dtype, are scored as they lie in memory.
    """
    device, dtype = place_of(critic)
    with evaluating(critic), torch.no_grad():
        return _one_each(critic(samples.to(device, dtype)), len(samples)).detach().to(torch.float32)


def require_logits(logits: Tensor) -> Tensor:
    """Return logits unchanged if all are finite, or raise `NonFiniteError`."""
    if not bool(torch.isfinite(logits).all()):
        raise NonFiniteError("the critic returned NaN or infinite logits; its weights or its input are broken")
    return logits


def _one_each(logits: Tensor, rows: int) -> Tensor:
    """Return a critic's output as (rows,), or raise `ShapeError`."""
    logits = check_rows(logits, rows, "the critic")
    if logits.numel() != rows:
        raise ShapeError(f"the critic must return one logit a sample ({rows},), got {tuple(logits.shape)}")
    return logits.reshape(-1)


@dataclass(frozen=True, eq=False)
class CalibratedCritic:
    """A critic whose logits are log density ratios log(p_real / p_model): a `Critic`, made by `Calibration.applied`.

    It is differentiable where its critic is. After an isotonic calibration it has no slope on the plateaus: for
    samplers that follow gradients, calibrate with method="logistic" or "beta".

    Attributes: `module`, the critic that was calibrated; `knots` (K, 2) and `coefficients` (6,) or (0,), the
    calibration's.
    """

    module: Critic
    knots: Tensor
    coefficients: Tensor

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return log density ratios (N,) for samples (N, *S).

        Raises:
            ShapeError: if the critic does not return one number a sample.
        """
        return log_odds(_one_each(self.module(x), len(x)), self.knots, self.coefficients)
