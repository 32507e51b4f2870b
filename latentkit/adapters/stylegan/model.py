"""A StyleGAN: one network, seen as generators of z, w and w+, and its critic."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from latentkit.adapters.stylegan.views import Rendering, WPlusView, WView, ZView, noise_maps
from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_latents
from latentkit.conditional.classes import index_of
from latentkit.errors import LabelError
from latentkit.nets.stylegan import StyleGAN2Critic, StyleGenerator
from latentkit.priors import Empirical, Normal, Prior, Tied
from latentkit.protocols import ConditionalGenerator, Wrapped, evaluating, place_of, wrap

__all__ = ["DRAWS", "StyleGAN"]

#: Latents that the prior of w is fitted to, and its mean is taken over, as published.
DRAWS = 10_000
_BATCH = 1024
#: Images that a critic is settled on, at least.
_SETTLING = 16


@dataclass(frozen=True, eq=False)
class StyleGAN:
    """A StyleGAN's networks, and the generators that can be made of them.

    `z`, `w` and `wplus` are generators over one network, with the noise that is stored with the weights and without
    truncation; `view_z`, `view_w` and `view_wplus` make others. A latent of w+ holds one w for each layer. Edits are
    best in w or w+, samples are drawn in z.

    The prior of w is a Gaussian that is fitted to 10,000 mapped latents when it is first needed: its mean and
    covariance are those of w, its shape is simpler.

    Attributes: `network`; `classes`, their names; `discriminator`, or None.
    """

    network: StyleGenerator
    classes: tuple[str, ...] = ()
    discriminator: StyleGAN2Critic | None = None
    _fitted: dict[int | None, Prior] = field(default_factory=dict, repr=False)

    @property
    def settings(self) -> dict[str, Any]:
        """What the network was built from."""
        return dict(self.network.settings)

    @property
    def layers(self) -> int:
        """How many layers have a style of their own."""
        return self.network.layers

    @cached_property
    def z(self) -> Wrapped | ConditionalGenerator:
        """The generator of z, which a checkpoint can hold; with classes a `ConditionalGenerator`."""
        return wrap(self.network, Normal(self.network.z_dim), classes=self.classes or None)

    @cached_property
    def w(self) -> WView:
        """The generator of w."""
        return self.view_w()

    @cached_property
    def wplus(self) -> WPlusView:
        """The generator of one w a layer."""
        return self.view_wplus()

    @cached_property
    def critic(self) -> StyleGAN2Critic | None:
        """The discriminator as a critic whose scores don't depend on the batch, or None.

        When it is first asked for, it is settled on 16 generated images or more: see `StyleGAN2Critic`.
        """
        critic = self.discriminator
        group = None if critic is None else critic.settings["group"]
        if critic is None or group is None:
            return critic
        count = group * -(-_SETTLING // group)
        z, labels = Normal(self.network.z_dim).sample(count, seed=0), self._labels(count, None)
        device, dtype = place_of(self.network)
        with evaluating(self.network, critic), torch.no_grad():
            images = []
            for i in range(0, count, group):
                given = None if labels is None else labels[i : i + group].to(device)
                images.append(self.network(z[i : i + group].to(device, dtype), given))
            critic.settle(torch.cat(images))
        return critic

    def view_z(
        self, *, psi: float = 1.0, cutoff: int | None = None, noise: str | int = "const"
    ) -> ZView | ConditionalGenerator:
        """Return the generator of z, truncated in w.

        Args:
            psi: 1 leaves w as it is, 0 gives the mean w of training; values above 1 exaggerate.
            cutoff: only layers below this number are truncated, the coarse ones; None for all.
            noise: "const" for the stored noise, "none", or a seed.

        Raises:
            ArgumentError: if an argument is out of its range.
        """
        prior = Normal(self.network.z_dim)
        view = ZView(self.network, prior, self._rendering(psi, cutoff, noise))
        return ConditionalGenerator(view, prior, self.classes) if self.classes else view

    def view_w(
        self, *, psi: float = 1.0, cutoff: int | None = None, noise: str | int = "const", label: str | int | None = None
    ) -> WView:
        """Return the generator of w, whose prior is that of a class if a `label` is given; see `view_z`.

        Raises:
            LabelError: if there is no such class.
        """
        return WView(self.network, self._prior(label), self._rendering(psi, cutoff, noise))

    def view_wplus(
        self, *, psi: float = 1.0, cutoff: int | None = None, noise: str | int = "const", label: str | int | None = None
    ) -> WPlusView:
        """Return the generator of one w a layer; see `view_w`. Draws from its prior have one w in all layers."""
        prior = Tied(self._prior(label), self.network.layers)
        return WPlusView(self.network, prior, self._rendering(psi, cutoff, noise))

    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the intermediate latents w (N, w_dim) of latents z (N, z_dim), on the CPU.

        Args:
            z: the latents.
            labels: class numbers (N,), or weights of the classes (N, classes), if there are classes.

        Raises:
            ShapeError: if the latents are not (N, z_dim).
            LabelError: if labels are missing, do not fit, or there are no classes.
        """
        z = as_latents(z, self.network.z_dim)
        device, dtype = place_of(self.network)
        found = []
        with evaluating(self.network), torch.no_grad():
            for i in range(0, len(z), _BATCH):
                given = None if labels is None else labels[i : i + _BATCH].to(device)
                found.append(self.network.map(z[i : i + _BATCH].to(device, dtype), given).cpu())
        return torch.cat(found)

    def lifted(self, w: Tensor) -> Tensor:
        """Return the latents of w+ (N, L * w_dim) that make the same images as w (N, w_dim)."""
        return as_latents(w, self.network.w_dim).repeat(1, self.network.layers)

    def checkpoint(self, holdout: Tensor | None = None, *, data: str = "unnamed") -> Checkpoint:
        """Return a checkpoint of the generator of z and the critic, to be saved and explored by the command line.

        Args:
            holdout: (M, channels, size, size) real samples in [-1, 1] that training never saw, which tell how far the
                critic can be believed; by default none.
            data: what the network was trained on.
        """
        settings = self.network.settings
        held = torch.empty(0, settings["channels"], settings["size"], settings["size"]) if holdout is None else holdout
        return Checkpoint(self.z, self.critic, held, classes=self.classes, data=data, trainer=self.network.network)

    def _rendering(self, psi: float, cutoff: int | None, noise: str | int) -> Rendering:
        self.network.truncated(torch.empty(0, self.network.layers, self.network.w_dim), psi, cutoff)
        return Rendering(psi, cutoff, noise_maps(self.network, noise))

    def _prior(self, label: str | int | None) -> Prior:
        number = None if label is None else self._number(label)
        if number not in self._fitted:
            z = Normal(self.network.z_dim).sample(DRAWS, seed=0)
            self._fitted[number] = Empirical.fit(self.map(z, self._labels(DRAWS, number)))
        return self._fitted[number]

    def _labels(self, n: int, number: int | None) -> Tensor | None:
        """Return class numbers (n,): one class, or all in turn; None without classes."""
        if not self.classes:
            return None
        return torch.arange(n) % len(self.classes) if number is None else torch.full((n,), number)

    def _number(self, label: str | int) -> int:
        if not self.classes:
            raise LabelError(f"this network has no classes, so it takes no label; got {label!r}")
        return index_of(label, self.classes)
