"""A line of text under a frame: any language that a font here has, and never a crash."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from latentkit.style import GROUND, INK, drawing

if TYPE_CHECKING:
    from PIL import ImageFont

__all__ = ["CAPTION_HEIGHT", "captioned"]

#: Pixels that a caption adds below a frame.
CAPTION_HEIGHT = 22

SIZE = 12

#: What stands for a character that no font here has.
UNKNOWN = "?"

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
def _font(path: Path | None) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    from PIL import ImageFont

    return ImageFont.load_default(SIZE) if path is None else ImageFont.truetype(str(path), SIZE)


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
    """Return a text on one line, cut to a width in pixels, and the font that has most of it."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    path = _bundled()
    if path is None:
        text = text.encode("ascii", "replace").decode()
    elif not text.isascii():
        codes = {ord(c) for c in text}
        if codes - _characters(path):
            path = min((path, *_wider()), key=lambda font: len(codes - _characters(font)))
        text = "".join(c if ord(c) in _characters(path) else UNKNOWN for c in text)
    font = _font(path)
    if font.getlength(text) > width:
        dots = "..."
        while text and font.getlength(text + dots) > width:
            text = text[:-1]
        text = text.rstrip() + dots
    return text, font


def captioned(frame: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """Return a frame (H, W, 3) with a line of text under it: (H + CAPTION_HEIGHT, W, 3).

    Control characters and line ends become blanks, a long text is cut with dots, and a character that
    neither DejaVu nor a font of the system has becomes a question mark.
    """
    from PIL import Image, ImageDraw

    width = frame.shape[1]
    picture = Image.new("RGB", (width, CAPTION_HEIGHT), GROUND)
    shown, font = _fit(text[:400], max(width - 8, 1))
    ImageDraw.Draw(picture).text((4, CAPTION_HEIGHT // 2), shown, fill=INK, font=font, anchor="lm")
    return np.concatenate([frame, np.asarray(picture)])
