"""Quality maps as files: one `.npz` whose arrays any reader can use, and back, exactly."""

import json
import os
import zipfile
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from latentkit.archives import read_npz
from latentkit.calibration import Calibration
from latentkit.errors import ArgumentError, CheckpointError
from latentkit.files import writing
from latentkit.priors.stored import prior_from_dict, prior_to_dict
from latentkit.quality.chart import Chart

if TYPE_CHECKING:
    from latentkit.quality.map import QualityMap

__all__ = ["load_quality", "write_map"]

KIND = "latentkit quality map"

#: The number of the layout; a larger one was written by a later version.
FORMAT = 1

_ROWS = ("index", "logits", "probability", "density_ratio", "typicality")
_CHART = ("latents", "features", "probability")


def write_map(
    quality: "QualityMap", shape: tuple[int, int], blocks: Iterable[Tensor], path: str | os.PathLike[str]
) -> Path:
    """Write a map, and its latents of a shape (N, D) from blocks of them, and return the path.

    Raises:
        OutputError: if the file cannot be written; an earlier one is untouched.
    """
    scores, tensors = _split(quality.calibration)
    about = {
        "kind": KIND,
        "format": FORMAT,
        "seed": quality.seed,
        "prior": prior_to_dict(quality.prior),
        "calibration": scores,
        "given": quality.given is not None,
        "custom": None if quality.chart is None else quality.chart.custom,
    }
    arrays = {name: getattr(quality, name).numpy() for name in (*_ROWS, "real_logits")}
    arrays |= {f"calibration_{name}": value.numpy() for name, value in tensors.items()}
    if quality.chart is not None and quality.places is not None:
        arrays |= {f"chart_{name}": getattr(quality.chart, name).numpy() for name in _CHART}
        arrays["places"] = quality.places.numpy()
    arrays |= {
        "seed": np.uint64(quality.seed),
        "verdict": np.array(quality.verdict),
        "about": np.array(json.dumps(about)),
    }
    dtype = torch.float32 if quality.given is None else quality.given.dtype
    with writing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as part:
                np.lib.format.write_array(part, np.asanyarray(value), allow_pickle=False)
        with archive.open("latents.npy", "w", force_zip64=True) as part:
            kind = np.lib.format.dtype_to_descr(torch.empty(0, dtype=dtype).numpy().dtype)
            np.lib.format.write_array_header_1_0(part, {"descr": kind, "fortran_order": False, "shape": shape})
            for block in blocks:
                part.write(block.cpu().contiguous().numpy().tobytes())
    return Path(path)


def load_quality(path: str | os.PathLike[str]) -> "QualityMap":
    """Return the map that `QualityMap.save` wrote, exactly.

    Raises:
        CheckpointError: if the file is missing, damaged, no quality map, or written by a later version.
    """
    from latentkit.quality.map import QualityMap

    about, arrays = read_npz(path, KIND, FORMAT, wanted=lambda name, said: name != "latents" or bool(said.get("given")))
    try:
        given, prior = bool(about["given"]), prior_from_dict(about["prior"])
        needed = [*_ROWS, "real_logits", *(["latents"] if given else [])]
        tensors = {name: torch.from_numpy(arrays[name]) for name in needed}
        chart = places = None
        if about["custom"] is not None:
            parts = {name: torch.from_numpy(arrays[f"chart_{name}"]) for name in _CHART}
            chart, places = Chart(prior, **parts, custom=bool(about["custom"])), torch.from_numpy(arrays["places"])
        scores: dict[str, Any] = dict(about["calibration"])
        # JSON has no tuples.
        scores |= {name: tuple(value) for name, value in scores.items() if isinstance(value, list)}
        prefix = "calibration_"
        scores |= {k.removeprefix(prefix): torch.from_numpy(v) for k, v in arrays.items() if k.startswith(prefix)}
        made = QualityMap(
            prior=prior,
            seed=int(about["seed"]),
            index=tensors["index"],
            given=tensors["latents"] if given else None,
            logits=tensors["logits"],
            probability=tensors["probability"],
            density_ratio=tensors["density_ratio"],
            typicality=tensors["typicality"],
            calibration=Calibration(**scores),
            real_logits=tensors["real_logits"],
            chart=chart,
            places=places,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{os.fspath(path)} is a damaged quality map: {error}; save it again") from error
    sizes = {len(getattr(made, name)) for name in _ROWS} | ({len(places)} if places is not None else set())
    if len(sizes) > 1:
        raise CheckpointError(f"{os.fspath(path)} is a damaged quality map: its arrays differ in length; save it again")
    return made


def _split(calibration: Calibration) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a calibration's plain values and its tensors."""
    values = {field.name: getattr(calibration, field.name) for field in fields(calibration)}
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    plain = {name: value for name, value in values.items() if name not in tensors}
    try:
        json.dumps(plain)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"cannot store this calibration: {error}") from error
    return plain, tensors
