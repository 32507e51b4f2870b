"""Arithmetic on latents that stays on the prior.

A generator has only seen draws from its prior. In 512 dimensions the mean of two of them is 0.71
times as long as any it has seen, and a - b + c is 1.73 times too long; the functions here map every
such combination back, so that for independent draws the result is again a draw.

References:
    Agustsson et al. (2019), arXiv 1711.01970, table 1.
    Bodin et al. (2024), arXiv 2408.08558, theorem 1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_count, as_number, floating, require_finite
from latentkit.errors import ArgumentError, ShapeError
from latentkit.priors import Normal, Prior

__all__ = ["analogy", "combine", "mean", "vicinity"]


def combine(
    latents: Sequence[Tensor] | Tensor, weights: Sequence[float] | Tensor, prior: Prior | None = None
) -> Tensor:
    """Return the weighted sum of latents, mapped back onto the prior.

    For latents that are independent draws the result is distributed as the prior. Latents that are
    alike (an edit and its original) are better added with plain `+`.

    Args:
        latents: K terms of one shape, (D,) or (N, D).
        weights: (K,) finite numbers, not all zero.
        prior: the generator's prior; by default the standard normal one of that dimension.

    Returns:
        (D,) or (N, D), in the latents' dtype.

    Raises:
        ShapeError: if the terms differ in shape, or do not have the prior's dimension.
        ArgumentError: if there is not one weight a term, or all are zero.

    Examples:
        >>> import latentkit as lk
        >>> a, b, c = lk.Normal(512).sample(3, seed=0)
        >>> (a - b + c).norm().round().item(), lk.combine([a, b, c], [1, -1, 1]).norm().round().item()
        (38.0, 22.0)
    """
    terms = [floating(term, f"latent {k}") for k, term in enumerate(latents)]
    if not terms:
        raise ArgumentError("combine needs at least one latent, got none")
    if terms[0].ndim not in (1, 2) or any(term.shape != terms[0].shape for term in terms):
        shapes = ", ".join(str(tuple(term.shape)) for term in terms[:4])
        raise ShapeError(f"latents to combine must all be (D,) or all (N, D), got {shapes}")
    factors = floating(weights, "weights").double().cpu()
    if factors.shape != (len(terms),):
        raise ArgumentError(f"combine needs one weight a latent, ({len(terms)},), got {tuple(factors.shape)}")
    require_finite(factors[:, None], "weights")
    prior = Normal(terms[0].shape[-1]) if prior is None else prior
    if prior.dim != terms[0].shape[-1]:
        raise ShapeError(f"latents must have the prior's {prior.dim} coordinates, got {terms[0].shape[-1]}")
    dtype = terms[0].dtype
    for k, term in enumerate(terms):
        require_finite(term.reshape(-1, prior.dim), f"latent {k}")
        dtype = torch.promote_types(dtype, term.dtype)
    total = torch.einsum("k,k...->...", factors.to(terms[0].device), torch.stack(terms).double())
    return prior.match(total, factors.to(total.device)).to(dtype)


def analogy(a: Tensor, b: Tensor, c: Tensor, prior: Prior | None = None) -> Tensor:
    """Return a - b + c on the prior: what is to c as a is to b. Each is (D,) or (N, D).

    Raises:
        ShapeError: if the latents differ in shape, or do not have the prior's dimension.
    """
    return combine([a, b, c], [1.0, -1.0, 1.0], prior)


def mean(latents: Tensor, prior: Prior | None = None) -> Tensor:
    """Return the mean (D,) of latents (N, D), mapped back onto the prior.

    Raises:
        ShapeError: if the latents are not (N, D) with the prior's D.
    """
    rows = floating(latents, "latents")
    if rows.ndim != 2 or rows.shape[0] == 0:
        raise ShapeError(f"latents must be (N, D), got {tuple(rows.shape)}")
    return combine(list(rows), [1.0 / len(rows)] * len(rows), prior)


def vicinity(latent: Tensor, n: int, *, scale: float, seed: int, prior: Prior | None = None) -> Tensor:
    """Return latents (n, D) around one latent (D,), all on the prior.

    Each is latent + scale * x with x drawn from the prior, mapped back: for a Gaussian divided by
    sqrt(1 + scale^2).

    Args:
        latent: (D,), the centre.
        n: how many.
        scale: 0 gives the latent itself, large values forget it.
        seed: 0 to 2**64 - 1.
        prior: the generator's prior; by default the standard normal one of that dimension.

    Raises:
        ShapeError: if the latent is not (D,) with the prior's D.
        ArgumentError: if the scale is negative.
    """
    centre = floating(latent, "latent")
    if centre.ndim != 1:
        raise ShapeError(f"latent must be (D,), got {tuple(centre.shape)}")
    n, scale = as_count(n, "n"), as_number(scale, "scale", least=0.0)
    prior = Normal(centre.shape[0]) if prior is None else prior
    # Other draws than those of the seed itself, of which the latent may be one.
    noise = prior.sample(n, seed=streams.derived_seed(seed, streams.VICINITY)).to(centre.device)
    return combine([centre.expand(n, -1), noise], [1.0, scale], prior).to(centre.dtype)
