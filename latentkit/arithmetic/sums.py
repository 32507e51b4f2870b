"""Weighted sums whose terms may be groups, each with how typical it came out."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.arithmetic.combination import as_weights, matched
from latentkit.arithmetic.shell import likely
from latentkit.checks import floating, require_finite
from latentkit.errors import ArgumentError, ShapeError
from latentkit.priors import Prior

__all__ = ["Sum", "weigh"]

#: A result that fewer than one draw in a thousand is as far off as gets a note.
UNLIKELY = 1e-3


@dataclass(frozen=True, eq=False)
class Sum:
    """A weighted sum of latents, on the prior and as it is.

    Attributes:
        latent: (D,), the sum mapped back onto the prior.
        plain: (D,), the sum itself.
        typicality: of `latent`, in [0, 1]; over independent draws it is uniform.
        plain_typicality: of `plain`.
        note: empty, or why the latent is off the prior all the same, with the way back.
    """

    latent: Tensor
    plain: Tensor
    typicality: float
    plain_typicality: float
    note: str


def weigh(terms: Sequence[Tensor], weights: Sequence[float] | Tensor, prior: Prior | None = None) -> Sum:
    """Return the weighted sum of latents and of averages of groups, mapped back onto the prior.

    The members of a group count as independent draws: a group of n with weight w adds w / n of each, and so the
    result is distributed as the prior for independent draws whatever the sizes of the groups. Members of a group that
    share something on purpose (all smile) keep it while the rest averages out, and it is enlarged with the rest:
    of large groups the result may leave the prior, which its note then says.

    Args:
        terms: K latents (D,) or groups (n, D).
        weights: (K,) finite numbers, not all zero.
        prior: the generator's prior; by default the standard normal one of that dimension.

    Raises:
        ShapeError: if a term is not (D,) or (n, D) with the prior's D.
        NonFiniteError: if a term or a weight holds NaN or infinity.
        ArgumentError: if there is not one weight a term, all are zero, or the plain sum overflows.

    Examples:
        >>> import latentkit as lk
        >>> from latentkit.arithmetic import weigh
        >>> smiling, neutral = lk.Normal(64).sample(8, seed=0).split(4)
        >>> weigh([smiling, neutral, neutral[0]], [1, -1, 1]).latent.shape
        torch.Size([64])
    """
    groups = [floating(term, f"term {k}") for k, term in enumerate(terms)]
    if not groups:
        raise ArgumentError("weigh needs at least one term, got none")
    dim = groups[0].shape[-1] if groups[0].ndim else 0
    for k, group in enumerate(groups):
        if group.ndim not in (1, 2) or group.numel() == 0 or group.shape[-1] != dim:
            raise ShapeError(f"term {k} must be (D,) or (n, D) with the others' D, got {tuple(group.shape)}")
        require_finite(group.reshape(-1, dim), f"term {k}")
    factors = as_weights(weights, len(groups), "weigh needs one weight a term")
    rows = [row for group in groups for row in group.reshape(-1, dim)]
    counts = torch.tensor([group.numel() // dim for group in groups])
    latent, plain, prior = matched(rows, torch.repeat_interleave(factors / counts, counts), prior)
    if not bool(plain.isfinite().all()):
        raise ArgumentError(f"the sum is too large for {plain.dtype}, with weights up to {factors.abs().max():g}")
    typicality, plain_typicality = prior.typicality(torch.stack([latent, plain])).tolist()
    note = ""
    if float(likely(prior, latent[None])) < UNLIKELY:
        note = (
            f"the result has left the prior (typicality {typicality:.2g}): its terms are related, not independent "
            "draws; pulled_back(result, prior) brings it back"
        )
    return Sum(latent, plain, typicality, plain_typicality, note)
