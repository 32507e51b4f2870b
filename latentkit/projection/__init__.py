"""Projection to the plane, with a measure of how much of it to believe."""

from latentkit.projection.faith import faithfulness, trustworthiness
from latentkit.projection.fitting import project
from latentkit.projection.placing import PlacedCurve
from latentkit.projection.projection import Projection
from latentkit.projection.samples import (
    Features,
    critic_features,
    critic_layer,
    featured,
    project_samples,
    sample_features,
)
from latentkit.projection.search import NearestRows, nearest_rows
from latentkit.projection.stored import load_projection

__all__ = [
    "Features",
    "NearestRows",
    "PlacedCurve",
    "Projection",
    "critic_features",
    "critic_layer",
    "faithfulness",
    "featured",
    "load_projection",
    "nearest_rows",
    "project",
    "project_samples",
    "sample_features",
    "trustworthiness",
]
