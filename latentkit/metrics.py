"""How good and how varied samples are, measured against real ones."""

from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.checks import as_count, floating, require_finite
from latentkit.errors import ShapeError
from latentkit.neighbours import distances, nearest

__all__ = ["SampleQuality", "sample_quality"]


@dataclass(frozen=True)
class SampleQuality:
    """Sample quality by nearest neighbours in a stated feature space.

    Attributes: `precision`, the share of generated samples that lie within some real sample's ball (to
    its k-th real neighbour), and `recall`, the share of real ones within a generated one's; `density`,
    how many real balls a generated sample lies in over k (about 1 for real data; may exceed 1);
    `coverage`, the share of real balls that hold a generated sample; `spread`, the mean distance between
    two generated samples over that between two real ones (near 0: they are all alike); `real`, how many
    real samples; `generated`, how many generated ones; `k`; `features`, what was compared.
    """

    precision: float
    recall: float
    density: float
    coverage: float
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
    """
    k = as_count(k, "k")
    sides = []
    for name, values in (("real", real), ("generated", generated)):
        rows = floating(values, f"{name} samples")
        if rows.ndim < 2 or len(rows) <= k:
            raise ShapeError(f"{name} samples must be (N, ...) with more than k = {k} rows, got {tuple(rows.shape)}")
        sides.append(require_finite(rows, f"{name} samples").flatten(1).cpu())
    r, g = sides
    if r.shape[1] != g.shape[1]:
        raise ShapeError(f"real and generated samples must have one shape, got {r.shape[1]} and {g.shape[1]} values")
    real_radius = nearest(r, r, k, same=True)[0][:, -1]
    generated_radius = nearest(g, g, k, same=True)[0][:, -1]

    in_real = torch.zeros(len(g))  # how many real balls each generated sample lies in
    covered, recalled = torch.zeros(len(r), dtype=torch.bool), torch.zeros(len(r), dtype=torch.bool)
    for rows, block in distances(r, g):
        inside = block <= real_radius[rows, None]
        in_real += inside.sum(0)
        covered[rows] = inside.any(1)
        recalled[rows] = (block <= generated_radius[None]).any(1)
    return SampleQuality(
        precision=float((in_real > 0).float().mean()),
        recall=float(recalled.float().mean()),
        density=float(in_real.mean()) / k,
        coverage=float(covered.float().mean()),
        spread=_mean_distance(g) / max(_mean_distance(r), 1e-45),
        real=len(r),
        generated=len(g),
        k=k,
        features=features,
    )


def _mean_distance(rows: Tensor) -> float:
    """Return the mean distance between two different rows (N, F), over at most 1,000 of them."""
    some = rows[:1000]
    total = sum(float(block.sum()) for _, block in distances(some, some))
    return total / max(len(some) * (len(some) - 1), 1)
