"""Scores for latents: the critic's logits of their samples, and its calibration on held-out ones."""

from collections.abc import Iterator

import torch
from torch import Tensor

from latentkit.calibration import Calibration, calibrate, score_batch
from latentkit.checks import as_latents
from latentkit.errors import ArgumentError
from latentkit.protocols import Critic, Generator
from latentkit.sampling.generate import generate, stream

__all__ = ["calibrate_against", "score_latents", "scored_samples"]

#: Held-out samples that a critic is calibrated on, at most.
MOST_REAL = 10_000


def score_latents(
    generator: Generator, critic: Critic, latents: Tensor, *, batch_size: int = 64, progress: bool = False
) -> Tensor:
    """Return the critic's logits (N,) for the samples of latents (N, D), holding one batch at a time.

    Raises:
        ShapeError: if the latents are not (N, D) with the prior's D.
        NonFiniteError: if a latent or a logit is not finite.
    """
    from tqdm import tqdm

    latents = as_latents(latents, generator.prior.dim)
    logits, done = torch.empty(len(latents)), 0
    with tqdm(total=len(latents), desc="scoring", unit="latent", disable=not progress, leave=False) as bar:
        for batch, found in scored_samples(generator, critic, latents, batch_size=batch_size):
            logits[done : done + len(batch)] = found
            done += len(batch)
            bar.update(len(batch))
    return logits


def scored_samples(
    generator: Generator, critic: Critic, latents: Tensor, *, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the samples (B, *S) of latents (N, D) with their logits (B,), batch by batch."""
    for batch in stream(generator, latents, batch_size=batch_size):
        yield batch, score_batch(critic, batch)


def calibrate_against(
    generator: Generator,
    critic: Critic,
    real: Tensor,
    *,
    seed: int,
    start: int,
    method: str | None = None,
    batch_size: int = 64,
) -> Calibration:
    """Calibrate a critic on held-out real samples and as many draws of the generator.

    The draws are latents `start` and on of the seed: begin after those that are to be mapped, so that
    no latent is judged by itself.

    Raises:
        ArgumentError: if real images are of another range than generated ones.
        ShapeError: if there are fewer than 20 samples a side, or the shapes differ.
    """
    latents = generator.prior.sample(min(len(real), MOST_REAL), seed=seed, start=start)
    others = generate(generator, latents, batch_size=batch_size)
    if real.ndim == 4 and len(real) and len(others) and float(real.abs().max()) > 1.01 >= float(others.abs().max()):
        raise ArgumentError(
            f"real images must lie in [-1, 1] as the generated ones do, got {float(real.min()):g} to "
            f"{float(real.max()):g}; bytes are x / 127.5 - 1"
        )
    return calibrate(critic, real, others, method=method, batch_size=batch_size)
