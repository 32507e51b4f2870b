"""A line of text under a frame: any language that a font here has, and never a crash."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from latentkit.checks import as_vector
from latentkit.errors import ArgumentError, ShapeError
from latentkit.style import GROUND, INK, UNKNOWN, drawing

if TYPE_CHECKING:
    from PIL import ImageFont

__all__ = ["CAPTION_HEIGHT", "STRIP_HEIGHT", "captioned", "captions_of", "stripped"]

#: Pixels that a caption adds below a frame.
CAPTION_HEIGHT = 22

#: Pixels that a strip adds below a frame, and the grey of what is still to come.
STRIP_HEIGHT, TO_COME = 5, 225

#: Pixels of the font, and of the smallest that is used where a text is long; two lines of that fit.
SIZE, LEAST_SIZE = 12, 9

#: Where a text may be broken into two lines.
BREAK = " · "

#: Families of system fonts that hold the scripts which DejaVu lacks, as they are called on the usual systems.
_WIDER = (
    "CJK",
    "Noto Sans",
    "PingFang",
    "Hiragino",
    "YaHei",
    "Yu Gothic",
    "Malgun",
    "WenQuanYi",
    "Unifont",
    "Arial Unicode",
)


@lru_cache(maxsize=1)
def _bundled() -> Path | None:
    """Return the DejaVu Sans that matplotlib brings, found without importing it."""
    spec = find_spec("matplotlib")
    places = spec.submodule_search_locations if spec is not None else None
    path = Path(next(iter(places))) / "mpl-data/fonts/ttf/DejaVuSans.ttf" if places else None
    return path if path is not None and path.is_file() else None


@lru_cache(maxsize=32)
def _font(path: Path | None, size: int) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    from PIL import ImageFont

    return ImageFont.load_default(size) if path is None else ImageFont.truetype(str(path), size)


@lru_cache(maxsize=32)
def _characters(path: Path) -> frozenset[int]:
    with drawing():
        from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(path)).get_charmap())


@lru_cache(maxsize=1)
def _wider() -> tuple[Path, ...]:
    with drawing():
        from matplotlib.font_manager import fontManager

    names = sorted({(font.name, font.fname) for font in fontManager.ttflist})
    return tuple(Path(path) for name, path in names if any(part in name for part in _WIDER))


@lru_cache(maxsize=4096)
def _fit(text: str, width: int) -> tuple[str, "ImageFont.FreeTypeFont | ImageFont.ImageFont"]:
    """Return a text that fits a width in pixels, and the font that has most of it.

    A long text is set smaller, then in two lines, broken between its parts; then it is cut.
    """
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    path = _bundled()
    if path is None:
        text = text.encode("ascii", "replace").decode()
    elif not text.isascii():
        codes = {ord(c) for c in text}
        if codes - _characters(path):
            path = min((path, *_wider()), key=lambda font: len(codes - _characters(font)))
        text = "".join(c if ord(c) in _characters(path) else UNKNOWN for c in text)
    for size in range(SIZE, LEAST_SIZE - 1, -1):
        if _font(path, size).getlength(text) <= width:
            return text, _font(path, size)
    font = _font(path, LEAST_SIZE)
    parts = text.split(BREAK)
    for k in range(len(parts) - 1, 0, -1):
        lines = BREAK.join(parts[:k]), BREAK.join(parts[k:])
        if max(map(font.getlength, lines)) <= width:
            return "\n".join(lines), font
    font, dots = _font(path, SIZE), "..."
    while text and font.getlength(text + dots) > width:
        text = text[:-1]
    return text.rstrip() + dots, font


def captioned(frame: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """Return a frame (H, W, 3) with a line of text under it: (H + CAPTION_HEIGHT, W, 3).

    Control characters and line ends become blanks. A long text is set smaller, then in two lines that are broken at a
    " · ", and where that is not enough cut with dots. A character that neither DejaVu nor a font of the system has
    becomes a question mark.
    """
    from PIL import Image, ImageDraw

    width = frame.shape[1]
    picture = Image.new("RGB", (width, CAPTION_HEIGHT), GROUND)
    shown, font = _fit(text[:400], max(width - 8, 1))
    draw, lines = ImageDraw.Draw(picture), shown.split("\n")
    for k, line in enumerate(lines):
        draw.text((4, (2 * k + 1) * CAPTION_HEIGHT // (2 * len(lines))), line, fill=INK, font=font, anchor="lm")
    return np.concatenate([frame, np.asarray(picture)])


def stripped(frame: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """Return a frame (H, W, 3) with a bar under it that is full for a `share` in [0, 1]: (H + STRIP_HEIGHT, W, 3).

    The bar is grey, so that under grey images a GIF stays exact.
    """
    width = frame.shape[1]
    bar = np.full((STRIP_HEIGHT, width, 3), 255, dtype=np.uint8)
    bar[2:] = TO_COME
    bar[2:, : round(width * share)] = int(INK[1:3], 16)
    return np.concatenate([frame, bar])


def captions_of(*, t: bool = True, **values: Tensor | Sequence[float]) -> Callable[[int, float], str]:
    """Return a caption for `animate` that says numbers of each frame: its place on the curve, and any others.

    Args:
        t: say the place on the curve, from 0 to 1.
        values: (T,) of each frame by name, for instance score and typicality; an underscore becomes a blank.

    Returns:
        A function of a frame's number and its place; it raises `ArgumentError` for a frame that has no values.

    Raises:
        ArgumentError: if there is nothing to say.
        ShapeError: if values are not (T,), all of one length.
        NonFiniteError: if a value is NaN or infinite.

    Examples:
        >>> caption = captions_of(score=[0.25, 0.5], typicality=[0.75, 0.125])
        >>> caption(1, 1.0)
        't 1.00 · score 0.50 · typicality 0.12'
    """
    if not t and not values:
        raise ArgumentError("a caption needs something to say: t=True, or values such as score=")
    rows = {name.replace("_", " "): as_vector(given, name=name).tolist() for name, given in values.items()}
    lengths = {name: len(row) for name, row in rows.items()}
    if len(set(lengths.values())) > 1:
        raise ShapeError(f"values must all be as many as frames, got {lengths}")

    def caption(i: int, at: float) -> str:
        if rows and i >= min(lengths.values()):
            raise ArgumentError(f"there are captions for {min(lengths.values())} frames, and the film has more")
        parts = [f"t {at:.2f}"] if t else []
        return BREAK.join(parts + [f"{name} {row[i]:.2f}" for name, row in rows.items()])

    return caption
