"""The settings that all trainers share, and the values that they take for a kind of data."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch

from latentkit.checks import as_count, as_number, as_seed, one_of
from latentkit.console import check_threads, machine_memory
from latentkit.errors import ArgumentError, DataError
from trainers.data.dataset import Data
from trainers.loop import native_bfloat16

__all__ = ["HIDDEN_LAYERS", "RunConfig", "check_fits", "check_memory", "is_image_side", "prepared", "resolved"]

HIDDEN_LAYERS = 3  # of the networks for points


@dataclass(frozen=True)
class RunConfig:
    """Settings of every trainer; None means a value that fits the data, given in brackets.

    Args:
        latent_dim: size of a latent, at most 65536 [64 for images, 2 for points].
        seed: number from 0 to 2**64 - 1 that decides everything random.
        steps: optimiser steps of each network.
        batch_size: samples a step, at least 2; with several processes, of all together.
        width: channels at half the image's side, or units of a hidden layer.
        ema: decay a step of the averaged weights that are kept, 0 to below 1; 0 keeps the last ones.
        holdout: samples kept from training [a sixth of the data, at most 2000].
        threads: threads that torch may use [as many as torch is set to].
        precision: float32, or bfloat16 for the networks' products [bfloat16 where the processor has it, for images].
        device: where to train, such as cpu or cuda; the result is on the CPU.
        save_every: steps between two snapshots of a run that has a folder.
        keep: how many snapshots stay, the newest ones; at least 1.
        check_every: steps between two looks at the samples' health.

    Raises:
        ArgumentError: if a value is out of its range.
    """

    latent_dim: int | None = None
    seed: int = 0
    steps: int | None = None
    batch_size: int | None = None
    width: int | None = None
    ema: float = 0.998
    holdout: int | None = None
    threads: int | None = None
    precision: str | None = None
    device: str = "cpu"
    save_every: int = 1000
    keep: int = 2
    check_every: int = 250

    # Beyond these a slip of the finger is likelier than a wish.
    most: ClassVar[dict[str, int]] = {
        "latent_dim": 2**16,
        "steps": 10**9,
        "batch_size": 2**20,
        "width": 2**16,
        "holdout": 10**9,
        "save_every": 10**9,
        "keep": 10**6,
        "check_every": 10**9,
    }
    #: Real numbers from 0 to these.
    shares: ClassVar[dict[str, float]] = {"ema": 0.999999}
    #: Settings that may change when a run goes on: they do not alter what a step does.
    free: ClassVar[frozenset[str]] = frozenset({"steps", "threads", "device", "save_every", "keep"})

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) is None and field.default is not None:
                raise ArgumentError(f"{field.name} must have a value, got None; its default is {field.default!r}")
        # Kept as plain numbers, whatever number type came: they are written as JSON when the training is over.
        plain: dict[str, int | float] = {"seed": as_seed(self.seed)}
        for name, most in self.most.items():
            value = getattr(self, name)
            if value is None:
                continue
            plain[name] = as_count(value, name, least=0 if name in self.from_zero else 1)
            if plain[name] > most:
                raise ArgumentError(f"{name} must be at most {most}, got {value}")
        if self.threads is not None:
            plain["threads"] = as_count(self.threads, "threads")
            check_threads(plain["threads"])
        if self.batch_size == 1:
            raise ArgumentError("batch_size must be at least 2 (samples of a batch are compared), got 1")
        for name, most in self.shares.items():
            if getattr(self, name) is not None:
                plain[name] = as_number(getattr(self, name), name, least=0.0, most=most)
        for name, number in plain.items():
            object.__setattr__(self, name, number)
        if self.precision is not None:
            one_of(self.precision, "precision", ("float32", "bfloat16"))
        for field in fields(self):
            if isinstance(field.default, bool) and not isinstance(getattr(self, field.name), bool):
                raise ArgumentError(f"{field.name} must be True or False, got {getattr(self, field.name)!r}")
        wanted = f"device must be the name of one that torch knows, such as 'cpu' or 'cuda', got {self.device!r}"
        if not isinstance(self.device, str):
            raise ArgumentError(wanted)
        try:
            torch.device(self.device)
        except RuntimeError as error:
            raise ArgumentError(wanted) from error

    #: Counts that may be 0.
    from_zero: ClassVar[frozenset[str]] = frozenset()


#: The largest value of a setting that has no other limit.
UNLIMITED = math.inf


def is_image_side(side: int) -> bool:
    """Whether the networks make square images of this side."""
    return 16 <= side <= 1024 and side & (side - 1) == 0


def resolved(config: RunConfig, data: Data, defaults: dict[str, Any]) -> Any:
    """Return the config with a value for every None. Typed Any, as no field is None any more.

    Args:
        config: the settings.
        data: what they are for.
        defaults: the trainer's values for this kind of data.

    Raises:
        DataError: if the data have fewer than 4 samples, or images of a side that no network makes.
        ArgumentError: if the device cannot be used.
    """
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
    values = {
        "latent_dim": 64 if data.is_images else 2,
        "holdout": min(2000, max(1, len(data) // 6)),
        "threads": torch.get_num_threads(),
        "precision": "bfloat16" if data.is_images and native_bfloat16(config.device) else "float32",
        **defaults,
    }
    return replace(config, **{name: value for name, value in values.items() if getattr(config, name) is None})


def prepared(settings: Any, data: Data, networks: Callable[[Data, Any], Any]) -> tuple[Data, Data, Any]:
    """Return what is trained on, what is held out, and the settings, their batch no larger than the first.

    Args:
        settings: from `resolved`.
        data: what they are for.
        networks: takes data and settings and returns a function that makes the networks, the averaged one first.

    Raises:
        DataError: if fewer than two samples are left to train on.
        ArgumentError: if the networks would be too large for this machine's memory.
    """
    train, held_out = data.split(settings.holdout, settings.seed)
    settings = _fitting_batch(settings, len(train))
    check_memory(networks(train, settings), settings)
    return train, held_out, settings


def check_memory(make: Callable[[], Any], config: Any) -> None:
    """Refuse networks that cannot be trained here, before the system ends the process for them.

    Args:
        make: returns the networks, the averaged one first.
        config: the settings, with `width`, `latent_dim` and `device`.
    """
    with torch.device("meta"):  # where nothing is allocated
        weights = [sum(p.numel() for p in network.parameters()) for network in make()]
    made = f"width {config.width} and latent_dim {config.latent_dim} make networks of {sum(weights):,} weights, which"
    # Each weight has its gradient and two moments, the averaged network's an average as well.
    check_fits(4 * (4 * sum(weights) + weights[0]), config.device, made, "lower them")


def check_fits(needed: int, device: str, what: str, advice: str) -> None:
    """Raise `ArgumentError` if so many bytes are more than this machine has and they are needed on the CPU.

    Args:
        needed: bytes.
        device: where they are needed.
        what: needs them, as the beginning of a sentence.
        advice: what to do.
    """
    memory = machine_memory()
    if torch.device(device).type == "cpu" and needed > memory:
        raise ArgumentError(
            f"{what} need {needed / 1e9:,.0f} GB to train, and this machine has {memory / 1e9:,.0f} GB; {advice}"
        )


def _fitting_batch(config: Any, available: int) -> Any:
    if config.batch_size <= available:
        return config
    if available < 2:
        raise DataError(f"only {available} sample is left to train on; hold out fewer or bring more")
    warnings.warn(
        f"batch_size is lowered from {config.batch_size} to the {available} samples there are to train on",
        UserWarning,
        stacklevel=4,
    )
    return replace(config, batch_size=available)
