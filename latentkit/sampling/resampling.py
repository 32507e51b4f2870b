"""Sampling-importance-resampling: a pool of candidates, drawn from again in proportion to their density ratios."""

from collections.abc import Iterator

import torch
from torch import Tensor

from latentkit.checks import as_count, as_number
from latentkit.errors import ArgumentError
from latentkit.protocols import Critic, Generator
from latentkit.sampling.candidates import Call
from latentkit.sampling.guided import GuidedSample, Proposal
from latentkit.sampling.pilot import Cap, chosen_cap, cost_error, effective_size, lost_weight

__all__ = ["resampling", "systematic"]


def resampling(
    generator: Generator,
    critic: Critic,
    n: int,
    *,
    seed: int = 0,
    start: int = 0,
    proposal: Proposal | None = None,
    batch_size: int = 256,
    progress: bool = False,
    pool: int | None = None,
    cap: Cap = "auto",
    most_duplicates: float = 0.5,
) -> GuidedSample:
    """Draw from a pool of candidates in proportion to their density ratios.

    A fixed cost, and a bias that vanishes as the pool grows; candidates of large ratios come more than once. The parts
    of a stream are resampled each on its own.

    Args:
        generator: the model.
        critic: samples to logits (N,), the log of the density ratio.
        n: how many samples to draw.
        seed: 0 to 2**64 - 1.
        start: number of the first candidate of the pool.
        proposal: what candidates are drawn from; None for the generator's prior.
        batch_size: latents a call; changes nothing beyond float rounding.
        progress: show a progress bar on standard error.
        pool: how many candidates, at least n; None for 10 n.
        cap: the log ratio is cut off here; "auto" touches no more than 1 % of the pool's weight, None nothing.
        most_duplicates: share of repeated samples, 0 to 1, that is too much.

    Returns:
        The samples in the order of their candidates. `acceptance` is the share of the pool that was kept; `ess` is
        (sum w)^2 / sum w^2 of the pool, or n where that is more. `notes` has "duplicates", the share of samples that
        repeat another one, and "capped_weight".

    Raises:
        CostError: if more than `most_duplicates` of the samples repeat another one.
        ArgumentError: if an argument is out of range.
        NonFiniteError: if a logit is not finite.

    References:
        Rubin (1988), "Using the SIR algorithm to simulate posterior distributions": weights w_i = r(x_i) / sum r.
        Kitagawa (1996), "Monte Carlo filter and smoother", appendix: the systematic draw, one uniform for all.
    """
    call = Call(
        "resampling",
        generator,
        critic,
        n,
        seed=seed,
        start=start,
        proposal=proposal,
        batch_size=batch_size,
        progress=progress,
    )
    pool = 10 * call.n if pool is None else as_count(pool, "pool")
    if pool < call.n:
        raise ArgumentError(f"the pool must hold at least the n={call.n} candidates that are asked for, got {pool}")
    most = as_number(most_duplicates, "most_duplicates", least=0.0, most=1.0)
    logits = torch.empty(pool, dtype=torch.float32)
    with call.bar() as bar:
        for first, latents in _batches(call, pool):
            logits[first : first + len(latents)] = call.evaluator.ratios(latents)
            bar.update(len(latents) * call.n / pool)
    limit = chosen_cap(cap, logits)
    capped = logits.double().clamp(max=limit)
    rows = systematic(capped, call.n, float(call.uniforms(call.start, 1)))
    distinct, place = rows.unique(return_inverse=True)
    duplicates = 1.0 - len(distinct) / call.n
    if duplicates > most:
        what = f"would repeat {duplicates:.0%} of its samples, above most_duplicates={most:g}"
        raise cost_error(call.method, what, capped)
    # Drawn a second time, which costs next to nothing, so that only what is kept was ever held.
    latents = torch.cat([z[_within(distinct, first, len(z))] for first, z in _batches(call, pool)])
    lost = lost_weight(logits, limit)
    target = (
        f"the candidates' law times the density ratio, {f'capped at exp({limit:.3g}), ' if cap is not None else ''}"
        "but for a bias that vanishes as the pool grows"
    )
    return call.result(
        target,
        latents[place],
        call.evaluator.samples(latents)[place],
        logits[rows],
        next=call.start + pool,
        acceptance=len(distinct) / pool,
        ess=min(float(call.n), effective_size(capped)),
        notes={"duplicates": duplicates, "capped_weight": lost},
    )


def _batches(call: Call, pool: int) -> Iterator[tuple[int, Tensor]]:
    """Yield the place in the pool of a batch's first candidate, and the batch's latents (B, D)."""
    size = call.evaluator.batch_size
    for first in range(0, pool, size):
        yield first, call.latents(call.start + first, min(size, pool - first))


def _within(rows: Tensor, first: int, count: int) -> Tensor:
    return rows[(rows >= first) & (rows < first + count)] - first


def systematic(log_weights: Tensor, n: int, u: float) -> Tensor:
    """Return n indices (n,) in ascending order, index i about n w_i / sum w times, from one uniform u in (0, 1).

    Args:
        log_weights: (P,) logs of the weights w, up to a constant.
        n: how many.
        u: where in its step of 1 / n each draw lies.
    """
    edges = log_weights.double().softmax(0).cumsum(0)
    places = (torch.arange(n, dtype=torch.float64) + u) / n
    # Rounding may leave the last edge just below 1, and a place above it.
    return torch.searchsorted(edges, places * edges[-1], right=True).clamp(max=len(edges) - 1)
