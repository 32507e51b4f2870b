"""Inversion: from samples to latents that a generator turns into them, or into the nearest that it can make.

By gradients, by a search without them, or by an encoder that is trained for a generator after the fact; and how
good and how editable what was found is.
"""

from latentkit.inversion.editability import Editability, editability
from latentkit.inversion.encoder import FittedEncoder, fit_encoder
from latentkit.inversion.evolution import invert_without_gradients
from latentkit.inversion.gradient import invert
from latentkit.inversion.losses import Loss, feature_loss, pixel_loss, pyramid_loss
from latentkit.inversion.result import Inversion
from latentkit.inversion.stored import InvertWork, invert_to

__all__ = [
    "Editability",
    "FittedEncoder",
    "Inversion",
    "InvertWork",
    "Loss",
    "editability",
    "feature_loss",
    "fit_encoder",
    "invert",
    "invert_to",
    "invert_without_gradients",
    "pixel_loss",
    "pyramid_loss",
]
