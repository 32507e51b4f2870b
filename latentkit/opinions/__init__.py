"""A second opinion: a fresh critic that estimates the density ratio of real samples and a finished generator's.

A GAN's own critic was trained against a generator that moved on; calibration mends the scale of its scores, not
their order. A critic trained after it, with the generator frozen and never the same sample of it twice, estimates
log(p_real / p_model) itself, which is what minimises the logistic loss.

References:
    Sugiyama, Suzuki, Kanamori (2012), "Density ratio estimation in machine learning", chapter 4: by classification.
    Grover et al. (2019), "Bias correction of learned generative models using likelihood-free importance weighting",
    section 3: for a generator, calibrated.
"""

from latentkit.opinions.choice import BestCritic, best_critic
from latentkit.opinions.opinion import SecondOpinion, second_opinion

__all__ = ["BestCritic", "SecondOpinion", "best_critic", "second_opinion"]
