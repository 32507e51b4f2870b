"""Directions: where in the latent space an attribute grows, how they are found, and what is known of them."""

from latentkit.directions.audit import Audit
from latentkit.directions.bootstrap import stability
from latentkit.directions.conditional import cosines, orthogonalised
from latentkit.directions.direction import Direction, typical_range
from latentkit.directions.labels import extremes
from latentkit.directions.supervised import logistic_boundary, mean_difference, svm_boundary
from latentkit.directions.unsupervised import factorised, from_vectors, pca_directions, signed

__all__ = [
    "Audit",
    "Direction",
    "cosines",
    "extremes",
    "factorised",
    "from_vectors",
    "logistic_boundary",
    "mean_difference",
    "orthogonalised",
    "pca_directions",
    "signed",
    "stability",
    "svm_boundary",
    "typical_range",
]
