"""Quality maps as files: one `.npz` whose arrays any reader can use, or a store with the map's frame in it."""

import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from latentkit.archives import read_npz
from latentkit.calibration import Calibration
from latentkit.errors import ArgumentError, CheckpointError
from latentkit.files import writing
from latentkit.priors import Prior
from latentkit.priors.stored import prior_from_dict, prior_to_dict
from latentkit.quality.chart import Chart
from latentkit.stores import Store, open_store

if TYPE_CHECKING:
    from latentkit.quality.map import QualityMap

__all__ = ["FRAME", "Frame", "load_quality", "map_of", "map_of_store", "read_frame", "write_map"]

KIND = "latentkit quality map"
FRAME_KIND = "latentkit frame of a quality map"

#: The number of the layout; a larger one was written by a later version.
FORMAT = 1

#: The name of the frame in a store.
FRAME = "map.npz"

_ROWS = ("index", "logits", "probability", "density_ratio", "typicality")
_CHART = ("latents", "features", "probability")


@dataclass(frozen=True, eq=False)
class Frame:
    """What a map has beside its rows.

    Attributes: `prior`; `seed`; `calibration`; `real_logits` (M,); `chart`, or None; `picked` (G,) long, the latents
    that are the chart's rows, where it was chosen before the map was made.
    """

    prior: Prior
    seed: int
    calibration: Calibration
    real_logits: Tensor
    chart: Chart | None = None
    picked: Tensor | None = None

    def packed(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return plain values and arrays that make it."""
        scores, tensors = _split(self.calibration)
        about = {
            "seed": self.seed,
            "prior": prior_to_dict(self.prior),
            "calibration": scores,
            "custom": None if self.chart is None else self.chart.custom,
            "exact": self.chart is None or self.chart.exact,
        }
        arrays = {"real_logits": self.real_logits.numpy()}
        arrays |= {f"calibration_{name}": value.numpy() for name, value in tensors.items()}
        if self.chart is not None:
            arrays |= {f"chart_{name}": getattr(self.chart, name).numpy() for name in _CHART}
        if self.picked is not None:
            arrays["picked"] = self.picked.numpy()
        return about, arrays

    @classmethod
    def unpacked(cls, about: Mapping[str, Any], arrays: Mapping[str, Any]) -> "Frame":
        """Return what `packed` gave; anything but a `CheckpointError` says that it was not that."""
        prior, chart = prior_from_dict(about["prior"]), None
        if about["custom"] is not None:
            parts = {name: torch.from_numpy(arrays[f"chart_{name}"]) for name in _CHART}
            chart = Chart(prior, **parts, custom=bool(about["custom"]), exact=bool(about.get("exact", True)))
        scores: dict[str, Any] = dict(about["calibration"])
        # JSON has no tuples.
        scores |= {name: tuple(value) for name, value in scores.items() if isinstance(value, list)}
        prefix = "calibration_"
        scores |= {k.removeprefix(prefix): torch.from_numpy(v) for k, v in arrays.items() if k.startswith(prefix)}
        real_logits = torch.from_numpy(arrays["real_logits"])
        picked = torch.from_numpy(arrays["picked"]) if "picked" in arrays else None
        return cls(prior, int(about["seed"]), Calibration(**scores), real_logits, chart, picked)

    def write(self, store: Store) -> None:
        """Write it into a map's store."""
        about, arrays = self.packed()
        about = {"kind": FRAME_KIND, "format": FORMAT, "plan": store.plan, **about}
        with writing(store.path / FRAME) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            _write_arrays(archive, {**arrays, "about": np.array(json.dumps(about))})


def write_map(
    quality: "QualityMap", shape: tuple[int, int], blocks: Iterable[Tensor], path: str | os.PathLike[str]
) -> Path:
    """Write a map, and its latents of a shape (N, D) from blocks of them, and return the path.

    Raises:
        OutputError: if the file cannot be written; an earlier one is untouched.
    """
    frame = Frame(quality.prior, quality.seed, quality.calibration, quality.real_logits, quality.chart)
    about, arrays = frame.packed()
    about = {"kind": KIND, "format": FORMAT, "given": quality.given is not None, **about}
    arrays = {name: getattr(quality, name).numpy() for name in _ROWS} | arrays
    if quality.places is not None:
        arrays["places"] = quality.places.numpy()
    arrays |= {
        "seed": np.uint64(quality.seed),
        "verdict": np.array(quality.verdict),
        "about": np.array(json.dumps(about)),
    }
    dtype = torch.float32 if quality.given is None else quality.given.dtype
    with writing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        _write_arrays(archive, arrays)
        with archive.open("latents.npy", "w", force_zip64=True) as part:
            kind = np.lib.format.dtype_to_descr(torch.empty(0, dtype=dtype).numpy().dtype)
            np.lib.format.write_array_header_1_0(part, {"descr": kind, "fortran_order": False, "shape": shape})
            for block in blocks:
                part.write(block.cpu().contiguous().numpy().tobytes())
    return Path(path)


def _write_arrays(archive: zipfile.ZipFile, arrays: Mapping[str, Any]) -> None:
    for name, value in arrays.items():
        with archive.open(f"{name}.npy", "w", force_zip64=True) as part:
            np.lib.format.write_array(part, np.asanyarray(value), allow_pickle=False)


def load_quality(path: str | os.PathLike[str]) -> "QualityMap":
    """Return the map that `QualityMap.save` or `quality_map(..., store=path)` wrote, exactly.

    Of one in a store rows are read when they are looked at, so it may be larger than the memory.

    Raises:
        CheckpointError: if it is missing, damaged, not complete, no quality map, or written by a later version.
    """
    if Path(path).is_dir():
        store = open_store(path)
        frame = read_frame(store)
        if frame is None:
            raise CheckpointError(f"{store.path} is no quality map: it has no {FRAME}")
        return map_of_store(store, frame)
    about, arrays = read_npz(path, KIND, FORMAT, wanted=lambda name, said: name != "latents" or bool(said.get("given")))
    try:
        frame = Frame.unpacked(about, arrays)
        given = torch.from_numpy(arrays["latents"]) if about["given"] else None
        names = (*_ROWS, *(() if frame.chart is None else ("places",)))
        made = map_of({name: torch.from_numpy(arrays[name]) for name in names}, frame, given)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{os.fspath(path)} is a damaged quality map: {error}; save it again") from error
    shapes = [tuple(getattr(made, name).shape) for name in names]
    if not all(shapes) or len({shape[0] for shape in shapes}) > 1:
        raise CheckpointError(f"{os.fspath(path)} is a damaged quality map: its arrays differ in length; save it again")
    return made


def read_frame(store: Store) -> Frame | None:
    """Return the frame in a map's store, or None if there is none and no block is done.

    Raises:
        CheckpointError: if it is lost or damaged, or that of another store.
    """
    path = store.path / FRAME
    if not path.exists() and len(store.missing()) == store.blocks:
        return None
    about, arrays = read_npz(path, FRAME_KIND, FORMAT)
    if about.get("plan") != store.plan:
        raise CheckpointError(f"{path} is not that of the store it lies in; copy both again, or make the map anew")
    try:
        return Frame.unpacked(about, arrays)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}; make the map anew") from error


def map_of_store(store: Store, frame: Frame) -> "QualityMap":
    """Return the map in a complete store, whose rows are memory-mapped.

    Raises:
        CheckpointError: if the store is not that of a map.
    """
    # A copy-on-write map: torch knows no arrays that must not be written to, and the file stays as it is.
    columns = {name: torch.from_numpy(store[name].mapped()) for name in store.columns}
    try:
        return map_of(columns, frame, custom=store.plan.get("features") is not None)
    except KeyError as error:
        raise CheckpointError(f"{store.path} is no quality map: it has no {error}") from error


def map_of(
    columns: Mapping[str, Tensor], frame: Frame, given: Tensor | None = None, *, custom: bool = False
) -> "QualityMap":
    """Return the map with these columns, whose latents are draws unless they are `given` (N, D).

    With the `features` of all samples, `custom` or not, all latents are charted.
    """
    from latentkit.quality.map import QualityMap

    chart = frame.chart
    if "features" in columns:
        latents = frame.prior.sample(len(columns["index"]), seed=frame.seed)
        chart = Chart(frame.prior, latents, columns["features"], columns["probability"], custom)
    return QualityMap(
        prior=frame.prior,
        seed=frame.seed,
        given=given,
        calibration=frame.calibration,
        real_logits=frame.real_logits,
        chart=chart,
        places=None if chart is None else columns["places"],
        **{name: columns[name] for name in _ROWS},
    )


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
