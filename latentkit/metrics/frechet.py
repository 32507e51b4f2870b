"""The Fréchet distance between Gaussians that are fitted to features of real and of generated samples."""

from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.errors import ArgumentError
from latentkit.metrics.rows import as_pair

__all__ = ["FrechetDistance", "frechet_distance"]


@dataclass(frozen=True)
class FrechetDistance:
    """The squared Fréchet distance in a stated feature space.

    Attributes: `distance`, the squared distance, of which `mean` is the part of the means and `covariance` that of
    the covariances; `floor`, about what two sets of these sizes from one and the same Gaussian give, for the
    distance is biased upwards: see `frechet_distance`; `full_rank`, whether both sides have more samples than there
    are dimensions (if not, a fitted covariance is singular, the distance says mostly how few samples there were, and
    so the floor is only its order of magnitude); `dim`, the number of features; `real` and `generated`, how many
    samples; `features`, the name of the feature space.
    """

    distance: float
    mean: float
    covariance: float
    floor: float
    full_rank: bool
    dim: int
    real: int
    generated: int
    features: str


def frechet_distance(real_features: Tensor, generated_features: Tensor, *, features: str) -> FrechetDistance:
    """Return the squared Fréchet distance between the Gaussians with the means and covariances of two sets of features.

    It is FID only in the features of the Inception network that FID is defined by; values in different feature
    spaces, or of different numbers of samples, cannot be compared. It is biased upwards: two sets from one Gaussian
    whose covariance has the eigenvalues l_i differ, to first order in 1/M + 1/N, by

        (1/M + 1/N) (sum_i l_i + sum_ij l_i l_j / (2 (l_i + l_j)) + sum_i l_i / 4),

    which is given as `floor`, for the eigenvalues of the pooled covariance.

    Args:
        real_features: (M, ...) features of real samples.
        generated_features: (N, ...) features of generated ones.
        features: the name of the feature space, for the record.

    Raises:
        ShapeError: if a side is not (N, ...) with at least 2 rows, or the widths differ.
        NonFiniteError: if a value is not finite.
        ArgumentError: if the feature space has no name.

    References:
        Dowson, Landau (1982), "The Fréchet distance between multivariate normal distributions", equation 4.
        Heusel, Ramsauer, Unterthiner, Nessler, Hochreiter (2017), "GANs trained by a two time-scale update rule
        converge to a local Nash equilibrium", equation 6: the same in the features of a classifier.
        Chong, Forsyth (2020), "Effectively unbiased FID and inception score and where to find them": the bias, and
        that it depends on the generator.

    Examples:
        >>> x = torch.arange(12.0).reshape(6, 2) ** 2
        >>> round(frechet_distance(x, x + 3, features="coordinates").distance, 6)  # 3 in each of two coordinates
        18.0
    """
    if not isinstance(features, str) or not features:
        raise ArgumentError(
            f"features must name the feature space, without which the distance means nothing; got {features!r}"
        )
    r, g = as_pair(real_features, generated_features, least=2, what="features")
    r, g = r.double(), g.double()
    # Around a common middle, so that an offset costs no digits.
    middle = r.mean(0)
    r, g = r - middle, g - middle
    one, other = torch.atleast_2d(torch.cov(r.T)), torch.atleast_2d(torch.cov(g.T))
    means = float((r.mean(0) - g.mean(0)).square().sum())
    # The trace of the root of a product A B is the sum of the singular values of root(A) root(B), which keeps digits
    # that the eigenvalues of root(A) B root(A), its square, lose.
    shared = torch.linalg.svdvals(_root(one) @ _root(other)).sum()
    covariances = max(float(one.trace() + other.trace() - 2.0 * shared), 0.0)
    m, n = len(r), len(g)
    pooled = ((m - 1) * one + (n - 1) * other) / (m + n - 2)
    return FrechetDistance(
        distance=means + covariances,
        mean=means,
        covariance=covariances,
        floor=(1.0 / m + 1.0 / n) * _bias(pooled),
        full_rank=min(m, n) > r.shape[1],
        dim=r.shape[1],
        real=m,
        generated=n,
        features=features,
    )


def _root(covariance: Tensor) -> Tensor:
    """Return the symmetric root (F, F) of a positive semi-definite matrix."""
    values, vectors = torch.linalg.eigh(covariance)
    # What is left of a zero eigenvalue after rounding, about 1e-16 of the largest, would have a root of 1e-8.
    least = values[-1].clamp(min=0.0) * len(values) * torch.finfo(values.dtype).eps
    return vectors * torch.where(values > least, values, 0.0).clamp(min=0.0).sqrt() @ vectors.T


def _bias(covariance: Tensor) -> float:
    """Return the expected distance of two sets of N from one Gaussian, times N / 2, to first order.

    The means differ by 2/N sum l_i. With D the difference of the fitted covariances, in their eigenvectors, the rest
    is the sum of D_ij^2 / (2 (l_i + l_j)), and D_ij has the variance 2/N l_i l_j, or twice as much for i = j.
    """
    values = torch.linalg.eigvalsh(covariance).clamp(min=0.0)
    both = values[:, None] + values
    off = torch.where(both > 0.0, values[:, None] * values / both.clamp(min=1e-300), 0.0).sum() / 2.0
    return float(values.sum() + off + values.sum() / 4.0)
