"""Weighted sums, means, analogies and vicinities of latents, tensors in and tensors out."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from latentkit import streams
from latentkit.arithmetic.shell import likely
from latentkit.checks import as_count, as_number, floating, require_finite, writable
from latentkit.errors import ArgumentError, OffPriorWarning, ShapeError
from latentkit.priors import Normal, Prior

__all__ = ["analogy", "as_weights", "combine", "matched", "mean", "vicinity"]

#: A call of independent draws warns by chance once in so many. Typicality is uniform over draws, so of N results the
#: least one lies below CHANCE / N that often.
CHANCE = 1e-4


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

    Warns:
        OffPriorWarning: if a result is so far off the prior, though no term of it was, as one call of independent
            draws in 10,000 gives (a typicality below 0.0001 / N): its terms are related, and `pulled_back` brings it
            home.

    Examples:
        >>> import latentkit as lk
        >>> a, b, c = lk.Normal(512).sample(3, seed=0)
        >>> (a - b + c).norm().round().item(), lk.combine([a, b, c], [1, -1, 1]).norm().round().item()
        (38.0, 22.0)
    """
    if not isinstance(latents, Sequence) and getattr(latents, "ndim", 0) == 0:
        raise ShapeError(f"latents must be K terms of one shape, (D,) or (N, D), got {latents!r}")
    terms = [floating(term, f"latent {k}") for k, term in enumerate(latents)]
    return _warned(terms, weights, prior)


def analogy(a: Tensor, b: Tensor, c: Tensor, prior: Prior | None = None) -> Tensor:
    """Return a - b + c on the prior: what is to c as a is to b. Each is (D,) or (N, D).

    Raises:
        ShapeError: if the latents differ in shape, or do not have the prior's dimension.

    Warns:
        OffPriorWarning: if a result is off the prior, as `combine` does.
    """
    terms = [floating(term, f"latent {k}") for k, term in enumerate((a, b, c))]
    return _warned(terms, [1.0, -1.0, 1.0], prior)


def mean(latents: Tensor, prior: Prior | None = None) -> Tensor:
    """Return the mean (D,) of latents (N, D), mapped back onto the prior.

    Raises:
        ShapeError: if the latents are not (N, D) with the prior's D.

    Warns:
        OffPriorWarning: if the result is off the prior, as `combine` does: the latents share what does not average
            out.
    """
    rows = floating(latents, "latents")
    if rows.ndim != 2 or rows.shape[0] == 0:
        raise ShapeError(f"latents must be (N, D), got {tuple(rows.shape)}")
    return _warned(list(rows), [1.0 / len(rows)] * len(rows), prior)


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
    return matched([centre.expand(n, -1), noise], [1.0, scale], prior)[0].to(centre.dtype)


def matched(
    terms: Sequence[Tensor], weights: Sequence[float] | Tensor, prior: Prior | None
) -> tuple[Tensor, Tensor, Prior]:
    """Return the weighted sum of terms on the prior, the plain one, and the prior: `combine` without its warning.

    Args:
        terms: K latents, checked to be floats, (D,) or (N, D).
        weights: (K,).
        prior: the prior, by default the standard normal one.

    Raises:
        ShapeError: if the terms differ in shape, or do not have the prior's dimension.
        ArgumentError: if there is not one weight a term, or all are zero.
    """
    if not terms:
        raise ArgumentError("combine needs at least one latent, got none")
    if terms[0].ndim not in (1, 2) or any(term.shape != terms[0].shape for term in terms):
        shapes = ", ".join(str(tuple(term.shape)) for term in terms[:4])
        raise ShapeError(f"latents to combine must all be (D,) or all (N, D), got {shapes}")
    factors = as_weights(weights, len(terms), "combine needs one weight a latent")
    prior = Normal(terms[0].shape[-1]) if prior is None else prior
    if prior.dim != terms[0].shape[-1]:
        raise ShapeError(f"latents must have the prior's {prior.dim} coordinates, got {terms[0].shape[-1]}")
    dtype = terms[0].dtype
    for k, term in enumerate(terms):
        require_finite(term.reshape(-1, prior.dim), f"latent {k}")
        dtype = torch.promote_types(dtype, term.dtype)
    # In a power of two near the largest weight: results do not depend on the unit, and squares of weights stay finite.
    unit = torch.ldexp(torch.ones(()).double(), torch.frexp(factors.abs().max()).exponent - 1)
    scaled = (factors / unit).to(terms[0].device)
    total = torch.einsum("k,k...->...", scaled, torch.stack(list(terms)).double())
    return prior.match(total, scaled).to(dtype), (unit.to(total.device) * total).to(dtype), prior


def as_weights(weights: Sequence[float] | Tensor, count: int, wanted: str) -> Tensor:
    """Return finite weights (count,) as float64 on the CPU, or raise an error that says what was wanted."""
    if not isinstance(weights, Tensor):
        # Python's numbers in full: as float32 three thirds would not be one.
        try:
            weights = torch.as_tensor(writable(weights), dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError):
            raise ArgumentError(f"{wanted}, got {weights!r}") from None
    factors = floating(weights, "weights").double().cpu()
    if factors.shape != (count,):
        raise ArgumentError(f"{wanted}, ({count},), got {tuple(factors.shape)}")
    require_finite(factors[:, None], "weights")
    return factors


def _warned(terms: Sequence[Tensor], weights: Sequence[float] | Tensor, prior: Prior | None) -> Tensor:
    result, _, prior = matched(terms, weights, prior)
    rows = result.reshape(-1, prior.dim)
    threshold = CHANCE / len(rows)
    off = likely(prior, rows) < threshold
    if bool(off.any()):
        # A result is to blame on its terms only if they were not off the prior before.
        found = off.nonzero()[:, 0]
        for term in terms:
            there = term.reshape(-1, prior.dim)[found.to(term.device)]
            off[found] &= likely(prior, there) >= threshold
    if bool(off.any()):
        count = int(off.sum())
        least = float(likely(prior, rows[off.to(rows.device)]).min())
        which = "the result has" if len(rows) == 1 else f"{count} of {len(rows)} results have"
        warnings.warn(
            f"{which} left the prior (typicality {least:.2g}), though the latents that were combined lie on it: they "
            "are related, not independent draws; pulled_back(result, prior) brings it back, and plain + suits a "
            "latent and its edit",
            OffPriorWarning,
            stacklevel=3,
        )
    return result
