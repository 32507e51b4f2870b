"""Which charted sample is nearest, for maps so large that comparing each sample with all charted ones costs most."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from latentkit.streams import MEASURES, normal

__all__ = ["CHARTED_FROM", "NUMBERS_FROM", "PLACED_EXACTLY", "Placing", "exact_places"]

#: Latents that a map has at most if each is placed exactly: as many as a chart of the default size is chosen among, at
#: most. Each latent of such a map had its chance to be charted, and none lies but at the nearest that was. Beyond, more
#: latents only fill up what the chart knows already, and exact places take longest: 12 minutes for a million samples of
#: 1,024 numbers on one thread, where making and scoring them takes 4.
PLACED_EXACTLY = 200_000

#: Points of a chart and numbers of a feature from which on the short way is shorter: fewer numbers have a k-d tree.
CHARTED_FROM, NUMBERS_FROM = 4096, 9

#: Coordinates that points are told apart by, rows of a chart that these are found from, and how.
_COORDINATES, _ROWS = 64, 2048
_SPARE, _ROUNDS = 16, 6

#: Points of a cell on average; how many groups it is looked through in, of at most how many points.
_CELL, _GROUPS, _BITS = 160, 16, 4
_LLOYD = 6

#: Cells that a sample is looked for in, and points whose distance is then taken exactly.
_PROBES, _COMPARED = 4, 4

#: Float32 holds whole numbers up to here, and so adds and multiplies them without rounding, in whatever order.
_WHOLE = 2**24
_STEPS = 127

#: Samples that are compared at once: they and their candidates fit a processor's cache.
_AT_ONCE = 64


def exact_places(n: int, points: int, width: int) -> bool:
    """Return whether each of n latents gets the nearest of so many charted samples of `width` numbers for certain."""
    return n <= PLACED_EXACTLY or points < CHARTED_FROM or width < NUMBERS_FROM


@dataclass(frozen=True, eq=False)
class Placing:
    """An inverted file: charted samples in cells, of which only the few next to a sample are looked through.

    A sample is written as whole numbers from -127 to 127, and these as whole coordinates along the chart's principal
    components. It is compared with the centres of the cells; in the nearest four cells with all points, by these
    coordinates; and with the likeliest four by all of its float32 numbers.

    Whole numbers are multiplied without rounding, and the last comparison takes each pair by itself. So a place depends
    on the sample and the chart alone: not on which samples are placed along with it, on the batch or the threads.

    How good it is, by `python -m benchmarks.stores --part placing`: on the bundled generator's chart, 20,000 samples of
    1,024 numbers, 86 samples in 100 get the very nearest, the others one that is some 4 % further away than that. No
    latent's island differs, and bottlenecks move by 0.009 on average. It is about sixty times faster than comparing
    with all. Where the principal components say little of a sample fewer get the very nearest: of normal noise in 256
    numbers, where all distances are alike, 4 in 100, and what the others get is 6 % further away.

    Attributes: `features` (G, F) float32 of the chart; `middle` (F,) and `scale`, which make whole numbers of them;
    `basis` (F, C) whole; `offset` (C,), `divisor` and `reach` (C,) of the coordinates; `centres` (K, C); `members`
    (L,) long, the points cell by cell, each cell's in rows of `_GROUPS` columns, the last filled up; `starts` (K + 1,),
    where each cell begins; `coordinates` (L, C) of the members; `weights` (L, 1), their squared lengths and, in the
    last bits, their rows.

    References:
        Sivic, Zisserman (2003), "Video Google: a text retrieval approach to object matching in videos".
        Jegou, Douze, Schmid (2011), "Product quantization for nearest neighbor search", section IV.
    """

    features: Tensor
    middle: Tensor
    scale: float
    basis: Tensor
    offset: Tensor
    divisor: float
    reach: Tensor
    centres: Tensor
    members: Tensor
    starts: tuple[int, ...]
    coordinates: Tensor
    weights: Tensor

    @classmethod
    def of(cls, features: Tensor) -> "Placing":
        """Return that of a chart's features (G, F) float32, G at least 1."""
        low, high = features.amin(0), features.amax(0)
        middle = (low + high) / 2
        scale = _STEPS / max(float((features - middle).abs().max()), 1e-30)
        basis = _principal(_whole(features[:: -(-len(features) // _ROWS)], middle, scale))
        raw = _projected(features, middle, scale, basis)
        offset = ((raw.amin(0) + raw.amax(0)) / 2).round()
        raw -= offset
        # The square of a point's coordinates, less twice their product with a sample's, and a row: all in 24 bits.
        largest = float(raw.abs().amax(0).double().square().sum()) * 3.0
        divisor = max(1.0, (largest / (_WHOLE >> (_BITS + 1))) ** 0.5)
        coded = (raw / divisor).round()
        centres, cells = _cells(coded)
        members = [_in_columns(cell) for cell in cells]
        starts = np.cumsum([0, *map(len, members)]).tolist()
        every = torch.cat(members)
        coordinates = coded[every]
        slots = torch.cat([torch.arange(len(cell)) // _GROUPS for cell in members])
        weights = coordinates.square().sum(1) * (1 << _BITS) + slots
        reach = coded.abs().amax(0)
        return cls(
            features, middle, scale, basis, offset, divisor, reach, centres, every, tuple(starts), coordinates,
            weights[:, None],
        )  # fmt: skip

    @cached_property
    def starts_of(self) -> Tensor:
        """`starts` as a tensor (K + 1,) long."""
        return torch.tensor(self.starts)

    def nearest(self, samples: Sequence[Tensor], coordinates: Sequence[Tensor] | None = None) -> Tensor:
        """Return a point (M,) int32 for each row of all samples, in order: the nearest, or one hardly further away.

        Args:
            samples: batches (B, F), M rows in all.
            coordinates: what `coded` said of each batch, if that was asked while the batch was at hand.
        """
        coded = torch.cat(list(coordinates or map(self.coded, samples)))
        near = _nearest_cells(coded, self.centres, min(_PROBES, len(self.centres)))
        points, done = self._candidates(coded, near), 0
        squares = np.empty(points.shape, np.float32)
        room = torch.empty((_AT_ONCE, *points.shape[1:], self.features.shape[1]))
        for batch in samples:
            for part in batch.split(_AT_ONCE):
                rows, apart = slice(done, done + len(part)), room[: len(part)]
                torch.index_select(self.features, 0, points[rows].reshape(-1), out=apart.view(-1, apart.shape[2]))
                apart -= part[:, None]
                # Pair by pair, each in the same order of additions: a product of matrices has one for each shape.
                np.einsum("nkf,nkf->nk", apart.numpy(), apart.numpy(), out=squares[rows])
                done += len(part)
        first = torch.from_numpy(squares.argmin(1))
        return points.gather(1, first[:, None])[:, 0].to(torch.int32)

    def coded(self, samples: Tensor) -> Tensor:
        """Return the coordinates (M, C) of samples (M, F), as whole numbers."""
        raw = _projected(samples, self.middle, self.scale, self.basis)
        coded = raw.sub_(self.offset).div_(self.divisor).round_()
        return torch.minimum(torch.maximum(coded, -self.reach), self.reach)

    def _candidates(self, coded: Tensor, near: Tensor) -> Tensor:
        """Return the likeliest points (M, _COMPARED) long, rising, for coordinates (M, C) and the cells (M, P) next."""
        rows, probes = near.shape
        asked = near.reshape(-1)
        order = asked.argsort(stable=True)
        here = coded[torch.div(order, probes, rounding_mode="floor")]
        least = torch.empty(_GROUPS, len(asked))
        ends = asked.bincount(minlength=len(self.centres)).cumsum(0).tolist()
        for k, (begin, end) in enumerate(pairwise([0, *ends])):
            if end > begin:
                cell = slice(self.starts[k], self.starts[k + 1])
                # The square of a distance, less the sample's own length, and in the last bits the row of the point.
                found = torch.addmm(
                    self.weights[cell], self.coordinates[cell], here[begin:end].T, alpha=-2.0 * (1 << _BITS)
                )
                torch.amin(found.view(-1, _GROUPS, end - begin), 0, out=least[:, begin:end])
        values = torch.empty(len(asked), _GROUPS)
        values[order] = least.T
        values, which = values.view(rows, -1).topk(_COMPARED, dim=1, largest=False)
        cell = near.gather(1, torch.div(which, _GROUPS, rounding_mode="floor"))
        row = values.long() & ((1 << _BITS) - 1)
        return self.members[self.starts_of[cell] + row * _GROUPS + which % _GROUPS].sort(1).values


def _whole(samples: Tensor, middle: Tensor, scale: float) -> Tensor:
    """Return samples (M, F) as whole numbers."""
    return (samples - middle).mul_(scale).round_().clamp_(-_STEPS, _STEPS)


def _projected(samples: Tensor, middle: Tensor, scale: float, basis: Tensor) -> Tensor:
    """Return the whole coordinates (M, C) of samples (M, F) along a basis (F, C)."""
    return torch.cat([_whole(part, middle, scale) @ basis for part in samples.split(4 * _AT_ONCE)])


def _principal(rows: Tensor) -> Tensor:
    """Return the principal components (F, C) of whole rows (M, F), as whole numbers in float32, by subspace iteration.

    Products of them with whole numbers of up to `_STEPS` need no more digits than float32 has.

    References:
        Halko, Martinsson, Tropp (2011), "Finding structure with randomness", algorithm 4.4.
    """
    rows = rows.double()
    rows -= rows.mean(0)
    width = rows.shape[1]
    space = torch.from_numpy(normal(width, min(width, _COORDINATES + _SPARE), seed=0, stream=MEASURES))
    for _ in range(_ROUNDS):
        space = torch.linalg.qr(rows.T @ (rows @ space)).Q
    values, turn = torch.linalg.eigh((rows @ space).T @ (rows @ space))
    found = (space @ turn)[:, -_COORDINATES:]
    # Where nothing varies there is no direction.
    found *= values[-_COORDINATES:] > 1e-9 * values[-1]
    room = _WHOLE / _STEPS - width / 2
    return (found * min(room / max(float(found.abs().sum(0).max()), 1e-30), 2.0**15)).round().float()


def _nearest_cells(coded: Tensor, centres: Tensor, count: int) -> Tensor:
    """Return the nearest cells (M, count) long for coordinates (M, C), the nearest first."""
    squares = centres.square().sum(1)
    parts = [
        torch.addmm(squares[None], part, centres.T, alpha=-2.0).topk(count, dim=1, largest=False).indices
        for part in coded.split(1024)
    ]
    return torch.cat(parts)


def _cells(coded: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the centres (K, C) of cells of coordinates (G, C), and each one's points (M,) long, by Lloyd's rounds."""
    count = max(1, len(coded) // _CELL)
    centres = coded[torch.arange(count) * len(coded) // count]
    for _ in range(_LLOYD):
        centres = _means(coded, _nearest_cells(coded, centres, 1)[:, 0], centres)
    of = _nearest_cells(coded, centres, 1)[:, 0]
    order, sizes = of.argsort(stable=True), of.bincount(minlength=count).tolist()
    cells = [piece for cell in order.split(sizes) if len(cell) for piece in cell.split(_GROUPS << _BITS)]
    of[torch.cat(cells)] = torch.arange(len(cells)).repeat_interleave(torch.tensor([len(cell) for cell in cells]))
    return _means(coded, of, coded[: len(cells)]), cells


def _means(coded: Tensor, of: Tensor, before: Tensor) -> Tensor:
    """Return the rounded means (K, C) of the cells' coordinates (G, C); an empty one keeps that which it had before."""
    sums = torch.zeros(before.shape, dtype=torch.float64).index_add_(0, of, coded.double())
    sizes = of.bincount(minlength=len(before))[:, None]
    return torch.where(sizes > 0, (sums / sizes.clamp(min=1)).round().float(), before)


def _in_columns(cell: Tensor) -> Tensor:
    """Return a cell's points (M,) long, filled up by its first to whole rows of `_GROUPS`."""
    return torch.cat([cell, cell[:1].expand(-len(cell) % _GROUPS)])
