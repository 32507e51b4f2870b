"""Gradient flow of a divergence: latents climb the density ratio for a few noisy steps."""

import math

import torch
from torch import Tensor

from latentkit.checks import as_count, as_number, one_of
from latentkit.priors import from_normal_scores, normal_scores
from latentkit.protocols import Critic, Generator
from latentkit.sampling.candidates import Call
from latentkit.sampling.guided import GuidedSample, Proposal

__all__ = ["DIVERGENCES", "gradient_flow"]

#: What each divergence multiplies the slope of the log ratio d by.
DIVERGENCES = {
    "kl": torch.ones_like,
    "log-d": lambda d: (-d).sigmoid(),
    "js": lambda d: d.sigmoid(),
}


def gradient_flow(
    generator: Generator,
    critic: Critic,
    n: int,
    *,
    seed: int = 0,
    start: int = 0,
    proposal: Proposal | None = None,
    batch_size: int = 256,
    progress: bool = False,
    divergence: str = "kl",
    eta: float = 0.1,
    gamma: float = 0.01,
    steps: int = 25,
) -> GuidedSample:
    """Let latents flow down a divergence between the generated and the real law.

    Each of the steps is z <- z + eta s(d) grad d(G(z)) + sqrt(2 eta gamma) noise, with s = 1 for the Kullback-Leibler
    divergence, 1 / (1 + e^d) for "log-d" and 1 / (1 + e^-d) for Jensen-Shannon's. The critic is that of the first
    step throughout, so the law that is reached is sharper than the target and has other weights.

    The steps are made in the latents' normal scores; for a standard normal prior these are the latents, a uniform
    prior's latents cannot leave their bounds, and those on a sphere stay there.

    Args:
        generator: the model; torch must be able to differentiate it, and the critic.
        critic: samples to logits (N,), the log of the density ratio.
        n: how many samples.
        seed: 0 to 2**64 - 1.
        start: number of the first candidate.
        proposal: what candidates are drawn from; None for the generator's prior.
        batch_size: latents a call; changes nothing beyond float rounding.
        progress: show a progress bar on standard error.
        divergence: "kl", "log-d" or "js".
        eta: size of a step, above 0.
        gamma: weight of the entropy, at least 0: how much noise.
        steps: how many steps.

    Returns:
        The samples in the order of their candidates. `acceptance` is 1 and `ess` n, of a law that is not the target.

    Raises:
        ArgumentError: if an argument is out of range, or the models cannot be differentiated.
        NonFiniteError: if a logit or a gradient is not finite, as when the steps are too long.

    References:
        Ansari, Ang, Soh (2021), "Refining deep generative models via discriminator gradient flow": the update of
        its algorithm 1, in the latent space; s = r f''(r), r = e^-d.
    """
    call = Call(
        "gradient_flow",
        generator,
        critic,
        n,
        seed=seed,
        start=start,
        proposal=proposal,
        batch_size=batch_size,
        progress=progress,
    )
    factor = DIVERGENCES[one_of(divergence, "divergence", tuple(DIVERGENCES))]
    eta, steps = as_number(eta, "eta", least=0.0, open_least=True), as_count(steps, "steps")
    noise = math.sqrt(2.0 * eta * as_number(gamma, "gamma", least=0.0))
    ends: list[Tensor] = []
    for first, count in call.chains():
        u = normal_scores(call.prior, call.latents(first, count))
        for k in range(steps):
            _, d, slopes = call.evaluator.score_slopes(u)
            shift = torch.special.ndtri(call.uniforms(first, count, call.prior.dim, step=k))
            u = u + eta * factor(d.double())[:, None] * slopes + noise * shift
        ends.append(u)
    latents = from_normal_scores(call.prior, torch.cat(ends)).to(torch.float32)
    samples, log_ratio = call.evaluator.scored(latents)
    target = (
        f"not the reweighted law: {steps} steps up the log ratio sharpen it and change its weights, and the prior is "
        "not held to"
    )
    return call.result(target, latents, samples, log_ratio)
