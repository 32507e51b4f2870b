"""A prior for latents that were learned, not drawn."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_count, as_latents, floating, require_finite
from latentkit.errors import ArgumentError, ShapeError
from latentkit.priors.prior import alpha_beta, chi_square_tails, followed_latents, set_checked

__all__ = ["Empirical"]

_BLOCK = 256


@dataclass(frozen=True, eq=False)
class Empirical:
    """A Gaussian mixture for latents that were learned, not drawn: W spaces, GLO codes, encoders.

    `Empirical.fit` makes one from codes.

    Args:
        weights: (K,) shares of the components, adding up to 1.
        means: (K, D) their means.
        scales: (K, D, D) lower-triangular factors L of their covariances L L^T.

    Raises:
        ShapeError: if the shapes do not belong together.
        ArgumentError: if the weights are no shares or a scale is singular.
    """

    weights: Tensor
    means: Tensor
    scales: Tensor
    _mixed: tuple[Tensor, Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        weights, means, scales = (
            require_finite(floating(v, name).double().cpu(), name)
            for v, name in ((self.weights, "weights"), (self.means, "means"), (self.scales, "scales"))
        )
        k = weights.shape[0] if weights.ndim == 1 else -1
        d = means.shape[1] if means.ndim == 2 else -1
        if k < 1 or d < 1 or means.shape[0] != k or tuple(scales.shape) != (k, d, d):
            raise ShapeError(
                "an empirical prior takes weights (K,), means (K, D), scales (K, D, D), got "
                f"{tuple(weights.shape)}, {tuple(means.shape)}, {tuple(scales.shape)}"
            )
        if bool((weights < 0).any()) or abs(float(weights.sum()) - 1.0) > 1e-6:
            raise ArgumentError(f"weights must be shares that add up to 1, got a sum of {float(weights.sum()):g}")
        if not bool((torch.diagonal(scales, dim1=1, dim2=2) > 0).all()):
            raise ArgumentError("scales must be lower-triangular with a positive diagonal")
        set_checked(self, weights=weights, means=means, scales=torch.tril(scales))
        mean = weights @ means
        spread = means - mean
        covariance = torch.einsum("k,kij,klj->il", weights, self.scales, self.scales)
        covariance = covariance + torch.einsum("k,ki,kj->ij", weights, spread, spread)
        set_checked(self, _mixed=(mean, covariance))

    @classmethod
    def fit(cls, codes: Tensor, components: int = 1, *, seed: int = 0) -> "Empirical":
        """Fit a mixture of `components` Gaussians with full covariances to codes (N, D).

        Raises:
            ShapeError: if there are fewer codes than a covariance needs, 2 a component.
        """
        components = as_count(components, "components")
        codes = as_latents(codes, name="codes", least=2 * components).double().cpu()
        with streams.python_state_kept():
            from sklearn.mixture import GaussianMixture

        distinct = len(codes.unique(dim=0))
        if distinct < components:
            raise ShapeError(f"{components} components need as many different codes, got {distinct}")
        # Fitted in their own unit: codes come in every one, and the floor on the variances is absolute.
        middle = codes.mean(0)
        unit = float((codes - middle).abs().max()) or 1.0
        scaled = (codes - middle) / unit
        floor = 1e-6 * max(float(scaled.var(0).mean()), 1e-12)
        mixture = GaussianMixture(components, random_state=streams.small_seed(seed), reg_covar=floor).fit(
            scaled.numpy()
        )
        covariances = torch.as_tensor(np.asarray(mixture.covariances_), dtype=torch.float64)
        return cls(
            torch.as_tensor(mixture.weights_),
            middle + unit * torch.as_tensor(mixture.means_),
            unit * torch.linalg.cholesky(covariances),
        )

    @property
    def dim(self) -> int:
        """Size D of one latent."""
        return self.means.shape[1]

    def sample(self, n: int, *, seed: int, start: int = 0) -> Tensor:
        """Return latents `start` to `start + n - 1` of `seed`: (n, D) float32."""
        n, start = as_count(n, "n", least=0), as_count(start, "start", least=0)
        parts = []
        # In blocks whose borders do not depend on what was asked: a matrix product rounds by a row's
        # place in it, and latent i must be the same whatever else is drawn.
        for block in range(start - start % _BLOCK, start + n, _BLOCK):
            rows = slice(max(start - block, 0), min(start + n - block, _BLOCK))
            parts.append(self._block(seed, block)[rows])
        return torch.cat(parts) if parts else torch.empty((0, self.dim))

    def _block(self, seed: int, start: int) -> Tensor:
        g = torch.from_numpy(streams.normal(_BLOCK, self.dim, seed=seed, start=start))
        u = torch.from_numpy(streams.uniform(_BLOCK, 1, seed=seed, start=start, stream=streams.COMPONENTS)[:, 0])
        component = torch.searchsorted(self.weights.cumsum(0)[:-1].contiguous(), u, right=True)
        z = torch.empty_like(g)
        for k in component.unique().tolist():
            rows = component == k
            z[rows] = (self.means[k] + g @ self.scales[k].T)[rows]
        return z.to(torch.float32)

    def _components(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log joint density and the squared Mahalanobis distance, (N, K) each."""
        z = followed_latents(z, self.dim)
        squared = torch.stack(
            [
                torch.linalg.solve_triangular(scale, (z - mean).T, upper=False).square().sum(0)
                for mean, scale in zip(self.means, self.scales, strict=True)
            ],
            dim=1,
        )
        log_scale = torch.diagonal(self.scales, dim1=1, dim2=2).log().sum(1) + 0.5 * self.dim * math.log(2 * math.pi)
        return self.weights.log() - log_scale - 0.5 * squared, squared

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log density (N,) float64 of latents (N, D), with a gradient if they need one."""
        return self._components(z)[0].logsumexp(1)

    def typicality(self, z: Tensor) -> Tensor:
        """Return the tail probability (N,) of the distance to the component that explains z best.

        Exact for one component, and for components that do not overlap.
        """
        joint, squared = self._components(as_latents(z, self.dim))
        nearest = squared.gather(1, joint.argmax(1, keepdim=True))[:, 0]
        return chi_square_tails(nearest.numpy(), self.dim)

    def component(self, z: Tensor) -> Tensor:
        """Return the component (N,) int64 that explains each of the latents (N, D) best."""
        return self._components(as_latents(z, self.dim))[0].argmax(1)

    def match(self, total: Tensor, weights: Tensor) -> Tensor:
        """Map sums (..., D) back: exact for one component, else the mean and covariance are kept."""
        alpha, root_beta = alpha_beta(weights)
        mean = self._mixed[0].to(total.device)
        return ((1.0 - alpha / root_beta) * mean + total.double() / root_beta).to(total.dtype)
