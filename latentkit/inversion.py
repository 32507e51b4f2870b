"""Inversion: from a sample to a latent that a generator turns into it, or into the nearest that it can make."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_count, as_seed, floating, require_finite
from latentkit.errors import ArgumentError, NonFiniteError, ShapeError
from latentkit.neighbours import distances
from latentkit.priors import Prior
from latentkit.protocols import Encoder, Generator, check_rows, evaluating, place_of
from latentkit.sampling.generate import generate, stream

__all__ = ["Inversion", "invert"]

_RATE = 0.1  # of the Adam steps, in standard deviations of a coordinate
_RAMP_UP, _RAMP_DOWN = 0.05, 0.25  # shares of the steps
_NOISE, _QUIET = 0.05, 0.75  # standard deviations at the first step; the share of the steps that has any
_STRIDE = 2**20  # items of the noise's stream that a step may use


@dataclass(frozen=True, eq=False)
class Inversion:
    """Samples with the latents that were found for them.

    Attributes: `latents` (N, D), the best of each sample; `samples` (N, *S), what the generator makes of
    them; `error` (N,), the mean squared difference of a number of the sample to what was wanted, so in
    its unit squared; `errors` (N, K), what each start came to, the encoder's first if there was one, and
    then those nearest first; `typicality` (N,) of the latents under the prior; `steps`, `starts`, `pool`
    and `seed`, how it was done.
    """

    latents: Tensor
    samples: Tensor
    error: Tensor
    errors: Tensor
    typicality: Tensor
    steps: int
    starts: int
    pool: int
    seed: int

    def __len__(self) -> int:
        """Return how many samples were inverted."""
        return len(self.latents)


@torch.inference_mode(False)
def invert(
    generator: Generator,
    samples: Tensor,
    *,
    encoder: Encoder | None = None,
    steps: int = 300,
    starts: int = 4,
    pool: int = 2_000,
    seed: int = 0,
    batch_size: int = 64,
    progress: bool = False,
) -> Inversion:
    """Find latents whose samples are nearest to given ones, by gradient descent from several starts.

    A start is one of the latents of the pool, draws of the prior, whose samples are nearest to the one
    that is wanted, and what the encoder gives. From each, Adam lessens the mean squared difference, with a
    rate that grows over the first 5% of the steps and falls over the last 25%, and with noise on the
    latent that has died away after 75%. What is found is never worse than its start.

    Latents stay plausible: after each step one that is farther from the prior's mean than the farthest of
    the pool, in standard deviations of its coordinates, is pulled back to that distance, and then onto the
    prior's support (the box of a uniform prior, the sphere). There is no pull to the mean beside that,
    so a sample that the generator can make is found exactly.

    What is found for a sample depends on it and the settings alone, not on the samples beside it.

    Args:
        generator: the model; it must be made of torch operations, and runs in eval mode.
        samples: (N, *S) floats, as the generator makes them, at least one.
        encoder: gives one start more; it runs in eval mode.
        steps: of Adam, from each start; 0 leaves the best of the starts.
        starts: how many of the pool's; 0 with an encoder only.
        pool: how many draws there are to start from; they are not those of `seed` itself, from which the
            samples may have been made.
        seed: 0 to 2**64 - 1.
        batch_size: latents a call; the starts of a sample go together.
        progress: show a progress bar on standard error.

    Raises:
        ShapeError: if the samples are not floats of the generator's shape, or the encoder's latents not (N, D).
        NonFiniteError: if a sample, a gradient or what a model makes is not finite.
        ArgumentError: if a number is out of range, or torch cannot follow the generator to its latents.

    References:
        Karras, Laine, Aittala, Hellsten, Lehtinen, Aila (2020), "Analyzing and improving the image quality of
        StyleGAN", appendix D: the rate and the noise. The loss and the starts are others.

    Examples:
        >>> import latentkit as lk
        >>> curved = lk.wrap(lambda z: z.sinh(), lk.Normal(2))
        >>> found = lk.invert(curved, torch.tensor([[1.0, -0.5]]))
        >>> found.samples.round(decimals=2).tolist()
        [[1.0, -0.5]]
    """
    wanted = _checked_samples(samples)
    steps, starts = as_count(steps, "steps", least=0), as_count(starts, "starts", least=0 if encoder else 1)
    pool, batch_size, seed = as_count(pool, "pool", least=2), as_count(batch_size, "batch_size"), as_seed(seed)
    if starts > pool:
        raise ArgumentError(f"starts come from the pool, so starts must be at most pool = {pool}, got {starts}")
    prior = generator.prior
    # Not the latents of the seed itself: samples that were made from them would only be looked up.
    drawn = prior.sample(pool, seed=streams.derived_seed(seed, streams.VICINITY))
    chosen, variance = _nearest_drawn(generator, drawn, wanted, starts, batch_size)
    begin = drawn[chosen]
    if encoder is not None:
        begin = torch.cat([_encoded(encoder, wanted, prior.dim, batch_size)[:, None], begin], dim=1)
    search = _Search(generator, drawn, variance, steps, seed, first=0 if encoder else 1)
    parts = []
    from tqdm import tqdm

    each = max(batch_size // begin.shape[1], 1)
    with tqdm(total=len(wanted), desc="inverting", unit="sample", disable=not progress, leave=False) as bar:
        for x, z in zip(wanted.split(each), begin.split(each), strict=True):
            parts.append(search.best(x, z))
            bar.update(len(x))
    latents, errors = (torch.cat(part) for part in zip(*parts, strict=True))
    rows, best = torch.arange(len(wanted)), errors.argmin(1)
    latents = latents[rows, best]
    return Inversion(
        latents=latents,
        samples=generate(generator, latents, batch_size=batch_size),
        error=errors[rows, best],
        errors=errors,
        typicality=prior.typicality(latents),
        steps=steps,
        starts=starts,
        pool=pool,
        seed=seed,
    )


class _Search:
    """The search for latents of one generator.

    Args:
        generator: the model.
        drawn: (P, D), draws of the prior, which say how far plausible latents reach.
        variance: of the generator's samples, the unit of the loss.
        steps: of Adam.
        seed: of the noise.
        first: the number of the first of a sample's starts, 0 if it is the encoder's.
    """

    def __init__(self, generator: Generator, drawn: Tensor, variance: float, steps: int, seed: int, first: int) -> None:
        self._generator, self._steps, self._seed, self._first = generator, steps, seed, first
        self._device, self._dtype = place_of(generator)
        self._bounds = _Bounds(generator.prior, drawn.to(self._device, self._dtype))
        self._unit = variance or 1.0

    def best(self, wanted: Tensor, begin: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents (n, K, D) and their errors (n, K) for samples (n, *S) and their starts (n, K, D)."""
        n, starts, dim = begin.shape
        bounds = self._bounds
        # A sample's starts are neighbouring rows.
        target = wanted.to(self._device, self._dtype).flatten(1).repeat_interleave(starts, dim=0)
        u = bounds.kept(bounds.standard(begin.to(self._device, self._dtype).reshape(-1, dim)))
        with evaluating(self._generator):
            before, start = self._errors(u, target), u
            u = self._descended(u.clone(), target, starts)
            after = self._errors(u, target)
        better = after < before
        latents = bounds.latents(torch.where(better[:, None], u, start))
        errors = torch.where(better, after, before)
        return latents.reshape(n, starts, dim).cpu(), errors.reshape(n, starts).cpu()

    def _descended(self, u: Tensor, target: Tensor, starts: int) -> Tensor:
        """Return where the steps lead from standardised latents (n K, D)."""
        adam = torch.optim.Adam([u], lr=_RATE, betas=(0.9, 0.999))
        for step in range(self._steps):
            done = step / self._steps
            adam.param_groups[0]["lr"] = _RATE * _ramp(done)
            with torch.enable_grad():
                moving = u.detach().clone().requires_grad_()
                made = self._made(moving + self._noise(step, done, starts, len(u)))
                loss = ((made - target).square().mean(1) / self._unit).sum()
                u.grad = _gradient(loss, moving)
            adam.step()
            u.copy_(self._bounds.kept(u))
        return u

    def _noise(self, step: int, done: float, starts: int, rows: int) -> Tensor | float:
        """Return the noise (n K, D) of a step: the same for all samples, so none depends on its place."""
        strength = _NOISE * max(0.0, 1.0 - done / _QUIET) ** 2
        if strength == 0.0:
            return 0.0
        draws = streams.normal(
            starts, self._bounds.dim, seed=self._seed, start=step * _STRIDE + self._first, stream=streams.VICINITY
        )
        noise = strength * torch.from_numpy(draws).to(self._device, self._dtype)
        return noise.repeat(rows // starts, 1)

    def _made(self, u: Tensor) -> Tensor:
        return check_rows(self._generator(self._bounds.latents(u)), len(u), "the generator").flatten(1)

    @torch.no_grad()
    def _errors(self, u: Tensor, target: Tensor) -> Tensor:
        return require_finite((self._made(u) - target).square().mean(1), "what the generator makes")


class _Bounds:
    """Where plausible latents lie: in a ball around the prior's mean, and on the prior's support.

    Latents are standardised: centred, and each coordinate divided by its standard deviation.
    """

    def __init__(self, prior: Prior, drawn: Tensor) -> None:
        self._prior, self.dim = prior, prior.dim
        self._mean, self._std = drawn.mean(0), drawn.std(0).clamp(min=1e-12)
        self._radius = self.standard(drawn).norm(dim=1).max()

    def standard(self, latents: Tensor) -> Tensor:
        """Return latents (N, D) in the unit of the search."""
        return (latents - self._mean) / self._std

    def latents(self, u: Tensor) -> Tensor:
        """Return what standardised latents (N, D) are; gradients flow through."""
        return self._mean + self._std * u

    @torch.no_grad()
    def kept(self, u: Tensor) -> Tensor:
        """Return standardised latents (N, D), those that are not plausible pulled back."""
        norm = u.norm(dim=1, keepdim=True)
        within = u * (self._radius / norm.clamp(min=1e-12)).clamp(max=1.0)
        # A combination of one latent with weight 1 is the latent itself, on the prior's support.
        return self.standard(self._prior.match(self.latents(within), torch.ones(1, device=u.device)))


def _ramp(done: float) -> float:
    """Return the share of the full rate when `done` of the steps have been made."""
    down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1.0 - done) / _RAMP_DOWN))
    return down * min(1.0, done / _RAMP_UP)


def _gradient(loss: Tensor, latents: Tensor) -> Tensor:
    # By autograd.grad: the generator's own parameters get no gradient, whether or not they want one.
    found = torch.autograd.grad(loss, latents, allow_unused=True)[0] if loss.requires_grad else None
    if found is None:
        raise ArgumentError(
            "the generator's samples do not depend on its latents by torch operations that keep gradients, so there "
            "is nothing to descend; it may run under torch.no_grad, detach, or leave torch on the way (steps=0 takes "
            "the best of the pool)"
        )
    if not bool(torch.isfinite(found).all()):
        raise NonFiniteError("the generator's gradient became NaN or infinite; its weights or its input are broken")
    return found


def _checked_samples(samples: Any) -> Tensor:
    if isinstance(samples, Tensor) and not samples.is_floating_point():
        raise ShapeError(f"samples must be floats (images in [-1, 1]), got {samples.dtype}; bytes are x / 127.5 - 1")
    rows = floating(samples, "samples")
    if rows.ndim < 2 or len(rows) == 0:
        hint = "; for one sample pass x[None]" if len(rows) else ""
        raise ShapeError(f"samples must be (N, ...), at least one, got {tuple(rows.shape)}{hint}")
    return require_finite(rows, "samples").cpu()


def _nearest_drawn(
    generator: Generator, drawn: Tensor, wanted: Tensor, count: int, batch_size: int
) -> tuple[Tensor, float]:
    """Return which of the draws (P, D) have the samples nearest to those wanted, (N, count), nearest first.

    Beside it the variance of a number of the draws' samples, averaged over the numbers. The samples are seen
    batch by batch: those of all draws may be too many to hold.
    """
    flat, shape = wanted.flatten(1), wanted.shape[1:]
    distance, index = torch.full((len(flat), count), torch.inf), torch.zeros((len(flat), count), dtype=torch.long)
    total = squares = torch.zeros(flat.shape[1], dtype=torch.float64)
    done = 0
    for batch in stream(generator, drawn, batch_size=batch_size):
        if batch.shape[1:] != shape:
            raise ShapeError(f"samples must be as the generator's, (N, {_shape(batch)}), got (N, {_shape(wanted)})")
        made = require_finite(batch, "the generator's samples").flatten(1)
        total, squares = total + made.double().sum(0), squares + made.double().square().sum(0)
        numbers = torch.arange(done, done + len(made))
        for rows, block in distances(flat, made):
            both = torch.cat([distance[rows], block], dim=1)
            of = torch.cat([index[rows], numbers.expand(len(block), -1)], dim=1)
            distance[rows], places = both.topk(count, dim=1, largest=False)
            index[rows] = of.gather(1, places)
        done += len(made)
    return index, float((squares / done - (total / done).square()).clamp(min=0.0).mean())


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
