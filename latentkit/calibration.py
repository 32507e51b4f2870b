"""Calibration: from a critic's logits to probabilities that can be believed, or a warning not to.

A discriminator's logits mean nothing on their own: after training it may score real and generated
samples alike, or both below zero. Compared on real samples that it never saw with as many generated
ones, its logits become the probability that a sample is real, and the density ratio p_real / p_model.

References:
    Turner, Hung, Frank, Saatchi, Yosinski (2019), "Metropolis-Hastings generative adversarial
    networks", section 3.2: calibration of a discriminator and its Z statistic.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_count, floating, one_of, require_finite
from latentkit.errors import NonFiniteError, ShapeError
from latentkit.protocols import Critic, check_rows, evaluating, place_of
from latentkit.roc import auc_with_error

__all__ = ["Calibration", "calibrate", "calibrate_logits", "score"]

#: Fewest held-out samples a side.
FEWEST = 20
FOLDS = 5

#: An AUC below this counts as weak even where it is certainly above chance.
WEAK = 0.6

Verdict = Literal["informative", "weak", "uninformative"]
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Calibration:
    """How a critic's logits turn into probabilities, and whether they are worth it.

    All figures are cross-validated on held-out real and as many generated samples.

    Attributes: `method` is "isotonic" or "logistic"; `knots` (K, 2) are logits and their
    probabilities, read off linearly in between; `auc` is the chance that a real sample scores above a
    generated one, `auc_interval` its 95% interval; `brier` is the mean squared error of the
    probabilities (0.25 says nothing); `ece` their expected calibration error over 10 bins; `z` and
    `z_raw` the calibration statistic after and before: beyond +-2 it refutes calibration, within it
    proves nothing (after calibration on balanced classes it is near 0 by construction); `reliability` (B, 3)
    holds the mean prediction, share of real samples and count of each bin; `count` the samples a side;
    `verdict` is "informative", "weak" or "uninformative" and `explanation` says why.
    """

    method: str
    knots: Tensor
    auc: float
    auc_interval: tuple[float, float]
    brier: float
    ece: float
    z: float
    z_raw: float
    reliability: Tensor
    count: int
    verdict: Verdict
    explanation: str

    def probability(self, logits: Tensor) -> Tensor:
        """Return the probability (N,) float64 that samples with these logits (N,) are real.

        Real and generated samples count as equally frequent.
        """
        values = floating(logits, "logits").double().cpu().numpy()
        return torch.from_numpy(np.interp(values, self.knots[:, 0].numpy(), self.knots[:, 1].numpy()))

    def density_ratio(self, logits: Tensor) -> Tensor:
        """Return p_real / p_model (N,) float64 for samples with these logits (N,)."""
        p = self.probability(logits)
        return p / (1.0 - p)


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
    device, dtype = place_of(critic)
    with evaluating(critic), torch.no_grad():
        logits = check_rows(critic(samples.to(device, dtype)), len(samples), "the critic")
    if logits.numel() != len(samples):
        raise ShapeError(f"the critic must return one logit a sample ({len(samples)},), got {tuple(logits.shape)}")
    logits = logits.detach().reshape(-1).to("cpu", torch.float32)
    if not bool(torch.isfinite(logits).all()):
        raise NonFiniteError("the critic returned NaN or infinite logits; its weights or its input are broken")
    return logits


def calibrate(
    critic: Critic, real: Tensor, generated: Tensor, *, method: str | None = None, batch_size: int = 256
) -> Calibration:
    """Calibrate a critic on held-out real samples and generated ones.

    Args:
        critic: the scorer.
        real: (M, *S) real samples that neither network was trained on.
        generated: (M', *S) samples of the generator; as many as there are real ones are used.
        method: "isotonic", "logistic", or None for the one with the smaller cross-validated log loss.
        batch_size: samples a call.

    Raises:
        ShapeError: if there are fewer than 20 samples a side, or the shapes differ.
        NonFiniteError: if a sample or a logit is not finite.
    """
    real, generated = floating(real, "real samples"), floating(generated, "generated samples")
    if real.shape[1:] != generated.shape[1:]:
        raise ShapeError(
            f"real and generated samples must have one shape, got {tuple(real.shape[1:])} and "
            f"{tuple(generated.shape[1:])}"
        )
    count = _pairs(real, generated)
    logits = [score(critic, samples[:count], batch_size=batch_size) for samples in (real, generated)]
    return calibrate_logits(logits[0], logits[1], method=method)


def calibrate_logits(real: Tensor, generated: Tensor, *, method: str | None = None) -> Calibration:
    """Calibrate from logits (M,) of held-out real and (M',) of generated samples; see `calibrate`."""
    if method is not None:
        one_of(method, "method", tuple(_FITS))
    real, generated = floating(real, "real logits"), floating(generated, "generated logits")
    if real.ndim != 1 or generated.ndim != 1:
        raise ShapeError(f"logits must be (M,), got {tuple(real.shape)} and {tuple(generated.shape)}")
    count = _pairs(real, generated)
    r = require_finite(real[:count, None], "real logits").double().cpu().numpy()[:, 0]
    g = require_finite(generated[:count, None], "generated logits").double().cpu().numpy()[:, 0]
    x, y = np.concatenate([r, g]), np.concatenate([np.ones(count), np.zeros(count)])

    held_out = {name: _cross_validated(x, y, name) for name in ([method] if method else _FITS)}
    chosen = min(held_out, key=lambda name: _log_loss(held_out[name], y))
    p = held_out[chosen]
    auc, spread = auc_with_error(r, g)
    interval = _interval(auc, spread, count)
    reliability = _reliability(p, y)
    verdict, explanation = _judge(auc, interval)
    return Calibration(
        method=chosen,
        knots=torch.from_numpy(_FITS[chosen](x, y)),
        auc=auc,
        auc_interval=interval,
        brier=float(np.mean((p - y) ** 2)),
        ece=float((reliability[:, 2] * np.abs(reliability[:, 0] - reliability[:, 1])).sum() / len(y)),
        z=_z_statistic(p, y),
        z_raw=_z_statistic(1.0 / (1.0 + np.exp(-np.clip(x, -500, 500))), y),
        reliability=torch.from_numpy(reliability),
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


def _fit_isotonic(x: Array, y: Array) -> Array:
    from sklearn.isotonic import IsotonicRegression

    # Half a sample away from 0 and 1: m samples cannot show a ratio beyond about 2 m.
    edge = 1.0 / (len(y) + 2.0)
    fit = IsotonicRegression(y_min=edge, y_max=1.0 - edge, out_of_bounds="clip").fit(x, y)
    knots = np.stack([fit.X_thresholds_, fit.y_thresholds_], axis=1)
    return np.ascontiguousarray(knots, dtype=np.float64)


def _fit_logistic(x: Array, y: Array) -> Array:
    from sklearn.linear_model import LogisticRegression

    middle, scale = float(np.median(x)), float(x.std()) or 1.0
    u = (x - middle) / scale
    fit = LogisticRegression(C=1e3).fit(u[:, None], y)
    # Knots close enough that reading a sigmoid off them linearly is right to about 1e-5.
    span = max(float(np.abs(u).max()) * 2.0, 8.0)
    grid = np.linspace(-span, span, 4001)
    p = 1.0 / (1.0 + np.exp(-np.clip(fit.coef_[0, 0] * grid + fit.intercept_[0], -500, 500)))
    edge = 1.0 / (len(y) + 2.0)
    return np.stack([middle + scale * grid, np.clip(p, edge, 1.0 - edge)], axis=1)


_FITS = {"isotonic": _fit_isotonic, "logistic": _fit_logistic}


def _cross_validated(x: Array, y: Array, method: str) -> Array:
    """Return each sample's probability from a fit that did not see it."""
    count = len(x) // 2
    fold = np.concatenate([streams.permutation(count, seed=side) % FOLDS for side in (0, 1)])
    p = np.empty(len(x))
    for k in range(FOLDS):
        knots = _FITS[method](x[fold != k], y[fold != k])
        p[fold == k] = np.interp(x[fold == k], knots[:, 0], knots[:, 1])
    return p


def _log_loss(p: Array, y: Array) -> float:
    return float(-np.mean(np.where(y > 0, np.log(p), np.log1p(-p))))


def _z_statistic(p: Array, y: Array) -> float:
    """Turner et al. (2019), equation 9: about standard normal for calibrated probabilities."""
    spread = float(np.sum(p * (1.0 - p)))
    total = float(np.sum(y - p))
    return total / math.sqrt(spread) if spread > 0 else math.copysign(1e9, total) if total else 0.0


def _reliability(p: Array, y: Array, bins: int = 10) -> Array:
    index = np.minimum((p * bins).astype(int), bins - 1)
    rows = [(p[index == b].mean(), y[index == b].mean(), (index == b).sum()) for b in range(bins) if (index == b).any()]
    return np.array(rows, dtype=np.float64)


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
