"""Walks between the classes of a conditional generator."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from latentkit.checks import as_latents, as_vector
from latentkit.conditional import Blend
from latentkit.curves import Curve, loop, tour
from latentkit.errors import ArgumentError, CurveError, ShapeError
from latentkit.protocols import Generator

__all__ = ["class_tour", "class_walk"]


def class_walk(blend: Generator, z_a: Tensor, label_a: str | int, z_b: Tensor, label_b: str | int) -> Curve:
    """Return the curve from one latent in one class to another in another.

    The latents go as with `interpolate`, on their prior, or stand still where both are equal; the class weights go
    straight from class to class. Between the classes the generator is on its own: it was never trained there, and the
    typicality of those latents is 0.

    Args:
        blend: the generator between its classes.
        z_a: (D,), the conditional generator's latent where the curve starts.
        label_a: the class there, by name or number.
        z_b: (D,), where it ends.
        label_b: the class there.

    Raises:
        ShapeError: if a latent is not (D,).
        ArgumentError: if the generator is none that `blend` made.
        LabelError: if a class is not known.
        CurveError: if both ends are equal, or their latents opposite.

    Examples:
        >>> import latentkit as lk
        >>> from latentkit.conditional import blend
        >>> from latentkit.nets.settings import class_columns
        >>> place = lambda z, y: z + class_columns(y, len(z), 2) @ torch.tensor([[0.0], [8.0]])
        >>> between = blend(lk.wrap(place, lk.Normal(1), classes=["near", "far"]))
        >>> z = torch.tensor([0.5])
        >>> between(class_walk(between, z, "near", z, "far").steps(5)).flatten().tolist()
        [0.5, 2.5, 4.5, 6.5, 8.5]
    """
    between = _blended(blend)
    dim = between.module.prior.dim
    ends = torch.stack([as_vector(z_a, dim, "the first latent"), as_vector(z_b, dim, "the second latent")])
    return replace(tour(between.latents(ends, [label_a, label_b]), prior=blend.prior), kind="class walk")


def class_tour(blend: Generator, z: Tensor, labels: Sequence[str | int], *, closed: bool = False) -> Curve:
    """Return the curve through several classes in order, each reached exactly at its keyframe.

    Args:
        blend: the generator between its classes.
        z: (D,), one latent for all classes, or (M, D), one for each.
        labels: names or numbers of M classes.
        closed: whether it goes back to the first.

    Raises:
        ShapeError: if the latents are not (D,) or one a class.
        ArgumentError: if the generator is none that `blend` made.
        LabelError: if a class is not known.
        CurveError: if there are too few classes, or two neighbours are equal.
    """
    between = _blended(blend)
    labels, least = list(labels), 3 if closed else 2
    if len(labels) < least:
        raise CurveError(
            f"{'a closed' if closed else 'an open'} tour needs at least {least} classes, got {len(labels)}"
        )
    if isinstance(z, Tensor) and z.ndim == 1:
        z = as_vector(z, between.module.prior.dim, "the latent").expand(len(labels), -1)
    keys = as_latents(z, between.module.prior.dim)
    if len(keys) != len(labels):
        raise ShapeError(f"a tour of {len(labels)} classes takes one latent (D,) or as many, got {len(keys)}")
    through = loop if closed else tour
    return replace(through(between.latents(keys, labels), prior=between.prior), kind="class tour")


def _blended(generator: Generator) -> Blend:
    if not isinstance(generator, Blend):
        raise ArgumentError(
            f"a walk between classes needs a generator between classes, got {type(generator).__name__}; make one of "
            "a conditional generator or checkpoint with blend(model)"
        )
    return generator
