"""The quality map: which part of a latent space its critic believes."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from latentkit.calibration import Calibration, calibrate, score_batch
from latentkit.checks import as_count, as_latents, as_number, as_seed
from latentkit.errors import ArgumentError, CriticError
from latentkit.files import writing
from latentkit.priors import Prior
from latentkit.protocols import Critic, Generator
from latentkit.sampling.generate import generate, stream

__all__ = ["QualityMap", "calibrate_against", "quality_map", "score_latents"]


@dataclass(frozen=True, eq=False)
class QualityMap:
    """Latents with their calibrated scores.

    Attributes: `latents` (N, D); `index` (N,), their numbers in the seed's draw; `logits` (N,) of the
    critic; `probability` (N,) that the sample is real, real and generated being equally frequent;
    `density_ratio` (N,), p_real / p_model; `typicality` (N,) under the prior; `calibration`, how the
    scores came about; `seed` of the draw.
    """

    latents: Tensor
    index: Tensor
    logits: Tensor
    probability: Tensor
    density_ratio: Tensor
    typicality: Tensor
    calibration: Calibration
    seed: int

    def __len__(self) -> int:
        """Return how many latents the map holds."""
        return len(self.latents)

    @property
    def verdict(self) -> str:
        """Whether the critic is worth believing, in one sentence."""
        return f"{self.calibration.verdict}: {self.calibration.explanation}"

    @classmethod
    def of(cls, prior: Prior, latents: Tensor, logits: Tensor, calibration: Calibration, seed: int) -> "QualityMap":
        """Return the map of latents 0 to N - 1 of a seed, (N, D), whose samples a critic gave logits (N,)."""
        return cls(
            latents=latents,
            index=torch.arange(len(latents)),
            logits=logits,
            probability=calibration.probability(logits),
            density_ratio=calibration.density_ratio(logits),
            typicality=prior.typicality(latents),
            calibration=calibration,
            seed=seed,
        )

    def rows(self, index: Tensor) -> "QualityMap":
        """Return the map of the latents at `index` (M,), in that order."""
        fields = ("latents", "index", "logits", "probability", "density_ratio", "typicality")
        return replace(self, **{name: getattr(self, name)[index] for name in fields})

    def top(self, fraction: float) -> "QualityMap":
        """Return the best `fraction` of the latents, best first; at least one.

        Raises:
            ArgumentError: if the fraction is not above 0 and at most 1.
        """
        fraction = as_number(fraction, "fraction", least=0.0, most=1.0, open_least=True)
        # By probability, and by logit where the calibration makes no difference.
        order = torch.argsort(self.logits, descending=True, stable=True)
        order = order[torch.argsort(self.probability[order], descending=True, stable=True)]
        return self.rows(order[: max(1, round(fraction * len(self)))])

    def above(self, probability: float) -> "QualityMap":
        """Return the latents whose probability is at least `probability`, in the map's order."""
        threshold = as_number(probability, "probability", least=0.0, most=1.0)
        return self.rows((self.probability >= threshold).nonzero()[:, 0])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the map's arrays as `.npz` and return the path."""
        import numpy as np

        with writing(path) as file:
            np.savez_compressed(
                file,
                latents=self.latents.numpy(),
                index=self.index.numpy(),
                logits=self.logits.numpy(),
                probability=self.probability.numpy(),
                density_ratio=self.density_ratio.numpy(),
                typicality=self.typicality.numpy(),
                calibration_knots=self.calibration.knots.numpy(),
                seed=np.uint64(self.seed),
                verdict=np.array(self.verdict),
            )
        return Path(path)


def score_latents(
    generator: Generator, critic: Critic, latents: Tensor, *, batch_size: int = 64, progress: bool = False
) -> Tensor:
    """Return the critic's logits (N,) for the samples of latents (N, D), holding one batch at a time.

    Raises:
        ShapeError: if the latents are not (N, D) with the prior's D.
        NonFiniteError: if a latent or a logit is not finite.
    """
    latents = as_latents(latents, generator.prior.dim)
    logits = torch.empty(len(latents))
    done = 0
    from tqdm import tqdm

    with tqdm(total=len(latents), desc="scoring", unit="latent", disable=not progress, leave=False) as bar:
        for batch in stream(generator, latents, batch_size=batch_size):
            logits[done : done + len(batch)] = score_batch(critic, batch)
            done += len(batch)
            bar.update(len(batch))
    return logits


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
    latents = generator.prior.sample(min(len(real), 10_000), seed=seed, start=start)
    others = generate(generator, latents, batch_size=batch_size)
    if real.ndim == 4 and len(real) and len(others) and float(real.abs().max()) > 1.01 >= float(others.abs().max()):
        raise ArgumentError(
            f"real images must lie in [-1, 1] as the generated ones do, got {float(real.min()):g} to "
            f"{float(real.max()):g}; bytes are x / 127.5 - 1"
        )
    return calibrate(critic, real, others, method=method, batch_size=batch_size)


def quality_map(
    generator: Generator,
    critic: Critic | None,
    real: Tensor,
    *,
    n: int = 10_000,
    seed: int = 0,
    batch_size: int = 64,
    method: str | None = None,
    allow_uninformative: bool = False,
    progress: bool = False,
) -> QualityMap:
    """Score n draws of the prior with a critic calibrated on held-out data.

    Args:
        generator: the model.
        critic: its discriminator, or any scorer.
        real: (M, *S) real samples that neither was trained on, at least 20.
        n: how many latents to map; latents 0 to n - 1 of the seed.
        seed: 0 to 2**64 - 1.
        batch_size: latents a call.
        method: "isotonic", "logistic", or None for the better one.
        allow_uninformative: return the map of a critic without signal instead of refusing.
        progress: show a progress bar on standard error.

    Raises:
        CriticError: if there is no critic, or it carries no signal and `allow_uninformative` is False.
        ShapeError: if there are fewer than 20 real samples, or they are not of the generator's shape.
    """
    n, seed = as_count(n, "n"), as_seed(seed)
    if critic is None:
        raise CriticError("there is no critic to score latents with; pass any function from samples to logits (N,)")
    prior = generator.prior
    calibration = calibrate_against(generator, critic, real, seed=seed, start=n, method=method, batch_size=batch_size)
    if calibration.verdict == "uninformative" and not allow_uninformative:
        raise CriticError(
            f"no quality map was made. {calibration.explanation} Train longer, use another critic, hold out "
            "more real samples, or pass allow_uninformative=True to see the scores all the same."
        )
    latents = prior.sample(n, seed=seed)
    logits = score_latents(generator, critic, latents, batch_size=batch_size, progress=progress)
    return QualityMap.of(prior, latents, logits, calibration, seed)
