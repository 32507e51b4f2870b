"""The verbs of the command `latentkit`: each takes the parsed arguments and returns what it did."""

from latentkit.verbs.about import info
from latentkit.verbs.edits import edit
from latentkit.verbs.importing import import_file
from latentkit.verbs.inversion import invert_samples as invert
from latentkit.verbs.manifold import quality, route, tide
from latentkit.verbs.pages import project, replay, report
from latentkit.verbs.samples import sample
from latentkit.verbs.walks import animate, interpolate

__all__ = [
    "animate",
    "edit",
    "import_file",
    "info",
    "interpolate",
    "invert",
    "project",
    "quality",
    "replay",
    "report",
    "route",
    "sample",
    "tide",
]
