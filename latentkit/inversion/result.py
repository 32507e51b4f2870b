"""What an inversion finds, and how good it is."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.inversion.starts import Setup
from latentkit.protocols import place_of
from latentkit.sampling.generate import generate
from latentkit.shown import Pictured

__all__ = ["Inversion", "gathered"]

_AS_GOOD = 2.0  # times the best loss
_FOUND = 1e-3  # of the unit of the loss: below it all starts count as having found the sample


@dataclass(frozen=True, eq=False)
class Inversion(Pictured):
    """Samples with the latents that were found for them.

    Attributes: `latents` (N, D), the best of each sample; `samples` (N, *S), what the generator makes of
    them; `error` (N,), the mean squared difference of a number of the sample to what was wanted, so in
    its unit squared; `explained` (N,), 1 - error / variance, where the variance is that of a number of the
    generator's samples: 1 is exact, 0 no better than their mean; `loss` (N,), what was made small, which is
    the error unless another loss was given; `errors` (N, K), the error that each start came to, the encoder's
    first if there was one, then the regression's, and then those nearest first; `spread` (N,), the mean distance
    between the latents of those starts whose loss is at most twice the best (or a thousandth of that between
    two draws), as a root mean square over the coordinates, each in its standard deviation: 0 if they agree or
    only one start got there, about 1.4 if they are as far apart as draws of the prior, so that several latents
    make the sample;
    `typicality` (N,) of the latents under the prior; `steps`, `starts`, `pool` and `seed`, how it was done.
    """

    latents: Tensor
    samples: Tensor
    error: Tensor
    explained: Tensor
    loss: Tensor
    errors: Tensor
    spread: Tensor
    typicality: Tensor
    steps: int
    starts: int
    pool: int
    seed: int

    def __len__(self) -> int:
        """Return how many samples were inverted."""
        return len(self.latents)


def gathered(
    setup: Setup,
    each: int,
    search: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]],
    *,
    steps: int,
    starts: int,
    progress: bool,
) -> Inversion:
    """Search for some samples after others, and return the best of what the starts came to.

    Args:
        setup: of the search.
        each: samples at a time.
        search: samples (n, *S) and their starts (n, K, D) to latents (n, K, D), losses and errors (n, K).
        steps: how many there were.
        starts: how many of the pool's draws were tried.
        progress: show a progress bar on standard error.
    """
    from tqdm import tqdm

    parts = []
    with tqdm(total=len(setup.wanted), desc="inverting", unit="sample", disable=not progress, leave=False) as bar:
        for wanted, begin in zip(setup.wanted.split(each), setup.begin.split(each), strict=True):
            parts.append(search(wanted, begin))
            bar.update(len(wanted))
    u, losses, errors = (torch.cat(part) for part in zip(*parts, strict=True))
    return _assembled(setup, u, losses, errors, steps=steps, starts=starts)


def _assembled(setup: Setup, u: Tensor, losses: Tensor, errors: Tensor, *, steps: int, starts: int) -> Inversion:
    """Return the best of what the starts came to.

    Args:
        setup: of the search.
        u: (N, K, D) standardised latents.
        losses: (N, K) theirs.
        errors: (N, K) theirs.
        steps: how many there were.
        starts: how many of the pool's draws were tried.
    """
    device, dtype = place_of(setup.generator)
    rows, best = torch.arange(len(u)), losses.argmin(1)
    latents = setup.bounds.latents(u[rows, best].to(device, dtype)).cpu()
    made = generate(setup.generator, latents, batch_size=setup.batch_size)
    loss, error = losses[rows, best], errors[rows, best]
    return Inversion(
        latents=latents,
        samples=made,
        error=error,
        explained=1.0 - error / (setup.variance or 1.0),
        loss=loss,
        errors=errors,
        spread=_spread(u, losses <= (_AS_GOOD * loss).clamp(min=_FOUND * setup.unit)[:, None]),
        typicality=setup.generator.prior.typicality(latents),
        steps=steps,
        starts=starts,
        pool=setup.pool,
        seed=setup.seed,
    )


def _spread(u: Tensor, counts: Tensor) -> Tensor:
    """Return the mean distance (N,) between those of the points (N, K, D) that count (N, K)."""
    apart = (u[:, :, None] - u[:, None]).square().mean(3).sqrt()
    pairs = (counts[:, :, None] & counts[:, None]).to(u.dtype).triu(1)
    return (apart * pairs).sum((1, 2)) / pairs.sum((1, 2)).clamp(min=1.0)
