"""The uniform prior, and the distribution of weighted sums of its draws."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_count, as_latents, as_number
from latentkit.errors import ArgumentError
from latentkit.priors.prior import alpha_beta, chi_square_tails, followed_latents, set_checked, singles_within

__all__ = ["Uniform", "trapezoid_cdf", "uniform_sum_cdf"]


@dataclass(frozen=True)
class Uniform:
    """The uniform distribution with independent coordinates on [low, high].

    Args:
        dim: size D of a latent, at least 1.
        low: lower bound of every coordinate.
        high: upper bound, above `low`.

    Raises:
        ArgumentError: if an argument is out of range.
    """

    dim: int
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        low = as_number(self.low, "low")
        set_checked(
            self,
            dim=as_count(self.dim, "dim"),
            low=low,
            high=as_number(self.high, "high", least=low, open_least=True),
        )

    @property
    def _middle(self) -> float:
        return 0.5 * (self.low + self.high)

    @property
    def _half(self) -> float:
        return 0.5 * (self.high - self.low)

    def sample(self, n: int, *, seed: int, start: int = 0) -> Tensor:
        """Return latents `start` to `start + n - 1` of `seed`: (n, D) float32."""
        u = streams.uniform(n, self.dim, seed=seed, start=start)
        return singles_within(self.low + (self.high - self.low) * u, self.low, self.high)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log density (N,) float64 of latents (N, D); -inf outside of the support."""
        z = followed_latents(z, self.dim)
        inside = ((z >= self.low) & (z <= self.high)).all(1)
        # The same everywhere, and still with a gradient, of zero, where the latents need one.
        density = 0.0 * z.sum(1) - self.dim * math.log(self.high - self.low)
        return density.masked_fill(~inside, -math.inf)

    def typicality(self, z: Tensor) -> Tensor:
        """Return the typicality (N,) of the latents' normal scores, and 0 outside of the support.

        Each coordinate goes through the prior's CDF and the inverse normal CDF, which turns a draw
        into a standard Gaussian one exactly, and the norm of that is chi distributed.
        """
        from scipy.special import ndtri

        z = as_latents(z, self.dim).double().cpu()
        inside = ((z >= self.low) & (z <= self.high)).all(1)
        # Half a step of the float32 grid: a coordinate on the bound is extreme, not infinite.
        u = ((z - self.low) / (self.high - self.low)).clamp(2.0**-25, 1.0 - 2.0**-25)
        tails = chi_square_tails(np.square(ndtri(u.numpy())).sum(1), self.dim)
        return tails.masked_fill(~inside, 0.0)

    def match(self, total: Tensor, weights: Tensor) -> Tensor:
        """Map sums (..., D) back onto the prior, coordinate by coordinate.

        A coordinate goes through the CDF of the weighted sum and back through the prior's own
        (Agustsson et al. 2019, section 2.3). Two terms have a trapezoid density and more than two a
        Fourier series, both exact.
        """
        weights = weights.to(torch.float64)
        alpha, _ = alpha_beta(weights)
        centred = (total.double() - alpha * self._middle) / self._half
        if weights.shape[-1] <= 2:
            cdf = trapezoid_cdf(centred, weights)
        else:
            if weights.ndim > 1 and bool((weights != weights.reshape(-1, weights.shape[-1])[0]).any()):
                raise ArgumentError("more than two uniform latents are combined with one set of weights")
            cdf = uniform_sum_cdf(centred, weights.reshape(-1, weights.shape[-1])[0])
        return (self._middle + self._half * (2.0 * cdf - 1.0)).to(total.dtype)


def trapezoid_cdf(x: Tensor, weights: Tensor) -> Tensor:
    """CDF at x (..., D) of a U + b V with U, V uniform on [-1, 1] and weights (..., 1 or 2)."""
    a = weights.abs().amax(-1)[..., None]
    b = weights.abs().sum(-1)[..., None] - a
    inner, outer = a - b, a + b
    flat = 0.5 + x / (2.0 * a)
    # The quadratic ends only exist where the smaller weight does; there 8ab > 0.
    below = (x + outer).clamp(min=0.0).square() / (8.0 * a * b).clamp(min=1e-300)
    above = 1.0 - (outer - x).clamp(min=0.0).square() / (8.0 * a * b).clamp(min=1e-300)
    cdf = torch.where(x < -inner, below, torch.where(x > inner, above, flat))
    return torch.where(b > 0, cdf, flat).clamp(0.0, 1.0)


def uniform_sum_cdf(x: Tensor, weights: Tensor, terms: int = 4096) -> Tensor:
    """CDF at x (..., D) of sum_k w_k U_k with U_k uniform on [-1, 1] and weights (K,).

    The density lives on [-L, L], L = sum |w_k|, so its Fourier series there has the characteristic
    function as coefficients and converges like 1 / n**(K + 1). It is summed on a grid and read off
    linearly; the error is below 2e-5 for any weights, and below 1e-6 for equal ones.
    """
    weights = weights[weights != 0]
    if len(weights) <= 2:
        return trapezoid_cdf(x, weights)
    limit, grid, cdf = _series(tuple(sorted(weights.abs().tolist())), terms)
    value = np.interp(x.cpu().numpy() / limit, grid, cdf)
    return torch.from_numpy(value).to(x.device)


@lru_cache(maxsize=8)
def _series(weights: tuple[float, ...], terms: int) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return the half-width of the support, a grid on [-1, 1] of it, and the CDF there, for weights above 0.

    Kept for the weights of the last calls: a sum is often made again, with other latents.
    """
    sizes, counts = np.unique(np.array(weights), return_counts=True)
    # The sum of many terms keeps to a small part of [-L, L]: beyond 9 times the root of sum w_k^2
    # less than 1e-17 is left (Hoeffding's inequality).
    limit = min(float(counts @ sizes), 9.0 * float(counts @ sizes**2) ** 0.5)
    n = np.arange(1, terms + 1)
    phi = np.ones(terms)
    for size, count in zip(sizes, counts, strict=True):
        phi *= np.sinc(n * size / limit) ** count
    grid = np.linspace(-1.0, 1.0, 2 * terms + 1)
    # sum_n phi_n sin(pi n y) / (pi n) on a regular grid is an inverse FFT.
    spectrum = np.zeros(2 * terms, dtype=complex)
    spectrum[1:terms] = phi[: terms - 1] / (np.pi * n[: terms - 1])
    series = np.fft.ifft(spectrum).imag * len(spectrum)
    series = np.concatenate([series[terms:], series[:terms], series[terms : terms + 1]])
    cdf = 0.5 + grid / 2.0 + series
    cdf[0], cdf[-1] = 0.0, 1.0
    return limit, grid, np.maximum.accumulate(np.clip(cdf, 0.0, 1.0))
