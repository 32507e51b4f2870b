"""What all chapters of a report share: one draw of latents, its samples and their scores."""

from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.calibration import FEWEST, score
from latentkit.checkpoint import Checkpoint
from latentkit.metrics import SampleQuality, sample_quality
from latentkit.projection import Projection, project
from latentkit.quality import QualityMap, calibrate_against
from latentkit.sampling.generate import generate

__all__ = ["Study", "make_study"]

#: Latents whose samples are kept: enough for a map, few enough to hold.
MAPPED_IMAGES, MAPPED_POINTS = 4_000, 10_000


@dataclass(frozen=True, eq=False)
class Study:
    """One draw from a checkpoint's generator, scored.

    Attributes: `checkpoint`; `seed`; `latents` (N, D) and their `samples` (N, *S); `quality`, the map of
    those latents, or None without a critic or enough held-out samples; `believed`, whether the critic's
    scores may choose latents; `real_logits` (M,) of the held-out samples; `measured`, samples against
    one half of the held-out ones; `floor`, the other half against it, the best that can be expected;
    `plane`, the samples laid out in the plane, or None where they are points of the plane already;
    `batch_size`.
    """

    checkpoint: Checkpoint
    seed: int
    latents: Tensor
    samples: Tensor
    quality: QualityMap | None
    believed: bool
    real_logits: Tensor
    measured: SampleQuality | None
    floor: SampleQuality | None
    plane: Projection | None
    batch_size: int

    @property
    def images(self) -> bool:
        """Whether samples are images (N, C, H, W) rather than points (N, 2)."""
        return self.samples.ndim == 4

    def good_keys(self, count: int) -> Tensor | None:
        """Return the first latents (count, D) of the critic's better quarter, or None if it is not to be believed."""
        if self.quality is None or not self.believed:
            return None
        best = self.quality.top(0.25)
        return best.rows(best.index.argsort()[:count]).latents


def make_study(checkpoint: Checkpoint, *, seed: int, n: int | None, batch_size: int) -> Study:
    """Draw, score, measure and lay out once what the chapters of a report show."""
    generator, critic, real = checkpoint.generator, checkpoint.critic, checkpoint.holdout
    n = n or (MAPPED_POINTS if real.ndim == 2 else MAPPED_IMAGES)
    latents = generator.prior.sample(n, seed=seed)
    samples = generate(generator, latents, batch_size=batch_size)
    quality, real_logits = None, torch.empty(0)
    if critic is not None and len(real) >= FEWEST:
        calibration = calibrate_against(generator, critic, real, seed=seed, start=n, batch_size=batch_size)
        quality = QualityMap.of(generator.prior, latents, score(critic, samples), calibration, seed)
        real_logits = score(critic, real)
    half = min(len(real) // 2, n, 2_000)
    measured = floor = None
    if half >= 50:
        features = "pixels" if samples.ndim == 4 else "coordinates"
        measured = sample_quality(real[:half], samples[:half], features=features)
        floor = sample_quality(real[:half], real[half : 2 * half], features=features)
    return Study(
        checkpoint=checkpoint,
        seed=seed,
        latents=latents,
        samples=samples,
        quality=quality,
        believed=quality is not None and quality.calibration.verdict != "uninformative",
        real_logits=real_logits,
        measured=measured,
        floor=floor,
        plane=project(samples, "umap", seed=seed) if samples.ndim == 4 else None,
        batch_size=batch_size,
    )
