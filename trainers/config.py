"""Settings of the GAN trainer, the recipes of the literature, and the values that fit a kind of data."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from latentkit.checks import one_of
from latentkit.errors import ArgumentError
from trainers.data.dataset import Data
from trainers.losses import LOSSES
from trainers.settings import UNLIMITED, RunConfig, resolved

__all__ = ["NETWORKS_BY_NAME", "GANConfig", "resolved_gan"]

NETWORKS_BY_NAME = ("conv", "residual", "dcgan", "mlp")

# Chosen from a few runs of one seed each: on the digits (16 latent dimensions), Fashion-MNIST and the 25 Gaussians.
_FOR_IMAGES: dict[str, Any] = {"steps": 3000, "batch_size": 32, "r1": 0.2, "width": 32, "network": "conv"}
_FOR_POINTS: dict[str, Any] = {"steps": 5000, "batch_size": 256, "r1": 0.02, "width": 128, "network": "mlp"}
_MANY_IMAGES, _STEPS_FOR_MANY, _SHIFT_FOR_FEW = 10_000, 10_000, 0.0625


@dataclass(frozen=True)
class GANConfig(RunConfig):
    """Settings of `train_gan`; None means a value that fits the data, given in brackets.

    Args:
        steps: optimiser steps of each network [3000 for images, 10000 from 10,000 images on, 5000 for points].
        batch_size: samples a step, at least 2; with several processes, of all together [32 for images, 256 for points].
        width: channels at half the image's side, or units of a hidden layer [32 for images, 128 for points].
        network: conv (no normalisation in the critic), residual (its generator has residual blocks), dcgan (the
            published pair), or mlp for points [conv or mlp].
        conditional: whether samples are made for a class and the critic knows it; needs labels.
        loss: non-saturating, saturating, least-squares, hinge, wasserstein, or relativistic: each generated sample
            against a real one, so that logits mean something up to a constant only.
        generator_lr: learning rate of the generator.
        critic_lr: learning rate of the critic.
        optimiser: adam or rmsprop.
        beta1: decay of Adam's first moment, 0 to below 1.
        beta2: decay of Adam's second moment, or of RMSprop's, 0 to below 1.
        critic_steps: steps of the critic for each of the generator.
        r1: weight of the penalty on the critic's squared gradient at real samples [0.2 for images, 0.02 for points].
        r2: weight of the same at generated samples; 0 for none.
        gradient_penalty: weight of the penalty on the gradient's norm between real and generated samples (WGAN-GP).
        clip: bound on every weight of the critic (WGAN); 0 for none.
        spectral_norm: whether the critic's layers are divided by their largest singular value.
        shift: largest move of the images that the critic sees, as a share of their side; it keeps the critic from
            learning a small set by heart [0.0625 below 10,000 images, else 0].
        label_smoothing: how far the critic's target for real samples lies below 1, 0 to 0.5 (one-sided).
        feature_matching: whether the generator matches the mean of the critic's last hidden layer instead.
        minibatch_discrimination: kernels by which the critic compares the samples of a batch; 0 for none.
        virtual_batch_norm: whether the generator's batch norm takes its statistics from one fixed batch.
        historical_averaging: weight of the squared distance of all weights from their mean over the past; 0 for none.

    Raises:
        ArgumentError: if a value is out of its range, or two exclude each other.

    References:
        Goodfellow (2016), "NIPS 2016 tutorial: generative adversarial networks", section 4, and Salimans et al.
        (2016), "Improved techniques for training GANs", section 3, for the last five.
    """

    network: str | None = None
    conditional: bool = False
    loss: str = "non-saturating"
    generator_lr: float = 1e-3
    critic_lr: float = 1e-3
    optimiser: str = "adam"
    beta1: float = 0.0
    beta2: float = 0.99
    critic_steps: int = 1
    r1: float | None = None
    r2: float = 0.0
    gradient_penalty: float = 0.0
    clip: float = 0.0
    spectral_norm: bool = False
    shift: float | None = None
    label_smoothing: float = 0.0
    feature_matching: bool = False
    minibatch_discrimination: int = 0
    virtual_batch_norm: bool = False
    historical_averaging: float = 0.0

    most: ClassVar[dict[str, int]] = {**RunConfig.most, "critic_steps": 1000, "minibatch_discrimination": 1000}
    from_zero: ClassVar[frozenset[str]] = frozenset({"minibatch_discrimination"})
    shares: ClassVar[dict[str, float]] = {
        **RunConfig.shares,
        **dict.fromkeys(("generator_lr", "critic_lr", "r1", "r2", "gradient_penalty", "clip"), UNLIMITED),
        "historical_averaging": UNLIMITED,
        "beta1": 0.999999,
        "beta2": 0.999999,
        "shift": 0.5,
        "label_smoothing": 0.5,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self.optimiser, "optimiser", ("adam", "rmsprop"))
        if self.network is not None:
            one_of(self.network, "network", NETWORKS_BY_NAME)
        one_of(self.loss, "loss", tuple(LOSSES))
        if self.label_smoothing and not LOSSES[self.loss].smooths:
            raise ArgumentError(f"label_smoothing needs a loss with targets, and {self.loss} has none; leave it at 0")
        if self.clip and (self.spectral_norm or self.gradient_penalty):
            raise ArgumentError("clip bounds the critic by itself; use it without spectral_norm and gradient_penalty")

    @classmethod
    def dcgan(cls, **changes: Any) -> "GANConfig":
        """Return the published settings of DCGAN; `changes` are fields to set otherwise.

        References:
            Radford, Metz, Chintala (2016), "Unsupervised representation learning with deep convolutional
            generative adversarial networks", section 4.
        """
        published: dict[str, Any] = {
            "network": "dcgan",
            "latent_dim": 100,
            "batch_size": 128,
            "width": 64,
            "generator_lr": 2e-4,
            "critic_lr": 2e-4,
            "beta1": 0.5,
            "beta2": 0.999,
            "r1": 0.0,
            "ema": 0.0,
            "shift": 0.0,
        }
        return cls(**{**published, **changes})

    @classmethod
    def wgan(cls, **changes: Any) -> "GANConfig":
        """Return the published settings of WGAN with weight clipping; `changes` are fields to set otherwise.

        References:
            Arjovsky, Chintala, Bottou (2017), "Wasserstein GAN", algorithm 1.
        """
        published: dict[str, Any] = {
            "loss": "wasserstein",
            "optimiser": "rmsprop",
            "generator_lr": 5e-5,
            "critic_lr": 5e-5,
            "beta2": 0.99,
            "critic_steps": 5,
            "clip": 0.01,
            "batch_size": 64,
            "r1": 0.0,
        }
        return cls(**{**published, **changes})

    @classmethod
    def wgan_gp(cls, **changes: Any) -> "GANConfig":
        """Return the published settings of WGAN with gradient penalty; `changes` are fields to set otherwise.

        References:
            Gulrajani et al. (2017), "Improved training of Wasserstein GANs", algorithm 1.
        """
        published: dict[str, Any] = {
            "loss": "wasserstein",
            "generator_lr": 1e-4,
            "critic_lr": 1e-4,
            "beta1": 0.0,
            "beta2": 0.9,
            "critic_steps": 5,
            "gradient_penalty": 10.0,
            "batch_size": 64,
            "r1": 0.0,
        }
        return cls(**{**published, **changes})


def resolved_gan(config: GANConfig, data: Data) -> Any:
    """Return the config with a value for every None; see `resolved` for the errors."""
    many = data.is_images and len(data) >= _MANY_IMAGES
    defaults = {
        **(_FOR_IMAGES if data.is_images else _FOR_POINTS),
        **({"steps": _STEPS_FOR_MANY} if many else {}),
        "shift": _SHIFT_FOR_FEW if data.is_images and not many else 0.0,
    }
    run = resolved(config, data, defaults)
    if not data.is_images:
        run = replace(run, shift=0.0)
    if (run.network == "mlp") == data.is_images:
        fits = "conv, residual or dcgan" if data.is_images else "mlp"
        raise ArgumentError(f"network must be {fits} for {data.name}, got {run.network!r}")
    if run.conditional and data.labels is None:
        raise ArgumentError(f"conditional needs labels, and {data.name} has none")
    if run.virtual_batch_norm and not data.is_images:
        raise ArgumentError("virtual_batch_norm is for images: the generator of points has no batch norm")
    if run.spectral_norm and run.network == "dcgan":
        raise ArgumentError("spectral_norm goes with network conv, residual or mlp: dcgan's critic has batch norm")
    return run
