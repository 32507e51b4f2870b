"""Attributes that can be measured on a sample, to label latents by: brightness, slant, class, ...

Each is a plain function from samples to numbers, so that any function of yours serves as well:
`mean_difference(z, my_score(x) > my_score(x).median())`.
"""

from latentkit.attributes.applicable import Attribute, attributes_of
from latentkit.attributes.classifier import ClassScores, class_scores
from latentkit.attributes.colours import greenness, saturation, warmth
from latentkit.attributes.intensity import brightness, contrast, sharpness, symmetry
from latentkit.attributes.points import angle, horizontal, radius, vertical
from latentkit.attributes.shapes import area, height, slant, stroke_width, width

__all__ = [
    "Attribute",
    "ClassScores",
    "angle",
    "area",
    "attributes_of",
    "brightness",
    "class_scores",
    "contrast",
    "greenness",
    "height",
    "horizontal",
    "radius",
    "saturation",
    "sharpness",
    "slant",
    "stroke_width",
    "symmetry",
    "vertical",
    "warmth",
    "width",
]
