"""Which pixels of a frame a GIF must store to go on from the frame before, and their compression.

Each frame stores the rectangle that changes, with holes where a pixel stays as it is. Nothing is dithered: dither
flickers and compresses badly.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentkit.encoders.palette import GREYS, Palette, is_grey, packed_colours, palette_for

__all__ = ["Patch", "Screen", "table_bits"]

#: A pixel stays as it is while that adds to its squared error at most so many times what the palette costs on average.
KEPT = 1.4

#: Up to this share of pixels that differ, only those are looked at.
DENSE = 0.35

Bytes = NDArray[np.uint8]


def _compressed(index: Bytes, bits: int) -> bytes:
    """Return the LZW data of indices (H, W) below 2 to the power of `bits`: what follows a frame's table."""
    from PIL import Image

    bits = max(bits, 2)  # the least that the format knows
    return bytes((bits,)) + Image.fromarray(index).tobytes("gif", "L", bits, 0) + b"\0"


def _gap(frame: Bytes, other: Bytes) -> NDArray[np.int32]:
    """Return the squared distance (...) of colours (..., 3)."""
    # Differences of bytes fit 16 bits; their squares need 32.
    gap = np.subtract(frame, other, dtype=np.int16).astype(np.int32)
    return np.einsum("...c,...c->...", gap, gap)


def table_bits(colours: Bytes) -> int:
    """Return how a GIF states the size of a table: 2 to the power of this plus one."""
    return len(colours).bit_length() - 2


@dataclass(eq=False)
class Patch:
    """One stored frame: the changed rectangle, compressed."""

    left: int
    top: int
    width: int
    height: int
    data: bytes
    transparent: int | None
    colours: Bytes

    def stored(self, delay: int, shared: Bytes) -> bytes:
        """Return the frame's blocks: graphic control, descriptor, table unless it is the file's, picture."""
        flags = 1 << 2 | (self.transparent is not None)  # leave the frame in place for the next one
        place = np.array([self.left, self.top, self.width, self.height], dtype="<u2").tobytes()
        table, local = (b"", 0) if self.colours is shared else (self.colours.tobytes(), 0x80 | table_bits(self.colours))
        return b"".join(
            (
                bytes((0x21, 0xF9, 4, flags)) + delay.to_bytes(2, "little") + bytes((self.transparent or 0, 0)),
                b"," + place + bytes((local,)),
                table,
                self.data,
            )
        )


class Screen:
    """What a player shows after the frames so far, and what must be stored to go on from there."""

    def __init__(self) -> None:
        self.before: NDArray[np.integer] | None = None  # the frame before: packed colours, or levels of greys
        self.shown: Bytes | None = None  # the colours (H, W, 3); None while they are the greys of the frame before
        self.palette: Palette | None = None
        self.table: Bytes | None = None  # the file's own colours: those of the first frame

    def follow(self, segment: list[Bytes]) -> Iterator[Patch | None]:
        """Yield what must be stored for each of a few frames, None where nothing changes."""
        if all(map(is_grey, segment)):
            if self.palette is not GREYS:
                self.before, self.palette = None, GREYS  # what was approximate is drawn anew: greys are exact
            for frame in segment:
                yield self._grey(np.ascontiguousarray(frame[..., 0]))
            return
        if self.palette is GREYS and self.before is not None:
            self.shown = self.before.astype(np.uint8)[..., None].repeat(3, axis=2)
            self.before = self.before.astype(np.int32) * 0x010101
        packed = [packed_colours(frame) for frame in segment]
        self.palette = palette_for(packed, self.before, self.palette)
        for frame, pixels in zip(segment, packed, strict=True):
            yield self._colour(frame, pixels, self.palette)

    def _grey(self, levels: Bytes) -> Patch | None:
        before, self.before = self.before, levels
        if before is None:
            return self._patch(GREYS.index(levels), None, _all_of(levels), GREYS)
        box = _box(changed := levels != before)
        if box is None:
            return None
        index, changed = GREYS.index(levels[box]), changed[box]
        return self._smaller(index, changed, box, GREYS, plain=True)

    def _colour(self, frame: Bytes, pixels: NDArray[np.int32], palette: Palette) -> Patch | None:
        """Return a patch of the pixels whose colour is another than before and that are now shown clearly worse.

        Pixels that stay as they are save a fifth of the bytes for a few tenths of a decibel. An exact palette costs
        nothing, so then nothing is lost.
        """
        before, self.before = self.before, pixels
        if before is None or self.shown is None:
            index = palette.index(pixels)
            self.shown = palette.colours[index]
            return self._patch(index, None, _all_of(pixels), palette)
        box = _box(differs := pixels != before)
        if box is None:
            return None
        differs, target = differs[box], self.shown[box]
        dense = np.count_nonzero(differs) > DENSE * differs.size
        those = slice(None) if dense else differs  # where little differs, only that is looked at
        wanted, index = frame[box][those], palette.index(pixels[box][those])
        drawn = palette.colours[index]
        old, new = _gap(wanted, target[those]), _gap(wanted, drawn)
        worse = old > new + KEPT * 3.0 * palette.error
        if not dense:
            changed = np.zeros_like(differs)
            changed[differs] = worse
            patch = self._sparse(index[worse], changed, box, palette)
            if patch is not None:
                target[changed] = drawn[worse]
                return patch
            index = palette.index(pixels[box])
            drawn, plain = palette.colours[index], True
        else:
            changed = differs & worse
            # Without holes it often compresses better: where the palette was fitted to what lies in them, too.
            plain = int(new.sum()) <= 1.1 * int(np.minimum(new, old).sum())
        if not changed.any():
            return None
        patch = self._smaller(index, changed, box, palette, plain=plain)
        target[...] = drawn if patch.transparent is None else np.where(changed[..., None], drawn, target)
        return patch

    def _sparse(
        self, index: Bytes, changed: NDArray[np.bool_], box: tuple[slice, slice], palette: Palette
    ) -> Patch | None:
        """Return a patch of indices (M,) of what changed, with holes elsewhere; None if no index is free for those."""
        free = np.flatnonzero(np.bincount(index, minlength=len(palette.colours)) == 0)
        if len(free) == 0 or len(index) == 0:
            return None
        whole = np.full(changed.shape, free[-1], dtype=np.uint8)
        whole[changed] = index
        return self._patch(whole, int(free[-1]), box, palette)

    def _smaller(
        self, index: Bytes, changed: NDArray[np.bool_], box: tuple[slice, slice], palette: Palette, *, plain: bool
    ) -> Patch:
        """Return a patch of indices (h, w), with holes where nothing changed if that compresses better or must be."""
        used = np.bincount(index.ravel(), minlength=len(palette.colours))
        if used.all():
            used = np.bincount(index[changed], minlength=len(palette.colours))
        free, hole = np.flatnonzero(used == 0), None
        if len(free) and not changed.all():
            holed = np.where(changed, index, np.uint8(free[-1]))
            # Compressing both would say it exactly; how often neighbours differ says it nearly as well.
            if not plain or _turns(holed) < _turns(index):
                index, hole = holed, int(free[-1])
        return self._patch(index, hole, box, palette)

    def _patch(self, index: Bytes, hole: int | None, box: tuple[slice, slice], palette: Palette) -> Patch:
        """Return indices (h, w) compressed; a table that is not the file's holds only the colours that are used."""
        colours = palette.colours
        if self.table is None:
            self.table = colours
        if colours is not self.table:
            used = np.bincount(index.ravel(), minlength=len(colours)) > 0
            size = 1 << max(int(used.sum()) - 1, 1).bit_length()
            if size < len(colours):
                place = (np.cumsum(used) - 1).astype(np.uint8)
                index, hole = place[index], None if hole is None else int(place[hole])
                kept = colours[used]
                colours = np.pad(kept, ((0, size - len(kept)), (0, 0)), mode="edge")
        data = _compressed(index, len(colours).bit_length() - 1)
        return Patch(box[1].start, box[0].start, index.shape[1], index.shape[0], data, hole, colours)


def _all_of(pixels: NDArray[np.integer]) -> tuple[slice, slice]:
    return slice(0, pixels.shape[0]), slice(0, pixels.shape[1])


def _box(changed: NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """Return the smallest rectangle that holds what changed, None if nothing did."""
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    if len(rows) == 0:
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _turns(index: Bytes) -> int:
    return int(np.count_nonzero(index[:, 1:] != index[:, :-1]))
