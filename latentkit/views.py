"""A checkpoint as the commands show it: one class of a conditional generator, or all of them at once."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from latentkit.checkpoint import Checkpoint
from latentkit.conditional import Marginal, condition, marginal
from latentkit.directions import Direction, mean_difference
from latentkit.errors import LabelError
from latentkit.priors import Normal
from latentkit.protocols import Generator
from latentkit.quality import Islands, QualityMap
from latentkit.routes import CurveQuality

__all__ = ["classes_of", "curve_of", "direction_of", "island_of", "probability_by_class", "viewed"]


def viewed(checkpoint: Checkpoint, label: str | None, name: str) -> Checkpoint:
    """Return a conditional checkpoint narrowed to a class, or over all of them; another one as it is.

    Args:
        checkpoint: what was loaded.
        label: what `--class` was given, or None.
        name: what the user calls the checkpoint.

    Raises:
        LabelError: if there is no such class, there are none, or only one at a time can be shown.
    """
    classes = checkpoint.classes
    if not checkpoint.conditional:
        if label is not None:
            raise LabelError(f"--class narrows a conditional generator, and {name} holds none; leave it out")
        return checkpoint
    if label is not None:
        return condition(checkpoint, _index(label, classes))
    if not isinstance(checkpoint.generator.prior, Normal):
        raise LabelError(
            f"{name} can be shown one class at a time, as its prior is not normal; give --class, one of "
            f"{', '.join(classes)}"
        )
    return marginal(checkpoint)


def _index(text: str, classes: Sequence[str]) -> int:
    """Return the number of the class that a text names: by its name, in any case if that is clear, or its number."""
    alike = [k for k, name in enumerate(classes) if name.casefold() == text.casefold()]
    if text in classes:
        return classes.index(text)
    if len(alike) == 1:
        return alike[0]
    if re.fullmatch(r"[0-9]{1,9}", text) and int(text) < len(classes):
        return int(text)
    raise LabelError(f"--class must be one of {', '.join(classes)} (or 0 to {len(classes) - 1}), got {text!r}")


def direction_of(generator: Generator, latents: Tensor, values: Tensor, name: str) -> Direction:
    """Return the direction along which an attribute's values (N,) grow; over several classes, it leaves each as it is.

    There, latents count as having more or less of it than the others of their class, and the coordinates
    that choose the class are not moved.
    """
    if not isinstance(generator, Marginal):
        return mean_difference(latents, values > values.median(), name=name, prior=generator.prior)
    labels, above = generator.labels(latents), torch.zeros(len(values), dtype=torch.bool)
    for k in labels.unique():
        above[labels == k] = values[labels == k] > values[labels == k].median()
    found = mean_difference(generator.inner(latents), above, name=name, prior=generator.module.prior)
    return replace(found, vector=torch.cat([found.vector, torch.zeros(len(generator.classes))]))


def classes_of(generator: Generator, latents: Tensor) -> dict[str, Any]:
    """Return the name of each latent's class, of latents (N, D) of several classes."""
    if not isinstance(generator, Marginal):
        return {}
    return {"classes": [generator.classes[k] for k in generator.labels(latents).tolist()]}


def probability_by_class(generator: Generator, scored: QualityMap) -> dict[str, Any]:
    """Return the mean calibrated probability of the latents of each class, by its name."""
    if not isinstance(generator, Marginal):
        return {}
    labels = generator.labels(scored.latents)
    means = {
        name: float(scored.probability[labels == k].mean())
        for k, name in enumerate(generator.classes)
        if bool((labels == k).any())
    }
    return {"mean_probability_by_class": means}


def island_of(checkpoint: Checkpoint, scored: QualityMap, islands: Islands, k: int) -> dict[str, Any]:
    """Return what is said of an island: its share of the good latents, size, quality, representative, and classes."""
    said = {
        "share": float(islands.share[k]),
        "latents": int(islands.count[k]),
        "probability": float(islands.probability[k]),
        "representative": int(scored.index[islands.representative[k]]),
    }
    if islands.makeup is None:
        return said
    share = islands.makeup[k].tolist()
    return {**said, "classes": {name: part for name, part in zip(checkpoint.classes, share, strict=False) if part > 0}}


def curve_of(row: CurveQuality) -> dict[str, Any]:
    """Return what is said of a curve: its figures, or why there is no such curve."""
    if math.isnan(row.mean_probability):
        return {"note": row.note}
    return {
        "mean_probability": row.mean_probability,
        "least_probability": row.least_probability,
        "length": row.length,
        "worst_jump": row.worst_jump,
        "mean_typicality": row.mean_typicality,
    }
