"""Independence Metropolis-Hastings: a chain of candidates for each sample, of which the last accepted one is kept."""

import torch
from torch import Tensor

from latentkit.checks import as_count, floating, require_finite
from latentkit.errors import ShapeError
from latentkit.protocols import Critic, Generator
from latentkit.sampling.candidates import Call
from latentkit.sampling.guided import GuidedSample, Proposal

__all__ = ["metropolis"]

#: Candidates scored at once, whose latents are held; their samples are not.
GROUP = 16_384


def metropolis(
    generator: Generator,
    critic: Critic,
    n: int,
    *,
    seed: int = 0,
    start: int = 0,
    proposal: Proposal | None = None,
    batch_size: int = 256,
    progress: bool = False,
    steps: int = 640,
    real_logits: Tensor | None = None,
) -> GuidedSample:
    """Run a chain of candidates for each sample, and keep where it ends.

    A chain at log ratio d goes to its next candidate, of log ratio d', with probability

        min(1, (1 / D(x) - 1) / (1 / D(x') - 1)) = min(1, exp(d' - d)).

    Every chain has candidates of its own, so the kept samples are independent.

    Args:
        generator: the model.
        critic: samples to logits (N,), the log of the density ratio.
        n: how many samples: one chain each.
        seed: 0 to 2**64 - 1.
        start: number of the first chain; chain c has candidates c * steps to (c + 1) * steps - 1.
        proposal: what candidates are drawn from; None for the generator's prior.
        batch_size: latents a call; changes nothing beyond float rounding.
        progress: show a progress bar on standard error.
        steps: candidates a chain.
        real_logits: (M,) the critic's logits of real samples, of which each chain starts at one, drawn by its number.
            A chain that never left its start has no sample to give and is run again from its first candidate, with
            others. None starts every chain at its first candidate.

    Returns:
        The samples in the order of their chains. `acceptance` is the mean share of its steps that a chain made; `ess`
        is n. `notes` has "restarts", the share of chains that were run again.

    Raises:
        ShapeError: if the real logits are not (M,).
        ArgumentError: if an argument is out of range.
        NonFiniteError: if a logit is not finite.

    References:
        Turner, Hung, Frank, Saatchi, Yosinski (2019), "Metropolis-Hastings generative adversarial networks", section
        3.1: the acceptance above, and algorithm 1, with its start at real samples and its restart.
    """
    call = Call(
        "metropolis",
        generator,
        critic,
        n,
        seed=seed,
        start=start,
        proposal=proposal,
        batch_size=batch_size,
        progress=progress,
    )
    steps = as_count(steps, "steps")
    real = None if real_logits is None else _real(real_logits)
    latents, logits, moves, restarts = [], [], 0.0, 0
    for first, count in call.chains(max(1, max(GROUP, call.evaluator.batch_size) // steps)):
        starts = None if real is None else _starts(call, real, first, count)
        z, d, moved = _run(call, first, count, steps, starts, call.seed)
        shares = moved / max(1, steps - (starts is None))
        if starts is not None:
            for row in (moved == 0).nonzero()[:, 0].tolist():
                z[row], d[row], again = (part[0] for part in _run(call, first + row, 1, steps, None, call.other_seed))
                shares[row], restarts = again / max(1, steps - 1), restarts + 1
        moves += float(shares.sum())
        latents.append(z)
        logits.append(d)
    kept = torch.cat(latents)
    begin = "its first candidate" if real is None else "a real sample"
    target = (
        f"the candidates' law times the density ratio, which each of the {steps} steps from {begin} leaves unchanged; "
        "the start is forgotten as steps are accepted"
    )
    return call.result(
        target,
        kept,
        call.evaluator.samples(kept),
        torch.cat(logits),
        acceptance=moves / call.n,
        notes={"restarts": restarts / call.n},
    )


def _real(values: Tensor) -> Tensor:
    logits = floating(values, "real_logits").double().cpu()
    if logits.ndim != 1 or not len(logits):
        raise ShapeError(f"real_logits must be (M,) with at least one, got {tuple(logits.shape)}")
    return require_finite(logits, "real_logits")


def _starts(call: Call, real: Tensor, first: int, count: int) -> Tensor:
    # At step 1, as the candidates have step 0 to themselves.
    places = call.uniforms(first, count, step=1)[:, 0] * len(real)
    return real[places.long().clamp(max=len(real) - 1)]


def _run(
    call: Call, first: int, count: int, steps: int, starts: Tensor | None, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the last latents (C, D) of chains, their logits (C,), and how often each moved (C,)."""
    latents = call.latents(first * steps, count * steps, seed=seed)
    logits = call.evaluator.ratios(latents).double().reshape(count, steps)
    hurdles = call.uniforms(first * steps, count * steps, seed=seed).log().reshape(count, steps)
    here = torch.zeros(count, dtype=torch.long)
    current = logits[:, 0].clone() if starts is None else starts.clone()
    moved = torch.zeros(count, dtype=torch.long)
    for k in range(starts is None, steps):
        accepted = hurdles[:, k] < logits[:, k] - current
        here[accepted] = k
        current = torch.where(accepted, logits[:, k], current)
        moved += accepted
    rows = torch.arange(count)
    return latents.reshape(count, steps, -1)[rows, here], logits[rows, here], moved
