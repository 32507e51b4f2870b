"""What a model's output seems to be: where the samples are in it, how they are laid out, and what range they have."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentkit.protocols.outputs import Output

__all__ = ["Finding", "layout_of", "part_of", "range_of"]

#: What the samples' part of an output is usually called, the likeliest first.
_KEYS = ("sample", "samples", "images", "image", "x", "reconstruction", "recon_x", "output", "out", "logits")

#: Values beyond a range by so much still belong to it.
_SLACK = 0.02


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes: `name`; `good`, whether nothing need be done; `text`, what was found, and what to do if it isn't.
    """

    name: str
    good: bool
    text: str


def _is_rows(part: Any, rows: int) -> bool:
    return isinstance(part, (Tensor, np.ndarray)) and part.ndim > 0 and len(part) == rows


def part_of(raw: Any, rows: int) -> tuple[str | int | None, Tensor | None, Finding]:
    """Return where the samples are in an output, they themselves, and what was found."""
    if isinstance(raw, (Tensor, np.ndarray)):
        named = _described(raw)
        if not _is_rows(raw, rows):
            return None, None, Finding("output", False, f"returns {named}, not one row for each of {rows} latents")
        return None, torch.as_tensor(raw), Finding("output", True, f"returns {named}")
    if isinstance(raw, Mapping):
        items = dict(raw)
    elif isinstance(raw, Sequence) and not isinstance(raw, (str, bytes)):
        items = dict(enumerate(raw))
    else:
        items = {name: value for name, value in getattr(raw, "__dict__", {}).items() if not name.startswith("_")}
    parts = {name: value for name, value in items.items() if _is_rows(value, rows)}
    chosen = next((name for name in _KEYS if name in parts), None)
    if chosen is None and parts and (len(parts) == 1 or isinstance(raw, Sequence)):
        chosen = next(iter(parts))
    if chosen is None:
        few = ", ".join(map(str, list(parts or items)[:6])) or "nothing"
        why = "none of them one row a latent" if not parts else "and it can't be told which the samples are"
        text = f"returns a {type(raw).__name__} with {few}, {why}; say output=Output(key=...)"
        return None, None, Finding("output", False, text)
    text = f"returns a {type(raw).__name__}, and the samples are its part {chosen!r}: {_described(parts[chosen])}"
    return chosen, torch.as_tensor(parts[chosen]), Finding("output", True, text)


def _described(part: Any) -> str:
    kind = "a tensor" if isinstance(part, Tensor) else "an array"
    return f"{kind} {tuple(part.shape)} {str(part.dtype).removeprefix('torch.')}"


def layout_of(part: Tensor) -> tuple[Output, Finding]:
    """Return where channels are, as an `Output` of the usual range, and what kind of samples these seem to be."""
    shape = tuple(part.shape[1:])
    if part[0].numel() == 1:
        text = "one number a latent: these are a critic's scores, not samples; give it as the critic"
        return Output(), Finding("layout", False, text)
    if len(shape) == 3 and shape[0] in (1, 3):
        return Output(), Finding("layout", True, f"images of {shape[0]} channels, {shape[1]}x{shape[2]}")
    if len(shape) == 3 and shape[2] in (1, 3):
        text = f"images {shape[0]}x{shape[1]} with their {shape[2]} channels last"
        return Output(channels="last"), Finding("layout", True, text)
    if len(shape) == 2 and shape[0] == shape[1] >= 8:
        text = f"grey images {shape[0]}x{shape[1]} without an axis of channels"
        return Output(shape=(1, *shape)), Finding("layout", True, text)
    side = math.isqrt(shape[0]) if len(shape) == 1 else 0
    if side >= 8 and side * side == shape[0]:
        text = f"rows of {shape[0]} numbers; if they are images {side}x{side}, say Output(shape=(1, {side}, {side}))"
        return Output(), Finding("layout", True, text)
    kinds = {1: "points (2,)" if shape == (2,) else f"rows or series of {shape[0]} numbers", 2: f"series {shape}"}
    if len(shape) in kinds:
        return Output(), Finding("layout", True, kinds[len(shape)])
    text = f"samples {shape}, neither images of 1 or 3 channels, points, rows nor series; they can't be drawn"
    return Output(), Finding("layout", False, text)


def range_of(part: Tensor, layout: Output) -> tuple[tuple[float, float], Finding]:
    """Return which values become -1 and 1, and what was found; only images have a range."""
    low, high = float(part.min()), float(part.max())
    seen = f"values from {low:.3g} to {high:.3g}"
    usual = (-1.0, 1.0)
    if not (math.isfinite(low) and math.isfinite(high)):
        return usual, Finding("range", False, "values are NaN or infinite; look for what overflows")
    if not (layout != Output() or (part.ndim == 4 and part.shape[1] in (1, 3))):
        return usual, Finding("range", True, f"{seen}, kept as they are")
    if not part.is_floating_point() or (low >= 0.0 and 2.0 < high <= 255.0 + _SLACK):
        return (0.0, 255.0), Finding("range", True, f"{seen}: taken for 0 to 255")
    if low >= -1e-6 and high <= 1.0 + _SLACK:
        return (0.0, 1.0), Finding("range", True, f"{seen}: taken for [0, 1]")
    if low >= -1.0 - _SLACK and high <= 1.0 + _SLACK:
        return usual, Finding("range", True, f"{seen}: within [-1, 1]")
    text = f"{seen}, beyond [-1, 1], [0, 1] and 0 to 255: pictures clip them; if they mean else, say Output(low, high)"
    return usual, Finding("range", False, text)
