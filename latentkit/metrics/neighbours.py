"""How good and how varied samples are, by the nearest neighbours of real and generated ones."""

from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.checks import as_count
from latentkit.metrics.rows import as_pair
from latentkit.neighbours import distances, nearest

__all__ = ["COLLAPSED", "SampleQuality", "sample_quality"]

#: A spread below this means that a generator makes nearly one sample.
COLLAPSED = 0.2


@dataclass(frozen=True)
class SampleQuality:
    """Sample quality by nearest neighbours in a stated feature space.

    Attributes: `precision`, the share of generated samples that lie within some real sample's ball (to
    its k-th real neighbour), and `recall`, the share of real ones within a generated one's; `density`,
    how many real balls a generated sample lies in over k (about 1 for real data; far more if samples
    keep to the middle of the data); `coverage`, the share of real balls that hold a generated sample;
    `separability`, how often a sample's nearest neighbour is of its own kind, averaged over both kinds
    (0.5: they cannot be told apart, 1: always; below 0.5: samples are copies); `spread`, the mean
    distance between two generated samples over that between two real ones (near 0: they are all
    alike); `real`, how many real samples; `generated`, how many generated ones; `k`; `features`, what
    was compared.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    separability: float
    spread: float
    real: int
    generated: int
    k: int
    features: str


def sample_quality(real: Tensor, generated: Tensor, *, k: int = 5, features: str = "pixels") -> SampleQuality:
    """Compare generated with real samples by precision, recall, density, coverage and spread.

    Recall and coverage depend on the numbers of samples: compare only values with equal numbers.

    Args:
        real: (M, ...) held-out real samples or their features.
        generated: (N, ...) generated samples or their features.
        k: which neighbour sets the radius of a ball.
        features: the name of what is compared, for the record.

    Raises:
        ShapeError: if the shapes differ or there are not more than k samples a side.
        NonFiniteError: if a value is not finite.

    References:
        Kynkaanniemi et al. (2019), "Improved precision and recall metric for assessing generative
        models", equations 1 and 2.
        Naeem et al. (2020), "Reliable fidelity and diversity metrics for generative models",
        equations 4 and 6.
        Lopez-Paz, Oquab (2017), "Revisiting classifier two-sample tests", and Xu et al. (2018), "An
        empirical study on evaluation metrics of generative adversarial networks", section 2: the
        leave-one-out accuracy of the nearest neighbour.
    """
    k = as_count(k, "k")
    r, g = as_pair(real, generated, least=k + 1, wanted=f"more than k = {k} rows")
    among_real, among_generated = nearest(r, r, k, same=True)[0], nearest(g, g, k, same=True)[0]
    real_radius, generated_radius = among_real[:, -1], among_generated[:, -1]

    in_real = torch.zeros(len(g))  # how many real balls each generated sample lies in
    covered, recalled = torch.zeros(len(r), dtype=torch.bool), torch.zeros(len(r), dtype=torch.bool)
    to_generated, to_real = torch.empty(len(r)), torch.full((len(g),), torch.inf)
    for rows, block in distances(r, g):
        inside = block <= real_radius[rows, None]
        in_real += inside.sum(0)
        covered[rows] = inside.any(1)
        recalled[rows] = (block <= generated_radius[None]).any(1)
        to_generated[rows] = block.amin(1)
        to_real = torch.minimum(to_real, block.amin(0))
    return SampleQuality(
        precision=float((in_real > 0).float().mean()),
        recall=float(recalled.float().mean()),
        density=float(in_real.mean()) / k,
        coverage=float(covered.float().mean()),
        separability=(_own_kind(among_real[:, 0], to_generated) + _own_kind(among_generated[:, 0], to_real)) / 2.0,
        spread=_mean_distance(g) / max(_mean_distance(r), 1e-45),
        real=len(r),
        generated=len(g),
        k=k,
        features=features,
    )


def _own_kind(own: Tensor, other: Tensor) -> float:
    """Return how often the nearest of the own kind (N,) is nearer than that of the other; ties count half."""
    return float((own < other).float().mean() + 0.5 * (own == other).float().mean())


def _mean_distance(rows: Tensor) -> float:
    """Return the mean distance between two different rows (N, F), over at most 1,000 of them."""
    some = rows[:1000]
    total = sum(float(block.sum()) for _, block in distances(some, some))
    return total / max(len(some) * (len(some) - 1), 1)
