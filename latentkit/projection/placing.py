"""Places for new rows in a layout that is there: between their nearest rows, but never in a gap between pieces."""

from typing import NamedTuple

import torch
from torch import Tensor

from latentkit.neighbours import nearest
from latentkit.projection.search import Nearby

__all__ = ["AROUND", "PlacedCurve", "placed", "reach_of", "torn_steps"]

#: Rows that a new one is placed between.
AROUND = 15

#: So many reaches apart, two places are in different pieces.
APART = 2.0


class PlacedCurve(NamedTuple):
    """A curve in the plane.

    Attributes: `points` (T, 2) float32; `torn` (T - 1,) bool, the steps over which the curve jumps because the layout
    tore what hangs together.
    """

    points: Tensor
    torn: Tensor


def reach_of(rows: Tensor, points: Tensor, asked: Tensor) -> float:
    """Return how far apart in the plane neighbours are laid out: nine in ten are no farther.

    Args:
        rows: (N, F), what was laid out.
        points: (N, 2), the places.
        asked: (M,) long, the rows whose neighbours are looked at.
    """
    if len(rows) < 2:
        return 0.0
    near = nearest(rows[asked], rows, min(AROUND + 1, len(rows)))[1][:, 1:]
    return float((points[near] - points[asked][:, None]).norm(dim=2).flatten().quantile(0.9))


def placed(new: Tensor, near: Nearby, points: Tensor, reach: float) -> Tensor:
    """Return places (M, 2) for new rows (M, F) among the rows (N, F) of `near`, which lie at points (N, 2).

    It is the weighted mean of the places of its nearest rows; weights fall exponentially with the distance beyond the
    nearest row's, on the scale of the neighbourhood. Where a layout has torn those rows apart their mean would lie in
    a gap, where nothing is: only those count that are within two reaches of the middlemost of them.
    """
    found, index = near.to(new)
    beyond = found - found[:, :1]
    weights = torch.exp(-beyond / (0.25 * beyond.mean(1, keepdim=True)).clamp(min=torch.finfo(beyond.dtype).tiny))
    around = points[index]
    apart = torch.cdist(around, around, compute_mode="donot_use_mm_for_euclid_dist")
    middle = (weights[:, None] * apart).sum(2).argmin(1)
    weights = torch.where(apart[torch.arange(len(new)), middle] <= APART * reach, weights, 0.0)
    means = (weights[..., None] * around).sum(1) / weights.sum(1, keepdim=True)
    # Measured anew: the distances above come from a matrix product and are never quite zero.
    gap = (new.double() - near.rows[index[:, 0]].double()).norm(dim=1)
    return torch.where((gap <= 1e-3 * beyond.mean(1))[:, None], points[index[:, 0]], means)


def torn_steps(curve: Tensor, places: Tensor, rows: Tensor, reach: float) -> Tensor:
    """Return over which steps (T - 1,) bool of a curve (T, F) at places (T, 2) the layout of rows (N, F) is torn.

    A step is torn where it is ordinary among the features, no longer than the mean distance from either end's nearest
    row to that row's own neighbours, but in the plane longer than two reaches. A longer step may rightly lead
    anywhere, and is not judged: take more of them.
    """
    k = min(AROUND, len(rows) - 1)
    if k < 1 or len(curve) < 2:
        return torch.zeros(max(len(curve) - 1, 0), dtype=torch.bool)
    home = nearest(curve, rows, 1)[1][:, 0]
    spacing = nearest(rows[home], rows, k + 1)[0][:, 1:].double().mean(1)
    step = curve.double().diff(dim=0).norm(dim=1)
    ordinary = step <= torch.maximum(spacing[1:], spacing[:-1])
    return ordinary & (places.double().diff(dim=0).norm(dim=1) > APART * reach)
