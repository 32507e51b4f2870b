"""What a study of the latent size measures of each generator, and of real samples in its place."""

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from latentkit.calibration import FEWEST
from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_count
from latentkit.geometry import effective_rank
from latentkit.inversion import invert
from latentkit.metrics import SampleQuality, sample_quality
from latentkit.neighbours import distances
from latentkit.quality import quality_map
from latentkit.sampling.generate import generate
from trainers.data.dataset import Data
from trainers.study import Row

__all__ = ["StudyConfig", "measure", "measure_real"]

_BLOCK = 2_048  # training samples that are looked at together


@dataclass(frozen=True)
class StudyConfig:
    """How each generator of a study is measured.

    Args:
        samples: samples that are compared with as many held-out ones, at most; at least 20.
        inverted: held-out samples whose latents are sought.
        inversion_steps: steps of each search.
        inversion_starts: searches for each of them.
        ranked: latents at which the effective rank is taken.

    Raises:
        ArgumentError: if a value is out of its range.
    """

    samples: int = 2_000
    inverted: int = 64
    inversion_steps: int = 200
    inversion_starts: int = 2
    ranked: int = 16

    least: ClassVar[dict[str, int]] = {"samples": FEWEST, "inversion_steps": 0}

    def __post_init__(self) -> None:
        for field in fields(self):
            number = as_count(getattr(self, field.name), field.name, least=self.least.get(field.name, 1))
            object.__setattr__(self, field.name, number)  # a plain one, whatever number type came

    def compared(self, data: Data, holdout: int) -> int:
        """Return how many samples a side are compared, alike for all sizes."""
        return min(self.samples, holdout, len(data) - holdout)


def measure(checkpoint: Checkpoint, size: int, seed: int, count: int, config: StudyConfig) -> Row:
    """Measure a generator of latents of `size` against its first `count` held-out samples; `seed` decides the draws."""
    generator, real = checkpoint.generator, checkpoint.holdout[:count]
    # However little the critic knows: its verdict stands beside the figures.
    scored = quality_map(generator, checkpoint.critic, real, n=count, seed=seed, allow_uninformative=True)
    found = invert(
        generator,
        real[: config.inverted],
        steps=config.inversion_steps,
        starts=config.inversion_starts,
        seed=seed,
    )
    calibration = scored.calibration
    return Row(
        size=size,
        seed=seed,
        **_figures(sample_quality(real, generate(generator, scored.latents))),
        probability=float(scored.probability.mean()),
        auc=calibration.auc,
        auc_low=calibration.auc_interval[0],
        auc_high=calibration.auc_interval[1],
        verdict=calibration.verdict,
        inversion_error=float(found.error.mean()) / _variance(real),
        effective_rank=float(effective_rank(generator, scored.latents[: config.ranked]).mean()),
    )


def measure_real(data: Data, seed: int, holdout: int, config: StudyConfig) -> Row:
    """Measure training samples in the place of a generator's, with the split of the seed's trainings."""
    train, held_out = data.split(holdout, seed)
    count = config.compared(data, holdout)
    real = held_out.floats(slice(0, count))
    wanted = real[: config.inverted].flatten(1)
    nearest = torch.full((len(wanted),), torch.inf)
    for start in range(0, len(train), _BLOCK):
        block = train.floats(slice(start, start + _BLOCK)).flatten(1)
        for rows, far in distances(wanted, block):
            nearest[rows] = torch.minimum(nearest[rows], far.amin(1))
    return Row(
        size=0,
        seed=seed,
        **_figures(sample_quality(real, train.floats(slice(0, count)))),
        probability=0.5,
        auc=0.5,
        auc_low=0.5,
        auc_high=0.5,
        verdict="",
        inversion_error=float(nearest.square().mean()) / wanted.shape[1] / _variance(real),
        effective_rank=None,
    )


def _figures(quality: SampleQuality) -> dict[str, Any]:
    names = {field.name for field in fields(Row)}
    return {name: value for name, value in asdict(quality).items() if name in names}


def _variance(samples: Tensor) -> float:
    """Return the variance of a number of samples (N, *S), averaged over the numbers; above 0."""
    return max(float(samples.flatten(1).double().var(0, correction=0).mean()), 1e-30)
