"""Inversion by gradients: from a sample to a latent that a generator turns into it, or into the nearest it can make."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_count, require_finite
from latentkit.errors import ArgumentError, NonFiniteError
from latentkit.inversion.descent import descended
from latentkit.inversion.losses import Loss, losses_of, pixel_loss
from latentkit.inversion.result import Inversion, gathered
from latentkit.inversion.starts import Setup, prepared
from latentkit.protocols import Encoder, Generator, check_rows, evaluating, modules_of, place_of

__all__ = ["frozen", "invert"]

_NOT_FOLLOWED = (
    "the generator's samples do not depend on its latents by torch operations that keep gradients, so there is nothing "
    "to descend; it may run under torch.no_grad, detach, or leave torch on the way: use invert_without_gradients (or "
    "steps=0, which takes the best of the starts)"
)


@torch.inference_mode(False)
def invert(
    generator: Generator | Checkpoint,
    samples: Tensor,
    *,
    encoder: Encoder | None = None,
    loss: Loss = pixel_loss,
    steps: int = 200,
    starts: int = 2,
    pool: int = 2_000,
    seed: int = 0,
    batch_size: int = 128,
    progress: bool = False,
) -> Inversion:
    """Find latents whose samples are nearest to given ones, by gradient descent from several starts.

    A start is what the encoder gives, what a linear regression of the latents of the pool, draws of the prior,
    on their samples guesses, and those of the pool whose samples are nearest. From each, quasi-Newton steps
    lessen the loss; what is found is never worse than its start. A start that is hopeless beside another of
    the same sample is given up on the way, and one that has converged stops, so that most starts take a part
    of the steps only.

    Latents stay plausible: after each step one that is farther from the prior's mean than the farthest of
    the pool, in standard deviations of its coordinates, is pulled back to that distance, and then onto the
    prior's support (the box of a uniform prior, the sphere). There is no pull to the mean beside that,
    so a sample that the generator can make is found exactly.

    What is found for a sample depends on it and the settings alone, not on the samples beside it, up to the
    rounding of the generator's batches; a long search for a sample that cannot be made can amplify that. A
    batch is far cheaper than its samples one by one: they share the pool, and a generator's calls.

    Args:
        generator: the model, or a checkpoint with it and maybe an encoder; it must be made of torch operations,
            and runs in eval mode.
        samples: (N, *S) floats, as the generator makes them, at least one.
        encoder: gives one start more; it runs in eval mode. By default the checkpoint's, if it has one.
        loss: made samples (N, *S) and wanted ones to numbers (N,): `pixel_loss`, `pyramid_loss`, a
            `feature_loss`, or any other in torch operations.
        steps: evaluations of the gradient, at most, from each start; 0 leaves the best of the starts.
        starts: how many of the pool's, the regression's first; 0 with an encoder only.
        pool: how many draws there are to start from; they are not those of `seed` itself, from which the
            samples may have been made.
        seed: 0 to 2**64 - 1.
        batch_size: latents a call; the starts of a sample go together.
        progress: show a progress bar on standard error.

    Raises:
        ShapeError: if the samples are not floats of the generator's shape, the encoder's latents not (N, D),
            or the losses not (N,).
        NonFiniteError: if a sample, a gradient or what a model makes is not finite.
        ArgumentError: if a number is out of range, or torch cannot follow the generator to its latents.

    References:
        Creswell, Bharath (2018), "Inverting the generator of a generative adversarial network", section 2: descent
        of a batch. Zhu, Krähenbühl, Shechtman, Efros (2016), "Generative visual manipulation on the natural image
        manifold", section 3.1: L-BFGS, and starts from an encoder.

    Examples:
        >>> import latentkit as lk
        >>> curved = lk.wrap(lambda z: z.sinh(), lk.Normal(2))
        >>> found = lk.invert(curved, torch.tensor([[1.0, -0.5]]))
        >>> found.samples.round(decimals=2).tolist()
        [[1.0, -0.5]]
    """
    steps = as_count(steps, "steps", least=0)
    setup = prepared(
        generator, samples, encoder=encoder, loss=loss, starts=starts, pool=pool, seed=seed, batch_size=batch_size
    )
    each = max(setup.batch_size // setup.begin.shape[1], 1)
    with evaluating(setup.generator, loss), frozen(setup.generator, loss):
        return gathered(
            setup,
            each,
            partial(_searched, setup, steps),
            steps=steps,
            starts=starts,
            progress=progress,
        )


def _searched(setup: Setup, steps: int, wanted: Tensor, begin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return standardised latents (n, K, D), losses and errors (n, K) for samples (n, *S) and starts (n, K, D)."""
    device, dtype = place_of(setup.generator)
    n, starts, dim = begin.shape
    # A sample's starts are neighbouring rows.
    target = wanted.to(device, dtype).repeat_interleave(starts, dim=0)
    bounds = setup.bounds
    u = bounds.kept(bounds.standard(begin.to(device, dtype).reshape(-1, dim)))

    def made(points: Tensor) -> Tensor:
        return check_rows(setup.generator(bounds.latents(points)), len(points), "the generator")

    def slope(points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            moving = points.detach().requires_grad_()
            try:
                x = made(moving)
            except RuntimeError as error:
                # What torch says when a tensor with a gradient is handed to NumPy.
                if "requires grad" not in str(error):
                    raise
                raise ArgumentError(_NOT_FOLLOWED) from error
            found = losses_of(setup.loss, x, target[rows])
            return found.detach(), _gradient(found, moving)

    def plain(points: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            x = made(points)
            return losses_of(setup.loss, x, target), pixel_loss(x, target)

    require_finite(plain(u)[0], "the loss of what the generator makes")
    if steps:
        u = descended(slope, bounds.kept, u, starts, steps, setup.exact(dtype)).u
    losses, errors = (values.reshape(n, starts).cpu() for values in plain(u))
    return u.reshape(n, starts, dim).cpu(), losses, errors


def _gradient(losses: Tensor, latents: Tensor) -> Tensor:
    found = torch.autograd.grad(losses.sum(), latents, allow_unused=True)[0] if losses.requires_grad else None
    if found is None:
        raise ArgumentError(_NOT_FOLLOWED)
    # A trial point may lie where the loss itself is not finite; the search steps back from there.
    if not bool((torch.isfinite(found).all(1) | ~torch.isfinite(losses)).all()):
        raise NonFiniteError("the generator's gradient became NaN or infinite; its weights or its input are broken")
    return found


@contextmanager
def frozen(*models: Any) -> Iterator[None]:
    """Let the parameters of models need no gradients, and put each back as it was."""
    parameters = [p for model in models for module in modules_of(model) for p in module.parameters()]
    before = [(p, p.requires_grad) for p in parameters]
    try:
        for p in parameters:
            p.requires_grad_(False)
        yield
    finally:
        for p, needs in before:
            p.requires_grad_(needs)
