"""The progressive GAN and the DCGAN of torch.hub's pytorch_GAN_zoo."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentkit.adapters.gan_zoo_weights import homed_critic, homed_generator
from latentkit.adapters.weights import read_weights, unwrapped
from latentkit.checkpoint import Checkpoint
from latentkit.errors import ArgumentError, CheckpointError
from latentkit.nets import DCGANCritic, ProgressiveCritic, ProgressiveGenerator
from latentkit.priors import Normal, Prior
from latentkit.protocols import Wrapped, evaluating, place_of

__all__ = ["ZooGAN", "ZooView", "from_gan_zoo", "load_gan_zoo"]

#: Losses by whether the zoo puts a tanh behind the generator for them.
_LINEAR, _TANH = ("WGANGP", "Logistic"), ("DCGAN", "MSE")
#: What a progressive GAN must have been built with for a bundled network to compute the same.
_BUILT = {"leakyReluLeak": 0.2, "perChannelNormalization": True, "equalizedlR": True}
_GROUP = 4  # images that the zoo's discriminator compares with one another
_CLOSE = 1e-4


class _Settings:
    """Stands for the zoo's class of settings, which holds attributes and does nothing."""


@dataclass(frozen=True, eq=False)
class ZooView:
    """A generator of the zoo as it is, where no bundled network computes the same: a `Generator`.

    Attributes: `module`, the zoo's network; `prior`.
    """

    module: nn.Module
    prior: Prior

    def __call__(self, z: Tensor, /) -> Tensor:
        """Return images (N, channels, size, size) in [-1, 1] for latents (N, D)."""
        return self.module(_shaped(self.module, z)).clamp(-1.0, 1.0)


@dataclass(frozen=True, eq=False)
class ZooGAN:
    """A GAN of the zoo: `generator` and `critic`, which is None where there is none that can be used.

    The networks are bundled ones that compute the same, on the CPU, so that a checkpoint can hold them; only a
    generator of another architecture stays the zoo's. The images of a progressive GAN are clamped to [-1, 1]. The
    discriminator of one may compare an image with 3 others of its batch: here it gets the mean of that number over
    generated images in its place, and scores an image whatever is beside it.
    """

    generator: Wrapped | ZooView
    critic: ProgressiveCritic | DCGANCritic | None

    def checkpoint(self, holdout: Tensor | None = None, *, data: str = "unnamed") -> Checkpoint:
        """Return a checkpoint of the pair, to be saved and explored by the command line.

        Args:
            holdout: (M, channels, size, size) real samples in [-1, 1] that training never saw, which tell how far the
                critic can be believed; by default none.
            data: what the networks were trained on.

        Raises:
            ArgumentError: if the generator is one that no checkpoint can hold.
        """
        settings = getattr(self.generator.module, "settings", None)
        if settings is None:
            raise ArgumentError("this generator has an architecture of its own, which no checkpoint can hold")
        held = torch.empty(0, settings["channels"], settings["size"], settings["size"]) if holdout is None else holdout
        return Checkpoint(self.generator, self.critic, held, data=data, trainer="pytorch_GAN_zoo")


def from_gan_zoo(model: Any, *, averaged: bool = True) -> ZooGAN:
    """Make a generator and a critic of what `torch.hub.load("facebookresearch/pytorch_GAN_zoo:hub", ...)` returns.

    Args:
        model: the PGAN or the DCGAN; it is copied to the CPU, and stays as it is.
        averaged: take the averaged generator if there is one, as `model.test(noise, getAvG=True)` does.

    Raises:
        ArgumentError: if it is no such model, or a conditional one.
    """
    network = getattr(model, "avgG", None) if averaged else None
    network = _inner(getattr(model, "netG", None) if network is None else network)
    if network is None:
        raise ArgumentError(f"from_gan_zoo takes a GAN of pytorch_GAN_zoo with a netG, got {type(model).__name__}")
    _unconditional(getattr(model, "config", None), "this GAN")
    size = getattr(getattr(model, "config", None), "noiseVectorDim", None)
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ArgumentError("this GAN does not say its noiseVectorDim; wrap its generator with latentkit.wrap")
    prior = Normal(size)
    view = ZooView(network, prior)
    try:
        made = homed_generator(unwrapped(network.state_dict()), float(getattr(network, "alpha", 0.0)), "the generator")
        generator: Wrapped | ZooView = Wrapped(made, prior) if _same(made, view) else view
    except CheckpointError:
        generator = view  # of an architecture of its own
    discriminator = _inner(getattr(model, "netD", None))
    critic = None
    if discriminator is not None:
        try:
            alpha = float(getattr(discriminator, "alpha", 0.0))
            critic = homed_critic(unwrapped(discriminator.state_dict()), alpha, "the discriminator")
        except CheckpointError:
            critic = None
    return ZooGAN(generator, _settled(critic, generator))


def load_gan_zoo(file: str | os.PathLike[str], *, averaged: bool = True) -> ZooGAN:
    """Load a PGAN or a DCGAN of the zoo from its file of weights, such as torch.hub downloads, running nothing in it.

    Taken are the files that the zoo saves, with "netG", "netD", "avgG" and "config", and bare state dicts of a
    generator.

    Args:
        file: the file.
        averaged: take the averaged generator if there is one.

    Raises:
        CheckpointError: if the file is missing or damaged, holds anything but tensors and plain settings, or holds a
            network that no bundled one computes; nothing is loaded then.
    """
    source = str(Path(file))
    with torch.serialization.safe_globals([(_Settings, "models.utils.config.BaseConfig")]):
        found = read_weights(file)
    if not isinstance(found, Mapping) or not found:
        raise CheckpointError(f"{source} holds a {type(found).__name__}, not a GAN of the zoo; nothing was loaded")
    parts = dict(found) if "netG" in found or "avgG" in found or "netD" in found else {"netG": found}
    state = (parts.get("avgG") if averaged else None) or parts.get("netG")
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{source} holds a discriminator and no generator; nothing was loaded")
    settings = _settings(parts.get("config"), source)
    alpha = float(settings.get("alpha") or 0.0)
    network = homed_generator(unwrapped(state), alpha, source)
    loss = settings.get("lossCriterion")
    if loss in (_TANH if isinstance(network, ProgressiveGenerator) else _LINEAR):
        raise CheckpointError(
            f"{source} was trained with the loss {loss}, whose generator no bundled network computes; load it with "
            "torch.hub and use from_gan_zoo"
        )
    generator = Wrapped(network, Normal(network.settings["latent_dim"]))
    other = parts.get("netD")
    critic = homed_critic(unwrapped(other), alpha, f"{source}, its netD,") if isinstance(other, Mapping) else None
    return ZooGAN(generator, _settled(critic, generator))


def _settings(config: Any, source: str) -> dict[str, Any]:
    """Return the settings that a file holds, if they are those of a network that can be taken."""
    settings = dict(config) if isinstance(config, Mapping) else dict(getattr(config, "__dict__", {}))
    try:
        _unconditional(config, source)
    except ArgumentError as error:
        raise CheckpointError(f"{error}; nothing was loaded") from None
    other = [name for name, wanted in _BUILT.items() if settings.get(name, wanted) != wanted]
    if other:
        raise CheckpointError(
            f"{source} was built with {other[0]} = {settings[other[0]]!r}, which no bundled network computes; load it "
            "with torch.hub and use from_gan_zoo"
        )
    return settings


def _unconditional(config: Any, what: str) -> None:
    about = config if isinstance(config, Mapping) else getattr(config, "__dict__", {})
    told = about.get("attribKeysOrder")
    if told:
        raise ArgumentError(
            f"{what} is told attributes ({', '.join(map(str, told))}) in its latents, which is not taken; wrap its "
            "generator with latentkit.wrap"
        )


def _inner(network: Any) -> nn.Module | None:
    if isinstance(network, nn.DataParallel):
        network = network.module
    return network if isinstance(network, nn.Module) else None


def _shaped(network: nn.Module, z: Tensor) -> Tensor:
    """Return latents (N, D), as maps (N, D, 1, 1) where the zoo's network begins with a convolution."""
    first = getattr(network, "formatLayer", None)
    return z[:, :, None, None] if isinstance(first, nn.ConvTranspose2d) else z


def _same(made: nn.Module, view: ZooView) -> bool:
    """Whether a bundled generator makes what the zoo's makes."""
    device, dtype = place_of(view)
    z = view.prior.sample(4, seed=0)
    with evaluating(made, view), torch.no_grad():
        try:
            wanted = view(z.to(device, dtype)).float().cpu()
        except RuntimeError:
            return False
        found = made(z)
    return found.shape == wanted.shape and bool(torch.allclose(found, wanted, rtol=_CLOSE, atol=_CLOSE))


def _settled(critic: ProgressiveCritic | DCGANCritic | None, generator: Any) -> ProgressiveCritic | DCGANCritic | None:
    """Return a critic whose comparison with the batch has its mean over 16 generated images, in groups of 4."""
    if not isinstance(critic, ProgressiveCritic):
        return critic
    seen: list[Tensor] = []
    compare = critic.last[0]
    device, dtype = place_of(generator)
    handle = compare.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    try:
        with evaluating(generator, critic), torch.no_grad():
            images = generator(generator.prior.sample(4 * _GROUP, seed=0).to(device, dtype))
            critic(images.float().cpu())
    finally:
        handle.remove()
    spread = (seen[0].unflatten(0, (4, _GROUP)).var(1) + 1e-8).sqrt().mean()
    critic.get_buffer("last.0.running_std").copy_(spread)
    return critic
