"""Principal components: the flat layout, where the others start from, and the unit in which they all work."""

from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit import streams

__all__ = ["Linear", "principal_plane", "unit_of"]


@dataclass(frozen=True, eq=False)
class Linear:
    """A flat layout: places are (rows - centre) / unit @ axes.

    Attributes: `centre` (F,) float64; `unit`, the largest centred value of the rows that it was fitted to; `axes`
    (F, 2) float64, orthonormal directions of largest variance.
    """

    centre: Tensor
    unit: float
    axes: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the places (M, 2) float32 of rows (M, F)."""
        return (((rows.double() - self.centre) / self.unit) @ self.axes).float()


def unit_of(rows: Tensor) -> tuple[Tensor, float]:
    """Return the mean (F,) float64 of rows (N, F) and the largest value around it, the unit of their layout."""
    centre = rows.double().mean(0)
    return centre, max(float((rows.double() - centre).abs().max()), 1e-300)


def principal_plane(rows: Tensor) -> Linear:
    """Return the plane of largest variance of rows (N, F); one column is laid out on a line."""
    centre, unit = unit_of(rows)
    if rows.shape[1] == 1:
        return Linear(centre, unit, torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    axes = _principal_axes((rows.double() - centre) / unit)
    # An eigenvector has no sign of its own: its largest coordinate is made positive.
    return Linear(centre, unit, axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign())


def _principal_axes(centred: Tensor) -> Tensor:
    """Return the two directions (F, 2) of largest variance of centred rows (N, F) float64.

    Exact up to 1,024 values; beyond, by block power iteration from a fixed start, since the full decomposition of a
    64 x 64 colour image's covariance takes many minutes.

    References:
        Halko, Martinsson, Tropp (2011), "Finding structure with randomness", algorithm 4.4.
    """
    width = centred.shape[1]
    if width <= 1024:
        return torch.linalg.eigh(centred.T @ centred)[1][:, [-1, -2]]
    block = torch.from_numpy(streams.normal(width, min(12, len(centred)), seed=0, stream=streams.SPLITS))
    for _ in range(30):
        block = torch.linalg.qr(centred.T @ (centred @ block))[0]
    within = torch.linalg.eigh((centred @ block).T @ (centred @ block))[1]
    axes = block @ within.flip(1)[:, :2]
    # A single row spans no second direction.
    return axes if axes.shape[1] == 2 else torch.cat([axes, torch.zeros_like(axes)], 1)
