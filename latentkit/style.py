"""How latentkit's plots look: one set of colours, one way to make a figure, no global state.

Figures are drawn on Agg through matplotlib's objects, never pyplot, so they need no screen and leave a
caller's own figures and settings alone. They carry their own light ground and stay legible on dark pages.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ACCENT",
    "COLOURS",
    "GRID",
    "GROUND",
    "INK",
    "MUTED",
    "SCALE",
    "UNKNOWN",
    "drawing",
    "figure_rgb",
    "new_axes",
]

GROUND = "#ffffff"

#: Text. A true grey: a caption under grey images then leaves them exact in a GIF.
INK = "#262626"
GRID = "#e3e7ec"

#: Points that are there to be compared with.
MUTED = "#a9b4c0"

#: What the eye should go to. Blue and vermilion differ for every kind of colour vision.
ACCENT = "#d55e00"

#: Lines and groups, in this order. Okabe and Ito (2008), without the yellow, which white swallows.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", INK)

#: The colour map of continuous values: even in lightness, for every kind of colour vision.
SCALE = "viridis"

DPI = 100

#: The longest line of a figure's text that is drawn in full, and the most lines of one.
LONGEST, LINES = 100, 12

#: What stands for a character that no font here has.
UNKNOWN = "?"

#: Everything that a user's own settings could otherwise change.
_SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "text.usetex": False,
    "text.parse_math": False,  # a class may be called $5 or a_b
    "text.color": INK,
    "axes.facecolor": GROUND,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": "medium",
    "axes.titlesize": "medium",
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "grid.linestyle": "-",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": "small",
    "ytick.labelsize": "small",
    "legend.frameon": False,
    "legend.fontsize": "small",
    "lines.linewidth": 1.6,
    "figure.facecolor": GROUND,
    "figure.dpi": DPI,
}


def _find_a_home() -> None:
    """Let matplotlib keep its cache in a temporary folder where the usual one cannot be written."""
    if os.environ.get("MPLCONFIGDIR"):
        return
    try:
        home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "matplotlib"
        home.mkdir(parents=True, exist_ok=True)
        # A real try: permission bits say nothing on read-only file systems, or to root.
        with tempfile.TemporaryFile(dir=home):
            pass
    except (OSError, RuntimeError):
        home = os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="latentkit-matplotlib-")
        atexit.register(shutil.rmtree, home, ignore_errors=True)


@lru_cache(maxsize=1)
def _characters() -> frozenset[int]:
    """Return the characters that the font of plots has."""
    from matplotlib.font_manager import findfont
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(findfont("DejaVu Sans")).get_charmap())


def _legible(line: str) -> str:
    line = line if len(line) <= LONGEST else f"{line[:LONGEST]}..."
    if line.isascii() and line.isprintable():
        return line
    return "".join(" " if not c.isprintable() else c if ord(c) in _characters() else UNKNOWN for c in line)


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the house style within the block; matplotlib's settings are put back after it."""
    _find_a_home()
    import matplotlib

    with matplotlib.rc_context(_SETTINGS):
        yield


def new_axes(
    width: int, height: int, *, title: str = "", x: str = "", y: str = "", equal: bool = False
) -> tuple["Figure", "Axes"]:
    """Return a figure of so many pixels on an Agg canvas, with labelled axes; call it in `drawing()`.

    Args:
        width: pixels.
        height: pixels.
        title: what is shown.
        x: what the horizontal axis is.
        y: what the vertical axis is.
        equal: one unit is as long on both axes, as for a map.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", w_pad=0.09, h_pad=0.09)
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    if equal:
        axes.set_aspect("equal", adjustable="box")
    return figure, axes


def figure_rgb(figure: "Figure") -> NDArray[np.uint8]:
    """Draw a figure that `new_axes` made and return its pixels (H, W, 3); call it in `drawing()`.

    Whatever its texts hold, it is drawn: a control character becomes a blank, a character that the font lacks a
    question mark, and a line that no figure has room for is cut with dots.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    for part in figure.findobj(Text):
        if isinstance(part, Text):
            part.set_text("\n".join(map(_legible, part.get_text().split("\n")[:LINES])))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
