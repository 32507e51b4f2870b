"""A generative adversarial network of one pair of networks: fully connected for points, convolutional for images.

The loss is the non-saturating logistic one with a penalty on the critic's gradient at real samples (R1).
Everything random is a function of (seed, step): the rows of a batch, its latents and its augmentation.

References:
    Goodfellow et al. (2014), "Generative adversarial nets".
    Mescheder, Geiger, Nowozin (2018), "Which training methods for GANs do actually converge?" (R1).
    Karras et al. (2020), "Analyzing and improving the image quality of StyleGAN" (lazy regularisation).
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from latentkit import streams
from latentkit.checkpoint import Checkpoint
from latentkit.console import limited_threads, machine_memory
from latentkit.errors import ArgumentError
from latentkit.metrics import COLLAPSED
from latentkit.nets import ConvCritic, ConvGenerator, MLPCritic, MLPGenerator
from latentkit.priors import Normal
from latentkit.protocols import Critic, Generator, wrap
from trainers.config import GANConfig, fitting_batch, resolved
from trainers.data.dataset import Data
from trainers.loop import (
    Average,
    History,
    initialised,
    lay_out,
    settle_batch_norm,
    shifted,
)

__all__ = ["GANConfig", "GANState", "train_gan"]

_PENALTY_EVERY = 8
_SETTLING_BATCHES = 20
_HIDDEN_LAYERS = 3  # of the networks for points


@dataclass(frozen=True, eq=False)
class GANState:
    """What `on_step` gets after each step: look, but do not change.

    Attributes: `step`, from 1 to `steps`; `generator`, the averaged one; `critic`; `losses`, the step's
    numbers by name.
    """

    step: int
    steps: int
    generator: Generator
    critic: Critic
    losses: dict[str, float]


def train_gan(
    data: Data,
    config: GANConfig = GANConfig(),
    *,
    on_step: Callable[[GANState], None] | None = None,
    progress: bool = True,
) -> Checkpoint:
    """Train a generator and its critic.

    One seed gives bit-equal weights on one machine with one number of threads.

    Args:
        data: images of one power-of-two side from 16, or points.
        config: the settings.
        on_step: called after each step.
        progress: show a progress bar on standard error.

    Returns:
        A checkpoint with the averaged generator and the critic, both on the CPU in eval mode, the
        held-out samples, and the history: the recorded `step`, `seconds` since the start, and means of
        `critic_loss`, `generator_loss`, `real_logit` and `fake_logit` since the step recorded before.

    Raises:
        DataError: if the images do not fit the networks, or there are fewer than 4 samples.
        ArgumentError: if the networks would be too large for this machine's memory.
        DivergenceError: if a loss is not finite.
    """
    run = resolved(config, data)
    train, held_out = data.split(run.holdout, run.seed)
    run = fitting_batch(run, len(train))
    _check_memory(train, run)
    with limited_threads(run.threads):
        generator, critic, history = _train(train, run, on_step, progress)
        _warn_if_collapsed(generator, held_out, run)
    return Checkpoint(
        generator=wrap(generator, Normal(run.latent_dim)),
        critic=critic,
        holdout=held_out.floats(),
        holdout_labels=held_out.labels,
        classes=data.classes,
        data=data.name,
        trainer="gan",
        settings=asdict(run),
        history=history,
    )


def _networks(data: Data, config: Any) -> tuple[nn.Module, nn.Module]:
    if data.is_images:
        channels, size = data.samples.shape[1], data.samples.shape[2]
        generator = ConvGenerator(config.latent_dim, channels, size, config.width)
        return generator, ConvCritic(channels, size, config.width)
    dim = data.samples.shape[1]
    generator = MLPGenerator(config.latent_dim, dim, config.width, _HIDDEN_LAYERS)
    return generator, MLPCritic(dim, config.width, _HIDDEN_LAYERS)


def _check_memory(data: Data, config: Any) -> None:
    """Refuse networks that cannot be trained here, before the system ends the process for them."""
    with torch.device("meta"):  # where nothing is allocated
        generator, critic = _networks(data, config)
    weights = [sum(p.numel() for p in network.parameters()) for network in (generator, critic)]
    # Each weight has its gradient and two moments, the generator's an average as well.
    needed = 4 * (5 * weights[0] + 4 * weights[1])
    if torch.device(config.device).type == "cpu" and needed > machine_memory():
        raise ArgumentError(
            f"width {config.width} and latent_dim {config.latent_dim} make networks of {sum(weights):,} weights, which "
            f"need {needed / 1e9:,.0f} GB to train, and this machine has {machine_memory() / 1e9:,.0f} GB; lower them"
        )


def _latents(config: Any, batch: int) -> Tensor:
    """Return the latents (batch_size, latent_dim) of one step."""
    n = config.batch_size
    draws = streams.normal(n, config.latent_dim, seed=config.seed, start=batch * n, stream=streams.TRAINING)
    return torch.from_numpy(draws).to(config.device, torch.float32)


def _train(
    data: Data, config: Any, on_step: Callable[[GANState], None] | None, progress: bool
) -> tuple[nn.Module, nn.Module, dict[str, list[float]]]:
    device, batch = torch.device(config.device), config.batch_size
    generator, critic = initialised(lambda: _networks(data, config), config.seed)
    for module in (generator, critic):
        lay_out(module.to(device), torch.channels_last)
    average = Average(generator, config.ema)
    betas = (config.beta1, config.beta2)
    generator_adam = torch.optim.Adam(generator.parameters(), config.generator_lr, betas, fused=True)
    critic_adam = torch.optim.Adam(critic.parameters(), config.critic_lr, betas, fused=True)
    low_precision = torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16")
    reach = round(config.shift * data.samples.shape[-1]) if data.is_images else 0
    prior, history, began = Normal(config.latent_dim), History(config.steps), time.monotonic()

    bar = tqdm(range(1, config.steps + 1), desc=f"gan {data.name}", disable=not progress, mininterval=0.5)
    for step in bar:
        draws = torch.from_numpy(
            streams.uniform(batch, 5, seed=config.seed, start=step * batch, stream=streams.BATCHES)
        )
        rows = (draws[:, 0] * len(data)).long()
        real = shifted(data.floats(rows).to(device), draws[:, 1:3], reach)
        with low_precision:
            # One batch of samples serves both networks: the critic learns first, then the generator.
            fake = shifted(generator(_latents(config, step)), draws[:, 3:5], reach)
            real_logits, fake_logits = critic(torch.cat([real, fake.detach()])).chunk(2)
        critic_loss = functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean()
        if step % _PENALTY_EVERY == 0 and config.r1:
            total = critic_loss + _PENALTY_EVERY * config.r1 / 2 * _squared_gradient(critic, real)
        else:
            total = critic_loss
        critic_adam.zero_grad()
        total.backward()
        critic_adam.step()

        critic.requires_grad_(False)
        with low_precision:
            generator_loss = functional.softplus(-critic(fake)).mean()
        generator_adam.zero_grad()
        generator_loss.backward()
        generator_adam.step()
        critic.requires_grad_(True)
        average.update(generator)

        losses = {
            "critic_loss": critic_loss.item(),
            "generator_loss": generator_loss.item(),
            "real_logit": real_logits.mean().item(),
            "fake_logit": fake_logits.mean().item(),
        }
        history.add(step, time.monotonic() - began, **losses)
        bar.set_postfix({name: f"{value:.2f}" for name, value in losses.items()}, refresh=False)
        if on_step is not None:
            on_step(GANState(step, config.steps, wrap(average.module, prior), critic, losses))

    settle_batch_norm(average.module, (_latents(config, config.steps + 1 + k) for k in range(_SETTLING_BATCHES)))
    critic.eval().requires_grad_(False)
    for module in (average.module, critic):
        lay_out(module.to("cpu"), torch.contiguous_format)
    return average.module, critic, history.columns


def _squared_gradient(critic: nn.Module, real: Tensor) -> Tensor:
    """Return the mean squared norm of the critic's gradient at real samples."""
    real = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
    return slope.square().flatten(1).sum(1).mean()


def _warn_if_collapsed(generator: nn.Module, held_out: Data, config: Any) -> None:
    count = min(256, len(held_out))
    if count < 2:
        return
    with torch.no_grad():
        samples = generator(Normal(config.latent_dim).sample(count, seed=config.seed))
    spread = torch.pdist(samples.flatten(1)).mean()
    usual = torch.pdist(held_out.floats(slice(count)).flatten(1)).mean()
    if spread < COLLAPSED * usual:
        warnings.warn(
            f"the samples are nearly identical: their mean distance is {spread:.3g}, that of real samples "
            f"{usual:.3g}; train longer, or with another seed, lower learning rates or a larger r1",
            UserWarning,
            stacklevel=3,
        )
