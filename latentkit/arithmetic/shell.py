"""The shell that a prior's draws lie in, and the way back to it."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from latentkit.checks import as_number, floating, require_finite
from latentkit.errors import ArgumentError, ShapeError
from latentkit.priors import (
    Empirical,
    Joint,
    Normal,
    OneHot,
    Prior,
    Sphere,
    from_normal_scores,
    has_normal_scores,
    normal_scores,
)

__all__ = ["likely", "pulled_back"]

#: More than the level is aimed at, in turn, until the rounded latent reaches it. A latent may come nearer to another
#: component of a mixture on its way, so there are more turns than rounding needs.
MARGINS = (1.0 + 1e-6, 1.001, 1.02, 1.1, 1.2, 1.5, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0)


def likely(prior: Prior, z: Tensor) -> Tensor:
    """Return the typicality (N,) of latents (N, D), where weights of several classes count as typical.

    A blend of classes is what its maker asked for, and says nothing about the rest of the latent.
    """
    if isinstance(prior, OneHot):
        return torch.ones(len(z), dtype=torch.float64)
    if isinstance(prior, Joint):
        first, second = prior.parts(z)
        for part, rows, other in ((prior.first, first, prior.second), (prior.second, second, prior.first)):
            if isinstance(other, OneHot):
                return likely(part, rows)
    return prior.typicality(z)


def pulled_back(z: Tensor, prior: Prior | None = None, *, level: float = 0.05) -> Tensor:
    """Return the latents moved to the nearest place where their typicality is at least `level`.

    In the prior's normal scores a latent goes straight away from or towards the centre, its direction kept, until it
    is as long as a draw of that typicality; for a mixture the centre is that of the component that explains it best.
    On a sphere it is renormalised, weights of classes become the largest one, and of a joint prior each part is
    pulled as far as it takes. A latent that is typical enough is returned bit for bit.

    Args:
        z: (D,) or (N, D).
        prior: the generator's prior; by default the standard normal one of that dimension.
        level: the least typicality of what is returned, above 0 and at most 0.9.

    Returns:
        (D,) or (N, D), in the latents' dtype.

    Raises:
        ShapeError: if the latents are not (D,) or (N, D) with the prior's D.
        NonFiniteError: if a latent holds NaN or infinity.
        ArgumentError: if the level is out of range, a latent is the very centre, which has no direction, or the prior
            is one of your own.

    Examples:
        >>> import latentkit as lk
        >>> from latentkit.arithmetic import pulled_back
        >>> prior = lk.Normal(512)
        >>> far = 2.0 * prior.sample(1, seed=0)
        >>> prior.typicality(far).item() < 1e-9, round(prior.typicality(pulled_back(far, prior)).item(), 3)
        (True, 0.05)
    """
    level = as_number(level, "level", least=0.0, most=0.9, open_least=True)
    latents = floating(z, "latents")
    if latents.ndim not in (1, 2) or latents.numel() == 0:
        raise ShapeError(f"latents must be (D,) or (N, D), got {tuple(latents.shape)}")
    prior = Normal(latents.shape[-1]) if prior is None else prior
    if latents.shape[-1] != prior.dim:
        raise ShapeError(f"latents must have the prior's {prior.dim} coordinates, got {latents.shape[-1]}")
    rows = require_finite(latents.reshape(-1, prior.dim), "latents")
    return _pulled(prior, rows, torch.full((len(rows),), level, dtype=torch.float64)).reshape(latents.shape)


def _pulled(prior: Prior, rows: Tensor, level: Tensor) -> Tensor:
    """Return rows (N, D) with a typicality of at least level (N,), in their own dtype."""
    if isinstance(prior, Joint):
        return _pulled_parts(prior, rows, level)
    move = _mover(prior)
    z = rows.clone()
    for margin in MARGINS:
        short = (prior.typicality(z) < level).nonzero()[:, 0]
        if not len(short):
            return z
        here = short.to(z.device)
        moved = move(z[here].double(), (level[short] * margin).clamp(max=0.95).to(z.device))
        lost = (~moved.isfinite()).any(1)
        if bool(lost.any()):
            raise ArgumentError(
                f"latent {int(short[lost.cpu()][0])} is the prior's centre, so it has no direction to go back in; "
                "use another latent"
            )
        z[here] = moved.to(z.dtype)
    short = prior.typicality(z) < level
    if bool(short.any()):
        raise ArgumentError(
            f"{int(short.sum())} of {len(z)} latents find no place of that typicality on their way, got level "
            f"{float(level.max()):g}; ask for a lower level"
        )
    return z


def _mover(prior: Prior) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the function of latents (N, D) and levels (N,) that makes one move towards the prior, float64."""
    if isinstance(prior, OneHot):
        return lambda z, level: functional.one_hot(z.argmax(1), prior.dim).double()
    if isinstance(prior, Sphere):
        return lambda z, level: from_normal_scores(prior, normal_scores(prior, z))
    if isinstance(prior, Empirical):
        return lambda z, level: _towards_component(prior, z, level)
    if has_normal_scores(prior):
        return lambda z, level: from_normal_scores(prior, _to_shell(normal_scores(prior, z), level))
    raise ArgumentError(
        f"pulled_back knows the shells of latentkit's own priors, got {type(prior).__name__}; scale the latents "
        "yourself until its typicality is high enough"
    )


def _to_shell(u: Tensor, level: Tensor) -> Tensor:
    """Return standard normal scores (N, D) at the nearest norm whose two-sided tail probability is level (N,)."""
    from scipy.special import gammainccinv, gammaincinv

    half, tail = u.shape[1] / 2.0, 0.5 * level.cpu().numpy()
    # Half the squared norm of D standard normal numbers is gamma distributed with shape D / 2.
    least, most = (torch.from_numpy(2.0 * inverse(half, tail)).sqrt().to(u) for inverse in (gammaincinv, gammainccinv))
    norm = u.norm(dim=1)
    return u * (torch.minimum(torch.maximum(norm, least), most) / norm)[:, None]


def _towards_component(prior: Empirical, z: Tensor, level: Tensor) -> Tensor:
    """Move latents (N, D) to the shell of the component that explains each best."""
    own = prior.component(z).to(z.device)
    moved = torch.empty_like(z)
    for k in own.unique().tolist():
        rows = own == k
        mean, scale = prior.means[k].to(z), prior.scales[k].to(z)
        u = torch.linalg.solve_triangular(scale, (z[rows] - mean).T, upper=False).T
        moved[rows] = mean + _to_shell(u, level[rows]) @ scale.T
    return moved


def _pulled_parts(prior: Joint, rows: Tensor, level: Tensor) -> Tensor:
    """Pull the worse part of each latent as far as the better one leaves it to do, or both alike."""
    parts = prior.parts(rows)
    # The typicality of a pair is p (1 - log p) for the product p of its parts' (Fisher): p by bisection.
    low, high = torch.zeros_like(level), torch.ones_like(level)
    for _ in range(60):
        middle = 0.5 * (low + high)
        above = middle * (1.0 - middle.log()) >= level
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    typical = [
        # What has no shell comes all the way back.
        torch.ones_like(level) if isinstance(part, Sphere | OneHot) else part.typicality(z)
        for part, z in zip((prior.first, prior.second), parts, strict=True)
    ]
    high = level if prior.alike else high
    even = high.sqrt()
    needs = [torch.where(other >= even, high / other, even).clamp(max=0.95) for other in reversed(typical)]
    pulled = torch.cat(
        [_pulled(part, z, need) for part, z, need in zip((prior.first, prior.second), parts, needs, strict=True)],
        dim=1,
    )
    enough = (prior.typicality(rows) >= level).to(rows.device)
    return torch.where(enough[:, None], rows, pulled)
