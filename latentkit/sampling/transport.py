"""Discriminator optimal transport in the latent space: each latent moves where the critic pays for the way."""

import torch
from torch import Tensor

from latentkit.checks import as_count, as_number
from latentkit.errors import CriticError
from latentkit.priors import from_normal_scores, normal_scores
from latentkit.protocols import Critic, Generator
from latentkit.sampling.candidates import Call
from latentkit.sampling.guided import GuidedSample, Proposal

__all__ = ["transport"]

#: Keeps the distance differentiable where a latent has not moved.
OFFSET = 1e-3


def transport(
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
    rate: float = 0.01,
    slope: float | None = None,
    pilot: int = 1000,
) -> GuidedSample:
    """Move each latent z0 to the z that minimises |z - z0| - d(G(z)) / k.

    k is the largest slope of d(G(z)) between two draws: a latent moves where the critic rises more steeply than it does
    between any of them. Adam descends, with the paper's settings: betas 0 and 0.9.

    Distances and slopes are those of the latents' normal scores; for a standard normal prior these are the latents, a
    uniform prior's latents cannot leave their bounds, and those on a sphere stay there.

    Args:
        generator: the model; torch must be able to differentiate it, and the critic.
        critic: samples to logits (N,), the log of the density ratio.
        n: how many samples.
        seed: 0 to 2**64 - 1.
        start: number of the first candidate.
        proposal: what candidates are drawn from; None for the generator's prior.
        batch_size: latents a call; changes nothing beyond float rounding.
        progress: show a progress bar on standard error.
        steps: how many steps.
        rate: how far one step goes at most, about; above 0.
        slope: k, above 0; None for the largest of a pilot's pairs. A smaller one moves latents further.
        pilot: pairs of latents of that pilot, which are none of the samples.

    Returns:
        The samples in the order of their candidates. `acceptance` is 1 and `ess` n, of a law that is not the target.
        `tuned` has the slope.

    Raises:
        CriticError: if the critic is flat on the pilot, so that there is nowhere to go.
        ArgumentError: if an argument is out of range, or the models cannot be differentiated.
        NonFiniteError: if a logit or a gradient is not finite.

    References:
        Tanaka (2019), "Discriminator optimal transport": the transport in the latent space, argmin over z of
        |z - z0| - d(G(z)) / k, with the effective Lipschitz constant k, the largest slope between pairs.
    """
    call = Call(
        "transport",
        generator,
        critic,
        n,
        seed=seed,
        start=start,
        proposal=proposal,
        batch_size=batch_size,
        progress=progress,
    )
    steps, rate = as_count(steps, "steps"), as_number(rate, "rate", least=0.0, open_least=True)
    if slope is None:
        first = call.latents(0, 2 * as_count(pilot, "pilot"), seed=call.other_seed)
        logits = call.evaluator.ratios(first).double().reshape(2, -1)
        u = normal_scores(call.prior, first).reshape(2, -1, first.shape[1])
        k = float(((logits[0] - logits[1]).abs() / (u[0] - u[1]).norm(dim=1).clamp(min=OFFSET)).max())
        call.evaluator.end_pilot()
        if k == 0.0:
            raise CriticError(
                "the critic scores all samples alike, so no latent has anywhere to go; use another critic"
            )
    else:
        k = as_number(slope, "slope", least=0.0, open_least=True)
    ends: list[Tensor] = []
    for first, count in call.chains():
        origin = normal_scores(call.prior, call.latents(first, count))
        u = origin.clone()
        adam = torch.optim.Adam([u], rate, (0.0, 0.9))
        for _ in range(steps):
            _, _, slopes = call.evaluator.score_slopes(u)
            way = u - origin + OFFSET
            u.grad = way / way.norm(dim=1, keepdim=True) - slopes / k
            adam.step()
        ends.append(u)
    latents = from_normal_scores(call.prior, torch.cat(ends)).to(torch.float32)
    samples, log_ratio = call.evaluator.scored(latents)
    target = (
        f"not the reweighted law: every latent climbs the log ratio, at most as far as a slope of 1 in k={k:.3g} pays, "
        "and none is refused"
    )
    return call.result(target, latents, samples, log_ratio, tuned={"slope": k})
