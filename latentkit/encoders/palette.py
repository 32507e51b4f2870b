"""Palettes of at most 255 colours for a few frames at a time, kept as long as they serve.

Only what changes from frame to frame counts: what stands still stays as it was drawn. Greys and films
of few colours get a palette that holds them exactly; else colours are clustered, from where the palette
before left off, so that neighbouring frames agree and one palette often serves a whole film.

References:
    Lloyd (1982), "Least squares quantization in PCM": the rounds of k-means.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["GREYS", "Palette", "is_grey", "packed_colours", "palette_for"]

#: A palette is kept while its squared error a channel stays below this (58 dB: no eye sees it) ...
UNSEEN = 0.1

#: ... or below this many times the error on the frames that it was fitted to.
WORSE = 1.05

#: Up to so many distinct colours are told apart one by one; more are binned on a grid of 64 x 64 x 64.
DISTINCT = 4096

#: More than so many points are clustered on a grid of 32 x 32 x 32 first, each cell by the mean of what lies in it.
CLUSTERED = 4096

#: Colours of a palette: one of the 256 places is kept for pixels that stay as they are.
COLOURS = 255

Bytes = NDArray[np.uint8]


def packed_colours(frame: Bytes) -> NDArray[np.int32]:
    """Return colours (..., 3) as one number each, 0xRRGGBB."""
    wide = frame.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _unpacked(packed: NDArray[np.integer]) -> Bytes:
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1).astype(np.uint8)


def _bins(packed: NDArray[np.integer]) -> NDArray[np.integer]:
    return (packed >> 18) << 12 | (packed >> 10 & 63) << 6 | packed >> 2 & 63


@dataclass(frozen=True, eq=False)
class Palette:
    """Colours (K, 3), K a power of two up to 256, and which of them stands for a pixel.

    `label` gives the colour's index for each of the `known` packed colours, which are sorted; or for
    each bin if `known` is None. `error` is the squared error a channel on the frames of the fit.
    """

    colours: Bytes
    known: NDArray[np.int32] | None
    label: Bytes
    error: float

    def index(self, packed: NDArray[np.integer]) -> Bytes:
        """Return the indices of packed colours; one that the palette was not fitted to may be far off.

        Those of `GREYS` may also be given as levels, uint8.
        """
        if self is GREYS:
            return ~packed.astype(np.uint8, copy=False)
        if self.known is None:
            return self.label[_bins(packed)]
        return self.label[np.searchsorted(self.known, packed).clip(max=len(self.known) - 1)]


#: All greys, from white to black: Pillow reads a ramp that ascends as a picture without a palette, and then
#: gets the first frame that has a palette of its own wrong.
GREYS = Palette(np.arange(256, dtype=np.uint8)[::-1, None].repeat(3, axis=1), None, np.empty(0, dtype=np.uint8), 0.0)


def is_grey(frame: Bytes) -> bool:
    """Whether all colours (H, W, 3) are greys."""
    return bool((frame[..., 0] == frame[..., 1]).all() and (frame[..., 1] == frame[..., 2]).all())


def palette_for(
    packed: list[NDArray[np.int32]], before: NDArray[np.integer] | None, current: Palette | None
) -> Palette:
    """Return a palette for a few frames (H, W) of packed colours that follow on the frame `before`.

    It is the current one if that serves what changes in them, else a new one.
    """
    earlier = [before, *packed[:-1]]
    pixels = np.concatenate([p.ravel() if e is None else p[p != e] for p, e in zip(packed, earlier, strict=True)])
    if current is not None and len(pixels) == 0:
        return current
    return _fitted(pixels, None if current is GREYS else current)


@dataclass(frozen=True, eq=False)
class _Colours:
    """The distinct colours of pixels, or their bins where there are too many: points (M, 3), weights (M,)."""

    points: NDArray[np.float32]
    weights: NDArray[np.float32]
    known: NDArray[np.int32] | None
    bins: NDArray[np.intp]

    @classmethod
    def of(cls, pixels: NDArray[np.int32]) -> "_Colours":
        bins = _bins(pixels)
        counts = np.bincount(bins, minlength=2**18)
        found = np.flatnonzero(counts)
        if len(found) <= DISTINCT:
            known, repeats = np.unique(pixels, return_counts=True)
            if len(known) <= DISTINCT:
                return cls(_unpacked(known).astype(np.float32), repeats.astype(np.float32), known, found)
        means = np.empty((len(found), 3), dtype=np.float32)  # of a bin's own colours, not its middle
        for c, shift in enumerate((16, 8, 0)):
            means[:, c] = np.bincount(bins, pixels >> shift & 255, 2**18)[found] / counts[found]
        return cls(means, counts[found].astype(np.float32), None, found)

    def served_by(self, colours: Bytes) -> Palette:
        """Return the palette of given colours (K, 3) for these pixels."""
        label, error = _nearest(self.points, self.weights, colours.astype(np.float32))
        table = label.astype(np.uint8)
        if self.known is None:
            table = np.zeros(2**18, dtype=np.uint8)
            table[self.bins] = label
        return Palette(colours, self.known, table, error)


def _fitted(pixels: NDArray[np.int32], old: Palette | None) -> Palette:
    seen = _Colours.of(pixels)
    few = seen.known if seen.known is not None and len(seen.known) <= COLOURS else None
    if old is not None:
        kept = seen.served_by(old.colours)
        if kept.error <= (max(UNSEEN, WORSE * old.error) if few is None else 0.0):
            return replace(kept, error=old.error)
    if few is not None:
        # With the colours before, if there is room: what comes back later needs no new palette.
        joined = few if old is None else np.union1d(few, packed_colours(old.colours))
        return seen.served_by(_table(joined if len(joined) <= COLOURS else few))
    warm = old is not None and len(old.colours) == 256
    start = old.colours[:COLOURS] if old is not None and warm else _first_guess(pixels)
    centres = _cluster(*_coarse(seen), start.astype(np.float32), rounds=4 if warm else 10)
    return seen.served_by(_table(np.unique(packed_colours(centres))))


def _coarse(seen: _Colours) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return fewer points (M, 3) and weights (M,) that say where the colours are: a sixth of the work to cluster."""
    points, weights = seen.points, seen.weights
    if len(points) <= CLUSTERED:
        return points, weights
    cells = points.astype(np.int64) >> 3 << np.array([10, 5, 0])
    cells = cells.sum(1)
    mass = np.bincount(cells, weights)
    found = np.flatnonzero(mass)
    sums = np.stack([np.bincount(cells, weights * points[:, c])[found] for c in range(3)], axis=1)
    return (sums / mass[found, None]).astype(np.float32), mass[found].astype(np.float32)


def _table(packed: NDArray[np.integer]) -> Bytes:
    """Return colours (K, 3), K filled up to a power of two with at least one to spare, for holes."""
    size = 1 << len(packed).bit_length()
    return np.pad(_unpacked(packed), ((0, size - len(packed)), (0, 0)), mode="edge")


def _first_guess(pixels: NDArray[np.int32]) -> Bytes:
    """Return COLOURS colours by an octree over a quarter of the pixels."""
    from PIL import Image

    row = Image.fromarray(_unpacked(pixels[None, ::4]))
    found = row.quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).getpalette() or []
    colours = np.zeros((COLOURS, 3), dtype=np.uint8)
    colours[: len(found) // 3] = np.array(found, dtype=np.uint8).reshape(-1, 3)
    return colours


def _nearest(
    points: NDArray[np.float32], weights: NDArray[np.float32], centres: NDArray[np.float32]
) -> tuple[NDArray[np.intp], float]:
    """Return the nearest centre of each colour and the mean squared error a channel."""
    label = np.empty(len(points), dtype=np.intp)
    # |p - c|^2 less |p|^2, as one product. In small blocks, which stay in the cache and which the matrix
    # library does not spread over threads: that costs it ten times the product itself.
    places = np.column_stack([points, np.ones(len(points), dtype=np.float32)])
    planes = np.column_stack([-2.0 * centres, (centres**2).sum(1)]).T.copy()
    for start in range(0, len(points), 512):
        label[start : start + 512] = (places[start : start + 512] @ planes).argmin(1)
    gaps = ((points - centres[label]) ** 2).sum(1)
    return label, float((gaps * weights).sum(dtype=np.float64) / (3.0 * weights.sum(dtype=np.float64)))


def _cluster(
    points: NDArray[np.float32], weights: NDArray[np.float32], centres: NDArray[np.float32], rounds: int
) -> Bytes:
    """Return COLOURS colours by weighted k-means: Lloyd's rounds; an idle centre goes to the worst colour."""
    for _ in range(rounds):
        label, _ = _nearest(points, weights, centres)
        mass = np.bincount(label, weights, COLOURS)
        idle = np.flatnonzero(mass == 0)
        moved = np.stack([np.bincount(label, weights * points[:, c], COLOURS) for c in range(3)], axis=1)
        centres = (moved / np.maximum(mass, 1e-9)[:, None]).astype(np.float32)
        if len(idle):
            worst = (((points - centres[label]) ** 2).sum(1) * weights).argsort()[::-1][: len(idle)]
            centres[idle[: len(worst)]] = points[worst]
    return np.clip(np.rint(centres), 0, 255).astype(np.uint8)
