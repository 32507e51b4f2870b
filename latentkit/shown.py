"""Results that a notebook shows inline: what they look like is drawn by `latentkit.notebooks`, when it is asked for.

This is the one place where what lies below asks for what lies above, so that results need know nothing of pictures.
"""

from importlib import import_module

__all__ = ["Pictured", "Written"]

_DRAWN_BY = "latentkit.notebooks"


class Pictured:
    """A result that a notebook shows as a picture."""

    def _repr_png_(self) -> bytes:
        return import_module(_DRAWN_BY).png_of(self)


class Written:
    """A result that a notebook shows as a piece of a page: a table, or a film."""

    def _repr_html_(self) -> str:
        return import_module(_DRAWN_BY).html_of(self)
