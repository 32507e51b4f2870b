"""How much a direction depends on which latents it was found on."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_count, as_latents, as_seed
from latentkit.directions.direction import Direction
from latentkit.directions.labels import two_sides

__all__ = ["stability"]


def stability(
    fit: Callable[[Tensor, Tensor], Direction], latents: Tensor, labels: Tensor, *, resamples: int = 20, seed: int = 0
) -> tuple[float, float, float]:
    """Return how well refits on bootstrap resamples agree with a direction: mean, 5th and 95th percentile.

    Each resample draws as many latents of each side as there are, with replacement, and counts by its absolute
    cosine in [0, 1] with the direction fitted on all. In D dimensions two unrelated directions have a cosine of
    about 0.8 / sqrt(D).

    Args:
        fit: from latents (N, D) and labels (N,) to a direction, such as `mean_difference`.
        latents: (N, D).
        labels: (N,) of bool, or of 0 and 1.
        resamples: how many refits.
        seed: of the resamples; resample i depends on (seed, i, N) alone.

    Raises:
        ShapeError: if the latents are not (N, D).
        LabelError: if the labels are not two sides of at least 5 latents.

    References:
        Efron, Tibshirani (1993), "An introduction to the bootstrap", chapter 6.

    Examples:
        >>> from latentkit.directions import mean_difference
        >>> from latentkit.priors import Normal
        >>> z = Normal(2).sample(400, seed=0)
        >>> mean, low, high = stability(mean_difference, z, z[:, 0] > 0)
        >>> low <= mean <= high, mean > 0.99
        (True, True)
    """
    z = as_latents(latents)
    positive = two_sides(labels, len(z))
    resamples, seed = as_count(resamples, "resamples"), as_seed(seed)
    vector = fit(z, positive).vector.double().cpu()
    sides = [side.nonzero()[:, 0] for side in (~positive, positive)]
    cosine = np.empty(resamples)
    for index in range(resamples):
        drawn = streams.resampled_rows([len(side) for side in sides], seed=seed, index=index)
        rows = torch.cat([side[torch.from_numpy(of)] for side, of in zip(sides, drawn, strict=True)])
        refit = fit(z[rows.to(z.device)], positive[rows]).vector.double().cpu()
        cosine[index] = min(1.0, abs(float(refit @ vector) / float(refit.norm() * vector.norm())))
    low, high = np.quantile(cosine, [0.05, 0.95])
    return float(cosine.mean()), float(low), float(high)
