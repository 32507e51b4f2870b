"""Priors: the distributions that latents are drawn from, and what it means to lie on one.

A prior draws reproducibly, scores a latent by its log density and by how typical it is, and maps a
weighted sum of draws back onto itself (`match`): a plain average of Gaussian draws is too short for
its own prior, and a generator has never seen such a latent.

References:
    Agustsson, Sage, Timofte, Van Gool (2019), "Optimal transport maps for distribution preserving
    operations on latent spaces of generative models" (arXiv 1711.01970).
    Bodin, Moss, Henrik Ek (2024), "Linear combinations of latents in generative models:
    subspaces and beyond" (arXiv 2408.08558).
"""

from latentkit.priors.classes import OneHot
from latentkit.priors.empirical import Empirical
from latentkit.priors.joint import Joint
from latentkit.priors.normal import Normal
from latentkit.priors.prior import Prior
from latentkit.priors.scores import from_normal_scores, has_normal_scores, normal_scores, score_energy
from latentkit.priors.sphere import Sphere
from latentkit.priors.stored import prior_from_dict, prior_to_dict
from latentkit.priors.tied import Tied
from latentkit.priors.uniform import Uniform

__all__ = [
    "Empirical",
    "Joint",
    "Normal",
    "OneHot",
    "Prior",
    "Sphere",
    "Tied",
    "Uniform",
    "from_normal_scores",
    "has_normal_scores",
    "normal_scores",
    "prior_from_dict",
    "prior_to_dict",
    "score_energy",
]
