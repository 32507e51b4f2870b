"""What a film says about how it was made: enough to make it again, as JSON values, and read back with distrust."""

import base64
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, groupby, repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentkit import __version__
from latentkit.animation.film import FASTEST, Animation
from latentkit.animation.scenes import Scene
from latentkit.checkpoint import Checkpoint
from latentkit.conditional import Blend, Conditioned, Marginal
from latentkit.errors import ArgumentError, CheckpointError, LatentkitError
from latentkit.priors import Prior, prior_from_dict, prior_to_dict
from latentkit.protocols import ConditionalGenerator, Generator

__all__ = ["MOST_LATENTS", "Record", "described", "fingerprint_of", "recorded", "view_of"]

#: Bytes of latents, compressed, that are kept in a film.
MOST_LATENTS = 2**20

#: Bytes of other values: captions above all.
MOST_TEXT = 2**20

#: What is read back is within these: frames, pixels a frame, latents a call.
MOST_FRAMES, MOST_PIXELS, MOST_BATCH = 100_000, 2**24, 2**16

#: The dtypes of latents and what they are stored as; each value is kept exactly.
_STORED = {"float16": "<f2", "bfloat16": "<f4", "float32": "<f4", "float64": "<f8"}


def fingerprint_of(generator: Generator) -> str | None:
    """Return the twelve digits that name a generator's weights and prior; None if it is no bundled network."""
    classes = generator.classes if isinstance(generator, ConditionalGenerator) else ()
    try:
        return Checkpoint(generator, None, torch.empty(0), classes=classes).fingerprint
    except LatentkitError:
        return None


def view_of(generator: Generator) -> dict[str, Any]:
    """Return what a generator is of its checkpoint's: "whole", a "class" by its name, the "marginal" or the "blend"."""
    if isinstance(generator, Conditioned):
        return {"of": "class", "class": generator.label}
    return {
        "of": "marginal" if isinstance(generator, Marginal) else "blend" if isinstance(generator, Blend) else "whole"
    }


def described(prior: Prior) -> dict[str, Any] | None:
    """Return what makes a prior, or None for one that latentkit does not know."""
    try:
        return prior_to_dict(prior)
    except ArgumentError:
        return None


def recorded(film: Animation, scene: Scene, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a film of a scene says about itself.

    Raises:
        ArgumentError: if what is said beside it holds other than JSON values.
    """
    try:
        extra = json.loads(json.dumps(dict(about), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(f"about= must hold JSON values (text, finite numbers, lists, dicts): {error}") from error
    values: dict[str, Any] = {
        "made_by": {"latentkit": __version__, "torch": torch.__version__, "numpy": np.__version__},
        "about": extra,
        "generator": {"fingerprint": fingerprint_of(scene.generator), "view": view_of(scene.generator)},
        "prior": described(scene.generator.prior),
        "film": {
            "durations": [[ms, len(list(equal))] for ms, equal in groupby(film.durations)],
            "captions": list(film.captions),
            "loop": film.loop,
            "strip": film.strip,
            "size": list(film.size),
            "scale": scene.scale,
            "columns": scene.columns,
            "batch_size": scene.batch_size,
            "closed": scene.closed,
        },
        "latents": _packed(scene.latents),
    }
    size = len(json.dumps(values)) - len(values["latents"].get("data", ""))
    if size > MOST_TEXT:
        values = {
            **values,
            "about": {},
            "prior": None,
            "film": None,
            "latents": {"left_out": f"{size:,} bytes of text"},
        }
    return values


def _packed(latents: Tensor) -> dict[str, Any]:
    """Return latents (T, N, D) as text: bytes of one significance together, which compresses better, then zlib."""
    dtype = str(latents.dtype).removeprefix("torch.")
    about = {"shape": list(latents.shape), "dtype": dtype}
    plain = latents.detach().cpu()
    array = (plain.float() if dtype == "bfloat16" else plain).numpy().astype(_STORED[dtype])
    if array.nbytes > 4 * MOST_LATENTS:  # numbers drawn at random never compress so much
        return {**about, "left_out": f"{array.nbytes:,} bytes"}
    planes = np.ascontiguousarray(array).view(np.uint8).reshape(-1, array.itemsize).T
    data = zlib.compress(planes.tobytes(), 9)
    if len(data) > MOST_LATENTS:
        return {**about, "left_out": f"{len(data):,} bytes"}
    return {**about, "data": base64.b64encode(data).decode("ascii")}


@dataclass(frozen=True, eq=False)
class Record:
    """What a film's file says, checked: how to make the film again.

    Attributes: `fingerprint` of the weights, None if they had none; `view` of the checkpoint; `prior`, None if it is
    none of latentkit's; `latents` (T, N, D); `film`, the arguments of an `Animation` by name; `scale`, `columns`,
    `batch_size` and `closed` of its scene; `about`, what else it says; `made_by`, versions by name.
    """

    fingerprint: str | None
    view: dict[str, Any]
    prior: Prior | None
    latents: Tensor
    film: dict[str, Any]
    scene: dict[str, Any]
    about: dict[str, Any]
    made_by: dict[str, Any]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Record":
        """Return the record that JSON values hold.

        Raises:
            CheckpointError: if something is missing, of another kind, or out of all bounds; or was left out when the
                film was saved.
        """
        if "latents" not in values:
            raise CheckpointError("this film says how it was made, but not from latents by animate")
        try:
            return cls._read(values)
        except CheckpointError:
            raise
        except (LatentkitError, KeyError, TypeError, ValueError, OverflowError, zlib.error, RecursionError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else error
            raise CheckpointError(f"what this film says about itself is damaged: {what}") from error

    @classmethod
    def _read(cls, values: Mapping[str, Any]) -> "Record":
        stored = _dict(values["latents"])
        if "left_out" in stored:
            raise CheckpointError(
                f"this film was saved without its latents ({str(stored['left_out'])[:40]}: too much for its file), so "
                "it cannot be made again; save a shorter film or fewer curves"
            )
        latents = _unpacked(stored)
        film, generator = _dict(values["film"]), _dict(values["generator"])
        view = _dict(generator["view"])
        if view.get("of") not in ("whole", "class", "marginal", "blend"):
            raise ValueError(f"the view {str(view)[:60]} is unknown")
        if view["of"] == "class" and not isinstance(view.get("class"), str):
            raise ValueError("the class has no name")
        fingerprint = generator["fingerprint"]
        if fingerprint is not None and not (isinstance(fingerprint, str) and len(fingerprint) == 12):
            raise ValueError("the fingerprint is none")
        runs = [(float(ms), _int(times, 1, MOST_FRAMES)) for ms, times in film["durations"]]
        if sum(times for _, times in runs) != len(latents):
            raise ValueError("there are not as many durations as frames")
        if not all(math.isfinite(ms) and ms >= 1000.0 / FASTEST - 1e-9 for ms, _ in runs):
            raise ValueError("a duration is out of range")
        captions = tuple(str(text) for text in film["captions"])
        if len(captions) not in (0, len(latents)):
            raise ValueError("there are not as many captions as frames")
        width, height = (_int(side, 1, MOST_PIXELS) for side in film["size"])
        if width * height > MOST_PIXELS:
            raise ValueError(f"frames of {width} x {height} pixels are too large")
        return cls(
            fingerprint=fingerprint,
            view=view,
            prior=None if values["prior"] is None else prior_from_dict(_dict(values["prior"])),
            latents=latents,
            film={
                "count": len(latents),
                "size": (width, height),
                "durations": tuple(chain.from_iterable(repeat(ms, times) for ms, times in runs)),
                "captions": captions,
                "loop": _bool(film["loop"]),
                "strip": _bool(film["strip"]),
            },
            scene={
                "scale": _int(film["scale"], 1, max(width, height)),
                "columns": None if film["columns"] is None else _int(film["columns"], 1, MOST_FRAMES),
                "batch_size": _int(film["batch_size"], 1, MOST_BATCH),
                "closed": _bool(film["closed"]),
            },
            about=_dict(values["about"]),
            made_by=_dict(values["made_by"]),
        )


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"a dict was expected, got {type(value).__name__}")
    return value


def _int(value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"a whole number from {least} to {most} was expected, got {str(value)[:40]}")
    return value


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"true or false was expected, got {str(value)[:40]}")
    return value


def _unpacked(stored: Mapping[str, Any]) -> Tensor:
    """Return latents (T, N, D) from their text; never more bytes than their shape says."""
    shape = [_int(side, 1, MOST_FRAMES * 100) for side in stored["shape"]]
    dtype = _STORED[str(stored["dtype"])]
    wanted = math.prod(shape) * np.dtype(dtype).itemsize
    if len(shape) != 3 or shape[0] > MOST_FRAMES or wanted > 4 * MOST_LATENTS:
        raise ValueError(f"latents of shape {shape} were not expected")
    opened = zlib.decompressobj()
    data = opened.decompress(base64.b64decode(str(stored["data"]), validate=True), wanted + 1)
    if len(data) != wanted or not opened.eof:
        raise ValueError(f"there are not the {wanted:,} bytes of latents {shape}")
    planes = np.frombuffer(data, dtype=np.uint8).reshape(np.dtype(dtype).itemsize, -1)
    array = np.ascontiguousarray(planes.T).view(dtype).reshape(shape)
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="))).to(getattr(torch, str(stored["dtype"])))
