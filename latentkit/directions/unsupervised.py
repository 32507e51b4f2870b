"""Directions without labels: principal components, a layer's closed-form factors, and any vectors of one's own."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from latentkit.checks import as_count, as_latents
from latentkit.directions.direction import Direction, typical_range
from latentkit.errors import ArgumentError, ShapeError
from latentkit.priors import Empirical, Normal, Prior

__all__ = ["factorised", "from_vectors", "pca_directions", "signed"]

#: Sizes up to which all components are found at once; above, only the leading ones are.
_DENSE = 1000

#: Singular values below this part of the largest one are rounding.
_ROUNDING = 1e-7


def signed(vectors: Tensor) -> Tensor:
    """Return vectors (K, D), each with the sign that makes its largest coordinate positive.

    Unsupervised directions have no sign of their own. Of coordinates that are equally large, to a millionth, the
    first decides, so that rounding doesn't.
    """
    sizes = vectors.abs()
    first = (sizes >= (1.0 - 1e-6) * sizes.amax(1, keepdim=True)).int().argmax(1, keepdim=True)
    return torch.where(vectors.gather(1, first) < 0, -vectors, vectors)


def from_vectors(
    vectors: Tensor,
    names: Sequence[str],
    method: str,
    prior: Prior,
    *,
    shares: Sequence[float] | None = None,
) -> tuple[Direction, ...]:
    """Return directions along vectors (K, D) of any length, with their safe ranges under the prior.

    Args:
        vectors: (K, D), none of them zero; signs are kept.
        names: K names.
        method: how they were found.
        prior: the generator's prior. Its first 512 draws of seed 0 are moved to find the safe ranges.
        shares: (K,) of the variance that each holds, or None.

    Raises:
        ShapeError: if shapes, names and shares do not belong together.
        NonFiniteError: if a vector holds NaN or infinity.
        ArgumentError: if a vector is zero.
    """
    vectors = as_latents(vectors, prior.dim, "vectors")
    k = len(vectors)
    if isinstance(names, str) or len(names) != k:
        raise ShapeError(f"{k} vectors need as many names, got {names!r}")
    held = [math.nan] * k if shares is None else [float(share) for share in shares]
    if len(held) != k:
        raise ShapeError(f"{k} vectors need as many shares, got {len(held)}")
    lengths = vectors.double().cpu().norm(dim=1)
    if not bool((lengths > 0).all()):
        raise ArgumentError(f"vector {int((lengths == 0).nonzero()[0, 0])} is zero and points nowhere; leave it out")
    units = vectors.double().cpu() / lengths[:, None]
    drawn = prior.sample(512, seed=0)
    return tuple(
        Direction(unit.to(vectors.device, vectors.dtype), name, method, typical_range(drawn, unit, prior), share=share)
        for unit, name, share in zip(units, names, held, strict=True)
    )


def pca_directions(
    rows: Tensor, k: int, *, latents: Tensor | None = None, prior: Prior | None = None, name: str = "component"
) -> tuple[Direction, ...]:
    """Return the k principal components of latents, or the latent directions that go with those of activations.

    Components of latents are orthogonal in the plain (Euclidean) metric of the latent space. Those of draws from an
    isotropic prior are arbitrary: give latents that were learned (w spaces, encoders, latent codes), or activations.

    With `latents`, rows are what a layer made of them, and direction j is the least-squares regression of the
    latents on coordinate j of the rows' principal components. Such directions need not be orthogonal.

    Args:
        rows: (N, D) latents, or (N, F) activations if latents are given; N at least 2.
        k: how many.
        latents: (N, D) that the activations belong to, or None.
        prior: the latents' prior, for the safe ranges; by default the standard normal one with `latents`, and a
            Gaussian fitted to the rows without.
        name: they are called `name 1` to `name k`.

    Returns:
        In falling order of the variance of the rows that they hold, of which `share` is the part. Signs are those of
        `signed`.

    Raises:
        ShapeError: if the shapes do not belong together, or there are fewer than 2 rows.
        ArgumentError: if the rows have fewer than k components, or the latents do not follow one.

    References:
        Härkönen, Hertzmann, Lehtinen, Paris (2020), "GANSpace: discovering interpretable GAN controls", section 3.1,
        equation 2: the regression of latents on principal coordinates.
    """
    rows = as_latents(rows, name="rows", least=2)
    k = as_count(k, "k")
    x = rows.double().cpu()
    x = x - x.mean(0)
    components, singular = _principal(x, k)
    shares = (singular.square() / x.square().sum()).tolist()
    names = [f"{name} {j + 1}" for j in range(k)]
    if latents is None:
        return from_vectors(
            signed(components).to(rows.device, rows.dtype),
            names,
            "principal components",
            Empirical.fit(rows) if prior is None else prior,
            shares=shares,
        )
    z = as_latents(latents)
    if len(z) != len(rows):
        raise ShapeError(f"activations and latents must be equally many, got {len(rows)} and {len(z)}")
    coordinates = x @ components.T
    centred = z.double().cpu() - z.double().cpu().mean(0)
    # The coordinates are uncorrelated, so each regression stands by itself.
    slopes = (coordinates / singular.square()).T @ centred
    unrelated = ~(slopes.norm(dim=1) * singular > _ROUNDING * centred.norm())
    if bool(unrelated.any()):
        raise ArgumentError(
            f"component {int(unrelated.nonzero()[0, 0]) + 1} of the activations does not go with the "
            "latents; give the latents that the activations were computed from, in the same order"
        )
    return from_vectors(
        signed(slopes / slopes.norm(dim=1, keepdim=True)).to(z.device, z.dtype),
        names,
        "principal components of activations",
        Normal(z.shape[1]) if prior is None else prior,
        shares=shares,
    )


def _principal(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k leading right singular vectors (k, F) of centred rows (N, F) and their singular values (k,)."""
    n, f = x.shape
    most = min(n - 1, f)
    if k > most:
        raise ArgumentError(f"{n} rows of {f} numbers have at most {most} components, got k = {k}")
    if min(n, f) <= _DENSE or k >= min(n, f) // 4:
        _, singular, components = torch.linalg.svd(x, full_matrices=False)
        singular, components = singular[:k], components[:k]
    else:
        from scipy.sparse.linalg import svds

        # A fixed start, neither random nor orthogonal to anything in particular.
        start = np.cos(np.arange(1, min(n, f) + 1, dtype=np.float64))
        values, vectors = (np.asarray(part) for part in svds(x.numpy(), k=k, v0=start)[1:])
        order = np.argsort(-values)
        singular, components = torch.from_numpy(values[order]), torch.from_numpy(vectors[order])
    largest = float(singular[0])
    rank = int((singular > _ROUNDING * largest).sum()) if largest > 0 else 0
    if rank < k:
        raise ArgumentError(f"the rows vary along {rank} components, got k = {k}")
    return components, singular


def factorised(
    weights: Tensor | Sequence[Tensor], k: int, *, prior: Prior | None = None, name: str = "factor"
) -> tuple[Direction, ...]:
    """Return the k latent directions that a linear layer amplifies most: closed-form factorisation.

    They are the eigenvectors of A^T A with the largest eigenvalues, orthogonal in the plain metric of the latent
    space. They say what the layer lets through, not how much the prior varies: under a prior of unequal spreads,
    scale A's columns by them first.

    Args:
        weights: A (F, D), the matrix that the latents enter; or several (F_i, D), which count as one on top of the
            other.
        k: how many.
        prior: the generator's prior, for the safe ranges; by default the standard normal one.
        name: they are called `name 1` to `name k`.

    Returns:
        In falling order of the eigenvalues; `share` is the part of their sum. Signs are those of `signed`.

    Raises:
        ShapeError: if the weights are not (F, D) of one D.
        ArgumentError: if the layer lets through fewer than k directions.

    References:
        Shen, Zhou (2021), "Closed-form factorization of latent semantics in GANs", equations 4 to 7.
    """
    several = isinstance(weights, Sequence) and all(isinstance(one, Tensor) for one in weights)
    layers = list(weights) if several else [weights]
    if not layers:
        raise ShapeError("a factorisation needs at least one weight (F, D), got none")
    first = as_latents(layers[0], name="weights")
    stacked = torch.cat([as_latents(layer, first.shape[1], "weights").double().cpu() for layer in layers])
    k = as_count(k, "k")
    values, vectors = torch.linalg.eigh(stacked.T @ stacked)
    values, vectors = values.flip(0).clamp(min=0.0), vectors.flip(1)
    rank = int((values > _ROUNDING**2 * values[0]).sum()) if float(values[0]) > 0 else 0
    if k > rank:
        raise ArgumentError(f"the weights let through {rank} directions of {first.shape[1]}, got k = {k}")
    return from_vectors(
        signed(vectors[:, :k].T).to(first.device, first.dtype),
        [f"{name} {j + 1}" for j in range(k)],
        "closed-form factorisation",
        Normal(first.shape[1]) if prior is None else prior,
        shares=(values[:k] / values.sum()).tolist(),
    )
