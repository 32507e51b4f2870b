"""Calibration: from a critic's logits to probabilities that can be believed, or a warning not to.

A discriminator's logits mean nothing on their own: after training it may score real and generated
samples alike, or both below zero. Compared on real samples that it never saw with as many generated
ones, its logits become the probability that a sample is real, and the density ratio p_real / p_model.

References:
    Turner, Hung, Frank, Saatchi, Yosinski (2019), "Metropolis-Hastings generative adversarial
    networks", section 3.2: calibration of a discriminator and its Z statistic.
"""

from latentkit.calibration.critic import CalibratedCritic, score, score_batch
from latentkit.calibration.fits import METHODS
from latentkit.calibration.measures import Measures
from latentkit.calibration.verdict import FEWEST, Calibration, calibrate, calibrate_logits

__all__ = [
    "FEWEST",
    "METHODS",
    "CalibratedCritic",
    "Calibration",
    "Measures",
    "calibrate",
    "calibrate_logits",
    "score",
    "score_batch",
]
