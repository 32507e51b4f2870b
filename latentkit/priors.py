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

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_count, as_latents, as_number, as_seed, floating, require_finite
from latentkit.errors import ArgumentError, CurveError, ShapeError

__all__ = ["Empirical", "Normal", "Prior", "Sphere", "Uniform", "prior_from_dict", "prior_to_dict"]


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
        """Return the log density (N,) float64 of latents (N, D)."""
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


def _set(prior: Any, **values: Any) -> None:
    """Set checked values on a frozen dataclass, as plain numbers whatever number type came."""
    for name, value in values.items():
        object.__setattr__(prior, name, value)


def _two_sided(cdf: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.clip(2.0 * np.minimum(cdf, 1.0 - cdf), 0.0, 1.0))


def _chi_square_tails(squared_radius: NDArray[np.float64], dim: int) -> Tensor:
    from scipy.special import gammainc

    return _two_sided(gammainc(dim / 2.0, squared_radius / 2.0))


def _alpha_beta(weights: Tensor) -> tuple[Tensor, Tensor]:
    weights = weights.to(torch.float64)
    beta = weights.square().sum(-1)
    if not bool((beta > 0).all()):
        raise ArgumentError("weights of a combination must not all be zero")
    return weights.sum(-1)[..., None], beta.sqrt()[..., None]


@dataclass(frozen=True)
class Normal:
    """The Gaussian with independent coordinates of one mean and one standard deviation.

    Args:
        dim: size D of a latent, at least 1.
        mean: mean of every coordinate.
        std: standard deviation of every coordinate, above 0.

    Raises:
        ArgumentError: if an argument is out of range.

    Examples:
        >>> prior = Normal(3)
        >>> prior.sample(5, seed=1)[3:].equal(prior.sample(2, seed=1, start=3))
        True
    """

    dim: int
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        _set(
            self,
            dim=as_count(self.dim, "dim"),
            mean=as_number(self.mean, "mean"),
            std=as_number(self.std, "std", least=0.0, open_least=True),
        )

    def sample(self, n: int, *, seed: int, start: int = 0) -> Tensor:
        """Return latents `start` to `start + n - 1` of `seed`: (n, D) float32."""
        z = self.mean + self.std * streams.normal(n, self.dim, seed=seed, start=start)
        return torch.from_numpy(z).to(torch.float32)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log density (N,) float64 of latents (N, D)."""
        u = (as_latents(z, self.dim).double().cpu() - self.mean) / self.std
        return -0.5 * u.square().sum(1) - self.dim * (math.log(self.std) + 0.5 * math.log(2 * math.pi))

    def typicality(self, z: Tensor) -> Tensor:
        """Return the two-sided tail probability (N,) of the norm, chi distributed with D degrees."""
        u = (as_latents(z, self.dim).double().cpu() - self.mean) / self.std
        return _chi_square_tails(u.square().sum(1).numpy(), self.dim)

    def match(self, total: Tensor, weights: Tensor) -> Tensor:
        """Map sums (..., D) back onto the prior: Bodin et al. (2024), theorem 1."""
        alpha, root_beta = _alpha_beta(weights)
        return ((1.0 - alpha / root_beta) * self.mean + total.double() / root_beta).to(total.dtype)


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
        _set(
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
        return torch.from_numpy(self.low + (self.high - self.low) * u).to(torch.float32)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log density (N,) float64 of latents (N, D); -inf outside of the support."""
        z = as_latents(z, self.dim).double().cpu()
        inside = ((z >= self.low) & (z <= self.high)).all(1)
        density = torch.full((len(z),), -self.dim * math.log(self.high - self.low), dtype=torch.float64)
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
        tails = _chi_square_tails(np.square(ndtri(u.numpy())).sum(1), self.dim)
        return tails.masked_fill(~inside, 0.0)

    def match(self, total: Tensor, weights: Tensor) -> Tensor:
        """Map sums (..., D) back onto the prior, coordinate by coordinate.

        A coordinate goes through the CDF of the weighted sum and back through the prior's own
        (Agustsson et al. 2019, section 2.3). Two terms have a trapezoid density and more than two a
        Fourier series, both exact.
        """
        weights = weights.to(torch.float64)
        alpha, _ = _alpha_beta(weights)
        centred = (total.double() - alpha * self._middle) / self._half
        if weights.shape[-1] <= 2:
            cdf = _trapezoid_cdf(centred, weights)
        else:
            if weights.ndim > 1 and bool((weights != weights.reshape(-1, weights.shape[-1])[0]).any()):
                raise ArgumentError("more than two uniform latents are combined with one set of weights")
            cdf = _uniform_sum_cdf(centred, weights.reshape(-1, weights.shape[-1])[0])
        return (self._middle + self._half * (2.0 * cdf - 1.0)).to(total.dtype)


def _trapezoid_cdf(x: Tensor, weights: Tensor) -> Tensor:
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


def _uniform_sum_cdf(x: Tensor, weights: Tensor, terms: int = 4096) -> Tensor:
    """CDF at x (..., D) of sum_k w_k U_k with U_k uniform on [-1, 1] and weights (K,).

    The density lives on [-L, L], L = sum |w_k|, so its Fourier series there has the characteristic
    function as coefficients and converges like 1 / n**(K + 1). It is summed on a grid and read off
    linearly; the error is below 2e-5 for any weights, and below 1e-6 for equal ones.
    """
    weights = weights[weights != 0]
    if len(weights) <= 2:
        return _trapezoid_cdf(x, weights)
    # The sum of many terms keeps to a small part of [-L, L]: beyond 9 times the root of sum w_k^2
    # less than 1e-17 is left (Hoeffding's inequality).
    limit = min(float(weights.abs().sum()), 9.0 * float(weights.square().sum().sqrt()))
    n = np.arange(1, terms + 1)
    sizes, counts = np.unique(weights.abs().cpu().numpy(), return_counts=True)
    phi = np.ones(terms)
    for size, count in zip(sizes, counts, strict=True):
        phi *= np.sinc(n * size / limit) ** count
    grid = np.linspace(-1.0, 1.0, 2 * terms + 1)
    # sum_n phi_n sin(pi n y) / (pi n) on a regular grid is an inverse FFT.
    spectrum = np.zeros(2 * terms + 1 if terms % 2 else 2 * terms, dtype=complex)
    spectrum[1:terms] = phi[: terms - 1] / (np.pi * n[: terms - 1])
    series = np.fft.ifft(spectrum).imag * len(spectrum)
    series = np.concatenate([series[terms:], series[:terms], series[terms : terms + 1]])
    cdf = 0.5 + grid / 2.0 + series
    cdf[0], cdf[-1] = 0.0, 1.0
    value = np.interp(x.cpu().numpy() / limit, grid, np.maximum.accumulate(np.clip(cdf, 0.0, 1.0)))
    return torch.from_numpy(value).to(x.device)


@dataclass(frozen=True)
class Sphere:
    """The uniform distribution on the sphere of a given radius around the origin.

    Args:
        dim: size D of a latent, at least 2.
        radius: norm of every latent, above 0.

    Raises:
        ArgumentError: if an argument is out of range.
    """

    dim: int
    radius: float = 1.0

    #: Relative distance from the sphere up to which a latent counts as lying on it (float32 sums).
    tolerance = 1e-4

    def __post_init__(self) -> None:
        _set(
            self,
            dim=as_count(self.dim, "dim", least=2),
            radius=as_number(self.radius, "radius", least=0.0, open_least=True),
        )

    def sample(self, n: int, *, seed: int, start: int = 0) -> Tensor:
        """Return latents `start` to `start + n - 1` of `seed`: (n, D) float32."""
        z = streams.normal(n, self.dim, seed=seed, start=start)
        return torch.from_numpy(self.radius * z / np.linalg.norm(z, axis=1, keepdims=True)).to(torch.float32)

    def _on(self, z: Tensor) -> Tensor:
        norm = as_latents(z, self.dim).double().cpu().norm(dim=1)
        return (norm / self.radius - 1.0).abs() <= self.tolerance

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log density (N,) per unit of area; -inf off the sphere."""
        d = self.dim
        area = math.log(2.0) + 0.5 * d * math.log(math.pi) - math.lgamma(d / 2) + (d - 1) * math.log(self.radius)
        on = self._on(z)
        return torch.full((len(on),), -area, dtype=torch.float64).masked_fill(~on, -math.inf)

    def typicality(self, z: Tensor) -> Tensor:
        """Return 1 on the sphere, where all points are alike, and 0 off it: (N,) float64."""
        return self._on(z).to(torch.float64)

    def match(self, total: Tensor, weights: Tensor) -> Tensor:
        """Rescale sums (..., D) to the sphere.

        Raises:
            CurveError: if a sum is zero, so that it has no direction.
        """
        _alpha_beta(weights)
        norm = total.double().norm(dim=-1, keepdim=True)
        scale = weights.double().abs().sum(-1)[..., None] * self.radius
        if not bool((norm > 1e-6 * scale).all()):
            raise CurveError("latents on a sphere cancel out, so their sum has no direction; use other latents")
        return (self.radius * total.double() / norm).to(total.dtype)


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
        _set(self, weights=weights, means=means, scales=torch.tril(scales))
        mean = weights @ means
        spread = means - mean
        covariance = torch.einsum("k,kij,klj->il", weights, self.scales, self.scales)
        covariance = covariance + torch.einsum("k,ki,kj->ij", weights, spread, spread)
        _set(self, _mixed=(mean, covariance))

    @classmethod
    def fit(cls, codes: Tensor, components: int = 1, *, seed: int = 0) -> "Empirical":
        """Fit a mixture of `components` Gaussians with full covariances to codes (N, D).

        Raises:
            ShapeError: if there are fewer codes than a covariance needs, 2 a component.
        """
        components = as_count(components, "components")
        codes = as_latents(codes, name="codes", least=2 * components).double().cpu()
        from sklearn.mixture import GaussianMixture

        distinct = len(codes.unique(dim=0))
        if distinct < components:
            raise ShapeError(f"{components} components need as many different codes, got {distinct}")
        # Fitted in their own unit: codes come in every one, and the floor on the variances is absolute.
        middle = codes.mean(0)
        unit = float((codes - middle).abs().max()) or 1.0
        scaled = (codes - middle) / unit
        floor = 1e-6 * max(float(scaled.var(0).mean()), 1e-12)
        mixture = GaussianMixture(components, random_state=as_seed(seed) % 2**32, reg_covar=floor).fit(scaled.numpy())
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
        g = torch.from_numpy(streams.normal(n, self.dim, seed=seed, start=start))
        u = torch.from_numpy(streams.uniform(n, 1, seed=seed, start=start, stream=streams.COMPONENTS)[:, 0])
        component = torch.searchsorted(self.weights.cumsum(0)[:-1].contiguous(), u, right=True)
        z = torch.empty_like(g)
        for k in range(len(self.weights)):
            rows = component == k
            z[rows] = self.means[k] + g[rows] @ self.scales[k].T
        return z.to(torch.float32)

    def _components(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log joint density and the squared Mahalanobis distance, (N, K) each."""
        z = as_latents(z, self.dim).double().cpu()
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
        """Return the log density (N,) float64 of latents (N, D)."""
        return self._components(z)[0].logsumexp(1)

    def typicality(self, z: Tensor) -> Tensor:
        """Return the tail probability (N,) of the distance to the component that explains z best.

        Exact for one component, and for components that do not overlap.
        """
        joint, squared = self._components(z)
        nearest = squared.gather(1, joint.argmax(1, keepdim=True))[:, 0]
        return _chi_square_tails(nearest.numpy(), self.dim)

    def match(self, total: Tensor, weights: Tensor) -> Tensor:
        """Map sums (..., D) back: exact for one component, else the mean and covariance are kept."""
        alpha, root_beta = _alpha_beta(weights)
        mean = self._mixed[0].to(total.device)
        return ((1.0 - alpha / root_beta) * mean + total.double() / root_beta).to(total.dtype)


def normal_scores(prior: Prior, z: Tensor) -> Tensor:
    """Return latents (..., D) as standard Gaussian coordinates of their prior, float64.

    Used to ask whether two latents are too close to be independent draws. On a sphere the scaled
    latents stand for them; a mixture is whitened by its overall mean and covariance.
    """
    z = z.double()
    if isinstance(prior, Normal):
        return (z - prior.mean) / prior.std
    if isinstance(prior, Uniform):
        u = ((z - prior.low) / (prior.high - prior.low)).clamp(2.0**-25, 1.0 - 2.0**-25)
        return torch.special.ndtri(u)
    if isinstance(prior, Sphere):
        return z * (math.sqrt(prior.dim) / prior.radius)
    if isinstance(prior, Empirical):
        mean, covariance = prior._mixed
        factor = torch.linalg.cholesky(covariance).to(z.device)
        flat = (z - mean.to(z.device)).reshape(-1, prior.dim).T
        return torch.linalg.solve_triangular(factor, flat, upper=False).T.reshape(z.shape)
    return z


_FAMILIES: dict[str, Callable[..., Prior]] = {"normal": Normal, "uniform": Uniform, "sphere": Sphere}


def prior_to_dict(prior: Prior) -> dict[str, Any]:
    """Return a prior as plain JSON values.

    Raises:
        ArgumentError: for a prior that is not one of latentkit's.
    """
    if isinstance(prior, Normal):
        return {"family": "normal", "dim": prior.dim, "mean": prior.mean, "std": prior.std}
    if isinstance(prior, Uniform):
        return {"family": "uniform", "dim": prior.dim, "low": prior.low, "high": prior.high}
    if isinstance(prior, Sphere):
        return {"family": "sphere", "dim": prior.dim, "radius": prior.radius}
    if isinstance(prior, Empirical):
        return {
            "family": "empirical",
            "weights": prior.weights.tolist(),
            "means": prior.means.tolist(),
            "scales": prior.scales.tolist(),
        }
    raise ArgumentError(f"cannot store a prior of type {type(prior).__name__}; use one of latentkit's")


def prior_from_dict(values: dict[str, Any]) -> Prior:
    """Return the prior that `prior_to_dict` described.

    Raises:
        ArgumentError: if the family or an argument is not known.
    """
    arguments = dict(values)
    family = arguments.pop("family", None)
    try:
        if family == "empirical":
            tensors = {key: torch.tensor(value, dtype=torch.float64) for key, value in arguments.items()}
            return Empirical(**tensors)
        return _FAMILIES[family](**arguments)
    except (KeyError, TypeError, ValueError) as error:
        raise ArgumentError(f"this is no prior that latentkit knows: {family!r} ({error})") from None
