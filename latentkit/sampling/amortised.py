"""Latent importance weights: a small network on latents that foretells which candidates rejection would keep."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from latentkit.checks import as_count, as_latents, as_number
from latentkit.errors import ArgumentError, CostError
from latentkit.nets.fitting import initialised
from latentkit.nets.mlp import MLPCritic
from latentkit.priors import Prior, normal_scores
from latentkit.protocols import Critic, Generator
from latentkit.sampling.candidates import Call, sift
from latentkit.sampling.guided import GuidedSample, Proposal
from latentkit.sampling.pilot import ADVICE, Cap, chosen_cap, effective_size, lost_weight

__all__ = ["LatentWeights", "amortised", "fit_latent_weights"]

#: Share of the scored latents that the network is not fitted to.
HELD_OUT = 0.2
#: Latents a step of the fit.
BATCH = 256


@dataclass(frozen=True, eq=False)
class LatentWeights:
    """The chance that rejection keeps a latent, as a small network tells it.

    Attributes: `network`, normal scores (N, D) to the logit (N,) of that chance; `prior` of the latents; `ceiling`, the
    log ratio of a chance of 1; `acceptance`, the mean chance; `efficiency`, the effective share of what is kept, 1
    where the network is exact; `deviance`, the network's cross-entropy less that of the true chances, in nats a
    latent; all on held-out latents; `capped_weight`, the share of the weight above the ceiling; `scored`, how many
    latents the fit sent through generator and critic.
    """

    network: MLPCritic
    prior: Prior
    ceiling: float
    acceptance: float
    efficiency: float
    deviance: float
    capped_weight: float
    scored: int

    def chances(self, latents: Tensor) -> Tensor:
        """Return the logits (N,) float64 of the chances that latents (N, D) are kept."""
        scores = normal_scores(self.prior, as_latents(latents, self.prior.dim)).to(torch.float32)
        with torch.no_grad():
            return self.network(scores).double()

    def __call__(self, latents: Tensor) -> Tensor:
        """Return weights (N,) float64 of latents (N, D): at least 0, with mean 1 over the candidates."""
        return self.chances(latents).sigmoid() / self.acceptance


def fit_latent_weights(
    generator: Generator,
    critic: Critic,
    *,
    seed: int = 0,
    proposal: Proposal | None = None,
    pool: int = 20_000,
    cap: Cap = "auto",
    steps: int = 2000,
    rate: float = 2e-3,
    width: int = 128,
    depth: int = 3,
    batch_size: int = 256,
    progress: bool = False,
) -> LatentWeights:
    """Fit a small network on latents to the chance that rejection keeps them.

    The network is fitted by cross-entropy to min(r, r_cap) / r_cap, the acceptance of capped rejection, whose
    minimiser is that chance itself. In the paper the weights maximise E w(z) D(G(z)), with penalties on their mean's
    distance from 1 and on what exceeds a bound m, against a critic that is trained along. With a critic that stays as
    it is, that objective is linear in w and has its optimum at m on the best latents and 0 elsewhere: a gate.

    Args:
        generator: the model.
        critic: samples to logits (N,), the log of the density ratio.
        seed: 0 to 2**64 - 1.
        proposal: what candidates will be drawn from; None for the generator's prior.
        pool: latents that are scored once, at least 100; a fifth of them tests the fit.
        cap: the log ratio is cut off here; "auto" touches no more than 1 % of the weight, None takes the pool's
            largest.
        steps: steps of Adam.
        rate: its rate, above 0, which falls to zero along half a cosine.
        width: units of each hidden layer.
        depth: hidden layers.
        batch_size: latents a call; changes nothing beyond float rounding.
        progress: show a progress bar on standard error.

    Raises:
        ArgumentError: if an argument is out of range.
        NonFiniteError: if a logit is not finite.

    References:
        Issenhuth, Tanielian, Picard, Mary (2022), "Latent reweighting, an almost free improvement for GANs", section 3:
        latent importance weights, and rejection by them.
    """
    pool = as_count(pool, "pool", least=100)
    call = Call(
        "latent weights",
        generator,
        critic,
        as_count(steps, "steps"),
        seed=seed,
        start=0,
        proposal=proposal,
        batch_size=batch_size,
        progress=progress,
    )
    rate = as_number(rate, "rate", least=0.0, open_least=True)
    latents = call.latents(0, pool, seed=call.other_seed)
    logits = call.evaluator.ratios(latents).double()
    ceiling = min(chosen_cap(cap, logits), float(logits.max()))
    scores = normal_scores(call.prior, latents).to(torch.float32)
    chances = (logits.clamp(max=ceiling) - ceiling).exp().to(torch.float32)
    train = pool - int(HELD_OUT * pool)
    with torch.inference_mode(False), torch.enable_grad():
        network = initialised(lambda: MLPCritic(call.prior.dim, width, depth), call.other_seed)
        _descend(call, network, scores[:train].clone(), chances[:train].clone(), rate)
    network.eval().requires_grad_(False)
    told = network(scores[train:])
    kept, wanted = told.double().sigmoid(), chances[train:].double()
    truth = torch.special.entr(wanted) + torch.special.entr(1.0 - wanted)
    # Kept with chance a and then weighed by w / a: the effective share is (sum w)^2 / (sum a sum w^2 / a).
    return LatentWeights(
        network=network,
        prior=call.prior,
        ceiling=ceiling,
        acceptance=float(kept.mean()),
        efficiency=float(wanted.sum() ** 2 / (kept.sum() * (wanted.square() / kept).sum())),
        deviance=float(functional.binary_cross_entropy_with_logits(told.double(), wanted) - truth.mean()),
        capped_weight=lost_weight(logits, ceiling),
        scored=pool,
    )


def _descend(call: Call, network: MLPCritic, scores: Tensor, chances: Tensor, rate: float) -> None:
    """Fit the network, in place, to chances (M,) at normal scores (M, D)."""
    optimiser = torch.optim.Adam(network.parameters(), rate)
    for first, count in call.chains(1):
        rows = call.uniforms(first, count, BATCH, seed=call.other_seed)[0] * len(scores)
        batch = rows.long().clamp(max=len(scores) - 1)
        optimiser.param_groups[0]["lr"] = 0.5 * rate * (1.0 + math.cos(math.pi * first / call.n))
        optimiser.zero_grad()
        functional.binary_cross_entropy_with_logits(network(scores[batch]), chances[batch]).backward()
        optimiser.step()


def amortised(
    generator: Generator,
    critic: Critic,
    n: int,
    *,
    weights: LatentWeights,
    seed: int = 0,
    start: int = 0,
    proposal: Proposal | None = None,
    batch_size: int = 256,
    progress: bool = False,
    scoring: bool = True,
    most_evaluations: float = 50.0,
) -> GuidedSample:
    """Keep candidates as a network on their latents foretells, so that a refused one costs neither model.

    Args:
        generator: the model.
        critic: samples to logits (N,), the log of the density ratio; it scores what was kept.
        n: how many samples to keep.
        weights: from `fit_latent_weights`, for this generator, critic and proposal.
        seed: 0 to 2**64 - 1.
        start: number of the first candidate.
        proposal: what candidates are drawn from; None for the generator's prior.
        batch_size: latents a call; changes nothing beyond float rounding.
        progress: show a progress bar on standard error.
        scoring: score what was kept; False spares the critic, and `log_ratio` is what the network makes of it.
        most_evaluations: candidates a kept sample that are too many, though they cost little.

    Returns:
        The samples in the order of their candidates. `ess` is the effective size after the network's errors: measured
        on the samples if they are scored, else the share that was held out in the fit. `cost` is one generator pass a
        sample, beside the fit's `weights.scored`.

    Raises:
        CostError: if more than `most_evaluations` candidates a kept sample are expected, or twice as many were tried.
        ArgumentError: if an argument is out of range, or the weights belong to another prior.
        NonFiniteError: if a logit is not finite.

    References:
        Issenhuth, Tanielian, Picard, Mary (2022), "Latent reweighting, an almost free improvement for GANs", section 3:
        rejection in the latent space, accepting z with w(z) / m.
    """
    call = Call(
        "amortised",
        generator,
        critic,
        n,
        seed=seed,
        start=start,
        proposal=proposal,
        batch_size=batch_size,
        progress=progress,
    )
    if not isinstance(weights, LatentWeights) or weights.prior != call.prior:
        raise ArgumentError(
            f"weights must come from fit_latent_weights for this generator, with prior {call.prior}; got {weights!r}"
        )
    most = as_number(most_evaluations, "most_evaluations", least=1.0)
    if weights.acceptance * most < 1.0:
        raise CostError(
            f"amortised would try about {1.0 / weights.acceptance:,.0f} candidates a kept sample, above "
            f"most_evaluations={most:g}; {ADVICE}"
        )

    def judge(latents: Tensor, first: int) -> tuple[Tensor, ...]:
        chances = weights.chances(latents)
        return call.uniforms(first, len(latents))[:, 0] < chances.sigmoid(), chances

    end, latents, (chances,) = sift(call, judge, most_evaluations=most, advice=ADVICE)
    told = functional.logsigmoid(chances)
    if scoring:
        samples, log_ratio = call.evaluator.scored(latents)
        ess = effective_size(log_ratio.double().clamp(max=weights.ceiling) - weights.ceiling - told)
    else:
        samples, log_ratio = call.evaluator.samples(latents), told + weights.ceiling
        ess = call.n * weights.efficiency
    target = (
        f"about the candidates' law times the density ratio capped at exp({weights.ceiling:.3g}): as far as a network "
        f"on the latents tells it, whose errors leave an effective share of {weights.efficiency:.1%}"
    )
    return call.result(
        target,
        latents,
        samples,
        log_ratio,
        next=end,
        acceptance=call.n / (end - call.start),
        ess=ess,
        notes={"capped_weight": weights.capped_weight},
    )
