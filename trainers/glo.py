"""Generative latent optimisation: a generator and one free latent for each training sample, learned together.

There is neither critic nor encoder. The latents, here called codes, start from the samples' principal
components, take a gradient step whenever their sample is in a batch, and are kept within the unit ball. What
they are distributed like is not known beforehand, so a prior is fitted to them.

References:
    Bojanowski, Joulin, Lopez-Paz, Szlam (2018), "Optimizing the latent space of generative networks".
"""

import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from latentkit import streams
from latentkit.checkpoint import Checkpoint
from latentkit.checks import one_of
from latentkit.errors import ArgumentError
from latentkit.inversion.pyramid import laplacian_distance
from latentkit.nets import ConvGenerator, MLPGenerator
from latentkit.priors import Empirical
from latentkit.protocols import Generator, wrap
from trainers.codes import Codes, principal_codes, random_codes
from trainers.data.dataset import Data
from trainers.distributed import alone
from trainers.loop import SETTLING_BATCHES, Average, descend, initialised, lay_out, on_cpu, settle_batch_norm
from trainers.run import OnStep, Training, run
from trainers.settings import HIDDEN_LAYERS, UNLIMITED, RunConfig, check_fits, prepared, resolved

__all__ = ["GLOConfig", "LatentOptimisation", "train_glo"]

# Chosen from a few runs of one seed each on the digits, Fashion-MNIST, the parabola, the ring and the 25 Gaussians.
_FOR_IMAGES: dict[str, Any] = {"latent_dim": 32, "steps": 3000, "batch_size": 64, "width": 16, "loss": "laplacian"}
_FOR_POINTS: dict[str, Any] = {"steps": 5000, "batch_size": 256, "width": 128, "loss": "squared"}
_LOSSES, _STARTS = ("laplacian", "squared"), ("principal", "random")
_GLANCED_AT = 2048  # codes whose moments give the prior while training
_FITTED = 8192  # codes that the mixture is fitted to
_COMPONENTS = 30


@dataclass(frozen=True)
class GLOConfig(RunConfig):
    """Settings of `train_glo`; None means a value that fits the data, given in brackets.

    Args:
        latent_dim: size of a latent, at most 65536 [32 for images, 2 for points].
        steps: optimiser steps [3000 for images, 5000 for points].
        batch_size: samples a step, at least 2; with several processes, of all together [64 for images, 256 for points].
        width: channels at half the image's side, or units of a hidden layer [16 for images, 128 for points].
        loss: laplacian, the absolute differences at all levels of a pyramid, or squared [laplacian for images,
            squared for points].
        lr: learning rate of the generator.
        code_lr: learning rate of the codes, which lie in the unit ball.
        start: principal, where codes begin as the samples' principal components, or random.
        prior_components: Gaussians in the prior that is fitted to the codes, at most one for two codes [30, or fewer so
            that each has as many codes as a code has numbers: with few codes a Gaussian only repeats them].

    Raises:
        ArgumentError: if a value is out of its range.
    """

    loss: str | None = None
    lr: float = 1e-3
    code_lr: float = 0.01
    start: str = "principal"
    prior_components: int | None = None

    most: ClassVar[dict[str, int]] = {**RunConfig.most, "prior_components": 1000}
    shares: ClassVar[dict[str, float]] = {**RunConfig.shares, **dict.fromkeys(("lr", "code_lr"), UNLIMITED)}

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self.start, "start", _STARTS)
        if self.loss is not None:
            one_of(self.loss, "loss", _LOSSES)


def train_glo(
    data: Data,
    config: GLOConfig = GLOConfig(),
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    on_step: OnStep | None = None,
    progress: bool = True,
    log_dir: str | os.PathLike[str] | None = None,
) -> Checkpoint:
    """Train a generator together with a free latent for each training sample.

    One seed gives bit-equal weights on one machine with one number of threads, also if the run was stopped
    and resumed.

    Args:
        data: images of one power-of-two side from 16, or points (with the squared loss).
        config: the settings.
        out: the run's folder: it gets the checkpoint at the end, and snapshots in `snapshots/` on the way and
            after a Ctrl-C or SIGTERM, which stops the run when its step is whole.
        resume: go on from the newest snapshot in `out`; without one, begin.
        on_step: called after each step.
        progress: show a progress bar on standard error.
        log_dir: folder for TensorBoard's event files.

    Returns:
        A checkpoint with the averaged generator on the CPU in eval mode, with the mixture that was fitted to
        the codes as its prior, no critic, the held-out samples, and the history: the recorded `step`,
        `seconds` since the start, means since the step recorded before of `loss`, `error` (the root mean
        square of the differences) and the norms of both gradients, and the newest `spread` and
        `near_duplicates` (see `Health`).

    Raises:
        DataError: if the images do not fit the networks, or there are fewer than 4 samples.
        ArgumentError: if settings do not fit the data or the machine's memory, if `resume` meets a run of
            other settings or data, or is missing where an unfinished run waits.
        DivergenceError: if a loss, a gradient or a weight is not finite; what was saved before stays.
        MissingDependencyError: if TensorBoard is asked for and not installed.
    """
    if config.loss == "laplacian" and not data.is_images:
        raise ArgumentError(f"loss must be squared for {data.name}: a pyramid is made of images")
    settings = resolved(config, data, _FOR_IMAGES if data.is_images else _FOR_POINTS)
    train, held_out, settings = prepared(settings, data, _networks)
    settings = _with_prior(settings, len(train))
    _check_codes(len(train), settings)
    training = LatentOptimisation(train, held_out, settings)
    return run(training, out=out, resume=resume, on_step=on_step, progress=progress, log_dir=log_dir)


def _networks(data: Data, config: Any) -> Callable[[], tuple[nn.Module]]:
    """Return a function that makes the generator for such data."""
    dim, width = config.latent_dim, config.width
    if data.is_images:
        channels, size = data.samples.shape[1], data.samples.shape[2]
        return lambda: (ConvGenerator(dim, channels, size, width),)
    return lambda: (MLPGenerator(dim, data.samples.shape[1], width, HIDDEN_LAYERS),)


def _with_prior(config: Any, codes: int) -> Any:
    """Return the settings with a number of components that so many codes allow."""
    fitted = min(codes, _FITTED)
    if config.prior_components is None:
        return replace(config, prior_components=max(1, min(_COMPONENTS, fitted // config.latent_dim)))
    if 2 * config.prior_components > fitted and config.prior_components > 1:
        raise ArgumentError(
            f"prior_components must be at most {max(1, fitted // 2)}, one for two of the {fitted} codes that the prior "
            f"is fitted to, got {config.prior_components}"
        )
    return config


def _check_codes(codes: int, config: Any) -> None:
    """Refuse codes that memory cannot hold, before the system ends the process for them."""
    needed = 4 * 5 * codes * config.latent_dim  # the codes, where they start, their average and two moments
    made = f"latent_dim {config.latent_dim} for {codes:,} samples makes codes that"
    check_fits(needed, config.device, made, "lower it, or train on fewer samples")


class LatentOptimisation(Training):
    """The steps of generative latent optimisation."""

    name = "glo"

    def __init__(self, data: Data, held_out: Data, config: Any) -> None:
        super().__init__(data, held_out, config)
        (generator,) = initialised(_networks(data, config), config.seed)
        lay_out(generator.to(self.device), torch.channels_last)
        dim = config.latent_dim
        if config.start == "principal":
            start = principal_codes(data, dim, config.seed)
        else:
            start = random_codes(len(data), dim, config.seed)
        self.codes = Codes(start.to(self.device), config.code_lr)
        self.average = Average(generator, config.ema)
        self.plain = generator
        self.generator_net = self.group.parallel(generator)
        self.optimiser = torch.optim.Adam(generator.parameters(), config.lr, fused=True)
        self.batches = len(data) // config.batch_size  # an epoch
        self._order = (-1, torch.empty(0))

    def parts(self) -> dict[str, Any]:
        """Return the generator, its average, the codes, and the optimiser's moments."""
        return {"generator": self.plain, "average": self.average, "codes": self.codes, "optimiser": self.optimiser}

    def generator(self) -> Generator:
        """Return the averaged generator, batch norms settled, with the Gaussian of the codes' moments as its prior."""
        return wrap(self._settled(), gaussian_of(self.codes.average[:_GLANCED_AT]))

    def finished(self) -> dict[str, Any]:
        """Return the averaged generator with a mixture fitted to the codes as its prior; there is no critic."""
        with streams.python_state_kept():
            from sklearn.exceptions import ConvergenceWarning

        average = self._settled()
        on_cpu(average)
        # The samples are in random order, so the first codes are as good as any.
        codes = self.codes.average[:_FITTED].cpu()
        with warnings.catch_warnings():
            # A mixture that still moves after a hundred rounds is as good a prior.
            warnings.simplefilter("ignore", ConvergenceWarning)
            prior = Empirical.fit(codes, self.config.prior_components, seed=self.config.seed)
        return {"generator": wrap(average, prior), "critic": None}

    def _settled(self) -> nn.Module:
        average = alone(self.average.module)
        settle_batch_norm(average, self._settling())
        return average

    def _settling(self) -> Iterator[tuple[Tensor, ...]]:
        batch = self.config.batch_size
        for k in range(min(SETTLING_BATCHES, self.batches)):
            yield (self.codes.average[k * batch : (k + 1) * batch],)

    def rows(self, step: int) -> Tensor:
        """Return which samples (n,) step `step` sees: each epoch goes through all but a remainder in its own order."""
        epoch, place = divmod(step - 1, self.batches)
        if self._order[0] != epoch:
            n = len(self.data)
            draws = streams.uniform(n, 1, seed=self.config.seed, start=epoch * n, stream=streams.BATCHES)
            self._order = epoch, torch.from_numpy(draws[:, 0]).argsort(stable=True)
        return self._order[1][place * self.config.batch_size : (place + 1) * self.config.batch_size]

    def step(self, step: int) -> dict[str, Tensor]:
        """Move the generator and the codes of one batch."""
        config = self.config
        rows = self.rows(step)
        real = self.data.floats(rows[self.share]).to(self.device)
        places = rows.to(self.device)
        codes = self.codes.values[places[self.share]].requires_grad_()
        with self.low_precision():
            made = self.generator_net(codes)
        laplacian = config.loss == "laplacian"
        loss = laplacian_distance(made, real).mean() if laplacian else (made - real).square().mean()
        gradient = descend(loss, self.optimiser, self.plain)
        whole = torch.zeros_like(self.codes.values[places])
        if codes.grad is not None:
            whole[self.share] = codes.grad
        whole = self.group.mean_of(whole)
        self.average.update(self.plain)
        keep = min(config.ema, step / (step + 10.0)) ** self.batches
        self.codes.descend(places, whole, keep)
        error = self.group.mean_of((made.detach() - real).square().mean()).sqrt()
        return {"loss": loss, "error": error, "gradient": gradient, "code_gradient": whole.norm()}


def gaussian_of(codes: Tensor) -> Empirical:
    """Return the Gaussian of the mean and the covariance of codes (N, D)."""
    codes = codes.detach().double().cpu()
    mean = codes.mean(0)
    covariance = (codes - mean).T @ (codes - mean) / len(codes)
    floor = 1e-6 * max(float(covariance.diagonal().mean()), 1e-12)
    scale = torch.linalg.cholesky(covariance + floor * torch.eye(len(mean), dtype=torch.float64))
    return Empirical(torch.ones(1), mean[None], scale[None])
