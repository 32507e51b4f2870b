"""Latents to samples, batch by batch."""

from collections.abc import Iterator

import torch
from torch import Tensor

from latentkit.checks import as_count, as_latents, one_of
from latentkit.protocols import Critic, Generator, check_rows, evaluating, place_of
from latentkit.sampling.batches import planned_batch
from latentkit.sampling.prepared import PRECISIONS, prepared
from latentkit.sampling.transfers import brought_back, sent

__all__ = ["generate", "made", "pays_back", "planned", "stream"]

#: Latents from which on a copy that is folded pays back what making it takes.
PREPARED_FROM = 512


def stream(
    generator: Generator, latents: Tensor, *, batch_size: int | None = None, precision: str = "float32"
) -> Iterator[Tensor]:
    """Yield the samples of latents (N, D) batch by batch, on the CPU, without gradients.

    Only one batch is alive at a time (two on a GPU, where the next is computed while one is copied back), so a million
    latents need no more memory than `batch_size`. The generator runs where it is, in eval mode, and gets its mode back
    between batches. From 512 latents on a copy runs in its place, made by `prepared` when the first batch is asked for.

    Args:
        generator: the model.
        latents: (N, D).
        batch_size: latents a call; changes nothing beyond float rounding. None takes 64, and from 8,192 latents on
            what `measured_batch` finds fastest for this generator on this machine.
        precision: "float32" for the model's own numbers, or "bfloat16"; see `prepared`.

    Raises:
        ShapeError: if the latents are not (N, D) with the prior's D, or the output has other rows.
        NonFiniteError: if a latent holds NaN or infinity.
        ArgumentError: if an argument is out of range, or this machine does not go with the precision.
    """
    latents = as_latents(latents, generator.prior.dim)
    batch_size = None if batch_size is None else as_count(batch_size, "batch_size")
    one_of(precision, "precision", PRECISIONS)
    return _batches(generator, latents, batch_size, precision)


def _batches(generator: Generator, latents: Tensor, batch_size: int | None, precision: str) -> Iterator[Tensor]:
    runner, size = planned(generator, len(latents), batch_size, precision)
    for (samples,) in brought_back((samples,) for samples in made(runner, latents, size)):
        yield samples


def pays_back(n: int, precision: str = "float32") -> bool:
    """Return whether n latents are worth a copy of their model, or the precision needs one."""
    return n >= PREPARED_FROM or precision != "float32"


def planned(
    generator: Generator, n: int, batch_size: int | None, precision: str, *, critic: Critic | None = None
) -> tuple[Generator, int]:
    """Return what makes the samples of n latents, and how many at a time.

    Args:
        generator: the model.
        n: how many latents there are in all; it alone decides what is done, so that equal calls go equal ways.
        batch_size: what was asked for.
        precision: as in `prepared`.
        critic: scores the samples, if given.
    """
    size = planned_batch(batch_size, n, generator, critic=critic, precision=precision)
    return prepared(generator, precision=precision) if pays_back(n, precision) else generator, size


def made(generator: Generator, latents: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Yield the samples of latents (N, D) batch by batch, where the generator is."""
    device, dtype = place_of(generator)
    for part in latents.split(batch_size):
        with evaluating(generator), torch.no_grad():
            samples = check_rows(generator(sent(part, device, dtype)), len(part), "the generator")
        yield samples.detach()


def generate(
    generator: Generator,
    latents: Tensor,
    *,
    batch_size: int | None = None,
    precision: str = "float32",
    progress: bool = False,
) -> Tensor:
    """Return the samples (N, *S) of latents (N, D) as one CPU tensor.

    Args:
        generator: the model; it runs where it is, in eval mode. From 512 latents on a copy runs in its place, made
            by `prepared` for this call.
        latents: (N, D).
        batch_size: latents a call; changes nothing beyond float rounding. None takes 64, and from 8,192 latents on
            what `measured_batch` finds fastest for this generator on this machine.
        precision: "float32" for the model's own numbers, or "bfloat16"; see `prepared`.
        progress: show a progress bar on standard error.

    Returns:
        (N, *S) in the model's dtype; images are floats in [-1, 1].

    Raises:
        ShapeError: if the latents are not (N, D) with the prior's D, or the output has other rows.
        NonFiniteError: if a latent holds NaN or infinity.
        ArgumentError: if an argument is out of range, or this machine does not go with the precision.

    Examples:
        >>> import latentkit as lk
        >>> identity = lk.wrap(lambda z: z, lk.Normal(2))
        >>> lk.generate(identity, lk.Normal(2).sample(5, seed=0)).shape
        torch.Size([5, 2])
    """
    from tqdm import tqdm

    done = 0
    samples = torch.empty(0)
    batches = stream(generator, latents, batch_size=batch_size, precision=precision)
    with tqdm(total=len(latents), desc="generating", unit="sample", disable=not progress, leave=False) as bar:
        for batch in batches:
            if done == 0:
                samples = torch.empty((len(latents), *batch.shape[1:]), dtype=batch.dtype)
            samples[done : done + len(batch)] = batch
            done += len(batch)
            bar.update(len(batch))
    return samples
