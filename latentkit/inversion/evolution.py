"""Inversion without gradients: evolution strategies, one for each start of each sample, all in step.

For a generator that torch cannot follow: a NumPy function, an exported graph, a service.
"""

from functools import partial

import torch
from torch import Tensor

from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_count, require_finite
from latentkit.inversion.losses import Loss, losses_of, pixel_loss
from latentkit.inversion.result import Inversion, gathered
from latentkit.inversion.starts import Setup, prepared
from latentkit.inversion.strategies import candidates_of, evolved
from latentkit.protocols import Encoder, Generator, check_rows, evaluating, place_of

__all__ = ["invert_without_gradients"]


@torch.no_grad()
def invert_without_gradients(
    generator: Generator | Checkpoint,
    samples: Tensor,
    *,
    encoder: Encoder | None = None,
    loss: Loss = pixel_loss,
    generations: int = 300,
    starts: int = 1,
    pool: int = 2_000,
    seed: int = 0,
    batch_size: int = 256,
    progress: bool = False,
) -> Inversion:
    """Find latents whose samples are nearest to given ones, by a search that never asks for a gradient.

    As `invert`, with the same starts, bounds and result (its `steps` are the generations), and a covariance matrix
    adaptation in place of descent. A generation is 4 + 3 log(D) evaluations a start, rounded down. With D latent
    coordinates a search takes about 10 D generations for every further digit, so where there are gradients, `invert`
    is far faster; up to 100 coordinates the whole covariance is learned, beyond that its diagonal.

    What is found for a sample depends on it and the settings alone, not on the samples beside it, up to the
    rounding of the generator's batches.

    Args:
        generator: the model, or a checkpoint with it and maybe an encoder; anything that takes a tensor of latents and
            returns a tensor. It runs in eval mode.
        samples: (N, *S) floats, as the generator makes them, at least one.
        encoder: gives one start more; it runs in eval mode. By default the checkpoint's, if it has one.
        loss: made samples (N, *S) and wanted ones to numbers (N,).
        generations: of each search, at most; 0 leaves the best of the starts.
        starts: how many of the pool's, the regression's first; 0 with an encoder only.
        pool: how many draws there are to start from.
        seed: 0 to 2**64 - 1.
        batch_size: latents a call; the candidates of a sample go together.
        progress: show a progress bar on standard error.

    Raises:
        ShapeError: if the samples are not floats of the generator's shape, the encoder's latents not (N, D),
            or the losses not (N,).
        NonFiniteError: if a sample or what a model makes is not finite.
        ArgumentError: if a number is out of range.

    References:
        Hansen (2016), "The CMA evolution strategy: a tutorial" (arXiv 1604.00772).

    Examples:
        >>> import latentkit as lk, numpy as np
        >>> curved = lk.wrap(lambda z: torch.from_numpy(np.sinh(z.numpy())), lk.Normal(2))
        >>> found = invert_without_gradients(curved, torch.tensor([[1.0, -0.5]]))
        >>> found.samples.round(decimals=2).tolist()
        [[1.0, -0.5]]
    """
    generations = as_count(generations, "generations", least=0)
    setup = prepared(
        generator, samples, encoder=encoder, loss=loss, starts=starts, pool=pool, seed=seed, batch_size=batch_size
    )
    each = max(setup.batch_size // (setup.begin.shape[1] * candidates_of(setup.bounds.dim)), 1)
    with evaluating(setup.generator, loss):
        return gathered(
            setup,
            each,
            partial(_searched, setup, generations),
            steps=generations,
            starts=starts,
            progress=progress,
        )


def _searched(setup: Setup, generations: int, wanted: Tensor, begin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return standardised latents (n, K, D), losses and errors (n, K) for samples (n, *S) and starts (n, K, D)."""
    device, dtype = place_of(setup.generator)
    n, starts, dim = begin.shape
    target = wanted.to(device, dtype).repeat_interleave(starts, dim=0)
    bounds = setup.bounds

    def made(points: Tensor) -> Tensor:
        return check_rows(setup.generator(bounds.latents(points)), len(points), "the generator").to(device, dtype)

    def value(points: Tensor, rows: Tensor) -> Tensor:
        found = losses_of(setup.loss, made(points), target[rows])
        return torch.where(torch.isfinite(found), found, torch.inf)

    u = bounds.kept(bounds.standard(begin.to(device, dtype).reshape(-1, dim)))
    require_finite(losses_of(setup.loss, made(u), target), "the loss of what the generator makes")
    u = evolved(value, bounds.kept, u, generations, setup.exact(dtype), setup.seed)
    x = made(u)
    losses, errors = (f(x, target).reshape(n, starts).cpu() for f in (setup.loss, pixel_loss))
    return u.reshape(n, starts, dim).cpu(), losses, errors
