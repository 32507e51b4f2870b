"""What is chosen from a map, a block at a time: its scores may lie on the disk, and its latents are drawn anew."""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from latentkit.calibration import Calibration
from latentkit.priors import Prior

__all__ = ["BLOCK", "best_rows", "blocks_of", "drawn_rows", "in_order", "rows_above", "threshold_of"]

#: Rows that are looked at at once.
BLOCK = 2**16

#: Coordinates that are drawn at once, and how many latents between two that are wanted are drawn along with them.
_DRAWN, _BETWEEN = 2**23, 64

#: Share of the held-out real samples that the default threshold calls bad.
REAL_BELOW = 0.05


def blocks_of(count: int) -> Iterator[slice]:
    """Yield the rows 0 to count - 1 in blocks."""
    return (slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))


def threshold_of(calibration: Calibration, real_logits: Tensor) -> float:
    """Return the probability that all but 5 % of real samples with these logits (M,) reach."""
    return float(calibration.probability(real_logits).quantile(REAL_BELOW))


def in_order(rows: Tensor, probability: Tensor, logits: Tensor) -> Tensor:
    """Return rows (M,) that rise, best first: by probability, then by logit where the calibration makes no difference.

    Args:
        rows: (M,) long, rising.
        probability: (N,) of all rows.
        logits: (N,) of all rows.
    """
    ranked = rows[torch.argsort(logits[rows], descending=True, stable=True)]
    return ranked[torch.argsort(probability[ranked], descending=True, stable=True)]


def best_rows(probability: Tensor, logits: Tensor, count: int, among: Tensor | None = None) -> Tensor:
    """Return the best `count` rows (count,) long, best first, in memory for about twice as many.

    Args:
        probability: (N,).
        logits: (N,), which decide among equal probabilities.
        count: how many.
        among: (N,) bool, the rows that may be chosen; by default all.
    """
    kept, waiting, held = torch.empty(0, dtype=torch.long), [], 0
    least = -torch.inf
    for part in blocks_of(len(probability)):
        better = probability[part] >= least
        if among is not None:
            better &= among[part]
        found = better.nonzero()[:, 0] + part.start
        waiting.append(found)
        held += len(found)
        if held >= max(count, BLOCK):
            kept, waiting, held = _pruned([kept, *waiting], probability, logits, count), [], 0
            least = float(probability[kept].min()) if len(kept) == count else -torch.inf
    return in_order(_pruned([kept, *waiting], probability, logits, count), probability, logits)


def _pruned(parts: list[Tensor], probability: Tensor, logits: Tensor, count: int) -> Tensor:
    """Return the best `count` of rows, which rise from part to part, in rising order."""
    rows = torch.cat(parts)
    return rows if len(rows) <= count else in_order(rows, probability, logits)[:count].sort().values


def rows_above(probability: Tensor, threshold: float) -> Tensor:
    """Return the rows (M,) long whose probability (N,) is at least the threshold, in order."""
    parts = [(probability[part] >= threshold).nonzero()[:, 0] + part.start for part in blocks_of(len(probability))]
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.long)


def drawn_rows(prior: Prior, wanted: Tensor, seed: int) -> Tensor:
    """Return latents `wanted` (M,) long of a seed, (M, D) float32 in that order, drawing little else."""
    found = torch.empty((len(wanted), prior.dim))
    order = wanted.argsort()
    numbers = wanted[order]
    at_once = torch.div(numbers, max(1, _DRAWN // prior.dim), rounding_mode="floor")
    apart = (numbers.diff() > _BETWEEN) | (at_once.diff() > 0)
    ends = [0, *(apart.nonzero()[:, 0] + 1).tolist(), len(wanted)]
    for begin, end in pairwise(ends):
        if end > begin:
            first = int(numbers[begin])
            drawn = prior.sample(int(numbers[end - 1]) - first + 1, seed=seed, start=first)
            found[order[begin:end]] = drawn[numbers[begin:end] - first]
    return found
