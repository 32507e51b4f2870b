"""Settings of the trainers, and the values that they take for a kind of data."""

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch

from latentkit.checks import as_count, as_number, as_seed, one_of
from latentkit.console import check_threads
from latentkit.errors import ArgumentError, DataError
from trainers.data.dataset import Data
from trainers.loop import native_bfloat16

__all__ = ["GANConfig", "fitting_batch", "is_image_side", "resolved"]

# Chosen from a few runs of one seed each: on the digits (16 latent dimensions), Fashion-MNIST and the 25 Gaussians.
_FOR_IMAGES: dict[str, Any] = {"latent_dim": 64, "steps": 3000, "batch_size": 32, "r1": 0.2, "width": 32}
_FOR_POINTS: dict[str, Any] = {"latent_dim": 2, "steps": 5000, "batch_size": 256, "r1": 0.02, "width": 128}
_MANY_IMAGES, _STEPS_FOR_MANY, _SHIFT_FOR_FEW = 10_000, 10_000, 0.0625

# Beyond these a slip of the finger is likelier than a wish.
_MOST_OF = {"latent_dim": 2**16, "steps": 10**9, "batch_size": 2**20, "width": 2**16, "holdout": 10**9}

_MOST = {
    "generator_lr": math.inf,
    "critic_lr": math.inf,
    "r1": math.inf,
    "beta1": 0.999999,
    "beta2": 0.999999,
    "ema": 0.999999,
    "shift": 0.5,
}


@dataclass(frozen=True)
class GANConfig:
    """Settings of `train_gan`; None means a value that fits the kind of data, given in brackets.

    Args:
        latent_dim: size of a latent, at most 65536 [64 for images, 2 for points].
        seed: number from 0 to 2**64 - 1 that decides everything random.
        steps: optimiser steps of each network [3000 for images, 10000 from 10,000 images on, 5000 for points].
        batch_size: samples a step, at least 2 [32 for images, 256 for points].
        generator_lr: learning rate of the generator's Adam.
        critic_lr: learning rate of the critic's Adam.
        beta1: decay of Adam's first moment, 0 to below 1.
        beta2: decay of Adam's second moment, 0 to below 1.
        r1: weight of the penalty on the critic's squared gradient at real samples [0.2 for images, 0.02 for points].
        ema: decay a step of the averaged generator, 0 to below 1; 0 keeps the last weights.
        width: channels at half the image's side, or units of a hidden layer [32 for images, 128 for points].
        shift: largest move of the images that the critic sees, as a share of their side; it keeps the critic from
            learning a small set by heart [0.0625 below 10,000 images, else 0].
        holdout: samples kept from training [a sixth of the data, at most 2000].
        threads: threads that torch may use [as many as torch is set to].
        precision: float32, or bfloat16 for the networks' products [bfloat16 where the processor has it, for images].
        device: where to train, such as cpu or cuda; the result is on the CPU.

    Raises:
        ArgumentError: if a value is out of its range.
    """

    latent_dim: int | None = None
    seed: int = 0
    steps: int | None = None
    batch_size: int | None = None
    generator_lr: float = 1e-3
    critic_lr: float = 1e-3
    beta1: float = 0.0
    beta2: float = 0.99
    r1: float | None = None
    ema: float = 0.998
    width: int | None = None
    shift: float | None = None
    holdout: int | None = None
    threads: int | None = None
    precision: str | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        as_seed(self.seed)
        for name, most in _MOST_OF.items():
            value = getattr(self, name)
            if value is not None and as_count(value, name) > most:
                raise ArgumentError(f"{name} must be at most {most}, got {value}")
        if self.threads is not None:
            check_threads(as_count(self.threads, "threads"))
        if self.batch_size == 1:
            raise ArgumentError("batch_size must be at least 2 (batch norm compares samples), got 1")
        for name, most in _MOST.items():
            if getattr(self, name) is not None:
                as_number(getattr(self, name), name, least=0.0, most=most)
        if self.precision is not None:
            one_of(self.precision, "precision", ("float32", "bfloat16"))
        try:
            torch.device(self.device)
        except (RuntimeError, TypeError) as error:
            raise ArgumentError(
                f"device must be one that torch knows, such as cpu or cuda, got {self.device!r}"
            ) from error


def is_image_side(side: int) -> bool:
    """Whether the networks make square images of this side."""
    return 16 <= side <= 1024 and side & (side - 1) == 0


def resolved(config: GANConfig, data: Data) -> Any:
    """Return the config with a value for every None. Typed Any, as no field is None any more."""
    if len(data) < 4:
        raise DataError(f"{data.name} has {len(data)} samples; training needs at least 4, better 1,000")
    if data.is_images:
        _, _, height, width = data.samples.shape
        if height != width or not is_image_side(height):
            raise DataError(
                f"{data.name} has images of {height}x{width}; the side must be a power of two from 16 to 1024: "
                "resize them, for example with image_folder(path, size=32)"
            )
    try:
        torch.zeros(1, device=config.device).item()
    except (RuntimeError, AssertionError) as error:
        raise ArgumentError(f"device {config.device!r} cannot be used here: {error}") from error
    many = data.is_images and len(data) >= _MANY_IMAGES
    defaults = {
        **(_FOR_IMAGES if data.is_images else _FOR_POINTS),
        **({"steps": _STEPS_FOR_MANY} if many else {}),
        "shift": _SHIFT_FOR_FEW if data.is_images and not many else 0.0,
        "holdout": min(2000, max(1, len(data) // 6)),
        "threads": torch.get_num_threads(),
        "precision": "bfloat16" if data.is_images and native_bfloat16(config.device) else "float32",
    }
    return replace(config, **{name: value for name, value in defaults.items() if getattr(config, name) is None})


def fitting_batch(config: Any, available: int) -> Any:
    """Lower the batch size to the samples there are."""
    if config.batch_size <= available:
        return config
    if available < 2:
        raise DataError(f"only {available} sample is left to train on; hold out fewer or bring more")
    warnings.warn(
        f"batch_size is lowered from {config.batch_size} to the {available} samples there are to train on",
        UserWarning,
        stacklevel=3,
    )
    return replace(config, batch_size=available)
