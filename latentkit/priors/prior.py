"""What a prior must be, and the formulas that several of them share."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.checks import as_latents
from latentkit.errors import ArgumentError

__all__ = ["Prior", "alpha_beta", "chi_square_tails", "followed_latents", "set_checked", "singles_within"]


@runtime_checkable
class Prior(Protocol):
    """The distribution that a generator's latents are drawn from."""

    @property
    def dim(self) -> int:
        """Size D of one latent."""
        ...

    def sample(self, n: int, *, seed: int, start: int = 0) -> Tensor:
        """Return latents `start` to `start + n - 1` of `seed`: (n, D) float32 on the CPU.

        Latent i of a seed depends on (seed, i, D) alone: not on n, the batch, the device or threads.
        """
        ...

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log density (N,) float64 of latents (N, D), with a gradient if they need one."""
        ...

    def typicality(self, z: Tensor) -> Tensor:
        """Return how typical latents (N, D) are: (N,) float64 in [0, 1].

        It is the two-sided tail probability of the latent's distance from the centre: 0.01 means that
        only one draw in a hundred lies as far inside or outside of the usual shell. Over draws from
        the prior it is uniform on [0, 1]; on a sphere, where all points are alike, it is 1.
        """
        ...

    def match(self, total: Tensor, weights: Tensor) -> Tensor:
        """Map sums of independent draws back onto the prior.

        Args:
            total: (..., D), the sums of w_k z_k over k.
            weights: (K,) or (..., K), the weights w_k; not all zero.

        Returns:
            (..., D): distributed as the prior when the z_k are independent draws from it.
        """
        ...


def followed_latents(z: Tensor, dim: int) -> Tensor:
    """Return checked latents (N, D) as float64 on the CPU; their gradient, if they need one, goes on."""
    checked = as_latents(z, dim)
    return (z if isinstance(z, Tensor) and z.requires_grad else checked).double().cpu()


def set_checked(prior: Any, **values: Any) -> None:
    """Set checked values on a frozen dataclass, as plain numbers whatever number type came."""
    for name, value in values.items():
        object.__setattr__(prior, name, value)


def singles_within(values: NDArray[np.float64], low: float, high: float) -> Tensor:
    """Return values (N, D) from low to high as float32, none of which rounding takes out of these bounds.

    Where float32 has no number between the bounds, the nearest one must do.
    """
    bounds = torch.tensor([low, high], dtype=torch.float32)
    inwards = torch.nextafter(bounds, torch.tensor([torch.inf, -torch.inf]))
    wide = bounds.double()
    out = torch.stack([wide[0] < low, wide[1] > high])
    least, most = torch.where(out, inwards, bounds)
    rounded = torch.from_numpy(values).to(torch.float32)
    return rounded.clamp(least, most) if bool(least <= most) else rounded


def chi_square_tails(squared_radius: NDArray[np.float64], dim: int) -> Tensor:
    """Return the two-sided tail probability (N,) of squared distances (N,), chi-square with `dim` degrees."""
    from scipy.special import gammainc

    below = gammainc(dim / 2.0, squared_radius / 2.0)
    return torch.from_numpy(np.clip(2.0 * np.minimum(below, 1.0 - below), 0.0, 1.0))


def alpha_beta(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of weights (..., K) and the root of the sum of their squares, (..., 1) each."""
    weights = weights.to(torch.float64)
    peak = weights.abs().amax(-1, keepdim=True)
    if not bool((peak > 0).all()):
        raise ArgumentError("weights of a combination must not all be zero")
    # Of weights in the largest one's unit, since squares of very large or small ones overflow or vanish.
    return weights.sum(-1, keepdim=True), peak * (weights / peak).square().sum(-1, keepdim=True).sqrt()
