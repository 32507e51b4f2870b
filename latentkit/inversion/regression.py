"""A linear guess of latents from samples, learned from the draws that an inversion sees anyway."""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Regression", "reduced"]

_SIDE = 16  # pixels to which images are averaged down: what is finer says little about a latent, linearly
_MOST = 1024  # numbers of another sample that are looked at
_RIDGE = 0.1  # of the mean variance of a number of the samples


class Regression:
    """Ridge regression of latents on samples, fitted batch by batch.

    Its guesses lie nearer to the prior's mean than draws do, where a generator's loss is smooth, and still on the
    wanted sample's side: descents from there go farther than from the draw whose sample is nearest.

    References:
        Hoerl, Kennard (1970), "Ridge regression: biased estimation for nonorthogonal problems".
    """

    def __init__(self) -> None:
        self._count = 0
        self._sums: list[Tensor] | None = None

    def see(self, samples: Tensor, latents: Tensor) -> None:
        """Add samples (N, *S) and their latents (N, D) to what is known."""
        x, z = reduced(samples), latents.double()
        sums = x.sum(0), z.sum(0), x.T @ x, x.T @ z
        self._count += len(x)
        self._sums = list(sums) if self._sums is None else [a + b for a, b in zip(self._sums, sums, strict=True)]

    def guess(self, samples: Tensor) -> Tensor:
        """Return latents (N, D) float32 for samples (N, *S); where nothing is to be learned, the mean latent."""
        if self._sums is None:
            raise RuntimeError("a regression guesses after it has seen samples")
        x_sum, z_sum, xx, xz = self._sums
        x_mean, z_mean = x_sum / self._count, z_sum / self._count
        covariance = xx / self._count - torch.outer(x_mean, x_mean)
        ridge = _RIDGE * covariance.diagonal().mean().clamp(min=1e-30)
        slopes = torch.linalg.solve(
            covariance + ridge * torch.eye(len(covariance), dtype=torch.float64),
            xz / self._count - torch.outer(x_mean, z_mean),
        )
        return (z_mean + (reduced(samples) - x_mean) @ slopes).float()


def reduced(samples: Tensor) -> Tensor:
    """Return samples (N, *S) as rows of at most about a thousand numbers, float64."""
    if samples.ndim == 4 and max(samples.shape[2:]) > _SIDE:
        samples = functional.adaptive_avg_pool2d(samples, _SIDE)
    flat = samples.flatten(1).double()
    return flat[:, :: -(-flat.shape[1] // _MOST)]
