"""The calibration of a critic on held-out samples, and what it says that the critic is worth."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit import streams
from latentkit.calibration.critic import CalibratedCritic, score
from latentkit.calibration.fits import METHODS, fit, log_odds
from latentkit.calibration.measures import Measures, log_loss, measured, z_statistic
from latentkit.checks import floating, one_of, require_finite
from latentkit.errors import ShapeError
from latentkit.protocols import Critic
from latentkit.roc import auc_with_error
from latentkit.shown import Pictured

__all__ = ["FEWEST", "Calibration", "calibrate", "calibrate_logits", "require_one_shape"]

#: Fewest held-out samples a side.
FEWEST = 20
FOLDS = 5

#: An AUC below this counts as weak even where it is certainly above chance.
WEAK = 0.6

Verdict = Literal["informative", "weak", "uninformative"]
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Calibration(Pictured):
    """How a critic's logits turn into probabilities, and whether they are worth it.

    All figures are cross-validated on held-out real and as many generated samples.

    Attributes: `method` is "isotonic", "logistic" or "beta"; `knots` (K, 2) are logits and their probabilities, the
    isotonic curve itself or a table of a smooth one, whose `coefficients` (6,) are in `latentkit.calibration.fits`;
    `auc` is the chance that a real sample scores above a generated one, `auc_interval` its 95% interval; `log_loss`
    is in nats a sample (0.693 says nothing); `brier` is the mean squared error of the probabilities (0.25 says
    nothing); `ece` their expected calibration error over 10 bins and `ece_floor` what perfect probabilities would
    show by chance; `z` and `z_raw` the calibration statistic after and before: beyond +-2 it refutes calibration,
    within it proves nothing (after calibration on balanced classes it is near 0 by construction); `reliability` (B,
    3) holds the mean prediction, share of real samples and count of each bin; `count` the samples a side; `verdict`
    is "informative", "weak" or "uninformative" and `explanation` says why.
    """

    method: str
    knots: Tensor
    coefficients: Tensor
    auc: float
    auc_interval: tuple[float, float]
    log_loss: float
    brier: float
    ece: float
    ece_floor: float
    z: float
    z_raw: float
    reliability: Tensor
    count: int
    verdict: Verdict
    explanation: str

    def log_ratio(self, logits: Tensor) -> Tensor:
        """Return log(p_real / p_model) (N,) float64 for samples with these logits (N,), on the CPU."""
        return log_odds(floating(logits, "logits").double().cpu(), self.knots, self.coefficients)

    def probability(self, logits: Tensor) -> Tensor:
        """Return the probability (N,) float64 that samples with these logits (N,) are real.

        Real and generated samples count as equally frequent.
        """
        return torch.sigmoid(self.log_ratio(logits))

    def density_ratio(self, logits: Tensor) -> Tensor:
        """Return p_real / p_model (N,) float64 for samples with these logits (N,)."""
        return torch.exp(self.log_ratio(logits))

    def applied(self, critic: Critic) -> CalibratedCritic:
        """Return the critic (the one that was calibrated) with log density ratios for logits, as samplers need it.

        Its sigmoid is `probability` of the critic's logits, and torch can follow it back to the samples. Where
        gradients matter, calibrate with method="logistic" or "beta": an isotonic curve has plateaus without slope.

        Examples:
            >>> import latentkit as lk
            >>> real, generated = lk.Normal(1).sample(99, seed=0) + 2, lk.Normal(1).sample(99, seed=1)
            >>> ratio = lk.calibrate(torch.ravel, real, generated).applied(torch.ravel)
            >>> bool(ratio(torch.tensor([[3.0]])) > 0 > ratio(torch.tensor([[-1.0]])))
            True
        """
        return CalibratedCritic(critic, self.knots, self.coefficients)

    def measured(self, real: Tensor, generated: Tensor) -> Measures:
        """Judge this calibration by fresh logits (M,) of real and (M',) of generated samples.

        Its own figures are from the samples that it was fitted on, if not in the same fold; these are from samples
        that had no part in it, so that `z` is a test here. Pass at most as many as it was fitted on: against far
        more, `z` shows the error of the fit itself.

        Raises:
            ShapeError: if there are fewer than 20 samples a side.
            NonFiniteError: if a logit is not finite.
        """
        x, y = _sides(real, generated)
        return measured(self.probability(torch.from_numpy(x)).numpy(), y)


def require_one_shape(real: Tensor, generated: Tensor) -> None:
    """Raise `ShapeError` unless real samples (M, *S) and generated ones (N, *S) are of one shape."""
    if real.shape[1:] != generated.shape[1:]:
        raise ShapeError(
            f"real and generated samples must have one shape, got {tuple(real.shape[1:])} and "
            f"{tuple(generated.shape[1:])}"
        )


def calibrate(
    critic: Critic, real: Tensor, generated: Tensor, *, method: str | None = None, batch_size: int = 256
) -> Calibration:
    """Calibrate a critic on held-out real samples and generated ones.

    Args:
        critic: the scorer.
        real: (M, *S) real samples that neither network was trained on.
        generated: (M', *S) samples of the generator; as many as there are real ones are used.
        method: "isotonic", "logistic", "beta", or None for the one with the smallest cross-validated log loss.
        batch_size: samples a call.

    Raises:
        ShapeError: if there are fewer than 20 samples a side, or the shapes differ.
        NonFiniteError: if a sample or a logit is not finite.
    """
    real, generated = floating(real, "real samples"), floating(generated, "generated samples")
    require_one_shape(real, generated)
    count = _pairs(real, generated)
    logits = [score(critic, samples[:count], batch_size=batch_size) for samples in (real, generated)]
    return calibrate_logits(logits[0], logits[1], method=method)


def calibrate_logits(real: Tensor, generated: Tensor, *, method: str | None = None) -> Calibration:
    """Calibrate from logits (M,) of held-out real and (M',) of generated samples; see `calibrate`."""
    if method is not None:
        one_of(method, "method", METHODS)
    x, y = _sides(real, generated)
    count = len(y) // 2
    held_out = {name: _cross_validated(x, y, name) for name in ([method] if method else METHODS)}
    chosen = min(held_out, key=lambda name: log_loss(held_out[name], y))
    figures = measured(held_out[chosen], y)
    auc, spread = auc_with_error(x[:count], x[count:])
    interval = _interval(auc, spread, count)
    verdict, explanation = _judge(auc, interval)
    curve = fit(x, y, chosen)
    return Calibration(
        method=chosen,
        knots=curve.knots,
        coefficients=curve.coefficients,
        auc=auc,
        auc_interval=interval,
        log_loss=figures.log_loss,
        brier=figures.brier,
        ece=figures.ece,
        ece_floor=figures.ece_floor,
        z=figures.z,
        z_raw=z_statistic(1.0 / (1.0 + np.exp(-np.clip(x, -500, 500))), y),
        reliability=figures.reliability,
        count=count,
        verdict=verdict,
        explanation=explanation,
    )


def _pairs(real: Tensor, generated: Tensor) -> int:
    """Return how many samples a side are used, or raise `ShapeError` if they are too few."""
    sizes = [len(side) if side.ndim else 0 for side in (real, generated)]
    if min(sizes) < FEWEST:
        raise ShapeError(
            f"calibration needs at least {FEWEST} held-out real and generated samples, got {sizes[0]} and {sizes[1]}"
        )
    return min(sizes)


def _sides(real: Tensor, generated: Tensor) -> tuple[Array, Array]:
    """Return the logits (2 M,) of as many real as generated samples, real ones first, and which are real."""
    real, generated = floating(real, "real logits"), floating(generated, "generated logits")
    if real.ndim != 1 or generated.ndim != 1:
        raise ShapeError(f"logits must be (M,), got {tuple(real.shape)} and {tuple(generated.shape)}")
    count = _pairs(real, generated)
    r = require_finite(real[:count, None], "real logits").double().cpu().numpy()[:, 0]
    g = require_finite(generated[:count, None], "generated logits").double().cpu().numpy()[:, 0]
    return np.concatenate([r, g]), np.concatenate([np.ones(count), np.zeros(count)])


def _cross_validated(x: Array, y: Array, method: str) -> Array:
    """Return each sample's probability from a fit that did not see it."""
    count = len(x) // 2
    fold = np.concatenate([streams.permutation(count, seed=side) % FOLDS for side in (0, 1)])
    p = np.empty(len(x))
    for k in range(FOLDS):
        curve = fit(x[fold != k], y[fold != k], method)
        p[fold == k] = torch.sigmoid(log_odds(torch.from_numpy(x[fold == k]), *curve)).numpy()
    return p


def _interval(auc: float, spread: float, count: int) -> tuple[float, float]:
    """Return the 95% interval of an AUC; never narrower than that of a share of `count` samples at 0 or 1.

    DeLong's variance vanishes where all samples are ranked right, however few they are.
    """
    slack = 1.96**2 / (count + 1.96**2)  # Wilson (1927) at a share of 0 or 1
    low, high = auc - 1.96 * spread, auc + 1.96 * spread
    return max(min(low, 1.0 - slack), 0.0), min(max(high, slack), 1.0)


def _judge(auc: float, interval: tuple[float, float]) -> tuple[Verdict, str]:
    figure = f"AUC {auc:.2f}, 95% interval {interval[0]:.2f} to {interval[1]:.2f}"
    if interval[1] < 0.5:
        return (
            "uninformative",
            f"This critic ranks generated samples above real ones ({figure}); larger must mean more real, so "
            "if it measures fakeness pass its negative, and otherwise do not use its scores.",
        )
    if interval[0] <= 0.5:
        return (
            "uninformative",
            f"On samples that it never saw this critic cannot tell real from generated ones ({figure}); "
            "its scores must not be used to choose latents.",
        )
    if auc < WEAK:
        return (
            "weak",
            f"This critic tells held-out real samples from generated ones only slightly better than chance "
            f"({figure}); its scores separate large groups, not single latents.",
        )
    if auc > 0.95:
        return (
            "informative",
            f"This critic tells nearly every held-out real sample from generated ones ({figure}): its scores "
            "carry signal, and by it few generated samples pass for real.",
        )
    return (
        "informative",
        f"This critic tells held-out real samples from generated ones better than chance ({figure}); its "
        "calibrated scores can be used to rank latents.",
    )
