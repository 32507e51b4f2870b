"""The page: chapters in, one HTML file out, every text escaped."""

import base64
import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

from latentkit import __version__
from latentkit.reports.media import Shelf
from latentkit.texts import readable

__all__ = ["Card", "Chapter", "Figure", "MapData", "Table", "render_page"]

#: The parts of the style and of the script, in their order.
STYLES = ("report.css", "map.css", "print.css")
SCRIPTS = (
    "map-bytes.js",
    "map-colours.js",
    "map-plane.js",
    "map-points.js",
    "map-chosen.js",
    "map.js",
    "map-hands.js",
)


@dataclass(frozen=True)
class Card:
    """One question of the verdict with its answer; `tone` is good, fair, poor or unknown."""

    question: str
    answer: str
    tone: str
    detail: str


@dataclass(frozen=True)
class Figure:
    """A picture of the report: its file, what it shows, and the operation that made it; the names of its rows.

    A wide one takes the page's whole width. Of a film, `gif` is the file that everything can show, which may be `file`.
    """

    file: str
    alt: str
    caption: str
    made: str
    pixelated: bool = False
    rows: tuple[str, ...] = ()
    wide: bool = False
    gif: str = ""


@dataclass(frozen=True)
class Table:
    """A table of texts; `shares` (rows, columns) in [-1, 1] shade the cells after the first of each row."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    shares: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class MapData:
    """The interactive map: JSON for the script, numbers in base64, and the atlas of thumbnails that it cuts from."""

    atlas: str
    values: dict[str, Any]
    block: str


@dataclass(frozen=True)
class Chapter:
    """A heading with paragraphs, pictures and tables."""

    slug: str
    title: str
    text: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    map: MapData | None = None


def _json_for_script(value: Any) -> str:
    """Return JSON that cannot end the script element that it stands in."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _shown(value: Any) -> Any:
    """Return what the page says of a value: markup of our own as it is, all else as a text that a page can hold."""
    return value if hasattr(value, "__html__") else readable(str(value))


def render_page(
    *,
    title: str,
    subtitle: str,
    note: tuple[str, ...],
    cards: tuple[Card, ...],
    chapters: tuple[Chapter, ...],
    files: Shelf,
) -> str:
    """Return the page as HTML that asks nothing of any network or server."""
    from jinja2 import DictLoader, Environment, StrictUndefined
    from markupsafe import Markup

    folder = resources.files("latentkit.reports") / "templates"
    texts = {entry.name: entry.read_text(encoding="utf-8") for entry in folder.iterdir() if "." in entry.name}
    style = "".join(texts[name] for name in STYLES)
    script = "\n".join(['"use strict";(() => {', *(texts[name] for name in SCRIPTS), "})();"])
    # The script is allowed by its hash alone, so a text that slipped through could still not run.
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    environment = Environment(
        loader=DictLoader(texts),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        title=title,
        subtitle=subtitle,
        note=note,
        cards=cards,
        chapters=chapters,
        files=files,
        style=Markup(style),
        script=Markup(script),
        script_hash=digest,
        version=__version__,
        map_json=lambda values: Markup(_json_for_script(values)),
    )
