"""Arithmetic on latents that stays on the prior.

A generator has only seen draws from its prior. In 512 dimensions the mean of two of them is 0.71
times as long as any it has seen, and a - b + c is 1.73 times too long; the functions here map every
such combination back, so that for independent draws the result is again a draw. What leaves the prior all the same,
because its terms are related, is named, and `pulled_back` brings it home.

References:
    Agustsson et al. (2019), arXiv 1711.01970, table 1.
    Bodin et al. (2024), arXiv 2408.08558, theorem 1.
"""

from latentkit.arithmetic.combination import analogy, combine, mean, vicinity
from latentkit.arithmetic.formulas import calculate
from latentkit.arithmetic.shell import pulled_back
from latentkit.arithmetic.sums import Sum, weigh

__all__ = ["Sum", "analogy", "calculate", "combine", "mean", "pulled_back", "vicinity", "weigh"]
