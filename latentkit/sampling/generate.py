"""Latents to samples, batch by batch."""

from collections.abc import Iterator

import torch
from torch import Tensor

from latentkit.checks import as_count, as_latents
from latentkit.protocols import Generator, check_rows, evaluating, place_of

__all__ = ["generate", "stream"]


def stream(generator: Generator, latents: Tensor, *, batch_size: int = 64) -> Iterator[Tensor]:
    """Yield the samples of latents (N, D) batch by batch, on the CPU, without gradients.

    Only one batch is alive at a time, so a million latents need no more memory than `batch_size`.
    The generator runs where it is, in eval mode, and gets its mode back between batches.

    Args:
        generator: the model.
        latents: (N, D).
        batch_size: latents a call; changes nothing beyond float rounding.

    Raises:
        ShapeError: if the latents are not (N, D) with the prior's D, or the output has other rows.
        NonFiniteError: if a latent holds NaN or infinity.
    """
    latents = as_latents(latents, generator.prior.dim)
    batch_size = as_count(batch_size, "batch_size")
    return _batches(generator, latents, batch_size)


def _batches(generator: Generator, latents: Tensor, batch_size: int) -> Iterator[Tensor]:
    device, dtype = place_of(generator)
    for part in latents.split(batch_size):
        with evaluating(generator), torch.no_grad():
            samples = check_rows(generator(part.to(device, dtype)), len(part), "the generator")
        yield samples.detach().cpu()


def generate(generator: Generator, latents: Tensor, *, batch_size: int = 64, progress: bool = False) -> Tensor:
    """Return the samples (N, *S) of latents (N, D) as one CPU tensor.

    Args:
        generator: the model; it runs where it is, in eval mode.
        latents: (N, D).
        batch_size: latents a call; changes nothing beyond float rounding.
        progress: show a progress bar on standard error.

    Returns:
        (N, *S) in the model's dtype; images are floats in [-1, 1].

    Raises:
        ShapeError: if the latents are not (N, D) with the prior's D, or the output has other rows.
        NonFiniteError: if a latent holds NaN or infinity.

    Examples:
        >>> import latentkit as lk
        >>> identity = lk.wrap(lambda z: z, lk.Normal(2))
        >>> lk.generate(identity, lk.Normal(2).sample(5, seed=0)).shape
        torch.Size([5, 2])
    """
    from tqdm import tqdm

    done = 0
    samples = torch.empty(0)
    batches = stream(generator, latents, batch_size=batch_size)
    with tqdm(total=len(latents), desc="generating", unit="sample", disable=not progress, leave=False) as bar:
        for batch in batches:
            if done == 0:
                samples = torch.empty((len(latents), *batch.shape[1:]), dtype=batch.dtype)
            samples[done : done + len(batch)] = batch
            done += len(batch)
            bar.update(len(batch))
    return samples
