"""What the commands refuse before any work, since this machine, or any program after it, could not bear it."""

import math
from pathlib import Path

from latentkit.animation import LEAST_SIDE
from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_count
from latentkit.console import machine_memory
from latentkit.errors import ArgumentError
from latentkit.render import LEAST_CELL, enlargement
from latentkit.series import CELL, FRAME, sample_kind

__all__ = [
    "MOST_AT_A_TIME",
    "MOST_FRAMES",
    "MOST_KEYS",
    "MOST_SCORED",
    "MOST_STORED",
    "MOST_STRENGTH",
    "check_drawable",
    "check_frame",
    "check_memory",
    "check_sheet",
    "count_of",
]

# What is refused before any work: beyond these a slip of the finger is likelier than a wish.
MOST_SCORED = 10_000_000  # latents: hours
MOST_STORED = 10_000_000_000  # latents, on many machines
MOST_FRAMES = 100_000  # an hour of film
MOST_KEYS = 10_000
MOST_AT_A_TIME = 1_000_000
MOST_STRENGTH = 1_000.0

#: Pillow, and others after it, refuse to open larger pictures as attacks.
MOST_PIXELS = 178_956_970

#: Pixels of a film's frame, and the longest side that a GIF can have.
MOST_FRAME_PIXELS, MOST_FRAME_SIDE = 2**24, 65_535


def count_of(value: int, option: str, *, least: int = 1, most: int | None = None) -> int:
    """Return an option's number if it is whole and within [least, most]."""
    count = as_count(value, option, least=least)
    if most is not None and count > most:
        raise ArgumentError(f"{option} must be at most {most:,}, got {count:,}")
    return count


def check_memory(checkpoint: Checkpoint, count: int, option: str, *, samples: bool) -> None:
    """Refuse so many latents, and their samples if those are held too, that this machine could not hold them."""
    # A latent's coordinates are drawn as 64-bit words, made uniform, then normal, then float32.
    each = 40 * checkpoint.generator.prior.dim + (4 * math.prod(checkpoint.holdout.shape[1:]) if samples else 0)
    if count * each > machine_memory():
        raise ArgumentError(
            f"{option} asks for {count:,} latents, which need about {count * each / 1e9:,.0f} GB of memory, and this "
            f"machine has {machine_memory() / 1e9:,.0f} GB; ask for fewer"
        )


def check_drawable(checkpoint: Checkpoint) -> str:
    """Return what the samples are ("image", "point", "row" or "series"), or refuse to draw them."""
    shape = tuple(checkpoint.holdout.shape[1:])
    kind = sample_kind(shape)
    if kind is None:
        raise ArgumentError(
            "images (1, H, W) or (3, H, W), points (2,), series (T,) or (C, T) and rows (F,) can be drawn, not "
            f"samples of shape {shape}; where --out takes .npz, write that"
        )
    return kind


def _cell(checkpoint: Checkpoint, kind: str, least: int, otherwise: tuple[int, int]) -> tuple[int, int]:
    """Return the width and height in pixels of a sample's picture, an image's longer side being at least `least`."""
    if kind != "image":
        return otherwise
    height, width = checkpoint.holdout.shape[2:]
    scale = enlargement((height, width), least)
    return width * scale, height * scale


def check_sheet(checkpoint: Checkpoint, out: Path, count: int) -> None:
    """Refuse a sheet of so many images that no program would open it."""
    kind = "" if out.suffix.lower() == ".npz" else check_drawable(checkpoint)
    if kind not in ("image", "series"):  # points and rows are one picture of one size
        return
    width, height = _cell(checkpoint, kind, LEAST_CELL, CELL)
    each = (height + 2) * (width + 2)
    if count * each > MOST_PIXELS:
        raise ArgumentError(
            f"a sheet of {count:,} images would have {count * each:,} pixels, and most programs open no more than "
            f"{MOST_PIXELS:,}; ask for at most {MOST_PIXELS // each:,} images, or write them as .npz"
        )


def check_frame(checkpoint: Checkpoint, columns: int, rows: int) -> None:
    """Refuse a film of points at several places, and frames larger than a GIF or a screen can show."""
    kind = check_drawable(checkpoint)
    if kind == "point":
        if columns * rows > 1:
            raise ArgumentError("--grid shows images side by side; points are filmed along one loop, so leave it out")
        return
    alone = columns * rows == 1
    width, height = _cell(checkpoint, kind, LEAST_SIDE if alone else LEAST_CELL, FRAME if alone else CELL)
    across, down = columns * (width + 2) - 2, rows * (height + 2) - 2
    if across * down > MOST_FRAME_PIXELS or max(across, down) > MOST_FRAME_SIDE:
        raise ArgumentError(
            f"--grid {columns}x{rows} makes frames of {across:,}x{down:,} pixels, too large for a film "
            f"(at most {MOST_FRAME_PIXELS:,}, and {MOST_FRAME_SIDE:,} a side); ask for fewer loops"
        )
