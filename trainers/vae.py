"""Variational autoencoders: an encoder and a decoder, trained together on a bound of the likelihood.

The decoder is the generator, and its likelihood is a Gaussian around what it makes. The Gaussian's width decides
between sharp copies and a tidy latent space; here it is not a setting but the most likely one for the errors
that are made, so no weight has to be tuned for each data set.

References:
    Kingma, Welling (2014), "Auto-encoding variational Bayes".
    Rezende, Mohamed, Wierstra (2014), "Stochastic backpropagation and approximate inference in deep generative
    models".
    Rybkin, Daniilidis, Levine (2021), "Simple and effective VAE training with calibrated decoders" (the width).
"""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from latentkit import streams
from latentkit.checkpoint import Checkpoint
from latentkit.nets import ConvEncoder, ConvGenerator, MLPEncoder, MLPGenerator
from latentkit.priors import Normal
from latentkit.protocols import Generator, wrap
from trainers.data.dataset import Data
from trainers.distributed import alone
from trainers.loop import SETTLING_BATCHES, Average, descend, initialised, lay_out, on_cpu, settle_batch_norm
from trainers.run import OnStep, Training, run
from trainers.settings import HIDDEN_LAYERS, UNLIMITED, RunConfig, prepared, resolved

__all__ = ["VAEConfig", "Variational", "train_vae"]

# Chosen from a few runs of one seed each on the digits, Fashion-MNIST, the parabola, the ring and the 25 Gaussians.
_FOR_IMAGES: dict[str, Any] = {
    "latent_dim": 32,
    "steps": 3000,
    "batch_size": 64,
    "width": 16,
    "beta": 20.0,
    "warm_up": 0,
}
_FOR_POINTS: dict[str, Any] = {"steps": 5000, "batch_size": 256, "width": 128, "beta": 1.0, "warm_up": 500}
_LEAST_NOISE = 0.01  # of the samples' own spread


@dataclass(frozen=True)
class VAEConfig(RunConfig):
    """Settings of `train_vae`; None means a value that fits the data, given in brackets.

    Args:
        latent_dim: size of a latent, at most 65536 [32 for images, 2 for points].
        steps: optimiser steps [3000 for images, 5000 for points].
        batch_size: samples a step, at least 2; with several processes, of all together [64 for images, 256 for points].
        width: channels at half the image's side, or units of a hidden layer [16 for images, 128 for points].
        lr: learning rate.
        beta: weight of the divergence from the prior: 1 is the bound of the likelihood, and more makes draws from the
            prior better and copies coarser [20 for images, whose pixels err together and not each by itself, 1 for
            points].
        warm_up: steps over which that weight rises from 0; without them the latents of points that spread alike in all
            directions are never used [0 for images, 500 for points].
        noise: standard deviation of the decoder's Gaussian, in the samples' unit; 0 takes the most likely one, the
            root mean square of the errors, but at least a hundredth of the samples' own spread.

    Raises:
        ArgumentError: if a value is out of its range.
    """

    lr: float = 1e-3
    beta: float | None = None
    warm_up: int | None = None
    noise: float = 0.0

    most: ClassVar[dict[str, int]] = {**RunConfig.most, "warm_up": 10**9}
    from_zero: ClassVar[frozenset[str]] = frozenset({"warm_up"})
    shares: ClassVar[dict[str, float]] = {**RunConfig.shares, **dict.fromkeys(("lr", "beta", "noise"), UNLIMITED)}


def train_vae(
    data: Data,
    config: VAEConfig = VAEConfig(),
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    on_step: OnStep | None = None,
    progress: bool = True,
    log_dir: str | os.PathLike[str] | None = None,
) -> Checkpoint:
    """Train an encoder and a generator as a variational autoencoder.

    One seed gives bit-equal weights on one machine with one number of threads, also if the run was stopped
    and resumed.

    Args:
        data: images of one power-of-two side from 16, or points.
        config: the settings.
        out: the run's folder: it gets the checkpoint at the end, and snapshots in `snapshots/` on the way and
            after a Ctrl-C or SIGTERM, which stops the run when its step is whole.
        resume: go on from the newest snapshot in `out`; without one, begin.
        on_step: called after each step.
        progress: show a progress bar on standard error.
        log_dir: folder for TensorBoard's event files.

    Returns:
        A checkpoint with the averaged generator and encoder, both on the CPU in eval mode, no critic, the
        held-out samples, and the history. Beside `step` and `seconds` that has, as means since the step
        recorded before and in nats a sample, `loss`, `reconstruction`, the negative log-likelihood of a sample
        given its latent (of a density, so it may lie below 0), and `kl`, the divergence of its latent from the
        prior; `noise`, the standard deviation of the decoder's Gaussian; the norm of the `gradient`; and the
        newest `spread` and `near_duplicates` (see `Health`).

    Raises:
        DataError: if the images do not fit the networks, or there are fewer than 4 samples.
        ArgumentError: if settings do not fit the data or the machine's memory, if `resume` meets a run of
            other settings or data, or is missing where an unfinished run waits.
        DivergenceError: if a loss, a gradient or a weight is not finite; what was saved before stays.
        MissingDependencyError: if TensorBoard is asked for and not installed.
    """
    settings = resolved(config, data, _FOR_IMAGES if data.is_images else _FOR_POINTS)
    train, held_out, settings = prepared(settings, data, _networks)
    training = Variational(train, held_out, settings)
    return run(training, out=out, resume=resume, on_step=on_step, progress=progress, log_dir=log_dir)


def _networks(data: Data, config: Any) -> Callable[[], tuple[nn.Module, nn.Module]]:
    """Return a function that makes the decoder and the encoder for such data."""
    dim, width = config.latent_dim, config.width
    if data.is_images:
        channels, size = data.samples.shape[1], data.samples.shape[2]
        return lambda: (ConvGenerator(dim, channels, size, width), ConvEncoder(dim, channels, size, width))
    features = data.samples.shape[1]
    return lambda: (
        MLPGenerator(dim, features, width, HIDDEN_LAYERS),
        MLPEncoder(dim, features, width, HIDDEN_LAYERS),
    )


class Variational(Training):
    """The steps of a variational autoencoder."""

    name = "vae"

    def __init__(self, data: Data, held_out: Data, config: Any) -> None:
        super().__init__(data, held_out, config)
        decoder, encoder = initialised(_networks(data, config), config.seed)
        for module in (decoder, encoder):
            lay_out(module.to(self.device), torch.channels_last)
        self.prior = Normal(config.latent_dim)
        self.decoder_average, self.encoder_average = Average(decoder, config.ema), Average(encoder, config.ema)
        self.plain = _Autoencoder(decoder, encoder)
        self.pair = self.group.parallel(self.plain)
        self.optimiser = torch.optim.Adam(self.plain.parameters(), config.lr, fused=True)
        some = data.floats(slice(0, 1024))
        self.least_variance = _LEAST_NOISE**2 * max(float(some.var(0, correction=0).mean()), 1e-12)

    def parts(self) -> dict[str, Any]:
        """Return both networks, their averages, and the optimiser's moments."""
        return {
            "networks": self.plain,
            "decoder_average": self.decoder_average,
            "encoder_average": self.encoder_average,
            "optimiser": self.optimiser,
        }

    def generator(self) -> Generator:
        """Return the averaged decoder, its batch norms settled."""
        return wrap(self._settled(alone(self.encoder_average.module)), self.prior)

    def finished(self) -> dict[str, Any]:
        """Return the averaged decoder, its batch norms settled, and the averaged encoder; there is no critic."""
        encoder = alone(self.encoder_average.module)
        decoder = self._settled(encoder)
        on_cpu(decoder, encoder)
        return {"generator": wrap(decoder, self.prior), "critic": None, "encoder": encoder}

    def _settled(self, encoder: nn.Module) -> nn.Module:
        decoder = alone(self.decoder_average.module)
        settle_batch_norm(decoder, self._posterior_latents(encoder))
        return decoder

    def _posterior_latents(self, encoder: Any) -> Iterator[tuple[Tensor, ...]]:
        """Yield latents of training samples, by the encoder.

        Batch norm is measured on them and not on the prior's, as the decoder was trained by their statistics:
        so it does with a latent what it learned to do with it, wherever the two distributions differ.
        """
        batch = self.config.batch_size
        for k in range(min(SETTLING_BATCHES, len(self.data) // batch)):
            real = self.data.floats(slice(k * batch, (k + 1) * batch)).to(self.device)
            mean, log_variance = encoder.moments(real)
            yield (drawn(mean, log_variance, self.normals(k, streams.SETTLING)),)

    def step(self, step: int) -> dict[str, Tensor]:
        """Move both networks down the negative bound of one batch."""
        config, n = self.config, self.config.batch_size
        draws = streams.uniform(n, 1, seed=config.seed, start=step * n, stream=streams.BATCHES)[self.share, 0]
        real = self.data.floats((torch.from_numpy(draws) * len(self.data)).long()).to(self.device)
        with self.low_precision():
            made, mean, log_variance = self.pair(real, self.normals(step, streams.NOISE)[self.share])
        error = (made - real).square().mean()
        variance = self._variance(error)
        # With the most likely variance this is F/2 log(error) up to a constant, and so is its gradient.
        reconstruction = real[0].numel() / 2 * (error / variance + torch.log(2 * math.pi * variance))
        divergence = divergence_from_normal(mean, log_variance).mean()
        loss = reconstruction + config.beta * min(1.0, step / max(config.warm_up, 1)) * divergence
        gradient = descend(loss, self.optimiser, self.plain)
        self.decoder_average.update(self.plain.decoder)
        self.encoder_average.update(self.plain.encoder)
        numbers = {"loss": loss, "reconstruction": reconstruction, "kl": divergence}
        return {**numbers, "noise": variance.sqrt(), "gradient": gradient}

    def _variance(self, error: Tensor) -> Tensor:
        """Return the variance of the decoder's Gaussian, without a gradient, for a mean squared error."""
        if self.config.noise:
            return torch.full_like(error.detach(), self.config.noise**2)
        # The least one keeps the likelihood bounded where samples lie on a curve and can be made without error.
        return self.group.mean_of(error.detach()).clamp(min=self.least_variance)


class _Autoencoder(nn.Module):
    """A decoder and an encoder as one module, which several processes can train."""

    def __init__(self, decoder: nn.Module, encoder: nn.Module) -> None:
        super().__init__()
        self.decoder: Any = decoder
        self.encoder: Any = encoder

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what a draw from each sample's posterior is decoded to, and the posteriors' moments."""
        mean, log_variance = self.encoder.moments(x)
        return self.decoder(drawn(mean, log_variance, noise)), mean, log_variance


def drawn(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """Return draws (N, D) from normal distributions, made of standard normals (N, D); gradients flow through."""
    return mean + torch.exp(0.5 * log_variance) * noise


def divergence_from_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence (N,) of diagonal Gaussians from the standard normal, in nats.

    References:
        Kingma, Welling (2014), "Auto-encoding variational Bayes", appendix B.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1)
