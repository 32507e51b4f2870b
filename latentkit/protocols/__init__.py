"""What a model must be: Generator, Critic and Encoder, and how to adapt anything to them."""

from latentkit.protocols.detection import Finding
from latentkit.protocols.inspection import Inspection, InspectionWarning, inspect_generator
from latentkit.protocols.kinds import ConditionalGenerator, Critic, Encoder, Generator, Wrapped
from latentkit.protocols.outputs import Converted, Output
from latentkit.protocols.running import check_rows, evaluating, modules_of, moved, place_of
from latentkit.protocols.wrapping import wrap

__all__ = [
    "ConditionalGenerator",
    "Converted",
    "Critic",
    "Encoder",
    "Finding",
    "Generator",
    "Inspection",
    "InspectionWarning",
    "Output",
    "Wrapped",
    "check_rows",
    "evaluating",
    "inspect_generator",
    "modules_of",
    "moved",
    "place_of",
    "wrap",
]
