"""What of a sample is projected: the critic's last features, a stated extractor's, its pixels, or its latent."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from latentkit.checks import as_count, as_latents, require_finite
from latentkit.errors import ArgumentError, ShapeError
from latentkit.projection.fitting import as_setting, project_source
from latentkit.projection.projection import Projection
from latentkit.projection.sources import ArraySource, require_finite_among
from latentkit.protocols import Critic, Generator, evaluating, modules_of, place_of
from latentkit.sampling.generate import stream

__all__ = ["Features", "critic_features", "critic_layer", "featured", "project_samples", "sample_features"]

#: Samples (N, *S) to features (N, F).
Features = Callable[[Tensor], Tensor]

#: What can be named instead of a function.
NAMED = ("critic", "samples", "latents")


@dataclass(frozen=True, eq=False)
class _LastFeatures:
    """The features of a critic's module, where that is and in eval mode."""

    module: Any

    def __call__(self, x: Tensor) -> Tensor:
        device, dtype = place_of(self.module)
        with evaluating(self.module), torch.no_grad():
            return self.module.features(x.to(device, dtype))


def critic_layer(critic: Critic | None) -> Any:
    """Return a critic's module that has `features`, its penultimate layer, with gradients; None if there is none."""
    return next((module for module in modules_of(critic) if callable(getattr(module, "features", None))), None)


def critic_features(critic: Critic | None) -> Features | None:
    """Return the function from samples (N, *S) to a critic's penultimate layer (N, F), or None where it has none.

    That layer is what a module calls `features`, as the bundled critics do; wrappers are looked through.
    """
    found = critic_layer(critic)
    return None if found is None else _LastFeatures(found)


def featured(samples: Tensor, features: Features | None) -> Tensor:
    """Return the features (N, F) float32 of samples (N, *S): what `features` makes of them, or all their numbers.

    Raises:
        ShapeError: if `features` does not return one row a sample.
    """
    with torch.no_grad():
        rows = samples if features is None else features(samples)
    if not isinstance(rows, Tensor) or rows.ndim < 2 or len(rows) != len(samples):
        came = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
        raise ShapeError(f"features must be ({len(samples)}, ...), one row a sample, got {came}")
    return rows.detach().flatten(1).to("cpu", torch.float32)


def sample_features(
    generator: Generator,
    latents: Tensor,
    features: Features | Literal["critic", "samples", "latents"] | None = None,
    *,
    critic: Critic | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> Tensor:
    """Return what `project_samples` projects: rows (N, F) float32 for latents (N, D), holding one batch of samples.

    Use it to place further latents, or those of a curve, in a projection: `plane.transform(sample_features(...))`.

    Args:
        generator: the model.
        latents: (N, D).
        features: a function from samples to features (N, F); "critic" for the critic's penultimate layer; "samples" for
            all numbers of the samples; "latents" for the latents as they are. By default the critic's, or the samples'
            where there is no critic or it has no such layer.
        critic: whose penultimate layer is meant.
        batch_size: latents a call; by default as `stream` chooses it.
        progress: show a progress bar on standard error.

    Raises:
        ShapeError: if latents or features have another shape.
        NonFiniteError: if a latent or a feature is not finite.
        ArgumentError: if `features` names something else, or a critic's layer that is not there.
    """
    rows = _extracted(generator, latents, _meant(features, critic)[0], batch_size, progress)
    return require_finite(rows, "features")


def _extracted(
    generator: Generator,
    latents: Tensor,
    extract: Features | Literal["latents"] | None,
    size: int | None,
    progress: bool,
) -> Tensor:
    from tqdm import tqdm

    latents = as_latents(latents, generator.prior.dim, least=1)
    if extract == "latents":
        return latents.cpu().float()
    done, found = 0, torch.empty((0, 0))
    with tqdm(total=len(latents), desc="features", unit="sample", disable=not progress, leave=False) as bar:
        for batch in stream(generator, latents, batch_size=size):
            part = featured(batch, extract)
            found = torch.empty((len(latents), part.shape[1])) if done == 0 else found
            found[done : done + len(part)] = part
            done += len(part)
            bar.update(len(part))
    return found


class _SampleSource:
    """The features (N, F) of the samples that a generator makes of latents (N, D), made when they are read."""

    def __init__(
        self,
        generator: Generator,
        latents: Any,
        extract: Features | Literal["latents"] | None,
        size: int | None,
        bar: bool,
    ) -> None:
        self._generator, self._bar = generator, bar
        self._extract: Features | Literal["latents"] | None = extract
        self._latents, self._size = (
            ArraySource(latents, "latents"),
            None if size is None else as_count(size, "batch_size"),
        )
        if self._latents.shape != (generator.prior.dim,):
            came = ", ".join(map(str, (len(self), *self._latents.shape)))
            raise ShapeError(f"latents must be (N, {generator.prior.dim}), got ({came})")

    def __len__(self) -> int:
        return len(self._latents)

    @property
    def width(self) -> int:
        return self._width

    @cached_property
    def _width(self) -> int:
        return self._of(self._latents.take(torch.zeros(1, dtype=torch.long))).shape[1]

    def whole(self) -> Tensor:
        return require_finite(self._of(self._latents.whole(), self._bar), "features")

    def take(self, rows: Tensor) -> Tensor:
        return require_finite_among(self._of(self._latents.take(rows), self._bar), rows, len(self))

    def blocks(self, size: int) -> Iterator[tuple[int, Tensor]]:
        for start, latents in self._latents.blocks(size):
            rows = torch.arange(start, start + len(latents))
            yield start, require_finite_among(self._of(latents), rows, len(self))

    def check(self) -> None:
        self._latents.check()

    def _of(self, latents: Tensor, bar: bool = False) -> Tensor:
        return _extracted(self._generator, latents, self._extract, self._size, bar)


def _meant(features: Any, critic: Critic | None) -> tuple[Any, str]:
    """Return the function that is meant, None for the samples themselves or "latents", and what it gives in words."""
    if callable(features):
        return features, f"features by {getattr(features, '__name__', type(features).__name__)}"
    if features is not None and features not in NAMED:
        raise ArgumentError(f"features must be a function of samples or one of {', '.join(NAMED)}; got {features!r}")
    if features == "latents":
        return "latents", "latents"
    last = critic_features(critic) if features != "samples" else None
    if last is not None:
        return last, "the critic's last features"
    if features == "critic":
        came = "no critic was given" if critic is None else f"{type(critic).__name__} has no `features`"
        raise ArgumentError(f'features="critic" needs a critic with a penultimate layer, and {came}; pass a function')
    return None, "all numbers of the samples"


def project_samples(
    generator: Generator,
    latents: Any,
    method: str = "umap",
    *,
    features: Features | Literal["critic", "samples", "latents"] | None = None,
    critic: Critic | None = None,
    seed: int = 0,
    neighbours: int = 15,
    min_dist: float = 0.1,
    labels: Tensor | None = None,
    knn: Any = None,
    landmarks: int | None = None,
    engine: str = "auto",
    batch_size: int | None = None,
    progress: bool = False,
) -> Projection:
    """Lay out what a generator makes of latents (N, D), by the features of its samples.

    Latents that are drawn from a Gaussian have no structure of their own, so their picture is one of noise. By default
    it is the samples' features that are laid out, in which a critic sees them: `of` says which. For a space W of a
    generator that has one, whose latents do have structure, pass its view over W, with `features="latents"`.

    Of more latents than `landmarks` samples are made block by block, and of each only its place is kept; the samples
    of the landmarks are made twice.

    Args:
        generator: the model.
        latents: (N, D), as a tensor or as anything that `project` reads block by block.
        method: "umap", "pca" or "tsne".
        features: as in `sample_features`.
        critic: whose penultimate layer is meant.
        seed: 0 to 2**64 - 1, of the layout.
        neighbours: as in `project`.
        min_dist: as in `project`.
        labels: as in `project`.
        knn: as in `project`, among the features.
        landmarks: as in `project`.
        engine: as in `project`.
        batch_size: latents a call; by default as `stream` chooses it.
        progress: show progress bars on standard error.

    Raises:
        ShapeError: if latents, features or `knn` have another shape.
        NonFiniteError: if a latent or a feature is not finite.
        LabelError: if labels are not whole numbers (N,) of at least -1.
        ArgumentError: if an argument is out of range, or a critic's layer is meant that is not there.
        MissingDependencyError: if `engine` is "cuml" and that or a GPU is not there.

    Examples:
        >>> import latentkit as lk
        >>> generator = lk.wrap(lambda z: z.sign(), lk.Normal(2))
        >>> plane = project_samples(generator, generator.prior.sample(100, seed=0), "pca")
        >>> plane.of, plane.distinct
        ('all numbers of the samples', 4)
    """
    extract, of = _meant(features, critic)
    setting = as_setting(method, seed, neighbours, min_dist, engine, of, progress)
    source = _SampleSource(generator, latents, extract, batch_size, progress)
    return project_source(source, setting, labels=labels, knn=knn, landmarks=landmarks)
