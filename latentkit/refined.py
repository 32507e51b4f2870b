"""The best that a generator of points can give: mended, matched to the data, smoothed, and weighed by a fresh critic.

None of the parts does it alone. The ratio of densities of a thin generator is unbounded, so that rejection never ends;
matching gives the right proportions, but the generator's own thin shapes; smoothing widens them; and a fresh critic
weighs what is then comparable. Everything is chosen from training and held-out samples.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentkit import streams
from latentkit.calibration import CalibratedCritic, Measures, score
from latentkit.checks import as_latents, as_number, as_seed
from latentkit.errors import CostError
from latentkit.holes import Holes, find_holes, repair
from latentkit.neighbours import distances
from latentkit.opinions import SecondOpinion, second_opinion
from latentkit.protocols import Critic, Generator
from latentkit.sampling.generate import generate
from latentkit.sampling.guided import GuidedSample
from latentkit.sampling.matching import Matching, match_latents
from latentkit.sampling.rejection import rejection
from latentkit.smoothing import Noisy, Smoothed, smoothed
from latentkit.support import Support, fit_support

__all__ = ["Refined", "likeliest_bandwidth", "refine"]

#: Beyond this share of unreached training samples, or this many times the data's own bandwidth, a repair is worth it.
UNREACHED, COARSE = 0.001, 1.5

#: Most repairs, one after another.
REPAIRS = 2

#: The noise, in likeliest bandwidths, from 10,000 training samples on: enough that the law that is weighed lies beyond
#: the data's on all sides, and little enough that few candidates are refused. Up to 1,000 samples, which do not teach a
#: critic to take noise back, it is less.
WIDER, WIDER_FOR_FEW = 2.0, 0.75

#: Samples that the bandwidth is measured with, and held-out ones that it is measured on.
_SAMPLES, _HELD = 20_000, 600


#: The log ratio of what lies where no data lie: a critic that is trained has seen nothing there.
_OUTSIDE = -20.0


@dataclass(frozen=True, eq=False)
class _Within:
    """A critic whose log ratio is very small outside of the data's support."""

    module: CalibratedCritic
    support: Support

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return log density ratios (N,) of samples (N, *S)."""
        logits = self.module(x)
        return torch.where(self.support(x).to(logits.device) >= 0, logits, _OUTSIDE)


@dataclass(frozen=True, eq=False)
class Refined:
    """A generator with all that makes its samples follow the data; `sample` draws them.

    Attributes: `generator`, smoothed: its `module` is the generator that was given, or a repaired copy; `proposal`
    of its latents; `critic`, the calibrated log density ratio of real samples and smoothed ones, and next to
    nothing where all but one real sample in a thousand do not lie; `opinion`, where it comes from; `measured`, how
    good it is on held-out samples that had no part in it; `matching`; `holes`, what the generator that was given
    did not reach, and `remaining`, what is still out of reach; `repairs`, how many were made; `cost`, the predicted
    evaluations of a kept sample; `cap` and `ceiling` of the log ratio; `seed`.
    """

    generator: Smoothed
    proposal: Noisy
    critic: Critic
    opinion: SecondOpinion
    measured: Measures
    matching: Matching
    holes: Holes
    remaining: Holes
    repairs: int
    cost: float
    cap: float | None
    ceiling: float
    seed: int

    def sample(
        self, n: int, *, seed: int, start: int = 0, batch_size: int = 1024, progress: bool = False
    ) -> GuidedSample:
        """Return n samples that follow the data; see `rejection` for the arguments and the result."""
        return rejection(
            self.generator,
            self.critic,
            n,
            seed=seed,
            start=start,
            proposal=self.proposal,
            batch_size=batch_size,
            progress=progress,
            cap=self.cap,
            ceiling=self.ceiling,
        )


def likeliest_bandwidth(samples: Tensor, held_out: Tensor) -> float:
    """Return the width of Gaussian kernels on samples (N, F) under which held-out ones (M, F) are likeliest.

    References:
        Duin (1976), "On the choice of smoothing parameters for Parzen estimators of probability density functions".
    """
    samples, held_out = samples[:_SAMPLES], held_out[:_HELD]
    size = samples.shape[1]
    squares = torch.cat([block.square().sort(dim=1).values[:, :2000] for _, block in distances(held_out, samples)])
    # Kernels beyond the nearest 2,000 hold no likelihood worth the time at the widths that can win.
    low = float(squares[:, 0].median().sqrt()) / 2.0
    high = float(squares[:, -1].max().sqrt())
    best = (-math.inf, low)
    for k in range(40):
        width = max(low, 1e-12) * 2.0 ** (k / 3.0)
        if width > max(high, 2 * low):
            break
        log_kernels = -squares.double() / (2.0 * width * width)
        likelihood = float(torch.logsumexp(log_kernels, 1).mean()) - size * math.log(width)
        best = max(best, (likelihood, width))
    return best[1]


def refine(
    generator: Generator,
    train: Tensor,
    held_out: Tensor,
    *,
    mend: bool = True,
    most_evaluations: float = 50.0,
    pool: int = 100_000,
    steps: int | None = None,
    support: Support | None = None,
    seed: int = 0,
    batch_size: int = 1024,
    progress: bool = False,
) -> Refined:
    """Fit all that makes a generator of points follow the data.

    For points of few dimensions: noise on an image is noise. There `match_latents` and `gated` are what helps.

    Args:
        generator: the model.
        train: (N, F) its training samples, at least 50.
        held_out: (M, F) real samples that it was not trained on, at least 20.
        mend: whether a copy of the generator may be repaired where it misses more than a thousandth of the training
            samples or is coarser than they are; without it, the generator stays as it is.
        most_evaluations: of a kept sample; a pilot that predicts more ends in an error that says why.
        pool: generated samples to match with.
        steps: most training steps of the critic, by default 2000.
        support: where data lie; None to learn it.
        seed: 0 to 2**64 - 1.
        batch_size: latents a call.
        progress: show progress bars on standard error.

    Raises:
        CostError: if a kept sample would cost too much; the text says what the generator does not reach.
        ShapeError: if there are too few samples, or they are not of the generator's shape.
        ArgumentError: if hardly any generated sample lies where data lie, or an argument is out of range.
    """
    most, seed = as_number(most_evaluations, "most_evaluations", least=1.0), as_seed(seed)
    train, held_out = as_latents(train, name="train"), as_latents(held_out, name="held_out")
    # Matches may lie as far out as all but one real sample in a thousand: the critic, not the gate, weighs the tails.
    support = support or fit_support(train, held_out, share=0.999)
    shared: dict[str, Any] = {"pool": pool, "batch_size": batch_size, "progress": progress, "support": support}
    own = likeliest_bandwidth(train.flatten(1), held_out.flatten(1))
    model: Any = generator
    matching = match_latents(model, train, held_out, seed=seed, **shared)
    width = _bandwidth(model, matching, held_out, seed, batch_size)
    holes = remaining = find_holes(matching, train)
    repairs = 0
    while mend and repairs < REPAIRS and _worth_it(matching, width, own):
        unreached = matching.holes if bool(matching.holes.any()) else torch.ones(len(train), dtype=torch.bool)
        model = repair(model, train, unreached, seed=seed + repairs, progress=progress)
        matching = match_latents(model, train, held_out, seed=seed, **shared)
        width = _bandwidth(model, matching, held_out, seed, batch_size)
        remaining, repairs = find_holes(matching, train), repairs + 1
    soft = smoothed(model, _wider(len(train)) * width)
    proposal = soft.proposal(matching)
    opinion = second_opinion(
        soft,
        train,
        proposal=proposal,
        seed=seed,
        steps=steps,
        method="logistic",
        weight_decay=min(1.0, 1000.0 / len(train)),  # the more samples, the less is chance
        progress=progress,
    )
    critic = _Within(opinion.calibration.applied(opinion.critic), support)
    fresh = proposal.sample(len(held_out), seed=streams.derived_seed(seed, streams.MEASURES))
    fakes = generate(soft, fresh, batch_size=batch_size)
    measured = opinion.calibration.measured(score(opinion.critic, held_out), score(opinion.critic, fakes))
    try:
        trial = rejection(soft, critic, 100, seed=seed, proposal=proposal, batch_size=batch_size, most_evaluations=most)
    except CostError as error:
        raise CostError(f"{error}. {remaining.verdict}") from error
    return Refined(
        generator=soft,
        proposal=proposal,
        critic=critic,
        opinion=opinion,
        measured=measured,
        matching=matching,
        holes=holes,
        remaining=remaining,
        repairs=repairs,
        cost=1.0 / trial.acceptance,
        cap=trial.tuned["cap"],
        ceiling=trial.tuned["ceiling"],
        seed=seed,
    )


def _wider(count: int) -> float:
    """Return the noise, in likeliest bandwidths, for so many training samples."""
    return WIDER_FOR_FEW + (WIDER - WIDER_FOR_FEW) * min(max(math.log10(count) - 3.0, 0.0), 1.0)


def _worth_it(matching: Matching, width: float, own: float) -> bool:
    """Whether the generator misses so many training samples, or is so much coarser than they are, that it is mended."""
    return float(matching.holes.double().mean()) > UNREACHED or width > COARSE * own


def _bandwidth(generator: Generator, matching: Matching, held_out: Tensor, seed: int, batch_size: int) -> float:
    """Return the likeliest bandwidth of matched samples."""
    latents = matching.sample(_SAMPLES, seed=streams.derived_seed(seed, streams.MATCHED))
    samples = generate(generator, latents, batch_size=batch_size)
    return likeliest_bandwidth(samples.flatten(1).float(), held_out.flatten(1).float())
