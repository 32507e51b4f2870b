"""How a generator bends its latent space at a latent, from its derivatives: dimension, volume and sensitivity."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from latentkit.checks import as_count, as_latents, as_number
from latentkit.errors import ArgumentError
from latentkit.protocols import Generator, check_rows, evaluating, place_of

__all__ = ["LocalGeometry", "effective_rank", "jacobian", "local_geometry"]

#: Singular values below this share of the largest are float32's rounding.
FLOOR = 1e-6


@dataclass(frozen=True, eq=False)
class LocalGeometry:
    """What a generator does to the surroundings of latents, from the singular values of its Jacobian.

    Attributes: `singular_values` (N, K) float64, largest first, K the lesser of the numbers of a latent and of a
    sample: how far the sample moves for a small step of length 1 along each of K directions at right angles;
    `dimension` (N,) long, how many of these, largest first, hold the share `explained` of the sum of their squares, 0
    where no direction changes the sample; `effective_rank` (N,), the same without a threshold (see `effective_rank`);
    `log_volume` (N,), the sum of their logarithms, of those below a millionth of the largest as if they were that,
    minus infinity where all are 0: the logarithm of the volume that a small unit cube of latents comes to, so high
    where samples are spread thin; `sensitivity` (N,), the largest: the most that the sample can move; `frobenius`
    (N,), the root of the sum of their squares: the sample's root mean square step for random steps of latents of
    root mean square 1 in each coordinate.
    """

    singular_values: Tensor
    dimension: Tensor
    effective_rank: Tensor
    log_volume: Tensor
    sensitivity: Tensor
    frobenius: Tensor
    explained: float


def local_geometry(
    generator: Generator, latents: Tensor, *, explained: float = 0.95, batch_size: int = 64
) -> LocalGeometry:
    """Return local dimension, volume and sensitivity of a generator at latents (N, D).

    Exact, from the whole Jacobian: a latent costs about as much as 4 D samples, and its singular values M D min(M, D)
    operations more, M the numbers of a sample. A few hundred latents of 64 dimensions are a matter of seconds; of 512
    dimensions and large images take a few dozen. A few latents' Jacobians are held at a time.

    Args:
        generator: the model; it must be made of torch operations.
        latents: (N, D), at least one.
        explained: the share of the sum of squares that the dimension must hold, above 0 and at most 1.
        batch_size: derivatives a call; changes nothing beyond float rounding.

    Raises:
        ShapeError: if the latents are not (N, D) with the prior's D.
        NonFiniteError: if a latent holds NaN or infinity.
        ArgumentError: if torch cannot follow the generator from its samples to its latents.

    References:
        Arvanitidis, Hansen, Hauberg (2018), "Latent space oddity: on the curvature of deep generative models",
        section 3: the volume measure of the pull-back metric, the root of the determinant of J^T J.

    Examples:
        >>> import latentkit as lk
        >>> stretch = lk.wrap(lambda z: z * torch.tensor([8.0, 2.0, 0.0]), lk.Normal(3))
        >>> found = local_geometry(stretch, torch.zeros(1, 3))
        >>> found.dimension.item(), found.sensitivity.item()
        (2, 8.0)
    """
    explained = as_number(explained, "explained", least=0.0, most=1.0, open_least=True)
    values = _singular_values(generator, latents, batch_size)
    largest, squares = values[:, 0], values.square()
    # Rounding must not keep the whole below its share.
    held = squares.cumsum(1) >= explained * squares.sum(1, keepdim=True) * (1.0 - 1e-12)
    first = held.long().argmax(1) + 1
    floored = torch.maximum(values, FLOOR * largest[:, None])
    return LocalGeometry(
        singular_values=values,
        dimension=torch.where(largest > 0, first, 0),
        effective_rank=_entropy_rank(values),
        log_volume=floored.log().sum(1),
        sensitivity=largest,
        frobenius=squares.sum(1).sqrt(),
        explained=explained,
    )


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
    return _entropy_rank(_singular_values(generator, latents, batch_size))


def _singular_values(generator: Generator, latents: Tensor, batch_size: int) -> Tensor:
    """Return the singular values (N, K) float64 of the Jacobian at latents (N, D), largest first."""
    latents, batch_size = as_latents(latents, generator.prior.dim), as_count(batch_size, "batch_size")
    # A few latents at a time: the Jacobians of large images need not all be held.
    some = max(batch_size // latents.shape[1], 1)
    parts = [
        torch.linalg.svdvals(jacobian(generator, part, batch_size=batch_size).double()) for part in latents.split(some)
    ]
    return torch.cat(parts)


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
    # Torch's fused attention has a derivative, which has none itself; the plain one has all.
    with sdpa_kernel(SDPBackend.MATH):
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
    try:
        twice = torch.autograd.grad(found, u, along)[0]
    except RuntimeError as error:
        raise ArgumentError(
            "the derivatives of this generator have none themselves, by which its geometry is measured; a continuous "
            "flow's are of that kind, for example"
        ) from error
    return twice.detach()
