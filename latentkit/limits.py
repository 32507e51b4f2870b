"""What the commands refuse before any work, since this machine, or any program after it, could not bear it."""

import math
from pathlib import Path

from latentkit.animation import LEAST_SIDE
from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_count
from latentkit.console import machine_memory
from latentkit.errors import ArgumentError
from latentkit.render import LEAST_CELL, enlargement

__all__ = [
    "MOST_AT_A_TIME",
    "MOST_FRAMES",
    "MOST_KEYS",
    "MOST_SCORED",
    "MOST_STRENGTH",
    "check_drawable",
    "check_frame",
    "check_memory",
    "check_sheet",
    "count_of",
]

# What is refused before any work: beyond these a slip of the finger is likelier than a wish.
MOST_SCORED = 10_000_000  # latents: hours
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


def check_drawable(checkpoint: Checkpoint) -> bool:
    """Return whether the samples are images rather than points, or refuse to draw them."""
    shape = tuple(checkpoint.holdout.shape[1:])
    images = len(shape) == 3 and shape[0] in (1, 3)
    if not images and shape != (2,):
        raise ArgumentError(
            f"images (1, H, W) or (3, H, W) and points (2,) can be drawn, not samples of shape {shape}; "
            "where --out takes .npz, write that"
        )
    return images


def check_sheet(checkpoint: Checkpoint, out: Path, count: int) -> None:
    """Refuse a sheet of so many images that no program would open it."""
    if out.suffix.lower() == ".npz" or not check_drawable(checkpoint):
        return
    height, width = checkpoint.holdout.shape[2:]
    scale = enlargement((height, width), LEAST_CELL)
    each = (height * scale + 2) * (width * scale + 2)
    if count * each > MOST_PIXELS:
        raise ArgumentError(
            f"a sheet of {count:,} images would have {count * each:,} pixels, and most programs open no more than "
            f"{MOST_PIXELS:,}; ask for at most {MOST_PIXELS // each:,} images, or write them as .npz"
        )


def check_frame(checkpoint: Checkpoint, columns: int, rows: int) -> None:
    """Refuse a film of points at several places, and frames larger than a GIF or a screen can show."""
    if not check_drawable(checkpoint):
        if columns * rows > 1:
            raise ArgumentError("--grid shows images side by side; points are filmed along one loop, so leave it out")
        return
    height, width = checkpoint.holdout.shape[2:]
    scale = enlargement((height, width), LEAST_SIDE if columns * rows == 1 else LEAST_CELL)
    across, down = columns * (width * scale + 2) - 2, rows * (height * scale + 2) - 2
    if across * down > MOST_FRAME_PIXELS or max(across, down) > MOST_FRAME_SIDE:
        raise ArgumentError(
            f"--grid {columns}x{rows} makes frames of {across:,}x{down:,} pixels, too large for a film "
            f"(at most {MOST_FRAME_PIXELS:,}, and {MOST_FRAME_SIDE:,} a side); ask for fewer loops"
        )
