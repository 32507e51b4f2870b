"""How a generator bends its latent space, from its derivatives: the Jacobian and its effective rank."""

import torch
from torch import Tensor

from latentkit.checks import as_count, as_latents
from latentkit.errors import ArgumentError
from latentkit.protocols import Generator, check_rows, evaluating, place_of

__all__ = ["effective_rank", "jacobian"]


def jacobian(generator: Generator, latents: Tensor, *, batch_size: int = 64) -> Tensor:
    """Return how each number of a sample changes with each coordinate of its latent: (N, M, D).

    A column is the derivative along one coordinate, so that all D of them cost about as much as 4 D samples,
    however many numbers M a sample has. The generator runs in eval mode and gets its mode back.

    Args:
        generator: the model; it must be made of torch operations.
        latents: (N, D), at least one. All N M D numbers of the result are held.
        batch_size: derivatives a call; changes nothing beyond float rounding.

    Raises:
        ShapeError: if the latents are not (N, D) with the prior's D.
        NonFiniteError: if a latent holds NaN or infinity.
        ArgumentError: if torch cannot follow the generator from its samples to its latents.

    Examples:
        >>> import latentkit as lk
        >>> double = lk.wrap(lambda z: 2 * z, lk.Normal(2))
        >>> lk.jacobian(double, torch.zeros(1, 2)).tolist()
        [[[2.0, 0.0], [0.0, 2.0]]]
    """
    latents, batch_size = as_latents(latents, generator.prior.dim), as_count(batch_size, "batch_size")
    count, dim = latents.shape
    device, dtype = place_of(generator)
    z, axes = latents.to(device, dtype), torch.eye(dim, device=device, dtype=dtype)
    columns = []
    with evaluating(generator), torch.inference_mode(False), torch.enable_grad():
        for pairs in torch.arange(count * dim, device=device).split(batch_size):
            columns.append(_derivatives(generator, z[pairs // dim], axes[pairs % dim]).flatten(1).cpu())
    return torch.cat(columns).reshape(count, dim, -1).mT


def effective_rank(generator: Generator, latents: Tensor, *, batch_size: int = 64) -> Tensor:
    """Return how many directions of the latent space a generator uses at latents (N, D): (N,) float64.

    It is exp(H), H the entropy of the Jacobian's singular values divided by their sum. A generator that
    stretches k directions equally and ignores all others has k; directions that count less count for
    part of one. It lies between 1 and D, does not change with the unit of the samples, and is 0 where no
    direction changes the sample.

    Args:
        generator: the model; it must be made of torch operations.
        latents: (N, D), at least one, usually draws from the prior.
        batch_size: derivatives a call; changes nothing beyond float rounding.

    Raises:
        ShapeError: if the latents are not (N, D) with the prior's D.
        NonFiniteError: if a latent holds NaN or infinity.
        ArgumentError: if torch cannot follow the generator from its samples to its latents.

    References:
        Roy, Vetterli (2007), "The effective rank: a measure of effective dimensionality", definition 1.

    Examples:
        >>> import latentkit as lk
        >>> half = lk.wrap(lambda z: z[:, :2], lk.Normal(4))
        >>> lk.effective_rank(half, half.prior.sample(3, seed=0)).round(decimals=3).tolist()
        [2.0, 2.0, 2.0]
    """
    latents, batch_size = as_latents(latents, generator.prior.dim), as_count(batch_size, "batch_size")
    # A few latents at a time: the Jacobians of large images need not all be held.
    some = max(batch_size // latents.shape[1], 1)
    values = [
        torch.linalg.svdvals(jacobian(generator, part, batch_size=batch_size).double()) for part in latents.split(some)
    ]
    return torch.cat([_entropy_rank(singular) for singular in values])


def _entropy_rank(singular: Tensor) -> Tensor:
    """Return exp of the entropy of non-negative rows (N, K) divided by their sums; 0 for a row of zeros."""
    total = singular.sum(1, keepdim=True)
    shares = singular / total.clamp(min=torch.finfo(singular.dtype).tiny)
    ranks = torch.exp(-torch.special.xlogy(shares, shares).sum(1))
    return ranks * (total[:, 0] > 0)


def _derivatives(generator: Generator, latents: Tensor, along: Tensor) -> Tensor:
    """Return the derivatives (N, *S) of the samples of latents (N, D), each along its own direction (N, D).

    By two passes backwards: the first gives J^T u for any u, which is linear in u, so that the derivative of its
    product with a direction v, by u, is J v. Torch's forward mode does the same, but must be compiled first.
    """
    z = latents.clone().requires_grad_()
    samples = check_rows(generator(z), len(z), "the generator")
    u = torch.zeros_like(samples).requires_grad_()
    found = None
    if samples.requires_grad:
        found = torch.autograd.grad(samples, z, u, create_graph=True, allow_unused=True)[0]
    if found is None:
        raise ArgumentError(
            "the generator's samples do not depend on its latents by torch operations that keep gradients; "
            "it may run under torch.no_grad, detach, or leave torch on the way"
        )
    return torch.autograd.grad(found, u, along)[0].detach()
