"""Scores for latents: the critic's logits of their samples, and its calibration on held-out ones."""

from collections.abc import Iterator

import torch
from torch import Tensor

from latentkit.calibration import Calibration, calibrate
from latentkit.calibration.critic import logits_of, require_logits
from latentkit.calibration.verdict import require_one_shape
from latentkit.checks import as_count, as_latents, floating, one_of
from latentkit.errors import ArgumentError, ShapeError
from latentkit.protocols import Critic, Generator
from latentkit.sampling.generate import generate, made, pays_back, planned
from latentkit.sampling.prepared import PRECISIONS, prepared
from latentkit.sampling.transfers import brought_back

__all__ = ["as_real", "calibrate_against", "score_latents", "scored_samples"]

#: Held-out samples that a critic is calibrated on, at most.
MOST_REAL = 10_000


def score_latents(
    generator: Generator,
    critic: Critic,
    latents: Tensor,
    *,
    batch_size: int | None = None,
    precision: str = "float32",
    progress: bool = False,
) -> Tensor:
    """Return the critic's logits (N,) for the samples of latents (N, D), holding one batch at a time.

    From 512 latents on copies of both models run in their place, made by `prepared` for this call; samples stay on
    the models' device.

    Args:
        generator: the model.
        critic: scores its samples.
        latents: (N, D).
        batch_size: latents a call; changes nothing beyond float rounding. None takes 64, and from 8,192 latents on
            what `measured_batch` finds fastest for both models on this machine.
        precision: "float32" for the models' own numbers, or "bfloat16"; see `prepared`. Logits then differ by about
            a hundredth of their spread.
        progress: show a progress bar on standard error.

    Raises:
        ShapeError: if the latents are not (N, D) with the prior's D.
        NonFiniteError: if a latent or a logit is not finite.
        ArgumentError: if an argument is out of range, or this machine does not go with the precision.
    """
    from tqdm import tqdm

    latents = as_latents(latents, generator.prior.dim)
    logits, done = torch.empty(len(latents)), 0
    scores = brought_back((found,) for _, found in _scored(generator, critic, latents, batch_size, precision))
    with tqdm(total=len(latents), desc="scoring", unit="latent", disable=not progress, leave=False) as bar:
        for (found,) in scores:
            logits[done : done + len(found)] = require_logits(found)
            done += len(found)
            bar.update(len(found))
    return logits


def scored_samples(
    generator: Generator,
    critic: Critic,
    latents: Tensor,
    *,
    batch_size: int | None = None,
    precision: str = "float32",
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the samples (B, *S) of latents (N, D) with their logits (B,), batch by batch, on the CPU.

    The arguments and errors are those of `score_latents`.
    """
    latents = as_latents(latents, generator.prior.dim)
    for samples, logits in brought_back(_scored(generator, critic, latents, batch_size, precision)):
        yield samples, require_logits(logits)


def _scored(
    generator: Generator, critic: Critic, latents: Tensor, batch_size: int | None, precision: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield samples with their logits where the models are; a critic elsewhere gets the samples there."""
    batch_size = None if batch_size is None else as_count(batch_size, "batch_size")
    one_of(precision, "precision", PRECISIONS)
    runner, size = planned(generator, len(latents), batch_size, precision, critic=critic)
    judge = None
    for samples in made(runner, latents, size):
        if judge is None:
            quick = pays_back(len(latents), precision)
            judge = prepared(critic, precision=precision, probe=samples) if quick else critic
        logits = logits_of(judge, samples)
        yield samples, logits.to(samples.device)


def as_real(real: Tensor, generated: Tensor) -> Tensor:
    """Return real samples (M, *S) as floats, if generated ones (N, *S) are of their kind.

    Raises:
        ArgumentError: if real images are of another range than generated ones.
        ShapeError: if their shapes differ.
    """
    real = floating(real, "real samples")
    require_one_shape(real, generated)
    images = real.ndim == 4 and len(real) > 0 and len(generated) > 0
    if images and float(real.abs().max()) > 1.01 >= float(generated.abs().max()):
        raise ArgumentError(
            f"real images must lie in [-1, 1] as the generated ones do, got {float(real.min()):g} to "
            f"{float(real.max()):g}; bytes are x / 127.5 - 1"
        )
    return real


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
    real = floating(real, "real samples")
    if real.ndim < 2:
        raise ShapeError(f"real samples must be (M, *S), got {tuple(real.shape)}")
    latents = generator.prior.sample(min(len(real), MOST_REAL), seed=seed, start=start)
    others = generate(generator, latents, batch_size=batch_size)
    real = as_real(real, others)
    return calibrate(critic, real, others, method=method, batch_size=batch_size)
