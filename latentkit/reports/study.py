"""What all chapters of a report share: one draw of latents, its samples and their scores."""

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from latentkit.calibration import score
from latentkit.checkpoint import Checkpoint
from latentkit.conditional import Marginal, condition
from latentkit.errors import CriticError
from latentkit.judges import Judged, judge
from latentkit.metrics import SampleQuality, sample_quality
from latentkit.projection import Projection, project
from latentkit.protocols import Generator
from latentkit.quality import QualityMap
from latentkit.reports.terrain import Rivals, Terrain, rivals_of, terrain_of
from latentkit.sampling.generate import generate

__all__ = ["Scene", "Study", "make_study"]

#: Latents whose samples are kept: enough for a map, few enough to hold.
MAPPED_IMAGES, MAPPED_POINTS = 4_000, 10_000

#: Latents of the one class in which a conditional generator is walked and edited.
WITHIN = 2_000

#: Rows of a picture that has one for each class; more would be too small to see.
MOST_ROWS = 12


@dataclass(frozen=True, eq=False)
class Scene:
    """Where latents are walked, moved and added: the whole latent space, or that of one class.

    Attributes: `generator`; its first `latents` (N, D) of the study's seed and their `samples` (N, *S);
    `label`, the name of the class, or None for the whole.
    """

    generator: Generator
    latents: Tensor
    samples: Tensor
    label: str | None = None

    @property
    def where(self) -> str:
        """The class, as the end of a sentence: nothing, or " in class x"."""
        return "" if self.label is None else f" in class {self.label}"


@dataclass(frozen=True, eq=False)
class Study:
    """One draw from a checkpoint's generator, scored.

    Attributes: `checkpoint`; `seed`; `latents` (N, D) and their `samples` (N, *S); `scene`, where it is
    walked and edited; `labels` (N,) of the samples where there are several classes, else None; `judged`, which critic
    scored them, or None without one; `quality`, the map of those latents, charted if it is believed, or None without a
    critic or enough held-out samples; `believed`, whether the critic's scores may choose latents; `measured`, samples
    against one half of the held-out ones; `floor`, the other half against it, the best that can be expected;
    `plane`, the samples laid out in the plane, or None where they are points of the plane already;
    `batch_size`.
    """

    checkpoint: Checkpoint
    seed: int
    latents: Tensor
    samples: Tensor
    scene: Scene
    labels: Tensor | None
    judged: Judged | None
    quality: QualityMap | None
    believed: bool
    measured: SampleQuality | None
    floor: SampleQuality | None
    plane: Projection | None
    batch_size: int

    @property
    def images(self) -> bool:
        """Whether each sample has a picture of its own, rather than being a point of the plane."""
        return self.samples.shape[1:] != (2,)

    @property
    def marginal(self) -> Marginal | None:
        """The generator if it is one over several classes, else None."""
        return self.checkpoint.generator if isinstance(self.checkpoint.generator, Marginal) else None

    @property
    def shown(self) -> tuple[str, ...]:
        """The names of the classes that have a row of their own in pictures: all, or the first ones; none without."""
        return () if self.marginal is None else self.marginal.classes[:MOST_ROWS]

    @cached_property
    def terrain(self) -> Terrain | None:
        """The islands of the map, or None without a critic to be believed; found when first asked for."""
        return terrain_of(self)

    @cached_property
    def rivals(self) -> Rivals:
        """All curves between two latents far apart; found when first asked for."""
        return rivals_of(self)

    def good_keys(self, count: int, label: int | None = None) -> Tensor | None:
        """Return the first latents (count, D) of the critic's better quarter, or None if it is not to be believed.

        Args:
            count: how many; None comes back, too, where there are fewer.
            label: take the better quarter of this class.
        """
        if self.quality is None or not self.believed:
            return None
        found = self.quality
        if label is not None and self.labels is not None:
            found = found.rows((self.labels == label).nonzero()[:, 0])
        best = found.top(0.25) if len(found) else found
        return best.rows(best.index.argsort()[:count]).latents if len(best) >= count else None


def make_study(checkpoint: Checkpoint, *, seed: int, n: int | None, batch_size: int) -> Study:
    """Draw, score, measure and lay out once what the chapters of a report show."""
    generator, real = checkpoint.generator, checkpoint.holdout
    n = n or (MAPPED_POINTS if real.ndim == 2 else MAPPED_IMAGES)
    latents = generator.prior.sample(n, seed=seed)
    samples = generate(generator, latents, batch_size=batch_size)
    judged = quality = None
    with suppress(CriticError):  # without a critic, and with too little to train one, the report goes on
        judged = judge(
            generator,
            checkpoint.critic,
            real,
            labels=checkpoint.holdout_labels,
            seed=seed,
            start=n,
            batch_size=batch_size,
        )
    if judged is not None:
        quality = QualityMap.of(
            generator.prior,
            latents,
            score(judged.critic, samples),
            judged.calibration,
            seed,
            real_logits=score(judged.critic, judged.real),
        )
    believed = quality is not None and quality.calibration.verdict != "uninformative"
    if quality is not None and believed:
        quality = quality.charted(generator, batch_size=batch_size)
    half = min(len(real) // 2, n, 2_000)
    measured = floor = None
    if half >= 50:
        features = "pixels" if samples.ndim == 4 else "coordinates"
        measured = sample_quality(real[:half], samples[:half], features=features)
        floor = sample_quality(real[:half], real[half : 2 * half], features=features)
    scene, labels = Scene(generator, latents, samples), None
    if isinstance(generator, Marginal):
        labels = generator.labels(latents)
        scene = _scene(generator, _most_varied(samples, labels), seed, batch_size)
    return Study(
        checkpoint=checkpoint,
        seed=seed,
        latents=latents,
        samples=samples,
        scene=scene,
        labels=labels,
        judged=judged,
        quality=quality,
        believed=believed,
        measured=measured,
        floor=floor,
        plane=project(samples, "umap", seed=seed) if samples.shape[1:] != (2,) else None,
        batch_size=batch_size,
    )


def _most_varied(samples: Tensor, labels: Tensor) -> int:
    """Return the class whose samples (N, *S) lie farthest from their mean, on average of squares."""
    found = labels.unique().tolist()
    spread = [float(samples[labels == k].flatten(1).double().var(0, correction=0).sum()) for k in found]
    return found[max(range(len(found)), key=spread.__getitem__)]


def _scene(generator: Marginal, label: int, seed: int, batch_size: int) -> Scene:
    """Draw within one class."""
    narrow = condition(generator.module, label)
    latents = narrow.prior.sample(WITHIN, seed=seed)
    return Scene(narrow, latents, generate(narrow, latents, batch_size=batch_size), narrow.label)
