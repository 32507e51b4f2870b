"""Where an inversion begins: draws of the prior whose samples are near the wanted ones, and what an encoder gives."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentkit import streams
from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_count, as_seed, floating, require_finite
from latentkit.errors import ArgumentError, ShapeError
from latentkit.inversion.bounds import Bounds
from latentkit.inversion.losses import Loss, losses_of
from latentkit.inversion.regression import Regression
from latentkit.neighbours import distances
from latentkit.protocols import Encoder, Generator, check_rows, evaluating, place_of
from latentkit.sampling.generate import stream

__all__ = ["Setup", "prepared"]

_PAIRS = 64  # of draws, whose mean loss is the unit of the search


@dataclass(frozen=True, eq=False)
class Setup:
    """All that a search needs.

    Attributes: `generator`; `wanted` (N, *S); `begin` (N, K, D), latents to begin at; `bounds`; `loss`; `unit`, the
    mean loss between the samples of two draws; `variance` of a number of the draws' samples, averaged over the numbers;
    `pool`; `seed`; `batch_size`.
    """

    generator: Generator
    wanted: Tensor
    begin: Tensor
    bounds: Bounds
    loss: Loss
    unit: float
    variance: float
    pool: int
    seed: int
    batch_size: int

    def exact(self, dtype: torch.dtype) -> float:
        """Return a loss that rounding hides, so that a search may stop there."""
        return torch.finfo(dtype).eps * self.unit


def prepared(
    generator: Generator | Checkpoint,
    samples: Tensor,
    *,
    encoder: Encoder | None,
    loss: Loss,
    starts: int,
    pool: int,
    seed: int,
    batch_size: int,
) -> Setup:
    """Check the arguments of an inversion and find where to begin.

    Raises:
        ShapeError: if the samples are not floats of the generator's shape, or the encoder's latents not (N, D).
        NonFiniteError: if a sample or what a model makes is not finite.
        ArgumentError: if a number is out of range, or the loss is no function.
    """
    if isinstance(generator, Checkpoint):
        encoder = encoder if encoder is not None else generator.encoder
        generator = generator.generator
    if not callable(loss):
        raise ArgumentError(f"loss must be a function of made and wanted samples, such as pixel_loss, got {loss!r}")
    wanted = _checked(samples)
    starts = as_count(starts, "starts", least=0 if encoder is not None else 1)
    pool, batch_size, seed = as_count(pool, "pool", least=2), as_count(batch_size, "batch_size"), as_seed(seed)
    if starts > pool:
        raise ArgumentError(f"starts come from the pool, so starts must be at most pool = {pool}, got {starts}")
    # Not the latents of the seed itself: samples that were made from them would only be looked up.
    drawn = generator.prior.sample(pool, seed=streams.derived_seed(seed, streams.VICINITY))
    seen = _look(generator, drawn, wanted, max(starts - 1, 0), batch_size)
    begin = drawn[seen.nearest]
    if starts:
        begin = torch.cat([seen.regression.guess(wanted)[:, None], begin], dim=1)
    if encoder is not None:
        begin = torch.cat([_encoded(encoder, wanted, drawn.shape[1], batch_size)[:, None], begin], dim=1)
    device, dtype = place_of(generator)
    with torch.no_grad():
        unit = float(losses_of(loss, seen.some.to(device, dtype), seen.some.roll(1, 0).to(device, dtype)).mean())
    return Setup(
        generator=generator,
        wanted=wanted,
        begin=begin,
        bounds=Bounds(generator.prior, drawn.to(device, dtype)),
        loss=loss,
        unit=unit if unit > 0.0 else 1.0,
        variance=seen.variance,
        pool=pool,
        seed=seed,
        batch_size=batch_size,
    )


def _checked(samples: Any) -> Tensor:
    if isinstance(samples, Tensor) and not samples.is_floating_point():
        raise ShapeError(f"samples must be floats (images in [-1, 1]), got {samples.dtype}; bytes are x / 127.5 - 1")
    rows = floating(samples, "samples")
    if rows.ndim < 2 or len(rows) == 0:
        hint = "; for one sample pass x[None]" if rows.ndim else ""
        raise ShapeError(f"samples must be (N, ...), at least one, got {tuple(rows.shape)}{hint}")
    return require_finite(rows, "samples").cpu()


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the pool's samples say: which are `nearest` (N, K), `regression`, `variance`, and `some` of them."""

    nearest: Tensor
    regression: Regression
    variance: float
    some: Tensor


def _look(generator: Generator, drawn: Tensor, wanted: Tensor, count: int, batch_size: int) -> _Seen:
    """Look at the samples of the draws (P, D), batch by batch, as all may be too many to hold."""
    flat, shape = wanted.flatten(1), wanted.shape[1:]
    distance, index = torch.full((len(flat), count), torch.inf), torch.zeros((len(flat), count), dtype=torch.long)
    total = squares = torch.zeros(flat.shape[1], dtype=torch.float64)
    done, some, regression = 0, [], Regression()
    for batch in stream(generator, drawn, batch_size=batch_size):
        if batch.shape[1:] != shape:
            raise ShapeError(f"samples must be as the generator's, (N, {_shape(batch)}), got (N, {_shape(wanted)})")
        made = require_finite(batch, "the generator's samples").flatten(1)
        if done < _PAIRS:
            some.append(batch[: _PAIRS - done])
        regression.see(batch, drawn[done : done + len(batch)])
        total, squares = total + made.double().sum(0), squares + made.double().square().sum(0)
        numbers = torch.arange(done, done + len(made))
        done += len(made)
        if not count:
            continue
        for rows, block in distances(flat, made):
            both = torch.cat([distance[rows], block], dim=1)
            of = torch.cat([index[rows], numbers.expand(len(block), -1)], dim=1)
            distance[rows], places = both.topk(count, dim=1, largest=False)
            index[rows] = of.gather(1, places)
    variance = float((squares / done - (total / done).square()).clamp(min=0.0).mean())
    return _Seen(index, regression, variance, torch.cat(some))


def _encoded(encoder: Encoder, samples: Tensor, dim: int, batch_size: int) -> Tensor:
    device, dtype = place_of(encoder)
    parts = []
    for part in samples.split(batch_size):
        with evaluating(encoder), torch.no_grad():
            parts.append(check_rows(encoder(part.to(device, dtype)), len(part), "the encoder").float().cpu())
    latents = torch.cat(parts)
    if latents.shape[1:] != (dim,):
        raise ShapeError(f"the encoder must return latents (N, {dim}), got {tuple(latents.shape)}")
    return require_finite(latents, "the encoder's latents")


def _shape(samples: Tensor) -> str:
    return ", ".join(map(str, samples.shape[1:]))
