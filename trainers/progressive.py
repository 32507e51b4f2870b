"""Progressive growing: a GAN that learns images of side 4 first, and doubles the side until it is the data's.

While a side is new, its blocks are faded in: the generator mixes what they make with its enlarged older images,
the critic sees a mixture likewise, and so do the real images it is shown. The loss is Wasserstein's with a
penalty on the critic's gradient, and a small one on its scores of real images, which would drift away otherwise.

References:
    Karras, Aila, Laine, Lehtinen (2018), "Progressive growing of GANs for improved quality, stability, and
    variation".
    Gulrajani et al. (2017), "Improved training of Wasserstein GANs".
"""

import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from latentkit import streams
from latentkit.checkpoint import Checkpoint
from latentkit.errors import ArgumentError, DataError
from latentkit.nets import ProgressiveCritic, ProgressiveGenerator
from latentkit.nets.layers import MinibatchStd
from latentkit.priors import Normal
from latentkit.protocols import Critic, Generator, wrap
from trainers.data.dataset import Data
from trainers.distributed import Group, alone
from trainers.growth import at_stage, phases, schedule
from trainers.loop import Average, adam, descend, initialised, lay_out, on_cpu
from trainers.losses import LOSSES, gradient_penalty
from trainers.run import OnStep, Training, run
from trainers.settings import UNLIMITED, RunConfig, prepared, resolved
from trainers.snapshots import begun_in

__all__ = ["ProgressiveConfig", "train_progressive"]

_DEFAULTS: dict[str, Any] = {"steps": 6000, "batch_size": 16, "width": 16}


@dataclass(frozen=True)
class ProgressiveConfig(RunConfig):
    """Settings of `train_progressive`; None means a value that fits the data, given in brackets.

    Args:
        steps: optimiser steps of each network [6000].
        batch_size: samples a step at every side, at least 2; with several processes, of all together [16].
        width: channels at the full side; each halving doubles them, up to `widest` [16].
        widest: most channels of a feature map.
        phase_steps: steps in which a side is faded in, and again those in which it then settles, before the next; what
            is left goes to the full side [as many as it leaves for that: equal shares].
        generator_lr: learning rate of the generator.
        critic_lr: learning rate of the critic.
        beta1: decay of Adam's first moment, 0 to below 1.
        beta2: decay of Adam's second moment, 0 to below 1.
        gradient_penalty: weight of the penalty on the gradient's norm between real and generated samples.
        drift: weight of the squared scores of real samples.
        ema: decay a step of the averaged weights that are kept, 0 to below 1; 0 keeps the last ones.

    Raises:
        ArgumentError: if a value is out of its range.

    References:
        Karras, Aila, Laine, Lehtinen (2018), "Progressive growing of GANs", appendix A.1.
    """

    widest: int = 128
    phase_steps: int | None = None
    generator_lr: float = 3e-3  # 1e-3 is for the far longer runs of the paper
    critic_lr: float = 3e-3
    beta1: float = 0.0
    beta2: float = 0.99
    gradient_penalty: float = 10.0
    drift: float = 1e-3
    ema: float = 0.999

    most: ClassVar[dict[str, int]] = {**RunConfig.most, "widest": 2**16, "phase_steps": 10**9}
    shares: ClassVar[dict[str, float]] = {
        **RunConfig.shares,
        **dict.fromkeys(("generator_lr", "critic_lr", "gradient_penalty", "drift"), UNLIMITED),
        "beta1": 0.999999,
        "beta2": 0.999999,
    }


def train_progressive(
    data: Data,
    config: ProgressiveConfig = ProgressiveConfig(),
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    on_step: OnStep | None = None,
    progress: bool = True,
    log_dir: str | os.PathLike[str] | None = None,
) -> Checkpoint:
    """Train a generator and its critic by progressive growing, from images of side 4 to those of the data.

    `schedule` says which side is trained at which step. A run that goes on for more `steps` keeps the
    `phase_steps` that it was begun with, and trains the full side for longer. On the way the generator's images
    are of the full side, enlarged from the one that it has grown to, and so it is in snapshots.

    Args:
        data: images of one power-of-two side from 16.
        config: the settings.
        out: the run's folder: it gets the checkpoint at the end, and snapshots in `snapshots/` on the way and
            after a Ctrl-C or SIGTERM, which stops the run when its step is whole.
        resume: go on from the newest snapshot in `out`; without one, begin.
        on_step: called after each step.
        progress: show a progress bar on standard error.
        log_dir: folder for TensorBoard's event files.

    Returns:
        A checkpoint with the averaged generator and the critic, both on the CPU in eval mode, the
        held-out samples, and the history: `step`, `seconds`, `critic_loss`, `generator_loss`, `real_logit`,
        `fake_logit`, the norms of both gradients, the `side` trained, and the health numbers, as for `train_gan`.

    Raises:
        DataError: if the data are not images that fit the networks, or there are fewer than 4.
        ArgumentError: if settings do not fit the data or the machine's memory, if `resume` meets a run of
            other settings or data, or is missing where an unfinished run waits.
        DivergenceError: if a loss, a gradient or a weight is not finite; what was saved before stays.
        MissingDependencyError: if TensorBoard is asked for and not installed.
    """
    if resume and out is not None and config.phase_steps is None and (begun := begun_in(Path(out))) is not None:
        config = replace(config, phase_steps=begun.settings.get("phase_steps"))
    train, held_out, settings = prepared(_resolved(config, data), data, _networks)
    training = Progressive(train, held_out, settings)
    return run(training, out=out, resume=resume, on_step=on_step, progress=progress, log_dir=log_dir)


def _resolved(config: ProgressiveConfig, data: Data) -> Any:
    if not data.is_images:
        raise DataError(f"progressive growing is for images, and {data.name} has points; train_gan learns them")
    settings = resolved(config, data, _DEFAULTS)
    size = data.samples.shape[-1]
    if settings.width > settings.widest:
        raise ArgumentError(f"width must be at most widest, {settings.widest}, got {settings.width}")
    if settings.phase_steps is None:
        settings = replace(settings, phase_steps=max(1, settings.steps // phases(size)))
    side, alpha = schedule(settings.steps, size, settings.phase_steps)
    if (side, alpha) != (size, 1.0):
        needed = settings.phase_steps * (phases(size) - 1)
        warnings.warn(
            f"{settings.steps} steps end at side {side} with its newest block at {alpha:.0%}; "
            f"the images' side {size} takes {needed} of {settings.phase_steps} a phase",
            UserWarning,
            stacklevel=3,
        )
    return settings


def _networks(data: Data, config: Any) -> Any:
    """Return a function that makes the generator and the critic for such images."""
    channels, size = data.samples.shape[1], data.samples.shape[2]
    return lambda: (
        ProgressiveGenerator(config.latent_dim, channels, size, config.width, config.widest),
        ProgressiveCritic(channels, size, config.width, config.widest),
    )


class Progressive(Training):
    """The steps of progressive growing."""

    name = "progressive"

    def __init__(self, data: Data, held_out: Data, config: Any) -> None:
        super().__init__(data, held_out, config)
        self.loss, self.size = LOSSES["wasserstein"], data.samples.shape[-1]
        self.generator_net, self.critic_net = initialised(_networks(data, config), config.seed)
        for module in (self.generator_net, self.critic_net):
            lay_out(module.to(self.device), torch.channels_last)
        self.prior, self.average = Normal(config.latent_dim), Average(self.generator_net, config.ema)
        self.generator_steps = adam(self.generator_net, config.generator_lr, config)
        self.critic_steps = adam(self.critic_net, config.critic_lr, config)
        if self.group.size > 1:
            # A wrapper for all parameters would wait for those of sides that are not there yet.
            for module in (self.generator_net, self.critic_net):
                for parameter in module.parameters():
                    parameter.register_hook(self.group.mean_of)
            spread = self.critic_net.last[0]
            spread.__class__, spread.processes = _SharedStd, self.group

    def parts(self) -> dict[str, Any]:
        """Return both networks, the average, and the optimisers' moments."""
        return {
            "generator": self.generator_net,
            "critic": self.critic_net,
            "average": self.average,
            "generator_steps": self.generator_steps,
            "critic_steps": self.critic_steps,
        }

    def generator(self) -> Generator:
        """Return the averaged generator, grown as far as it is now."""
        return wrap(alone(self.average.module), self.prior)

    def critic(self) -> Critic:
        """Return the critic, grown as far as it is now."""
        return self.critic_net

    def finished(self) -> dict[str, Any]:
        """Return the averaged generator and the critic; how far they have grown is part of them."""
        average: Any = alone(self.average.module)
        critic: Any = alone(self.critic_net)
        critic.last[0].__class__ = MinibatchStd
        on_cpu(average, critic)
        return {"generator": wrap(average, self.prior), "critic": critic}

    def step(self, step: int) -> dict[str, Tensor]:
        """Update the critic, then the generator, at the side that the schedule says."""
        side, alpha = schedule(step, self.size, self.config.phase_steps)
        for module in (self.generator_net, self.critic_net):
            module.grow(side, alpha)
        real, latents, mix = self._batch(step, side, alpha)
        with self.low_precision():
            fake = self.generator_net.at(latents, side, alpha)
        numbers = self._update_critic(real, fake.detach(), mix, alpha) | self._update_generator(fake, alpha)
        self.average.update(self.generator_net)
        return {**numbers, "side": torch.tensor(float(side), device=self.device)}

    def _batch(self, step: int, side: int, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return this process's real images and latents of a step, and uniforms (n,)."""
        config = self.config
        n = config.batch_size
        draws = torch.from_numpy(streams.uniform(n, 2, seed=config.seed, start=step * n, stream=streams.BATCHES))
        draws, latents = draws[self.share], self.normals(step, streams.TRAINING)[self.share]
        real = self.data.floats((draws[:, 0] * len(self.data)).long()).to(self.device)
        return at_stage(real, side, alpha), latents, draws[:, 1].to(real)

    def _update_critic(self, real: Tensor, fake: Tensor, mix: Tensor, alpha: float) -> dict[str, Tensor]:
        config, critic = self.config, self.critic_net
        with self.low_precision():
            # Apart, since the critic compares the samples of a batch.
            real_logits, fake_logits = critic.at(real, alpha), critic.at(fake, alpha)
        loss = self.loss.critic(real_logits, fake_logits, 0.0)
        numbers = {"critic_loss": loss, "real_logit": real_logits.mean(), "fake_logit": fake_logits.mean()}
        if config.gradient_penalty:
            penalty = gradient_penalty(lambda samples: critic.at(samples, alpha), real, fake, mix)
            loss = loss + config.gradient_penalty * penalty
        if config.drift:
            loss = loss + config.drift * real_logits.square().mean()
        return {**numbers, "critic_gradient": descend(loss, self.critic_steps, critic)}

    def _update_generator(self, fake: Tensor, alpha: float) -> dict[str, Tensor]:
        critic = self.critic_net.requires_grad_(False)
        with self.low_precision():
            loss = self.loss.generator(critic.at(fake, alpha))
        gradient = descend(loss, self.generator_steps, self.generator_net)
        critic.requires_grad_(True)
        return {"generator_loss": loss, "generator_gradient": gradient}


class _SharedStd(MinibatchStd):
    """Compares the samples of the batches of all processes, as one process with the whole batch does."""

    processes: Group

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C + 1, H, W) for this process's (N, C, H, W)."""
        if not self.training:
            return super().forward(x)
        count = len(x) * self.processes.size
        share = self.processes.share(count)
        whole = x.new_zeros(count, *x.shape[1:], dtype=torch.float32)
        whole[share] = x.float()
        # The mean of what is zero elsewhere: a sum would gather it.
        whole = self.processes.mean_of(whole) * self.processes.size
        return super().forward(whole)[share].to(x.dtype)
