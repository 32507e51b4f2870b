"""Many independent descents at once: projected quasi-Newton steps, each row with its own memory and step length.

All rows take one evaluation of the loss a step, whatever their state: a row whose trial point is not better shortens
its step and tries again with the next evaluation, so that no row waits for another's line search. Rows that are done
leave the batch.

References:
    Liu, Nocedal (1989), "On the limited memory BFGS method for large scale optimization", algorithm 2.1.
    Nocedal, Wright (2006), "Numerical optimization", section 3.5 (interpolation) and algorithm 7.4 (two loops).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

__all__ = ["Descent", "descended"]

_MEMORY = 20  # pairs that a row remembers
_LONGEST = 2.0  # a step, in standard deviations
_FIRST = 0.5  # length of a step along the plain gradient
_ARMIJO = 1e-4
_REFUSED = (5, 10)  # trials in a row after which a row forgets what it learned, and after which it gives up
_WINDOW = 20  # steps over which a row must get better
_STALLED = 5e-3  # by this share at least
_RUNGS = (0.1, 0.2, 0.35)  # shares of the steps after which hopeless starts are given up
_FEWEST = 20  # steps before the first of them
_HOPELESS = 1.1  # times the loss of the best start of the sample

#: Standardised latents (n, D) and the numbers (n,) of their rows to losses (n,) and gradients (n, D).
Slope = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass
class _Rows:
    """The state of the rows that still move; the first axis is theirs everywhere."""

    number: Tensor  # (n,) in the whole
    u: Tensor  # (n, D) the best point
    loss: Tensor  # (n,)
    slope: Tensor  # (n, D)
    towards: Tensor  # (n, D) direction of the present line
    step: Tensor  # (n,) along it
    scale: Tensor  # (n,) of the inverse Hessian where nothing is remembered
    refused: Tensor  # (n,) trials since the last better one
    before: Tensor  # (n,) loss when the window began
    moves: Tensor  # (n, M, D)
    turns: Tensor  # (n, M, D) the slope's change over a move
    weight: Tensor  # (n, M) one over their product, or 0 for a pair that does not count

    def only(self, rows: Tensor) -> "_Rows":
        """Return those rows."""
        return _Rows(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True)
class Descent:
    """Where rows ended: latents `u` (R, D) standardised, `losses` (R,), and the `evaluations` (R,) that they had."""

    u: Tensor
    losses: Tensor
    evaluations: Tensor


@torch.no_grad()
def descended(
    slope: Slope, kept: Callable[[Tensor], Tensor], u: Tensor, starts: int, steps: int, exact: float
) -> Descent:
    """Descend from standardised latents (N K, D), of which K neighbours are the starts of one sample.

    No row ends worse than it began. A row stops when its loss is below `exact`, when it has got no better by
    0.5 % over 20 steps, or when no step along the gradient helps. A start is given up after 10, 20
    or 35 % of the steps (and no fewer than 20) if its loss is above 1.1 times that of the sample's best one.

    Args:
        slope: gives losses and gradients of some rows.
        kept: puts points (n, D) back where they may be.
        u: where to begin, kept already.
        starts: K.
        steps: evaluations a row, beside the one where it begins.
        exact: a loss that counts as none.
    """
    number = torch.arange(len(u), device=u.device)
    loss, gradient = slope(u, number)
    whole = Descent(u.clone(), loss.clone(), torch.ones_like(number))
    if steps == 0:
        return whole
    rows = _begun(number, u, loss, gradient)
    rungs = {max(int(share * steps), _FEWEST) for share in _RUNGS} if starts > 1 else set()
    for step in range(1, steps + 1):
        trial = kept(rows.u + rows.step[:, None] * rows.towards)
        found, turned = slope(trial, rows.number)
        whole.evaluations[rows.number] += 1
        _moved(rows, trial, found, turned, (step - 1) % _MEMORY)
        whole.u[rows.number], whole.losses[rows.number] = rows.u, rows.loss
        stay = (rows.loss > exact) & (rows.refused < _REFUSED[1])
        if step % _WINDOW == 0:
            stay &= rows.loss < (1.0 - _STALLED) * rows.before
            rows.before = rows.loss.clone()
        if step in rungs:
            best = whole.losses.reshape(-1, starts).amin(1)
            stay &= rows.loss <= _HOPELESS * best[rows.number // starts]
        if not bool(stay.all()):
            rows = rows.only(stay)
            if not len(rows.number):
                break
    return whole


def _begun(number: Tensor, u: Tensor, loss: Tensor, gradient: Tensor) -> _Rows:
    n, dim = u.shape
    pairs = u.new_zeros(n, _MEMORY, dim)
    scale = _plain(gradient)
    return _Rows(
        number=number,
        u=u.clone(),
        loss=loss.clone(),
        slope=gradient.clone(),
        towards=-scale[:, None] * gradient,
        step=torch.ones_like(loss),
        scale=scale,
        refused=torch.zeros_like(number),
        before=loss.clone(),
        moves=pairs,
        turns=pairs.clone(),
        weight=u.new_zeros(n, _MEMORY),
    )


def _plain(gradient: Tensor) -> Tensor:
    """Return the factor (n,) that makes a first step along gradients (n, D)."""
    return _FIRST / gradient.norm(dim=1).clamp(min=1e-12)


def _moved(rows: _Rows, trial: Tensor, found: Tensor, turned: Tensor, place: int) -> None:
    """Take the trial points that are better, and choose where to look next; `place` is the newest in the memory."""
    move, turn = trial - rows.u, turned - rows.slope
    expected = (rows.slope * move).sum(1)
    # What is not finite compares as no better.
    better = (found <= rows.loss + _ARMIJO * expected) & (expected < 0.0) & torch.isfinite(turned).all(1)
    product = (move * turn).sum(1)
    counts = better & (product > 1e-8 * move.norm(dim=1) * turn.norm(dim=1))
    rows.moves[:, place] = torch.where(counts[:, None], move, 0.0)
    rows.turns[:, place] = torch.where(counts[:, None], turn, 0.0)
    rows.weight[:, place] = torch.where(counts, 1.0 / product, 0.0)
    rows.scale = torch.where(counts, product / turn.square().sum(1), rows.scale)
    # The parabola through the slope and both losses has its lowest point here.
    bend = 2.0 * (found - rows.loss - expected)
    shorter = (-expected / bend.clamp(min=1e-30)).nan_to_num(0.1).clamp(0.1, 0.5) * rows.step
    rows.u = torch.where(better[:, None], trial, rows.u)
    rows.loss = torch.where(better, found, rows.loss)
    rows.slope = torch.where(better[:, None], turned, rows.slope)
    rows.refused = torch.where(better, 0, rows.refused + 1)
    lost = rows.refused == _REFUSED[0]
    if bool(lost.any()):
        rows.weight[lost] = 0.0
        rows.scale = torch.where(lost, 0.1 * _plain(rows.slope), rows.scale)
    fresh = better | lost
    rows.step = torch.where(fresh, 1.0, shorter)
    rows.towards = torch.where(fresh[:, None], _direction(rows, place), rows.towards)


def _direction(rows: _Rows, newest: int) -> Tensor:
    """Return minus the inverse Hessian, as far as it is known, times the slope (n, D); no longer than a step may be."""
    order = [(newest - k) % _MEMORY for k in range(_MEMORY)]
    moves, turns, weights = rows.moves.unbind(1), rows.turns.unbind(1), rows.weight[..., None].unbind(1)
    q = rows.slope.clone()
    taken = {}
    for k in order:
        taken[k] = weights[k] * (moves[k] * q).sum(1, keepdim=True)
        q.addcmul_(taken[k], turns[k], value=-1.0)
    q.mul_(rows.scale[:, None])
    for k in reversed(order):
        back = weights[k] * (turns[k] * q).sum(1, keepdim=True)
        q.addcmul_(taken[k] - back, moves[k])
    return q.mul_(-(_LONGEST / q.norm(dim=1, keepdim=True).clamp(min=1e-30)).clamp(max=1.0))
