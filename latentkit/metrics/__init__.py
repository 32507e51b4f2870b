"""How good, how varied and how new samples are, measured against real ones or against a known truth.

Each metric states what it compares, how many samples it saw and, where chance matters, an interval.
"""

from latentkit.metrics.copies import CopyRatio, copy_ratio
from latentkit.metrics.frechet import FrechetDistance, frechet_distance
from latentkit.metrics.mmd import MMD, mmd
from latentkit.metrics.neighbours import COLLAPSED, SampleQuality, sample_quality
from latentkit.metrics.path_length import PathLength, perceptual_path_length
from latentkit.metrics.sliced import sliced_wasserstein
from latentkit.metrics.toys import Located, Mixture, SwissRoll, Toy, grid25_mixture, ring_mixture
from latentkit.metrics.truth import ToyTruth, density_ratio_error, jensen_shannon, toy_truth

__all__ = [
    "COLLAPSED",
    "MMD",
    "CopyRatio",
    "FrechetDistance",
    "Located",
    "Mixture",
    "PathLength",
    "SampleQuality",
    "SwissRoll",
    "Toy",
    "ToyTruth",
    "copy_ratio",
    "density_ratio_error",
    "frechet_distance",
    "grid25_mixture",
    "jensen_shannon",
    "mmd",
    "perceptual_path_length",
    "ring_mixture",
    "sample_quality",
    "sliced_wasserstein",
    "toy_truth",
]
