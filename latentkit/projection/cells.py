"""Rows parted into cells, so that a row's neighbours are looked for in a few of them rather than among all rows."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.neighbours import nearest
from latentkit.projection.faith import sampled

__all__ = ["Cells", "part_into_cells"]

#: Rows whose neighbours are found exactly, to see how far from a row's own cell they lie.
PROBED = 500

#: Rounds in which centres move to the middle of their cells.
ROUNDS = 4

_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class Cells:
    """Rows (N, F) by the nearest of C centres.

    Attributes: `rows` (N, F); `cell` (N,) long, each row's; `members` (N,) long, the rows cell by cell, those of cell c
    beginning at the c-th of `starts` (C + 1,) long; `around` (C, C) long, all cells by the distance of their centres
    from each one's, itself first; `centres` (C, F) float32, around `mean` (F,) float64 and in units of `unit`.
    """

    rows: Tensor
    cell: Tensor
    members: Tensor
    starts: Tensor
    around: Tensor
    centres: Tensor
    mean: Tensor
    unit: float

    def __len__(self) -> int:
        """Return how many cells there are."""
        return len(self.around)

    def of(self, cell: int) -> Tensor:
        """Return the rows (M,) long of a cell."""
        return self.members[self.starts[cell] : self.starts[cell + 1]]

    def home(self, new: Tensor) -> Tensor:
        """Return the cell (M,) long that each of new rows (M, F) lies in."""
        return _nearest_centre(((new.double() - self.mean) / self.unit).float(), self.centres)

    def reach(self, k: int, recall: float, *, seed: int) -> int:
        """Return how many of the cells around a row's own hold such a part of its k neighbours, as 500 rows tell.

        Args:
            k: neighbours of a row.
            recall: the part of all neighbours that is to be found, above 0 and at most 1.
            seed: which rows are asked.
        """
        asked = sampled(len(self.rows), seed, PROBED)
        near = nearest(self.rows[asked], self.rows, k, same=asked)[1]
        rank = self.around.argsort(1)[self.cell[asked][:, None], self.cell[near]]
        return 1 + int(rank.flatten().double().quantile(recall).ceil())

    def nearest(self, cell: int, k: int, reach: int) -> tuple[Tensor, Tensor]:
        """Return the k nearest other rows to each row of a cell, among those of `reach` cells around it.

        More cells are looked into where these hold too few rows.

        Returns:
            Distances (M, k) float32 and indices (M, k) long.
        """
        own, others = self.of(cell), self._near(cell, k, reach)
        distances, indices = nearest(self.rows[own], self.rows[others], k, same=torch.arange(len(own)))
        return distances, others[indices]

    def nearest_to(self, new: Tensor, k: int, reach: int) -> tuple[Tensor, Tensor]:
        """Return the k nearest rows to each of new rows (M, F), among those of `reach` cells around its own.

        Returns:
            Distances (M, k) float32 and indices (M, k) long.
        """
        home = self.home(new)
        found = torch.empty((len(new), k)), torch.empty((len(new), k), dtype=torch.long)
        together = home.argsort(stable=True).split(home.bincount(minlength=len(self)).tolist())
        for cell, part in enumerate(together):
            if len(part):
                others = self._near(cell, k, reach)
                distances, indices = nearest(new[part], self.rows[others], k)
                found[0][part], found[1][part] = distances, others[indices]
        return found

    def _near(self, cell: int, k: int, reach: int) -> Tensor:
        """Return the rows of `reach` cells around one, itself first, or of as many as hold more than k."""
        sizes = self.starts.diff()[self.around[cell]].cumsum(0)
        reach = max(reach, int((sizes <= k).sum()) + 1)
        return torch.cat([self.of(c) for c in self.around[cell, :reach].tolist()])


def part_into_cells(rows: Tensor, *, seed: int) -> Cells:
    """Part rows (N, F) into about the square root of N cells.

    References:
        Lloyd (1982), "Least squares quantization in PCM", method I.
    """
    count = max(1, round(len(rows) ** 0.5))
    # Around their mean and as float32: it is only rough distances to centres that are asked for. The unit is a power of
    # two, so that scaling rounds nothing.
    mean = rows.double().mean(0)
    middle = rows.double() - mean
    unit = 2.0 ** math.floor(math.log2(max(float(middle.abs().max()), 1e-300)))
    middle = (middle / unit).float()
    centres = middle[sampled(len(rows), seed, count)].clone()
    for _ in range(ROUNDS):
        cell = _nearest_centre(middle, centres)
        size = cell.bincount(minlength=count)[:, None]
        moved = torch.zeros_like(centres).index_add_(0, cell, middle) / size.clamp(min=1)
        centres = torch.where(size > 0, moved, centres)
    cell = _nearest_centre(middle, centres)
    sizes = cell.bincount(minlength=count)
    starts = torch.cat([torch.zeros(1, dtype=torch.long), sizes.cumsum(0)])
    apart = torch.cdist(centres, centres).fill_diagonal_(-1.0)
    return Cells(rows, cell, cell.argsort(stable=True), starts, apart.argsort(1), centres, mean, unit)


def _nearest_centre(rows: Tensor, centres: Tensor) -> Tensor:
    squares = centres.square().sum(1)
    return torch.cat([(squares - 2.0 * (part @ centres.T)).argmin(1) for part in rows.split(_BLOCK)])
