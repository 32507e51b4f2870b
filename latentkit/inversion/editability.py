"""How editable latents are: whether a critic still believes the samples on walks away from them.

A latent that only just makes a sample may lie where the generator is bad, between or beyond what it learned: the first
step away from it then ruins the sample. Draws of the prior say what is usual.

References:
    Tov, Alaluf, Nitzan, Patashnik, Cohen-Or (2021), "Designing an encoder for StyleGAN image manipulation": good
    reconstruction and good editing are different things, and are traded for one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit import streams
from latentkit.calibration import score_batch
from latentkit.checks import as_count, as_latents, as_number, as_seed
from latentkit.errors import ArgumentError
from latentkit.inversion.bounds import Bounds
from latentkit.inversion.result import Inversion
from latentkit.protocols import Critic, Generator
from latentkit.sampling.generate import stream

__all__ = ["Editability", "editability"]

_DRAWS = 64  # of the prior, beside which latents are judged
_SPREAD_DRAWS = 1_000  # that say how much a coordinate varies
_UNUSUAL = 0.05  # share of the draws that are called less editable than usual


@dataclass(frozen=True, eq=False)
class Editability:
    """How well latents bear walks away from them, beside draws of the prior.

    Attributes: `score` (N,), the mean probability over all walks and strengths, divided by that of the prior's draws: 1
    is usual, 0 is no sample that the critic believes; `rank` (N,), the share of the draws that score no higher;
    `editable` (N,) bool, whether that is more than 5 %; `at` (N,), the probability of each latent's own sample; `along`
    (N, S), the mean probability over the walks at each strength, and `prior_along` (S,) and `prior_at` the same for the
    draws; `strengths`; `verdict`, in a sentence.
    """

    score: Tensor
    rank: Tensor
    editable: Tensor
    at: Tensor
    along: Tensor
    prior_at: float
    prior_along: Tensor
    strengths: tuple[float, ...]
    verdict: str


def editability(
    latents: Inversion | Tensor,
    generator: Generator,
    critic: Critic,
    *,
    directions: Tensor | None = None,
    strengths: Sequence[float] = (0.5, 1.0, 2.0, 3.0),
    n: int = 16,
    seed: int = 0,
    batch_size: int = 64,
) -> Editability:
    """Walk away from latents, and ask a critic how real the samples on the way are.

    Args:
        latents: (N, D), or the inversion that found them.
        generator: the model; it runs in eval mode.
        critic: its logits are taken as log-odds of being real, so calibrate it first: `Calibration.applied`. What does
            the latents' walks no good does the draws' none either, so `rank` needs no more than an order.
        directions: (K, D) vectors to walk along, unit ones as a `Direction` has; by default toward draws of the prior.
        strengths: how far, in standard deviations of a coordinate toward draws, in units of the vectors along
            directions; negative ones walk backwards.
        n: how many draws to walk toward, where no directions are given.
        seed: 0 to 2**64 - 1, of the draws.
        batch_size: latents a call.

    Raises:
        ShapeError: if the latents or the directions are not (N, D), or the critic does not return one number a sample.
        NonFiniteError: if one of them or a logit is not finite.
        ArgumentError: if a strength is no number, or there is none.

    Examples:
        >>> import latentkit as lk
        >>> near = lk.wrap(lambda z: z, lk.Normal(2))
        >>> found = editability(torch.tensor([[0.0, 0.0], [9.0, 9.0]]), near, lambda x: 3 - x.norm(dim=1))
        >>> found.editable.tolist()
        [True, False]
    """
    prior = generator.prior
    z = as_latents(latents.latents if isinstance(latents, Inversion) else latents, prior.dim).float().cpu()
    far = tuple(as_number(s, "strengths") for s in strengths)
    if not far:
        raise ArgumentError("strengths must hold at least one number, got none")
    count, seed = as_count(n, "n"), as_seed(seed)
    # Three uses of a seed, and none is what the user draws from it.
    sources = [streams.derived_seed(streams.derived_seed(seed, streams.MEASURES), k) for k in range(3)]
    bounds = Bounds(prior, prior.sample(_SPREAD_DRAWS, seed=sources[0]))
    draws = prior.sample(_DRAWS, seed=sources[1])
    targets = prior.sample(count, seed=sources[2])
    vectors = None if directions is None else as_latents(directions, prior.dim, "directions").float().cpu()

    def walks(from_: Tensor) -> Tensor:
        if vectors is not None:
            return vectors.expand(len(from_), -1, -1)
        towards = (targets - from_[:, None]) / bounds.std
        return bounds.std * towards / towards.norm(dim=2, keepdim=True).clamp(min=1e-12)

    def probabilities(of: Tensor) -> Tensor:
        return torch.cat([score_batch(critic, x) for x in stream(generator, of, batch_size=batch_size)]).sigmoid()

    def along(from_: Tensor) -> Tensor:
        steps = torch.tensor(far)[:, None, None] * walks(from_)[:, None]
        points = bounds.supported((from_[:, None, None] + steps).reshape(-1, prior.dim))
        return probabilities(points).reshape(len(from_), len(far), -1).mean(2)

    mine, usual = along(z), along(draws)
    middle = usual.mean(1)
    score = mine.mean(1)
    rank = (middle[None] <= score[:, None]).float().mean(1)
    editable = rank > _UNUSUAL
    return Editability(
        score=score / middle.mean().clamp(min=1e-12),
        rank=rank,
        editable=editable,
        at=probabilities(z),
        along=mine,
        prior_at=float(probabilities(draws).mean()),
        prior_along=usual.mean(0),
        strengths=far,
        verdict=_verdict(editable, score.mean() / middle.mean().clamp(min=1e-12)),
    )


def _verdict(editable: Tensor, score: Tensor) -> str:
    good, total = int(editable.sum()), len(editable)
    share = f"On walks away from them the critic's probability is {float(score):.2f} times that of walks from draws"
    if good == total:
        return f"All {total} latents bear edits as draws of the prior do. {share}."
    if good == 0:
        return f"None of the {total} latents bears edits as draws of the prior do. {share}."
    return f"{good} of {total} latents bear edits as draws of the prior do. {share}."
