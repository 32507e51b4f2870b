"""Projections as files: one `.npz` whose arrays any reader can use, without pickle, and back, exactly."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentkit.archives import read_npz
from latentkit.errors import CheckpointError
from latentkit.files import writing
from latentkit.projection.linear import Linear
from latentkit.projection.projection import NAMES, Projection
from latentkit.projection.search import NearestRows

__all__ = ["load_projection", "write_projection"]

KIND = "latentkit projection"

#: The number of the layout; a larger one was written by a later version.
FORMAT = 1


def write_projection(plane: Projection, path: str | os.PathLike[str]) -> Path:
    """Write a projection as `.npz` and return the path.

    Raises:
        OutputError: if the file cannot be written; an earlier one is untouched.
    """
    about: dict[str, Any] = {
        "kind": KIND,
        "format": FORMAT,
        "neighbours": plane.neighbours,
        "note": plane.note,
        "of": plane.of,
        "engine": plane.engine,
    }
    arrays: dict[str, Any] = {
        "points": plane.points.numpy(),
        "features": plane.features.numpy(),
        "copy_of": plane.copy_of.numpy(),
        "method": np.array(plane.method),
        "seed": np.uint64(plane.seed),
        "trustworthiness": np.float64(plane.trustworthiness),
        "preservation": np.float64(plane.preservation),
    }
    if plane.linear is not None:
        arrays |= {"centre": plane.linear.centre.numpy(), "axes": plane.linear.axes.numpy()}
        arrays["unit"] = np.float64(plane.linear.unit)
    if plane.knn is not None:
        arrays |= {"knn_index": plane.knn.indices.numpy(), "knn_distance": plane.knn.distances.numpy()}
    if plane.landmarks is not None:
        arrays["landmarks"] = plane.landmarks.numpy()
    if plane.placed_trustworthiness is not None and plane.placed_preservation is not None:
        arrays["placed"] = np.array([plane.placed_trustworthiness, plane.placed_preservation])
    with writing(path) as file:
        np.savez_compressed(file, about=np.array(json.dumps(about)), **arrays)
    return Path(path)


def load_projection(path: str | os.PathLike[str]) -> Projection:
    """Return the projection that `Projection.save` wrote, exactly; it transforms new rows as that did.

    Raises:
        CheckpointError: if the file is missing, damaged, no projection, or written by a later version.
    """
    about, arrays = read_npz(path, KIND, FORMAT)
    name = os.fspath(path)
    try:
        tensors = {key: torch.from_numpy(value) for key, value in arrays.items() if value.ndim}
        linear = knn = None
        if "axes" in tensors:
            linear = Linear(tensors["centre"], float(arrays["unit"]), tensors["axes"])
        if "knn_index" in tensors:
            knn = NearestRows(tensors["knn_index"], tensors["knn_distance"])
        trust, kept = tensors["placed"].tolist() if "placed" in tensors else (None, None)
        plane = Projection(
            points=tensors["points"],
            features=tensors["features"],
            method=str(arrays["method"]),
            seed=int(arrays["seed"]),
            trustworthiness=float(arrays["trustworthiness"]),
            preservation=float(arrays["preservation"]),
            neighbours=int(about["neighbours"]),
            copy_of=tensors["copy_of"],
            note=str(about["note"]),
            of=str(about["of"]),
            linear=linear,
            knn=knn,
            landmarks=tensors.get("landmarks"),
            placed_trustworthiness=trust,
            placed_preservation=kept,
            engine=str(about.get("engine", "cpu")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{name} is a damaged projection: {error}; save it again") from error
    if plane.method not in NAMES or not _fits(plane):
        raise CheckpointError(f"{name} is a damaged projection: its arrays do not fit together; save it again")
    return plane


def _fits(plane: Projection) -> bool:
    n, rows = len(plane.points), torch.arange(len(plane.points))
    width = plane.features.shape[-1]
    shapes: list[tuple[Tensor, tuple[int, ...]]] = [
        (plane.points, (n, 2)),
        (plane.features, (n if plane.landmarks is None else len(plane.landmarks), width)),
        (plane.copy_of, (n,)),
    ]
    if plane.landmarks is not None:
        shapes += [(plane.landmarks, (len(plane.landmarks),))]
    if plane.linear is not None:
        shapes += [(plane.linear.centre, (width,)), (plane.linear.axes, (width, 2))]
    if plane.knn is not None:
        k = plane.knn.indices.shape[-1]
        shapes += [(plane.knn.indices, (n, k)), (plane.knn.distances, (n, k))]
    if n == 0 or any(tuple(tensor.shape) != shape for tensor, shape in shapes):
        return False
    if not bool(torch.isfinite(plane.points).all()) or not bool(torch.isfinite(plane.features).all()):
        return False
    if plane.landmarks is None:
        return bool(((plane.copy_of >= 0) & (plane.copy_of <= rows)).all())
    chosen = plane.landmarks
    if chosen.is_floating_point() or len(chosen) == 0 or not 0 <= int(chosen[0]) <= int(chosen[-1]) < n:
        return False
    if not bool((chosen.diff() > 0).all()):
        return False
    # A row is its own or a landmark's copy, and that landmark may come after it.
    return bool((torch.isin(plane.copy_of, chosen) | (plane.copy_of == rows)).all())
