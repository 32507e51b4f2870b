"""The three rising curves from logits to log-odds: logistic, beta and isotonic.

Logits are first moved to median 0 and scaled to unit spread, so that their unit and offset matter to nothing.
The two smooth curves are of one family. With u a standardised logit and s its sigmoid,

    log-odds = a ln s - b ln(1 - s) + c,   a, b >= 0,

is the beta curve, which has one slope below the median and another above it; a = b is the logistic one, a u + c.
The isotonic curve is a staircase, its steps joined by straight lines.

References:
    Platt (1999), "Probabilistic outputs for support vector machines": the logistic curve.
    Zadrozny, Elkan (2002), "Transforming classifier scores into accurate multiclass probability
    estimates": the isotonic one.
    Kull, Silva Filho, Flach (2017), "Beyond sigmoids: how to obtain well-calibrated probabilities from binary
    classifiers with beta calibration", section 4 and algorithm 1: the beta one, and that a feature whose
    coefficient comes out negative is left out and the rest fitted again.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from latentkit import streams

__all__ = ["METHODS", "Fit", "fit", "log_odds"]

METHODS = ("isotonic", "logistic", "beta")

#: Points that a smooth curve is tabulated at.
TABLE = 257

#: A penalty so weak that it only keeps the coefficients of groups that do not overlap finite.
RIDGE = 1e-3
NEWTON_STEPS = 60

Array = NDArray[np.float64]


class Fit(NamedTuple):
    """A fitted curve.

    Attributes: `knots` (K, 2) float64, logits in rising order and their probabilities: an isotonic curve itself, and
    a table of a smooth one; `coefficients` (6,) float64 of a smooth curve: a, b and c as above, the logits' median
    and spread, and the log-odds beyond which the curve flattens; (0,) of an isotonic one.
    """

    knots: Tensor
    coefficients: Tensor


def fit(x: Array, y: Array, method: str) -> Fit:
    """Fit a curve to logits (N,) of samples that are real, y = 1, or generated, y = 0."""
    if method == "isotonic":
        return Fit(_isotonic(x, y), torch.empty(0, dtype=torch.float64))
    middle, spread = float(np.median(x)), float(x.std()) or 1.0
    u = (x - middle) / spread
    a, b, c = (_logistic if method == "logistic" else _beta)(u, y)
    # N samples cannot show a ratio beyond N: on the last unit before, the curve flattens.
    coefficients = torch.tensor([a, b, c, middle, spread, math.log(len(y) + 1.0) - 1.0], dtype=torch.float64)
    span = max(2.0 * float(np.abs(u).max()), 8.0)
    logits = middle + spread * torch.linspace(-span, span, TABLE, dtype=torch.float64)
    return Fit(torch.stack([logits, torch.sigmoid(_smooth(logits, coefficients))], dim=1), coefficients)


def log_odds(logits: Tensor, knots: Tensor, coefficients: Tensor) -> Tensor:
    """Return the log-odds (N,) that a fitted curve gives to logits (N,), finite and rising; gradients flow through.

    A smooth curve rises everywhere. An isotonic one is flat on its plateaus and beyond its ends, where a gradient is 0.
    """
    # Half precision would tear steps apart that lie close; float64 is everywhere but on Apple's GPUs.
    wide = logits.to(torch.float32 if logits.device.type == "mps" else torch.float64)
    curve = _joined if coefficients.numel() == 0 else _smooth
    values = curve(wide, (knots if coefficients.numel() == 0 else coefficients).to(wide))
    return values.to(torch.promote_types(logits.dtype, torch.float32))


def _smooth(logits: Tensor, coefficients: Tensor) -> Tensor:
    a, b, c, middle, spread, knee = coefficients.unbind()
    u = (logits - middle) / spread
    # -ln s = softplus(-u) and -ln(1 - s) = softplus(u).
    line = b * functional.softplus(u) - a * functional.softplus(-u) + c
    inside = line.clamp(-knee, knee)
    # Not cut off: a sampler that follows the gradient must find its way from where the critic is sure.
    return inside + functional.softsign(line - inside)


def _joined(logits: Tensor, knots: Tensor) -> Tensor:
    x, y = knots[:, 0].contiguous(), torch.logit(knots[:, 1])
    if len(x) == 1:
        return y + 0.0 * logits
    inside = logits.clamp(x[0], x[-1])
    right = torch.searchsorted(x, inside.detach()).clamp(1, len(x) - 1)
    width = (x[right] - x[right - 1]).clamp_min(torch.finfo(x.dtype).tiny)
    share = (inside - x[right - 1]) / width
    return torch.lerp(y[right - 1], y[right], share)


def _isotonic(x: Array, y: Array) -> Tensor:
    with streams.python_state_kept():
        from sklearn.isotonic import IsotonicRegression

    # Half a sample away from 0 and 1: m samples cannot show a ratio beyond about 2 m.
    edge = 1.0 / (len(y) + 2.0)
    steps = IsotonicRegression(y_min=edge, y_max=1.0 - edge, out_of_bounds="clip").fit(x, y)
    knots = np.stack([steps.X_thresholds_, steps.y_thresholds_], axis=1)
    return torch.from_numpy(np.ascontiguousarray(knots, dtype=np.float64))


def _logistic(u: Array, y: Array) -> tuple[float, float, float]:
    slopes, c = _rising(u[:, None], y)
    return slopes[0], slopes[0], c


def _beta(u: Array, y: Array) -> tuple[float, float, float]:
    slopes, c = _rising(np.stack([-np.logaddexp(0.0, -u), np.logaddexp(0.0, u)], axis=1), y)
    return slopes[0], slopes[1], c


def _rising(features: Array, y: Array) -> tuple[list[float], float]:
    """Return the logistic regression of y on features (N, K), no coefficient below 0, and its intercept."""
    kept = list(range(features.shape[1]))
    while True:
        found = _regressed(features[:, kept], y)
        least = int(np.argmin(found[:-1])) if kept else -1
        if not kept or found[least] >= 0.0:
            slopes = dict(zip(kept, found, strict=False))
            return [float(slopes.get(column, 0.0)) for column in range(features.shape[1])], float(found[-1])
        del kept[least]


def _regressed(features: Array, y: Array) -> Array:
    """Return the coefficients (K + 1,) of the logistic regression of y on features (N, K), the intercept last.

    Newton's method, its step halved while it does not descend.
    """
    columns = np.column_stack([features, np.ones(len(y))])
    penalty = np.full(columns.shape[1], RIDGE)
    penalty[-1] = 1e-3 * RIDGE  # only to keep the equations solvable where the groups do not overlap
    sign = 1.0 - 2.0 * y

    def objective(w: Array) -> float:
        return float(np.logaddexp(0.0, sign * (columns @ w)).sum() + 0.5 * penalty @ w**2)

    w = np.zeros(columns.shape[1])
    value = objective(w)
    for _ in range(NEWTON_STEPS):
        p = 0.5 * (1.0 + np.tanh(0.5 * (columns @ w)))
        gradient = columns.T @ (p - y) + penalty * w
        curvature = (columns * (p * (1.0 - p))[:, None]).T @ columns + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        if gradient @ step < 1e-12 * len(y):
            break
        while (lower := objective(w - step)) > value and np.abs(step).max() > 1e-12:
            step = 0.5 * step
        w, value = w - step, lower
    return w
