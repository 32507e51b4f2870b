"""Edits: directions found and measured with a model at hand, layer by layer where it has layers, and strength sweeps.

`latentkit.directions` turns latents and labels, or rows of numbers, into directions and never sees a model; here they
come from a generator and any function of its samples, and are held against what they do.
"""

from latentkit.edits.activations import layers_of
from latentkit.edits.audit import audit
from latentkit.edits.audited import Audited
from latentkit.edits.layers import EditedLayer, LayerDirection, Layered, edited_layer, layer_directions, on_layers
from latentkit.edits.learning import fit_direction, learn_direction
from latentkit.edits.ranges import safe_strengths
from latentkit.edits.sweeps import Sweep, sweep
from latentkit.edits.unsupervised import activation_directions, jacobian_directions, sefa

__all__ = [
    "Audited",
    "EditedLayer",
    "LayerDirection",
    "Layered",
    "Sweep",
    "activation_directions",
    "audit",
    "edited_layer",
    "fit_direction",
    "jacobian_directions",
    "layer_directions",
    "layers_of",
    "learn_direction",
    "on_layers",
    "safe_strengths",
    "sefa",
    "sweep",
]
