"""An encoder trained after the fact, for any frozen generator: from samples to latents that make them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit import streams
from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_count, as_seed, require_finite
from latentkit.errors import DivergenceError, ShapeError
from latentkit.inversion.bounds import Bounds
from latentkit.inversion.gradient import frozen
from latentkit.inversion.losses import pixel_loss
from latentkit.nets import ConvEncoder, MLPEncoder
from latentkit.nets.fitting import Average, initialised
from latentkit.priors import Prior
from latentkit.protocols import Generator, check_rows, evaluating, place_of

__all__ = ["FittedEncoder", "fit_encoder"]

_RATE = 2e-3
_DECAY = 0.99  # of the averaged weights
_DEPTH = 3  # hidden layers for points
_HELD_OUT = 512  # pairs that training never sees
_SMALLEST, _LARGEST = 16, 1024  # sides that the convolutional encoder takes


@dataclass(frozen=True, eq=False)
class FittedEncoder:
    """An encoder that was fitted to a generator: an `Encoder`, and a start for `invert`.

    Attributes: `module`, the network, a bundled one where the samples allow it, so that a checkpoint can hold it:
    `dataclasses.replace(checkpoint, encoder=fitted.module)`; `prior` of the latents; `error`, of held-out generated
    samples: the mean squared difference to what the generator makes of the encoder's latents, as a share of the
    variance of a number of the generator's samples; `latent_error`, the mean squared difference of the latents'
    coordinates, each in its standard deviation: 1 is no better than the mean latent; `steps`, `batch_size` and
    `seed`, how it was done.
    """

    module: nn.Module
    prior: Prior
    error: float
    latent_error: float
    steps: int
    batch_size: int
    seed: int

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return latents (N, D), on the prior's support, for samples (N, *S)."""
        z = self.module(x)
        return self.prior.match(z, torch.ones(1, device=z.device))


class ReshapingEncoder(nn.Module):
    """A bundled encoder for samples (N, *S) of shapes that it does not take: they are reshaped first.

    Args:
        encoder: of square images, or of vectors.
        side: to which images are resized, or None to flatten samples.
    """

    def __init__(self, encoder: ConvEncoder | MLPEncoder, side: int | None) -> None:
        super().__init__()
        self.encoder, self.side = encoder, side

    def forward(self, x: Tensor) -> Tensor:
        """Return latents (N, D) for samples (N, *S)."""
        if self.side is None:
            return self.encoder(x.flatten(1))
        return self.encoder(functional.interpolate(x, (self.side, self.side), mode="bilinear", antialias=True))


@torch.inference_mode(False)
def fit_encoder(
    generator: Generator | Checkpoint,
    *,
    steps: int = 1_500,
    width: int = 32,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool = False,
) -> FittedEncoder:
    """Train an encoder for a frozen generator, on pairs of latents and samples that it makes anew for each step.

    The loss is the mean squared difference of the latents, in standard deviations, and, where torch can follow the
    generator, that of the samples that it makes of them, as a share of their variance. No real sample is seen, so
    what the encoder says of one is as good as the generator is near to it: `invert` goes on from there.

    On one thread of a processor the default takes about a minute for 32x32 images. The latents that it gives are
    those that are most probable on average, so they lie nearer to the prior's mean than draws do.

    Args:
        generator: the model, or a checkpoint with it; it runs in eval mode and is left as it was.
        steps: of Adam, with a rate that falls to 0.
        width: channels of the feature maps at half the image's side; units of the hidden layers, times 4, for others.
        batch_size: pairs a step.
        seed: 0 to 2**64 - 1; one seed gives one encoder on one machine with one number of threads.
        progress: show a progress bar on standard error.

    Returns:
        The encoder with averaged weights, in eval mode. Square images with a power of two from 16 to 1024 as their side
        get a `ConvEncoder`, vectors an `MLPEncoder`, both with the held-out error as the variance that their `moments`
        give; other images are resized, and other samples flattened, which no checkpoint can hold.

    Raises:
        ShapeError: if the generator does not return samples (N, ...).
        NonFiniteError: if what it makes is not finite.
        DivergenceError: if the loss becomes NaN or infinite.
        ArgumentError: if a number is out of range.

    References:
        Perarnau, van de Weijer, Raducanu, Álvarez (2016), "Invertible conditional GANs for image editing", section 3.2:
        an encoder from generated pairs. Zhu, Krähenbühl, Shechtman, Efros (2016), "Generative visual manipulation on
        the natural image manifold", equation 4: the loss of the samples.

    Examples:
        >>> import latentkit as lk
        >>> double = lk.wrap(lambda z: 2 * z, lk.Normal(2))
        >>> encoder = fit_encoder(double, steps=200, width=8)
        >>> encoder(torch.tensor([[2.0, -1.0]])).round(decimals=1).tolist()
        [[1.0, -0.5]]
    """
    generator = generator.generator if isinstance(generator, Checkpoint) else generator
    steps, width = as_count(steps, "steps"), as_count(width, "width")
    batch_size, seed = as_count(batch_size, "batch_size", least=2), as_seed(seed)
    prior, (device, dtype) = generator.prior, place_of(generator)
    # Not the latents of the seed itself: the user may draw those, to see how good the encoder is.
    source = streams.derived_seed(seed, streams.TRAINING)
    latents = prior.sample(_HELD_OUT, seed=source).to(device, dtype)
    bounds = Bounds(prior, latents)
    from tqdm import tqdm

    with evaluating(generator), frozen(generator):
        with torch.no_grad():
            held_out = torch.cat([_made(generator, part) for part in latents.split(batch_size)])
        require_finite(held_out, "the generator's samples")
        variance = float(held_out.flatten(1).double().var(0, correction=0).mean()) or 1.0
        network = _network(held_out.shape[1:], prior.dim, width, source).to(device, dtype)

        def again(guess: Tensor) -> Tensor:
            return _made(generator, bounds.supported(bounds.latents(guess)))

        with torch.enable_grad():
            follows = again(latents[:2].clone().requires_grad_()).requires_grad
        optimiser = torch.optim.Adam(network.parameters(), _RATE)
        average = Average(network, _DECAY)
        with torch.enable_grad(), tqdm(total=steps, desc="encoder", disable=not progress, leave=False) as bar:
            for step in range(steps):
                for group in optimiser.param_groups:
                    group["lr"] = _RATE * 0.5 * (1.0 + math.cos(math.pi * step / steps))
                z = prior.sample(batch_size, seed=source, start=_HELD_OUT + step * batch_size).to(device, dtype)
                with torch.no_grad():
                    x = _made(generator, z)
                guess = network(x)
                loss = (guess - bounds.standard(z)).square().mean()
                if follows:
                    loss = loss + pixel_loss(again(guess), x).mean() / variance
                if not math.isfinite(loss.item()):
                    raise DivergenceError(
                        f"the encoder's loss became {loss.item()} at step {step}; see that the generator's samples are "
                        "finite and not far larger than 1"
                    )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                average.update(network)
                bar.update()
        module = average.module
        with torch.no_grad():
            guess = torch.cat([module(part) for part in held_out.split(batch_size)])
            remade = torch.cat([again(part) for part in guess.split(batch_size)])
    squares = (guess - bounds.standard(latents)).square().mean(0)
    _finish(module, bounds, squares)
    return FittedEncoder(
        module=module,
        prior=prior,
        error=float(pixel_loss(remade, held_out).mean()) / variance,
        latent_error=float(squares.mean()),
        steps=steps,
        batch_size=batch_size,
        seed=seed,
    )


def _made(generator: Generator, latents: Tensor) -> Tensor:
    made = check_rows(generator(latents), len(latents), "the generator")
    if made.ndim < 2:
        raise ShapeError(f"an encoder needs samples (N, ...), got {tuple(made.shape)}")
    return made.to(latents)


def _network(shape: torch.Size, dim: int, width: int, seed: int) -> nn.Module:
    """Return the encoder for samples of a shape, with initial weights of the seed."""
    if len(shape) == 1:
        return initialised(lambda: MLPEncoder(dim, shape[0], 4 * width, _DEPTH), streams.small_seed(seed))
    if len(shape) != 3:
        flat = initialised(lambda: MLPEncoder(dim, math.prod(shape), 4 * width, _DEPTH), streams.small_seed(seed))
        return ReshapingEncoder(flat, None)
    side = 2 ** round(math.log2(max(shape[1:])))
    side = min(max(side, _SMALLEST), _LARGEST)
    square = initialised(lambda: ConvEncoder(dim, shape[0], side, width), streams.small_seed(seed))
    return square if tuple(shape[1:]) == (side, side) else ReshapingEncoder(square, side)


@torch.no_grad()
def _finish(module: nn.Module, bounds: Bounds, squares: Tensor) -> None:
    """Let a network that was trained for standardised latents give latents, and the held-out variance (D,) of these."""
    inner = module.encoder if isinstance(module, ReshapingEncoder) else module
    if not isinstance(inner, ConvEncoder | MLPEncoder):
        raise TypeError(f"an encoder's network is a bundled one, got {type(inner).__name__}")
    weight, bias, dim = inner.head.weight, inner.head.bias, bounds.dim
    weight[:dim] *= bounds.std[:, None]
    bias[:dim] = bounds.mean + bounds.std * bias[:dim]
    weight[dim:] = 0.0
    bias[dim:] = (bounds.std.square() * squares).clamp(min=1e-12).log()
