"""The plane in which a quality map is drawn, and the map over all of it where its latents fill it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.checks import as_count
from latentkit.errors import ArgumentError, ShapeError
from latentkit.priors import Normal, Uniform
from latentkit.projection import Features, Projection
from latentkit.protocols import Critic, Generator
from latentkit.quality import QualityMap
from latentkit.sampling.generate import generate
from latentkit.scatter import plane_limits

__all__ = ["Field", "Ground", "field_of", "ground_of"]

#: Latents a side of the grid on which a field is scored.
GRID = 96


@dataclass(frozen=True, eq=False)
class Ground:
    """The plane in which a quality map is drawn.

    Attributes: `points` (N, 2) float32, where the map's latents lie; `kind`, what the plane is: that of the "latents"
    themselves, where these have two coordinates, that of the "samples", where these are points, or a "projection" of
    samples; `plane`, the projection, or None.
    """

    points: Tensor
    kind: str
    plane: Projection | None = None

    @property
    def axes(self) -> tuple[str, str]:
        """The labels of the axes: none for a projection, whose coordinates mean nothing."""
        return {"latents": ("z1", "z2"), "samples": ("x", "y")}.get(self.kind, ("", ""))

    def places(self, latents: Tensor, samples: Tensor) -> Tensor:
        """Return where latents (T, D) with their samples (T, *S) lie, (T, 2) float32."""
        if self.plane is not None:
            return self.plane.transform(samples.flatten(1)).float()
        return (latents if self.kind == "latents" else samples).float().cpu()


def ground_of(
    quality: QualityMap, generator: Generator, plane: Projection | None = None, *, batch_size: int = 64
) -> Ground:
    """Return the plane in which a map is drawn: a projection, the latents' own, or the samples' own.

    Args:
        quality: the map.
        generator: the model whose map it is.
        plane: a projection of the samples of all of the map's latents, in their order; None where the latents have
            two coordinates or the samples are points of the plane.
        batch_size: latents a call.

    Raises:
        ShapeError: if the projection is one of more or fewer rows.
        ArgumentError: if there is none, and neither latents nor samples are points of the plane.
    """
    if plane is not None:
        if len(plane.points) != len(quality):
            raise ShapeError(f"plane must be a projection of the map's {len(quality)} samples, has {len(plane.points)}")
        return Ground(plane.points.float(), "projection", plane)
    if quality.prior.dim == 2:
        return Ground(quality.latents.float(), "latents")
    probe = generate(generator, quality.latents_of(torch.arange(1)))
    if probe.shape[1:] != (2,):
        raise ArgumentError(
            f"latents of {quality.prior.dim} dimensions and samples of shape {tuple(probe.shape[1:])} have no plane of "
            'their own; pass plane=lk.project(samples, "umap") of the map\'s samples'
        )
    return Ground(generate(generator, quality.latents, batch_size=batch_size).float(), "samples")


@dataclass(frozen=True, eq=False)
class Field:
    """A quality map over the whole plane of its latents, on a square grid.

    Attributes: `limits`, (left, right, bottom, top); `probability` (side, side) float64, the bottom row first;
    `places` (side, side) long, the charted latent whose sample is nearest; all of them the first where there is no
    chart.
    """

    limits: tuple[float, float, float, float]
    probability: Tensor
    places: Tensor


def field_of(
    quality: QualityMap,
    generator: Generator,
    critic: Critic,
    *,
    side: int = GRID,
    features: Features | None = None,
    batch_size: int = 64,
) -> Field | None:
    """Score the whole plane of two-dimensional latents; None where the prior does not fill it.

    Args:
        quality: a map.
        generator: the model whose map it is.
        critic: the one that scored it.
        side: latents a side of the grid.
        features: what the map was charted with.
        batch_size: latents a call.
    """
    side, prior = as_count(side, "side", least=2), quality.prior
    if prior.dim != 2 or not isinstance(prior, (Normal, Uniform)):
        return None
    left, right, bottom, top = plane_limits(quality.latents)
    if isinstance(prior, Uniform):
        left = bottom = prior.low
        right = top = prior.high
    # The middles of the cells.
    x, y = ((torch.arange(side) + 0.5) / side * (b - a) + a for a, b in ((left, right), (bottom, top)))
    grid = torch.stack([x.repeat(side), y.repeat_interleave(side)], 1)
    scored = quality.scored(generator, critic, grid, features=features, batch_size=batch_size)
    places = torch.zeros(side * side) if scored.places is None else scored.places
    return Field((left, right, bottom, top), scored.probability.reshape(side, side), places.long().reshape(side, side))
