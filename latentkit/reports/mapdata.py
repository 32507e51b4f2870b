"""What the interactive map is given: where each sample lies, what it can be coloured by, curves, and the latents."""

import base64
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.landscapes import described
from latentkit.plots import distinct_colours
from latentkit.reports.directions import measured_on
from latentkit.reports.page import MapData
from latentkit.reports.study import Study
from latentkit.sampling.generate import generate
from latentkit.walks.panels import inks_of

__all__ = ["map_data"]

#: Latents along each curve that is drawn over the map, and which curves are.
STEPS = 96
CURVES = ("route", "prior-matched", "lerp")

#: A grey that is seen on light and on dark grounds.
SEEN = "#7a828c"

#: Islands that have a name; all others are one group.
NAMED = 12

#: Quantiles that bound the colours of an attribute, so that one odd sample does not take them all.
ENDS = (0.02, 0.98)


class _Block:
    """Numbers one after another, and where each group of them begins."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.float32]] = []
        self._length = 0

    def add(self, values: Tensor) -> int:
        part = np.ascontiguousarray(values.detach().cpu().numpy(), dtype="<f4").ravel()
        self._parts.append(part)
        self._length += len(part)
        return self._length - len(part)

    def text(self) -> str:
        """Return all of them as little-endian float32 in base64."""
        return base64.b64encode(np.concatenate(self._parts).tobytes()).decode("ascii")


def map_data(study: Study, *, atlas: str = "", side: int = 0, columns: int = 0) -> MapData:
    """Return the map of a study's samples.

    Args:
        study: whose samples are images with a projection, or points of the plane.
        atlas: the file with the thumbnails of all samples, row by row; none of points.
        side: of a thumbnail in pixels, 0 for none.
        columns: thumbnails a row.
    """
    block = _Block()
    layouts = [
        {"name": name, "at": block.add(torch.cat([points[:, 0], points[:, 1]]))} for name, points in _layouts(study)
    ]
    values = {
        "n": len(study.samples),
        "dim": study.latents.shape[1],
        "seed": str(study.seed),  # a script's numbers end at 2**53
        "side": side,
        "columns": columns,
        "layouts": layouts,
        "fields": _fields(study, block),
        "curves": _curves(study, block),
        "latents": block.add(study.latents),
    }
    return MapData(atlas, values, block.text())


def _layouts(study: Study) -> list[tuple[str, Tensor]]:
    """Return the planes in which the samples lie (N, 2), by name; the first is shown at first."""
    found = [("samples", study.samples) if study.plane is None else ("UMAP of samples", study.plane.points)]
    return found + ([("latents", study.latents)] if study.latents.shape[1] == 2 else [])


def _field(name: str, at: int, low: float, high: float, *, cut: bool = False, main: bool = True) -> dict[str, Any]:
    """Return what the map can be coloured by.

    Args:
        name: what it is called.
        at: where its values begin.
        low: where the colours begin.
        high: where they end.
        cut: whether it is what the threshold is of where samples are coloured by group.
        main: whether it is always said of a sample.
    """
    return {"name": name, "at": at, "low": low, "high": high, "cut": cut, "main": main}


def _groups(name: str, at: int, names: list[str]) -> dict[str, Any]:
    return _field(name, at, 0.0, len(names) - 1.0) | {"names": names, "colours": distinct_colours(len(names))}


def _fields(study: Study, block: _Block) -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = []
    if study.marginal is not None and study.labels is not None:
        fields.append(_groups("class", block.add(study.labels), list(study.marginal.classes)))
    if study.quality is not None:
        fields.append(_field("probability", block.add(study.quality.probability), 0.0, 1.0, cut=True))
    typicality = study.checkpoint.generator.prior.typicality(study.latents)
    fields.append(_field("typicality", block.add(typicality), 0.0, 1.0, cut=study.quality is None))
    if study.terrain is not None and len(study.terrain.islands):
        islands = study.terrain.islands
        names = [described(islands, k) for k in range(min(len(islands), NAMED))]
        names += ["smaller ones"] * (len(islands) > NAMED)
        fields.append(_groups("island", block.add(islands.labels.clamp(max=NAMED)), names))
    if study.plane is not None and study.plane.distinct > 2:
        fields.append(_measured("trustworthiness", study.plane.trust_of_each, block))
    for name, measure in measured_on(study.samples).items():
        fields.append(_measured(name, measure(study.samples), block))
    return fields


def _measured(name: str, values: Tensor, block: _Block) -> dict[str, Any]:
    low, high = torch.quantile(values.double(), torch.tensor(ENDS, dtype=torch.float64)).tolist()
    return _field(name, block.add(values), low, high, main=False)


def _curves(study: Study, block: _Block) -> list[dict[str, Any]]:
    """Return the ways of the bake-off's curves over each layout, and where it is torn under them."""
    rivals = study.rivals
    if not rivals.mapped:
        return []
    found, inks = [], inks_of(CURVES) | {"lerp": SEEN}
    for name, curve in zip(rivals.bake.names, rivals.bake.curves, strict=True):
        if name not in CURVES or curve is None:
            continue
        latents = curve.steps(STEPS)
        samples = generate(study.checkpoint.generator, latents, batch_size=study.batch_size)
        whole = torch.zeros(STEPS - 1, dtype=torch.bool)
        ways = [(samples, whole) if study.plane is None else study.plane.transform_curve(samples)]
        ways += [(latents, whole)] * (latents.shape[1] == 2)
        found.append(
            {
                "name": name,
                "colour": inks[name],
                "ways": [
                    {"at": block.add(places), "count": STEPS, "torn": torn.nonzero()[:, 0].tolist()}
                    for places, torn in ways
                ],
            }
        )
    return found
