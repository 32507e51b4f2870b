"""Generative adversarial networks of one pair of networks: fully connected for points, convolutional for images.

The default is the non-saturating logistic loss with a penalty on the critic's gradient at real samples (R1).
Everything random is a function of (seed, step): the rows of a batch, its latents and its augmentation.

References:
    Goodfellow et al. (2014), "Generative adversarial nets".
    Mescheder, Geiger, Nowozin (2018), "Which training methods for GANs do actually converge?" (R1).
    Karras et al. (2020), "Analyzing and improving the image quality of StyleGAN" (lazy regularisation).
"""

import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit import nets, streams
from latentkit.checkpoint import Checkpoint
from latentkit.conditional import marginal
from latentkit.errors import ArgumentError
from latentkit.priors import Normal
from latentkit.protocols import Critic, Generator, wrap
from trainers.config import GANConfig, resolved_gan
from trainers.data.dataset import Data
from trainers.distributed import alone
from trainers.loop import (
    SETTLING_BATCHES,
    Average,
    adam,
    descend,
    initialised,
    lay_out,
    on_cpu,
    settle_batch_norm,
    shifted,
)
from trainers.losses import LOSSES, gradient_penalty, zero_centred_penalty
from trainers.run import OnStep, Training, run
from trainers.settings import HIDDEN_LAYERS, prepared
from trainers.tricks import PastMean, feature_distance

__all__ = ["Adversarial", "GANConfig", "train_gan"]

_PENALTY_EVERY = 8  # steps between two of the penalties R1 and R2, weighted accordingly
_IMAGE_NETWORKS = {
    "conv": (nets.ConvGenerator, nets.ConvCritic),
    "residual": (nets.ResidualGenerator, nets.ConvCritic),
    "dcgan": (nets.DCGANGenerator, nets.DCGANCritic),
}


def train_gan(
    data: Data,
    config: GANConfig = GANConfig(),
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    on_step: OnStep | None = None,
    progress: bool = True,
    log_dir: str | os.PathLike[str] | None = None,
) -> Checkpoint:
    """Train a generator and its critic.

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
        A checkpoint with the averaged generator and the critic, both on the CPU in eval mode, the
        held-out samples, and the history: the recorded `step`, `seconds` since the start, means since the
        step recorded before of `critic_loss`, `generator_loss`, `real_logit`, `fake_logit` and the norms of
        both gradients, and the newest `spread`, `near_duplicates` and `critic_auc` (see `Health`).

    Raises:
        DataError: if the images do not fit the networks, or there are fewer than 4 samples.
        ArgumentError: if settings do not fit the data or the machine's memory, if `resume` meets a run of
            other settings or data, or is missing where an unfinished run waits.
        DivergenceError: if a loss, a gradient or a weight is not finite; what was saved before stays.
        MissingDependencyError: if TensorBoard is asked for and not installed.
    """
    train, held_out, settings = prepared(resolved_gan(config, data), data, networks)
    training = Adversarial(train, held_out, settings)
    return run(training, out=out, resume=resume, on_step=on_step, progress=progress, log_dir=log_dir)


def networks(data: Data, config: Any) -> Any:
    """Return a function that makes the generator and the critic for such data."""
    classes = len(data.classes) if config.conditional else 0
    critic: dict[str, Any] = {"classes": classes, "minibatch_kernels": config.minibatch_discrimination}
    if config.network != "dcgan":
        critic["spectral"] = config.spectral_norm
    if not data.is_images:
        dim, width = data.samples.shape[1], config.width
        return lambda: (
            nets.MLPGenerator(config.latent_dim, dim, width, HIDDEN_LAYERS, classes=classes),
            nets.MLPCritic(dim, width, HIDDEN_LAYERS, **critic),
        )
    make, judge = _IMAGE_NETWORKS[config.network]
    channels, size = data.samples.shape[1], data.samples.shape[2]
    virtual = config.virtual_batch_norm
    return lambda: (
        make(config.latent_dim, channels, size, config.width, classes=classes, virtual_batch_norm=virtual),
        judge(channels, size, config.width, **critic),
    )


class Adversarial(Training):
    """The steps of a GAN."""

    name = "gan"

    def __init__(self, data: Data, held_out: Data, config: Any) -> None:
        super().__init__(data, held_out, config)
        self.loss = LOSSES[config.loss]
        generator, critic = initialised(self.networks(), config.seed)
        for module in (generator, critic):
            lay_out(module.to(self.device), torch.channels_last)
        self.prior, self.average = Normal(config.latent_dim), Average(generator, config.ema)
        self.plain_generator, self.plain_critic = generator, critic
        if config.virtual_batch_norm:
            generator.reference(*self._reference())
        self.generator_net, self.judge = self.group.parallel(generator), self.group.parallel(_Judge(critic))
        self.generator_steps = _optimiser(generator, config.generator_lr, config)
        self.critic_steps = _optimiser(critic, config.critic_lr, config)
        self.past = [PastMean(module) for module in (generator, critic)] if config.historical_averaging else []
        self.reach = round(config.shift * data.samples.shape[-1]) if data.is_images else 0
        if config.minibatch_discrimination and self.group.size > 1:
            raise ArgumentError(
                "minibatch_discrimination compares the samples of one process, so several would train another critic; "
                "train with one process, or without it"
            )
        # What compares the samples of a batch must not see real and generated ones in one.
        self.apart = config.minibatch_discrimination > 0 or config.network == "dcgan"

    def networks(self) -> Any:
        """Return what makes the generator and the critic."""
        return networks(self.data, self.config)

    def further_losses(self, number: int) -> dict[str, Tensor]:
        """Return further parts of the critic's loss in batch `number`, by name, for a trainer that has some."""
        del number
        return {}

    def parts(self) -> dict[str, Any]:
        """Return both networks, the average, the optimisers' moments, and past means if they count."""
        parts = {
            "generator": self.plain_generator,
            "critic": self.plain_critic,
            "average": self.average,
            "generator_steps": self.generator_steps,
            "critic_steps": self.critic_steps,
        }
        return {**parts, **{f"past{k}": past for k, past in enumerate(self.past)}}

    def generator(self) -> Generator:
        """Return the averaged generator with settled batch norms, over all classes if it is conditional."""
        made = self._wrapped(self._settled())
        return marginal(made) if self.config.conditional else made

    def critic(self) -> Critic:
        """Return the critic."""
        return self.plain_critic

    def finished(self) -> dict[str, Any]:
        """Return the averaged generator with settled batch norms, and the critic."""
        average, critic = self._settled(), alone(self.plain_critic)
        on_cpu(average, critic)
        return {"generator": self._wrapped(average), "critic": critic}

    def _settled(self) -> Any:
        """Return a copy of the averaged generator, whose normalisation fits its weights."""
        average: Any = alone(self.average.module)
        if self.config.virtual_batch_norm:
            average.reference(*self._reference())
        settle_batch_norm(average, self._settling())
        return average

    def _wrapped(self, module: nn.Module) -> Any:
        return wrap(module, self.prior, classes=self.data.classes if self.config.conditional else None)

    def _settling(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield inputs of the generator that no step sees."""
        for k in range(SETTLING_BATCHES):
            batch = self.config.batch_size
            draws = streams.uniform(batch, 1, seed=self.config.seed, start=k * batch, stream=streams.SETTLING)
            rows = (torch.from_numpy(draws[:, 0]) * len(self.data)).long()
            yield self._inputs(self.normals(k, streams.SETTLING), rows)

    def _reference(self) -> tuple[Tensor, ...]:
        """Return the inputs of virtual batch norm's fixed batch."""
        return next(self._settling())

    def _inputs(self, latents: Tensor, rows: Any) -> tuple[Tensor, ...]:
        """Return latents, with the classes of training rows if samples are made for a class."""
        if not self.config.conditional or self.data.labels is None:
            return (latents,)
        return latents, self.data.labels[rows].to(self.device)

    def _batch(self, number: int) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """Return this process's real samples, the generator's inputs, and uniforms (n, 6) of batch `number`."""
        n = self.config.batch_size
        draws = torch.from_numpy(streams.uniform(n, 6, seed=self.config.seed, start=number * n, stream=streams.BATCHES))
        draws = draws[self.share]
        rows = (draws[:, 0] * len(self.data)).long()
        real = shifted(self.data.floats(rows).to(self.device), draws[:, 1:3], self.reach)
        return real, self._inputs(self.normals(number, streams.TRAINING)[self.share], rows), draws

    def step(self, step: int) -> dict[str, Tensor]:
        """Update the critic `critic_steps` times and the generator once."""
        numbers: dict[str, Tensor] = {}
        for number in range((step - 1) * self.config.critic_steps + 1, step * self.config.critic_steps + 1):
            real, inputs, draws = self._batch(number)
            # The last batch of samples serves both networks: the critic learns first, then the generator.
            serves_both = number == step * self.config.critic_steps
            with self.low_precision(), torch.set_grad_enabled(serves_both):
                fake = shifted(self.generator_net(*inputs), draws[:, 3:5], self.reach)
            numbers = self._update_critic(number, real, fake.detach(), inputs[1:], draws)
            if serves_both:
                numbers |= self._update_generator(real, fake, inputs[1:])
        self.average.update(self.plain_generator)
        return numbers

    def _update_critic(
        self, number: int, real: Tensor, fake: Tensor, labels: tuple[Tensor, ...], draws: Tensor
    ) -> dict[str, Tensor]:
        config, critic = self.config, self.plain_critic

        def judged_again(samples: Tensor) -> Tensor:
            return critic(samples, *labels)

        with self.low_precision():
            if self.apart:
                (real_logits, classes), (fake_logits, _) = self.judge(real, *labels), self.judge(fake, *labels)
            else:
                logits, classes = self.judge(torch.cat([real, fake]), *(torch.cat([known, known]) for known in labels))
                real_logits, fake_logits = logits.chunk(2)
        loss = self.loss.critic(real_logits, fake_logits, config.label_smoothing)
        numbers = {"critic_loss": loss, "real_logit": real_logits.mean(), "fake_logit": fake_logits.mean()}
        if labels:
            # Its gradient reaches the probe alone.
            numbers["class_loss"] = functional.cross_entropy(classes[: len(real)], labels[0])
            loss = loss + numbers["class_loss"]
        for name, part in self.further_losses(number).items():
            numbers[name] = part
            loss = loss + part
        if number % _PENALTY_EVERY == 0:
            loss = loss + _PENALTY_EVERY * zero_centred_penalty(judged_again, real, fake, config.r1, config.r2)
        if config.gradient_penalty:
            loss = loss + config.gradient_penalty * gradient_penalty(judged_again, real, fake, draws[:, 5].to(real))
        if self.past:
            loss = loss + config.historical_averaging * self.past[1].distance(critic)
        numbers["critic_gradient"] = descend(loss, self.critic_steps, critic)
        if config.clip:
            with torch.no_grad():
                for parameter in critic.parameters():
                    parameter.clamp_(-config.clip, config.clip)
        if self.past:
            self.past[1].update(critic)
        return numbers

    def _update_generator(self, real: Tensor, fake: Tensor, labels: tuple[Tensor, ...]) -> dict[str, Tensor]:
        critic, generator = self.plain_critic, self.plain_generator
        critic.requires_grad_(False)
        with self.low_precision():
            if self.config.feature_matching:
                loss = feature_distance(critic.features(real), critic.features(fake), self.group)
            else:
                with torch.no_grad():
                    rivals = critic(real, *labels) if self.loss.pairs else None
                loss = self.loss.generator(critic(fake, *labels), rivals)
        total = loss
        if self.past:
            total = loss + self.config.historical_averaging * self.past[0].distance(generator)
        gradient = descend(total, self.generator_steps, generator)
        critic.requires_grad_(True)
        if self.past:
            self.past[0].update(generator)
        return {"generator_loss": loss, "generator_gradient": gradient}


class _Judge(nn.Module):
    """A critic as it is trained: the logits of samples, and their class logits if it gets labels."""

    def __init__(self, critic: nn.Module) -> None:
        super().__init__()
        self.critic: Any = critic

    def forward(self, x: Tensor, *labels: Tensor) -> tuple[Tensor, Tensor]:
        if labels:
            return self.critic.both(x, *labels)
        return self.critic(x), x.new_empty(0)


def _optimiser(module: nn.Module, rate: float, config: Any) -> torch.optim.Optimizer:
    if config.optimiser == "rmsprop":
        return torch.optim.RMSprop(module.parameters(), rate, alpha=config.beta2)
    return adam(module, rate, config)
