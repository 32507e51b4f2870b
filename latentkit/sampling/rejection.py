"""Discriminator rejection sampling: candidates are kept with a chance that grows with their density ratio."""

import torch
from torch import Tensor

from latentkit.checks import as_count, as_number
from latentkit.protocols import Critic, Generator
from latentkit.sampling.candidates import Call, sift
from latentkit.sampling.guided import GuidedSample, Proposal
from latentkit.sampling.pilot import ADVICE, Cap, chosen_cap, cost_error, lost_weight

__all__ = ["rejection"]

#: Keeps F finite at the largest ratio, which is then kept with a chance of 1 - 1e-6.
EPSILON = 1e-6


def rejection(
    generator: Generator,
    critic: Critic,
    n: int,
    *,
    seed: int = 0,
    start: int = 0,
    proposal: Proposal | None = None,
    batch_size: int = 256,
    progress: bool = False,
    gamma: float = 0.0,
    percentile: float | None = None,
    cap: Cap = "auto",
    ceiling: float | None = None,
    pilot: int = 2000,
    most_evaluations: float = 50.0,
) -> GuidedSample:
    """Keep candidates in proportion to their density ratio.

    Candidate i with log ratio d is kept if its uniform number, of (seed, i), lies below the sigmoid of

        F = d - d_max - log(1 - exp(d - d_max - 1e-6)) - gamma,

    which for gamma = 0 is r / r_max: exact rejection. d_max is the largest log ratio of a pilot, and of all candidates
    up to the present one. A ratio without a bound would make this endless, so by default it is capped, and the pilot
    tells what a kept sample will cost.

    Args:
        generator: the model.
        critic: samples to logits (N,), the log of the density ratio.
        n: how many samples to keep.
        seed: 0 to 2**64 - 1.
        start: number of the first candidate.
        proposal: what candidates are drawn from; None for the generator's prior.
        batch_size: latents a call; changes nothing beyond float rounding.
        progress: show a progress bar on standard error.
        gamma: above 0 keeps fewer and better candidates, below 0 more; only 0 keeps the target.
        percentile: 0 to 100; if given, gamma is this percentile of the pilot's F, as in the paper (80).
        cap: the log ratio is cut off here; "auto" touches no more than 1 % of the pilot's weight, which moves the
            target by less than that in total variation; None does not cut off. For a given acceptance, a cap is the
            best that rejection can do (Verine et al.).
        ceiling: d_max where it is known; None for the pilot's.
        pilot: candidates of the pilot, which are none of the samples. It is left out where `cap` and `ceiling` are
            known and no percentile is asked for.
        most_evaluations: candidates a kept sample that are too many.

    Returns:
        The samples in the order of their candidates. `ess` is n: they are independent. `notes` has "capped_weight",
        the share of the pilot's weight above the cap.

    Raises:
        CostError: if the pilot predicts more than `most_evaluations` candidates a kept sample, or twice as many were
            tried.
        ArgumentError: if an argument is out of range.
        NonFiniteError: if a logit is not finite.

    References:
        Azadi, Olsson, Darrell, Goodfellow, Odena (2019), "Discriminator rejection sampling", section 3: F with
        gamma and epsilon, as above, and algorithm 1.
        Verine, Pydi, Negrevergne, Chevaleyre (2024), "Optimal budgeted rejection sampling for generative models".
    """
    call = Call(
        "rejection",
        generator,
        critic,
        n,
        seed=seed,
        start=start,
        proposal=proposal,
        batch_size=batch_size,
        progress=progress,
    )
    gamma = as_number(gamma, "gamma")
    most = as_number(most_evaluations, "most_evaluations", least=1.0)
    # What is not known here, the pilot tells.
    limit, highest = chosen_cap(cap, torch.zeros(1)), as_number(0.0 if ceiling is None else ceiling, "ceiling")
    notes = {}
    if cap == "auto" or ceiling is None or percentile is not None:
        logits = call.evaluator.ratios(call.latents(0, as_count(pilot, "pilot"), seed=call.other_seed)).double()
        call.evaluator.end_pilot()
        limit = chosen_cap(cap, logits)
        highest = float(logits.max()) if ceiling is None else max(highest, float(logits.max()))
        f = _f(logits.clamp(max=limit) - min(highest, limit))
        if percentile is not None:
            gamma = float(f.quantile(as_number(percentile, "percentile", least=0.0, most=100.0) / 100.0))
        predicted = float(1.0 / (f - gamma).sigmoid().mean())
        if predicted > most:
            what = f"would cost about {predicted:,.0f} evaluations a kept sample, above most_evaluations={most:g}"
            raise cost_error(call.method, what, logits)
        notes["capped_weight"] = lost_weight(logits, limit)
    highest = min(highest, limit)

    def judge(latents: Tensor, first: int) -> tuple[Tensor, ...]:
        nonlocal highest
        samples, logits = call.evaluator.scored(latents)
        capped = logits.double().clamp(max=limit)
        ceilings = capped.cummax(0).values.clamp(min=highest)
        highest = float(ceilings[-1])
        keep = call.uniforms(first, len(latents))[:, 0] < (_f(capped - ceilings) - gamma).sigmoid()
        return keep, samples, logits, ceilings

    end, latents, (samples, log_ratio, ceilings) = sift(call, judge, most_evaluations=most, advice=ADVICE)
    tuned = {
        "gamma": gamma,
        "percentile": None,
        "cap": None if limit == float("inf") else limit,
        "ceiling": float(ceilings[-1]),
    }
    target = _target(gamma, limit, notes.get("capped_weight"))
    acceptance = call.n / (end - call.start)
    return call.result(target, latents, samples, log_ratio, next=end, acceptance=acceptance, tuned=tuned, notes=notes)


def _f(below: Tensor) -> Tensor:
    """Return F (N,) without gamma, for log ratios (N,) less the largest one."""
    return below - (-torch.expm1(below - EPSILON)).log()


def _target(gamma: float, limit: float, lost: float | None) -> str:
    law = "the candidates' law times the density ratio"
    if limit < float("inf"):
        share = "" if lost is None else f", which touches {lost:.2%} of the weight"
        law += f" capped at exp({limit:.3g}){share}"
    if gamma != 0.0:
        return (
            f"not {law}: gamma={gamma:.3g} favours the largest ratios"
            if gamma > 0
            else (f"not {law}: gamma={gamma:.3g} also keeps small ratios")
        )
    return f"{law}, exactly where the largest ratio was met in the pilot"
