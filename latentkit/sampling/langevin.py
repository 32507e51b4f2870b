"""Langevin dynamics in the latent space, with and without the correction that makes it exact."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from latentkit.checks import as_count, as_number
from latentkit.priors import from_normal_scores, normal_scores, score_energy
from latentkit.protocols import Critic, Generator
from latentkit.sampling.candidates import Call
from latentkit.sampling.guided import GuidedSample, Proposal

__all__ = ["langevin", "log_acceptance"]

#: The acceptance at which MALA moves fastest (Roberts and Rosenthal 1998).
BEST_ACCEPTANCE = 0.574
#: How much shorter steps are that nothing corrects.
UNADJUSTED = 0.1
#: Chains and steps of the pilot that tunes the step size.
PILOT_CHAINS, PILOT_STEPS = 64, 40


@dataclass(frozen=True)
class _State:
    """Chains: normal scores (C, D), energies (C,) and their gradient (C, D), samples (C, *S) and logits (C,)."""

    scores: Tensor
    energy: Tensor
    gradient: Tensor
    samples: Tensor
    logits: Tensor


def langevin(
    generator: Generator,
    critic: Critic,
    n: int,
    *,
    seed: int = 0,
    start: int = 0,
    proposal: Proposal | None = None,
    batch_size: int = 256,
    progress: bool = False,
    steps: int = 100,
    step_size: float | None = None,
    adjusted: bool = True,
) -> GuidedSample:
    """Let a chain of latents for each sample drift to where the prior times the density ratio is large.

    With the energy E(z) = -log p(z) - d(G(z)) a chain proposes

        z' = z - (e / 2) grad E(z) + sqrt(e) noise

    and, if adjusted, takes it with the Metropolis-Hastings probability, so that the law exp(-E) stays exactly as it is.
    The steps are made in the latents' normal scores, in which the prior is standard normal: for a standard normal prior
    these are the latents, a uniform prior's latents cannot leave their bounds, and those on a sphere stay there. A
    mixture is whitened and keeps its own density.

    Args:
        generator: the model; torch must be able to differentiate it, and the critic.
        critic: samples to logits (N,), the log of the density ratio.
        n: how many samples: one chain each.
        seed: 0 to 2**64 - 1.
        start: number of the first chain.
        proposal: what the chains start from; None for the generator's prior. The target is the prior's all the same.
        batch_size: chains at a time; changes nothing beyond float rounding.
        progress: show a progress bar on standard error.
        steps: steps a chain.
        step_size: e, above 0; None tunes it on a pilot to an acceptance of 57 %, and takes a tenth of that
            where the steps are not corrected.
        adjusted: correct the steps (MALA); False as in the paper, with a bias that grows with the step size.

    Returns:
        The samples in the order of their chains, which are independent: `ess` is n. `acceptance` is the share of steps
        that were accepted, 1 if not adjusted. `tuned` has the step size.

    Raises:
        ArgumentError: if an argument is out of range, or the models or an unknown prior cannot be differentiated.
        NonFiniteError: if a logit or a gradient is not finite, as when unadjusted steps are too long.

    References:
        Che, Zhang, Sohl-Dickstein, Larochelle, Paull, Cao, Bengio (2020), "Your GAN is secretly an energy-based model
        and you should use discriminator driven latent sampling": the energy and the step above, algorithm 1.
        Roberts, Tweedie (1996), "Exponential convergence of Langevin distributions and their discrete approximations",
        section 1.4: MALA.
        Roberts, Rosenthal (1998), "Optimal scaling of discrete approximations to Langevin diffusions", theorem 2.
    """
    call = Call(
        "langevin",
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
    if step_size is None:
        size = _tuned(call) * (1.0 if adjusted else UNADJUSTED)
        call.evaluator.end_pilot()
    else:
        size = as_number(step_size, "step_size", least=0.0, open_least=True)
    ends, accepted = [], 0.0
    for first, count in call.chains():
        state = _state(call, normal_scores(call.prior, call.latents(first, count)))
        for k in range(steps):
            state, chance = _step(call, state, size, call.uniforms(first, count, call.prior.dim + 1, step=k), adjusted)
            accepted += float(chance.sum())
        ends.append(state)
    scores, samples, logits = (
        torch.cat([getattr(end, name) for end in ends]) for name in ("scores", "samples", "logits")
    )
    target = (
        f"the prior times the density ratio, which each of the {steps} steps leaves exactly unchanged; the start is "
        "forgotten only as chains mix, which is slow between far islands"
        if adjusted
        else f"not quite the prior times the density ratio: uncorrected steps of size {size:.3g} blur it"
    )
    return call.result(
        target,
        from_normal_scores(call.prior, scores).to(torch.float32),
        samples,
        logits,
        acceptance=accepted / (call.n * steps),
        tuned={"step_size": size},
    )


def log_acceptance(
    here: Tensor, energy: Tensor, gradient: Tensor, there: Tensor, new_energy: Tensor, new_gradient: Tensor, size: float
) -> Tensor:
    """Return the log (N,) of the Metropolis-Hastings ratio of Langevin steps of a size, from `here` to `there`.

    Args:
        here: (N, D), where `energy` (N,) and its `gradient` (N, D) are taken.
        energy: (N,), minus the log density up to a constant.
        gradient: (N, D).
        there: (N, D), with `new_energy` (N,) and `new_gradient` (N, D).
        new_energy: (N,).
        new_gradient: (N, D).
        size: e of the step z - (e / 2) gradient + sqrt(e) noise.
    """
    forth = (there - here + 0.5 * size * gradient).square().sum(1)
    back = (here - there + 0.5 * size * new_gradient).square().sum(1)
    return energy - new_energy + (forth - back) / (2.0 * size)


def _state(call: Call, scores: Tensor) -> _State:
    samples, logits, slopes = call.evaluator.score_slopes(scores)
    with torch.inference_mode(False), torch.enable_grad():
        u = scores.detach().clone().requires_grad_()
        energy = score_energy(call.prior, u)
        (gradient,) = torch.autograd.grad(energy.sum(), u)
    return _State(scores, energy.detach() - logits.double(), gradient - slopes, samples, logits)


def _step(call: Call, state: _State, size: float, uniforms: Tensor, adjusted: bool) -> tuple[_State, Tensor]:
    """Return the chains' next state and the mask (C,) float64 of those that moved, from uniforms (C, D + 1)."""
    noise = torch.special.ndtri(uniforms[:, :-1])
    new = _state(call, state.scores - 0.5 * size * state.gradient + math.sqrt(size) * noise)
    if not adjusted:
        return new, torch.ones(len(noise), dtype=torch.float64)
    chance = log_acceptance(state.scores, state.energy, state.gradient, new.scores, new.energy, new.gradient, size)
    moved = uniforms[:, -1].log() < chance
    return replace(
        new, **{name: _chosen(moved, getattr(new, name), value) for name, value in vars(state).items()}
    ), moved.double()


def _chosen(mask: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(mask.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _tuned(call: Call) -> float:
    """Return a step size at which about 57 % of MALA's steps are accepted: stochastic approximation on a pilot."""
    dim, logs = call.prior.dim, []
    log_size = -math.log(dim) / 3.0
    state = _state(call, normal_scores(call.prior, call.latents(0, PILOT_CHAINS, seed=call.other_seed)))
    for k in range(PILOT_STEPS):
        uniforms = call.uniforms(0, PILOT_CHAINS, dim + 1, step=k, seed=call.other_seed)
        state, moved = _step(call, state, math.exp(log_size), uniforms, adjusted=True)
        log_size += 3.0 * (float(moved.mean()) - BEST_ACCEPTANCE) / math.sqrt(k + 1.0)
        logs.append(log_size)
    return math.exp(sum(logs[PILOT_STEPS // 2 :]) / (PILOT_STEPS - PILOT_STEPS // 2))
