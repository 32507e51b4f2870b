"""What the critic-guided samplers share: their result, what they draw from, and an honest count of what they cost.

Each sampler is a function of one signature, `method(generator, critic, n, *, seed, start, proposal, batch_size,
progress, ...)`, whose critic gives the log of the density ratio p_real / p_model (calibrate it first). What it draws
depends on the seed and `start` alone, not on the batch size beyond float rounding. A further call with
`start=result.next, **result.tuned` goes on where a result ended: `streamed` does that, so that any number of samples
needs the memory of one part.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from latentkit.calibration import score_batch
from latentkit.checks import as_count, require_finite
from latentkit.errors import ArgumentError, ShapeError
from latentkit.priors import Prior, from_normal_scores
from latentkit.protocols import Critic, Generator, check_rows, evaluating, place_of
from latentkit.sampling.generate import stream

__all__ = ["Cost", "Drift", "Evaluator", "GuidedSample", "Proposal", "drift", "joined", "streamed"]


@runtime_checkable
class Proposal(Protocol):
    """What a sampler draws its candidates from: a `Prior`, or anything else that draws latents by seed and index."""

    @property
    def dim(self) -> int:
        """Size D of one latent."""
        ...

    def sample(self, n: int, *, seed: int, start: int = 0) -> Tensor:
        """Return latents `start` to `start + n - 1` of `seed`: (n, D) float32 on the CPU."""
        ...


@dataclass(frozen=True)
class Cost:
    """What one kept sample cost.

    Attributes: `generator`, latents that went through the generator; `critic`, samples that the critic scored;
    `gradients`, latents for which both were also followed back; each a mean number per kept sample. `pilot`, latents
    that were scored once, in all, before the first candidate, and are not in the other figures.
    """

    generator: float
    critic: float
    gradients: float = 0.0
    pilot: int = 0


@dataclass(frozen=True)
class Drift:
    """How far latents went from their prior.

    Attributes: `typicality`, their mean typicality (0.5 on the prior, but for a sphere); `distance`, the
    Kolmogorov-Smirnov distance of their typicality from that of the prior, 0 to 1.
    """

    typicality: float
    distance: float


@dataclass(frozen=True, eq=False)
class GuidedSample:
    """Samples that a critic chose or moved.

    Attributes: `latents` (N, D) and their `samples` (N, *S); `log_ratio` (N,) float32, the critic's logits of these;
    `method`; `target`, the law that the method leaves unchanged, or how it misses it; `seed`; `start`, the number of
    the first candidate or chain, and `next`, that of the first unused one; `acceptance`, the share of candidates or
    steps that were accepted (1 where nothing is refused); `ess`, the effective sample size, at most N; `cost` of a
    kept sample; `drift` of the latents from the generator's prior; `tuned`, what the call found out on a pilot or on
    the way, as options that a further call takes; `notes`, further figures of the method by name.
    """

    latents: Tensor
    samples: Tensor
    log_ratio: Tensor
    method: str
    target: str
    seed: int
    start: int
    next: int
    acceptance: float
    ess: float
    cost: Cost
    drift: Drift
    tuned: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return how many samples there are."""
        return len(self.latents)


class Evaluator:
    """Runs a generator and a critic in batches, where they are, in eval mode, and counts what they did.

    Args:
        generator: the model.
        critic: samples to logits (N,), the log of the density ratio.
        batch_size: latents a call; changes nothing beyond float rounding.
    """

    def __init__(self, generator: Generator, critic: Critic, batch_size: int) -> None:
        self.generator, self.critic = generator, critic
        self.batch_size = as_count(batch_size, "batch_size")
        self.generated = self.judged = self.differentiated = self.piloted = 0

    def samples(self, latents: Tensor) -> Tensor:
        """Return the samples (N, *S) of latents (N, D), on the CPU."""
        self.generated += len(latents)
        return torch.cat(list(stream(self.generator, latents, batch_size=self.batch_size)))

    def logits(self, samples: Tensor) -> Tensor:
        """Return the critic's logits (N,) float32 of samples (N, *S), on the CPU.

        Raises:
            NonFiniteError: if a logit is not finite.
        """
        self.judged += len(samples)
        return torch.cat([score_batch(self.critic, part) for part in samples.split(self.batch_size)])

    def scored(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return the samples (N, *S) of latents (N, D) and their logits (N,) float32."""
        samples = self.samples(latents)
        return samples, self.logits(samples)

    def ratios(self, latents: Tensor) -> Tensor:
        """Return the logits (N,) float32 of latents' samples, of which no more than a batch is held at a time."""
        return torch.cat([self.scored(part)[1] for part in latents.split(self.batch_size)])

    def slopes(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return samples (N, *S), their logits (N,) float32, and the logits' gradient (N, D) by the latents.

        Raises:
            ArgumentError: if torch cannot follow the critic and the generator back to the latents.
            NonFiniteError: if a logit or a gradient is not finite.
        """
        parts = [self._slopes(part) for part in latents.split(self.batch_size)]
        samples, logits, gradients = (torch.cat(column) for column in zip(*parts, strict=True))
        self.generated += len(latents)
        self.judged += len(latents)
        self.differentiated += len(latents)
        return samples, logits, gradients

    def _slopes(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        device, dtype = place_of(self.generator)
        there, kind = place_of(self.critic)
        z = latents.detach().to(device, dtype)
        with evaluating(self.generator, self.critic), torch.inference_mode(False), torch.enable_grad():
            z = z.clone().requires_grad_()
            samples = check_rows(self.generator(z), len(z), "the generator")
            logits = check_rows(self.critic(samples.to(there, kind)), len(z), "the critic")
            if logits.numel() != len(z):
                raise ShapeError(f"the critic must return one logit a sample ({len(z)},), got {tuple(logits.shape)}")
            # None also where the logits depend on a model's own parameters alone.
            gradient = torch.autograd.grad(logits.sum(), z, allow_unused=True)[0] if logits.requires_grad else None
            if gradient is None:
                raise ArgumentError(
                    "the critic's logits do not depend on the latents by torch operations that keep gradients; use a "
                    "sampler without gradients, such as rejection, or a critic and a generator made of torch operations"
                )
        logits = require_finite(logits.detach().reshape(-1).to("cpu", torch.float32), "the critic's logits")
        gradient = require_finite(gradient.cpu().to(latents.dtype), "the gradient of the critic's logits")
        return samples.detach().cpu(), logits, gradient

    def score_slopes(self, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return samples (N, *S), logits (N,) float32, and the logits' gradient (N, D) float64 by normal scores.

        Args:
            scores: (N, D) float64, the latents' normal scores, in which every prior's latents can move freely.

        Raises:
            ArgumentError: if torch cannot follow the critic and the generator back to the latents.
            NonFiniteError: if a logit or a gradient is not finite.
        """
        with torch.inference_mode(False), torch.enable_grad():
            u = scores.detach().clone().requires_grad_()
            latents = from_normal_scores(self.generator.prior, u)
            samples, logits, slopes = self.slopes(latents.detach().to(torch.float32))
            (gradient,) = torch.autograd.grad(latents, u, slopes.double())
        return samples, logits, gradient

    def end_pilot(self) -> None:
        """Count what was done so far as a pilot, and begin to count anew."""
        self.piloted += self.judged
        self.generated = self.judged = self.differentiated = 0

    def cost(self, kept: int) -> Cost:
        """Return what each of `kept` samples cost since the pilot."""
        return Cost(self.generated / kept, self.judged / kept, self.differentiated / kept, self.piloted)


def drift(prior: Prior, latents: Tensor) -> Drift:
    """Return how far latents (N, D) went from their prior; see `Drift`.

    On a sphere, where all points are typical, both figures say nothing: 1 and 0.
    """
    values = prior.typicality(latents).sort().values
    if bool((values == 1.0).all()):
        return Drift(1.0, 0.0)
    n = len(values)
    above = torch.arange(1, n + 1, dtype=torch.float64) / n - values
    below = values - torch.arange(n, dtype=torch.float64) / n
    return Drift(float(values.mean()), float(torch.maximum(above, below).max()))


def streamed(
    method: Callable[..., GuidedSample],
    generator: Generator,
    critic: Critic,
    n: int,
    *,
    each: int = 1000,
    **options: Any,
) -> Iterator[GuidedSample]:
    """Yield n guided samples in parts of `each`, holding one part at a time.

    Args:
        method: a sampler, such as `rejection`.
        generator: the model.
        critic: samples to logits (N,), the log of the density ratio.
        n: how many samples in all.
        each: how many a part.
        options: what the sampler takes by name; `start` is where the first part begins.

    Yields:
        Results of the sampler, each going on where the last one ended.

    Raises:
        ArgumentError: if n or `each` is not a whole number of at least 1.
    """
    n, each = as_count(n, "n"), as_count(each, "each")
    return _parts(method, generator, critic, n, each, options)


def _parts(
    method: Callable[..., GuidedSample],
    generator: Generator,
    critic: Critic,
    n: int,
    each: int,
    options: dict[str, Any],
) -> Iterator[GuidedSample]:
    for done in range(0, n, each):
        part = method(generator, critic, min(each, n - done), **options)
        options = {**options, **part.tuned, "start": part.next}
        yield part


def joined(parts: Sequence[GuidedSample], prior: Prior) -> GuidedSample:
    """Return the parts of a stream as one result.

    Acceptance is weighted by candidates or chains, cost and notes by samples; effective sizes and pilots add up.

    Args:
        parts: results of one sampler, in the order of the stream.
        prior: that of the generator, for the drift.

    Raises:
        ArgumentError: if there is no part.
    """
    if not parts:
        raise ArgumentError("there are no parts to join; pass the results of a stream")

    sizes, costs = [len(part) for part in parts], [part.cost for part in parts]
    latents = torch.cat([part.latents for part in parts])
    return replace(
        parts[0],
        latents=latents,
        samples=torch.cat([part.samples for part in parts]),
        log_ratio=torch.cat([part.log_ratio for part in parts]),
        next=parts[-1].next,
        acceptance=_mean([part.acceptance for part in parts], [part.next - part.start for part in parts]),
        ess=sum(part.ess for part in parts),
        cost=Cost(
            _mean([cost.generator for cost in costs], sizes),
            _mean([cost.critic for cost in costs], sizes),
            _mean([cost.gradients for cost in costs], sizes),
            sum(cost.pilot for cost in costs),
        ),
        drift=drift(prior, latents),
        tuned=parts[-1].tuned,
        notes={name: _noted(parts, name) for name in parts[0].notes},
    )


def _mean(values: Sequence[float], sizes: Sequence[int]) -> float:
    return sum(value * size for value, size in zip(values, sizes, strict=True)) / sum(sizes)


def _noted(parts: Sequence[GuidedSample], name: str) -> float:
    # A pilot's figures come with the first part only.
    having = [part for part in parts if name in part.notes]
    return _mean([part.notes[name] for part in having], [len(part) for part in having])
