"""A checkpoint as the commands show it: one class of a conditional generator, or all of them at once."""

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from torch import Tensor

from latentkit.checkpoint import Checkpoint
from latentkit.conditional import Marginal, condition, marginal
from latentkit.errors import LabelError
from latentkit.priors import Normal
from latentkit.protocols import Generator
from latentkit.quality import Islands, QualityMap
from latentkit.routes import CurveQuality

__all__ = ["class_index", "classes_of", "curve_of", "island_of", "probability_by_class", "viewed"]


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
        return condition(checkpoint, class_index(label, classes))
    if not isinstance(checkpoint.generator.prior, Normal):
        raise LabelError(
            f"{name} can be shown one class at a time, as its prior is not normal; give --class, one of "
            f"{', '.join(classes)}"
        )
    return marginal(checkpoint)


def class_index(text: str, classes: Sequence[str], option: str = "--class") -> int:
    """Return the number of the class that a text names: by its name, in any case if that is clear, or its number."""
    with suppress(UnicodeError):  # a word that Python left undecoded, as it does in a locale that knows only ASCII
        text = text.encode("utf-8", "surrogateescape").decode()
    alike = [k for k, name in enumerate(classes) if name.casefold() == text.casefold()]
    if text in classes:
        return classes.index(text)
    if len(alike) == 1:
        return alike[0]
    if re.fullmatch(r"[0-9]{1,9}", text) and int(text) < len(classes):
        return int(text)
    raise LabelError(f"{option} must be one of {', '.join(classes)} (or 0 to {len(classes) - 1}), got {text!r}")


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
    if row.missing:
        return {"note": row.note}
    judged = {"mean_probability": row.mean_probability, "least_probability": row.least_probability}
    return {
        **({} if math.isnan(row.mean_probability) else judged),
        "length": row.length,
        "worst_jump": row.worst_jump,
        "mean_typicality": row.mean_typicality,
    }
