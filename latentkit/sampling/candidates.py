"""One call of a guided sampler: its checked arguments, the random numbers of its candidates, and its result."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_count, as_latents, as_seed
from latentkit.errors import ArgumentError, CostError, ShapeError
from latentkit.protocols import Critic, Generator
from latentkit.sampling.guided import Evaluator, GuidedSample, Proposal, drift

__all__ = ["Call", "sift"]

#: Kept samples that a sampler is granted before its running cost is held against it.
GRACE = 20


class Call:
    """What one call of a sampler works with.

    Candidate or chain i of a seed has the proposal's latent i, and random numbers that depend on (seed, i, step)
    alone, so that neither the batch size nor the parts of a stream change a result.

    Args:
        method: the sampler's name, for its result, its progress bar and its errors.
        generator: the model.
        critic: samples to logits (N,), the log of the density ratio.
        n: how many samples, at least 1.
        seed: 0 to 2**64 - 1.
        start: the number of the first candidate or chain, from 0 to 2**64 - 1.
        proposal: what candidates are drawn from; None for the generator's prior.
        batch_size: latents a call of the models.
        progress: show a progress bar on standard error.

    Raises:
        ArgumentError: if an argument is not what is said here.
        ShapeError: if the proposal's latents are not of the prior's size.
    """

    def __init__(
        self,
        method: str,
        generator: Generator,
        critic: Critic,
        n: int,
        *,
        seed: int,
        start: int,
        proposal: Proposal | None,
        batch_size: int,
        progress: bool,
    ) -> None:
        if not isinstance(generator, Generator):
            raise ArgumentError(f"{method} needs a generator with a prior, got {generator!r}; make one by wrap()")
        if not callable(critic):
            raise ArgumentError(f"{method} needs a critic, samples (N, *S) to logits (N,), got {critic!r}")
        self.method, self.prior, self.progress = method, generator.prior, progress
        self.n, self.seed, self.start = as_count(n, "n"), as_seed(seed), as_count(start, "start", least=0)
        if self.start >= 2**64:
            raise ArgumentError(f"start must lie below 2**64, got {start}")
        self.proposal = self.prior if proposal is None else proposal
        if not isinstance(self.proposal, Proposal):
            raise ArgumentError(f"a proposal has `dim` and `sample(n, seed=, start=)`, as priors do; got {proposal!r}")
        if self.proposal.dim != self.prior.dim:
            raise ShapeError(
                f"the proposal must draw latents of the prior's size {self.prior.dim}, got {self.proposal.dim}"
            )
        self.evaluator = Evaluator(generator, critic, batch_size)
        #: For draws that must not repeat those of the candidates, such as a pilot's.
        self.other_seed = streams.derived_seed(self.seed, streams.CANDIDATES)

    def latents(self, first: int, count: int, *, seed: int | None = None) -> Tensor:
        """Return the latents (count, D) float32 of candidates `first` on."""
        drawn = self.proposal.sample(count, seed=self.seed if seed is None else seed, start=first)
        drawn = as_latents(drawn, self.prior.dim, "the proposal's latents")
        if len(drawn) != count:
            raise ShapeError(f"the proposal must draw the {count} latents that it is asked for, got {len(drawn)}")
        return drawn.cpu().to(torch.float32)

    def uniforms(self, first: int, count: int, width: int = 1, *, step: int = 0, seed: int | None = None) -> Tensor:
        """Return uniforms (count, width) float64 of candidates or chains `first` on, at one of their steps.

        One sampler must keep to one width: only then do its steps not share numbers.
        """
        u = streams.uniform(
            count,
            width,
            seed=self.seed if seed is None else seed,
            start=(step << 64) + first,
            stream=streams.CANDIDATES,
        )
        return torch.from_numpy(u)

    def bar(self) -> Any:
        """Return a progress bar over the samples."""
        from tqdm import tqdm

        return tqdm(total=self.n, desc=self.method, unit="sample", disable=not self.progress, leave=False)

    def chains(self, size: int | None = None) -> Iterator[tuple[int, int]]:
        """Yield (number of the first chain, how many) for groups of `size` chains, by default of a batch."""
        size = self.evaluator.batch_size if size is None else size
        with self.bar() as bar:
            for done in range(0, self.n, size):
                count = min(size, self.n - done)
                yield self.start + done, count
                bar.update(count)

    def result(
        self,
        target: str,
        latents: Tensor,
        samples: Tensor,
        log_ratio: Tensor,
        *,
        next: int | None = None,
        acceptance: float = 1.0,
        ess: float | None = None,
        tuned: dict[str, Any] | None = None,
        notes: dict[str, float] | None = None,
    ) -> GuidedSample:
        """Return the result; by default of n independent chains in which nothing was refused."""
        return GuidedSample(
            latents=latents,
            samples=samples,
            log_ratio=log_ratio.to(torch.float32),
            method=self.method,
            target=target,
            seed=self.seed,
            start=self.start,
            next=self.start + self.n if next is None else next,
            acceptance=acceptance,
            ess=float(self.n) if ess is None else ess,
            cost=self.evaluator.cost(self.n),
            drift=drift(self.prior, latents),
            tuned=tuned or {},
            notes=notes or {},
        )


def sift(
    call: Call, judge: Callable[[Tensor, int], tuple[Tensor, ...]], *, most_evaluations: float, advice: str
) -> tuple[int, Tensor, tuple[Tensor, ...]]:
    """Go through candidates in their order until n are kept.

    Args:
        call: the sampler's call.
        judge: latents (B, D) and the number of the first of them to a mask (B,) of the kept ones, and to further
            columns (B, ...).
        most_evaluations: twice as many candidates a kept sample are too many, after a grace of 20 samples.
        advice: what would help then.

    Returns:
        The number of the first unused candidate, the kept latents (n, D), and the kept rows of the further columns.

    Raises:
        CostError: if candidates are kept too rarely.
    """
    kept = tried = 0
    parts: list[tuple[Tensor, ...]] = []
    with call.bar() as bar:
        while kept < call.n:
            # No more than the rest is likely to take: those beyond the last kept one are judged for nothing.
            likely = math.ceil((call.n - kept) * (tried + 1) / (kept + 1))
            count = min(call.evaluator.batch_size, likely)
            latents = call.latents(call.start + tried, count)
            keep, *columns = judge(latents, call.start + tried)
            rows = keep.nonzero()[: call.n - kept, 0]
            parts.append(tuple(column[rows] for column in (latents, *columns)))
            kept += len(rows)
            tried += count if kept < call.n else int(rows[-1]) + 1
            bar.update(len(rows))
            if tried > 2.0 * most_evaluations * (kept + GRACE):
                raise CostError(
                    f"{call.method} kept {kept} of {tried} candidates, far below one in most_evaluations="
                    f"{most_evaluations:g}, and stopped; {advice}"
                )
    latents, *columns = (torch.cat(column) for column in zip(*parts, strict=True))
    return call.start + tried, latents, tuple(columns)
