"""What a notebook shows of a result: a picture, a table, or a film that plays."""

import base64
import html
import io
import tempfile
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentkit.animation import Animation
from latentkit.calibration import Calibration
from latentkit.checkpoint import Checkpoint
from latentkit.edits import Audited, Sweep
from latentkit.errors import ArgumentError
from latentkit.inversion import Inversion
from latentkit.journeys import Journey
from latentkit.plots import histogram_picture, plane_picture, reliability_picture
from latentkit.projection import Projection
from latentkit.quality import QualityMap
from latentkit.render import samples_sheet
from latentkit.strengths import sweep_sheet
from latentkit.strips import Line, strips
from latentkit.texts import readable
from latentkit.walks import BakeOff

__all__ = ["html_of", "png_of"]

Image = NDArray[np.uint8]

#: Frames of a film that is shown inline, at most: a notebook keeps all of it in its file.
MOST_FRAMES = 600

#: Samples of an inversion that are drawn.
MOST_DRAWN = 16

_MEDIA = {".gif": "image/gif", ".webp": "image/webp", ".avif": "image/avif"}


def png_of(result: Any) -> bytes:
    """Return the picture of a result as the bytes of a PNG file.

    Raises:
        ArgumentError: if it is of a kind that has no picture.
    """
    from PIL import Image as Images

    buffer = io.BytesIO()
    Images.fromarray(_picture(result)).save(buffer, "PNG")
    return buffer.getvalue()


@singledispatch
def _picture(result: Any) -> Image:
    raise ArgumentError(f"there is no picture of a {type(result).__name__}")


@_picture.register
def _(result: Projection) -> Image:
    figure = f"{result.method.upper()} of {result.of}, trustworthiness {result.trustworthiness:.2f}"
    return plane_picture(result.points, title=figure)


@_picture.register
def _(result: QualityMap) -> Image:
    groups = {"latents": result.probability.double().numpy()}
    return histogram_picture(groups, x_label="calibrated probability of being real")


@_picture.register
def _(result: Calibration) -> Image:
    return reliability_picture(result)


@_picture.register
def _(result: Sweep) -> Image:
    return sweep_sheet(result)


@_picture.register
def _(result: Journey) -> Image:
    return result.picture()


@_picture.register
def _(result: Inversion) -> Image:
    some = result.samples[:MOST_DRAWN]
    if some.ndim != 4:
        return samples_sheet(some)
    explained = [f"{share:.2f}" for share in result.explained[:MOST_DRAWN].tolist()]
    typical = [f"{value:.2g}" for value in result.typicality[:MOST_DRAWN].tolist()]
    return strips(some[None], rows=["found"], below=[Line("explained", explained), Line("typicality", typical)])


@singledispatch
def html_of(result: Any) -> str:
    """Return the piece of a page that shows a result; all texts in it are escaped.

    Raises:
        ArgumentError: if it is of a kind that has none.
    """
    raise ArgumentError(f"there is no page of a {type(result).__name__}")


@html_of.register
def _(result: Animation) -> str:
    if result.count > MOST_FRAMES:
        text = f"a film of {result.count:,} frames, {result.seconds:.1f} s: too long to show here; save it"
        return f"<p>{html.escape(text)}</p>"
    with tempfile.TemporaryDirectory(prefix="latentkit-film-") as folder:
        film = result.save_best(Path(folder) / "film")[0]
        data = base64.b64encode(film.read_bytes()).decode("ascii")
        kind = _MEDIA[film.suffix]
    about = f"a film of {result.count} frames, {result.seconds:.1f} s"
    return f'<img src="data:{kind};base64,{data}" alt="{html.escape(about)}" style="image-rendering:pixelated">'


@html_of.register
def _(result: BakeOff) -> str:
    return _table(result.cells(), [f"{row.name}: {row.note}" for row in result.rows if row.note])


@html_of.register
def _(result: Audited) -> str:
    return _table(result.cells(), list(result.verdicts))


@html_of.register
def _(result: Checkpoint) -> str:
    rows = [
        ["checkpoint", f"{result.data} by {result.trainer}"],
        ["prior", repr(result.generator.prior)],
        ["samples", " x ".join(map(str, result.holdout.shape[1:]))],
        ["classes", ", ".join(result.classes) or "none"],
        ["held-out samples", f"{len(result.holdout):,}"],
        ["critic", "none" if result.critic is None else type(result.critic).__name__],
        ["encoder", "none" if result.encoder is None else type(result.encoder).__name__],
    ]
    return _table(rows, [])


def _table(rows: list[tuple[str, ...]] | list[list[str]], notes: list[str]) -> str:
    """Return rows of texts as a table whose head is the first row, and notes below it."""
    head, *others = [[html.escape(readable(text)) for text in row] for row in rows]
    parts = ["<table><thead><tr>", *(f"<th>{text}</th>" for text in head), "</tr></thead><tbody>"]
    for row in others:
        parts += ["<tr>", *(f"<td>{text}</td>" for text in row), "</tr>"]
    return "".join([*parts, "</tbody></table>", *(f"<p>{html.escape(readable(note))}</p>" for note in notes)])
