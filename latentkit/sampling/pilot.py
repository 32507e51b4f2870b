"""A pilot: what a critic's density ratios weigh, where to cap them, and what following them would cost."""

from typing import Literal

from torch import Tensor

from latentkit.checks import as_number
from latentkit.errors import ArgumentError, CostError

__all__ = ["ADVICE", "Cap", "chosen_cap", "concentration", "cost_error", "effective_size", "lost_weight"]

#: Where a log density ratio is cut off: a number, "auto", or None for nowhere.
Cap = float | Literal["auto"] | None

#: Share of the weight that "auto" lets a cap touch.
TOUCHED = 0.01

ADVICE = (
    "what would help: cap the ratio (cap='auto', or a number below), a proposal nearer to the data, a generator whose "
    "samples are smoothed by noise and a critic fitted to them, or a repair of what the generator does not reach"
)


def chosen_cap(cap: Cap, logits: Tensor) -> float:
    """Return the log ratio at which a pilot's logits (P,) are capped: infinity for None.

    "auto" is the smallest of the logits above which no more than 1 % of the pilot's weight lies, the sum of its
    ratios. Capped there, the law that is aimed at moves by less than 1 % in total variation, as far as the pilot saw
    the weights.

    Raises:
        ArgumentError: if the cap is none of these.
    """
    if cap is None:
        return float("inf")
    if cap == "auto":
        ordered = logits.double().sort(descending=True).values
        above = ordered.softmax(0).cumsum(0) - ordered.softmax(0)
        return float(ordered[above <= TOUCHED][-1])
    if isinstance(cap, str):
        raise ArgumentError(f"cap must be a number, 'auto' or None, got {cap!r}")
    return as_number(cap, "cap")


def lost_weight(logits: Tensor, cap: float) -> float:
    """Return the share of the weight of log ratios (P,) that lies above a cap: the bias in total variation, at most."""
    top = logits.double().max()
    weights = (logits.double() - top).exp()
    return float((weights - (cap - top).exp()).clamp(min=0.0).sum() / weights.sum())


def concentration(logits: Tensor) -> float:
    """Return the share of the weight that the top 1 % of log ratios (P,) carry."""
    shares = logits.double().softmax(0).sort(descending=True).values
    return float(shares[: max(1, len(shares) // 100)].sum())


def effective_size(logits: Tensor) -> float:
    """Return (sum w)^2 / sum w^2, from 1 to P, of weights given by their logs (P,).

    References:
        Kong (1992), "A note on importance sampling using standardized weights".
    """
    return float(1.0 / logits.double().softmax(0).square().sum())


def cost_error(method: str, what: str, logits: Tensor) -> CostError:
    """Return the error of a sampler that would cost too much: `what`, where the weight lies, what would help."""
    return CostError(
        f"{method} {what}: the top 1 % of {len(logits)} pilot candidates carry {concentration(logits):.0%} of the "
        f"weight, so hardly any others count; {ADVICE}"
    )
