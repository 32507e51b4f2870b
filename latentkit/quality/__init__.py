"""The quality map: which part of a latent space its critic believes, and how that part hangs together."""

from latentkit.quality.chart import Chart
from latentkit.quality.islands import Islands
from latentkit.quality.map import QualityMap
from latentkit.quality.mapping import quality_map
from latentkit.quality.scoring import calibrate_against, score_latents
from latentkit.quality.stored import load_quality

__all__ = ["Chart", "Islands", "QualityMap", "calibrate_against", "load_quality", "quality_map", "score_latents"]
