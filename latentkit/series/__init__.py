"""Samples that are no images as pictures: series as waveforms and spectrograms, rows of a table as bars and heat."""

from latentkit.series.drawing import CELL, as_images, pictures
from latentkit.series.scales import MOST_COLUMNS, limits_of, sample_kind
from latentkit.series.tables import table
from latentkit.series.views import FRAME, Pictured, pictured

__all__ = [
    "CELL",
    "FRAME",
    "MOST_COLUMNS",
    "Pictured",
    "as_images",
    "limits_of",
    "pictured",
    "pictures",
    "sample_kind",
    "table",
]
