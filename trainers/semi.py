"""Semi-supervised GANs: a classifier that learns from few labels, and from the rest of the data without any.

The critic has a logit for each of K classes of real samples, and one, fixed at 0, for generated ones. What is
labelled teaches it the classes; what is not, that it is of some class; what is generated, that it is of none. A
generator that matches the mean of its features shows it where the classes are not, between which it then divides.

References:
    Salimans et al. (2016), "Improved techniques for training GANs", sections 3.1 and 5.
"""

import os
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from latentkit import streams
from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_count, one_of
from latentkit.errors import LabelError
from latentkit.nets import ConvClassifier, ConvGenerator, MLPClassifier, MLPGenerator
from latentkit.protocols import evaluating, place_of
from trainers.data.dataset import Data
from trainers.gan import Adversarial
from trainers.loop import shifted
from trainers.losses import LOSSES
from trainers.run import OnStep, run
from trainers.settings import HIDDEN_LAYERS, UNLIMITED, RunConfig, prepared, resolved

__all__ = ["SemiConfig", "SemiSupervised", "accuracy", "labelled_rows", "resolved_semi", "train_semi_supervised"]

_AT_ONCE = 500  # samples that are classified at once

_FOR_IMAGES: dict[str, Any] = {"steps": 3000, "batch_size": 32, "width": 32, "r1": 0.2, "shift": 0.0625}
_FOR_POINTS: dict[str, Any] = {"steps": 3000, "batch_size": 256, "width": 128, "r1": 0.02, "shift": 0.0}


@dataclass(frozen=True)
class SemiConfig(RunConfig):
    """Settings of `train_semi_supervised`; None means a value that fits the data, given in brackets.

    Args:
        labels_per_class: how many labels of each class are used; the others are not looked at.
        steps: optimiser steps of each network [3000].
        batch_size: samples a step, at least 2, real ones with labels, real ones without, and generated ones each;
            with several processes, of all together [32 for images, 256 for points].
        width: channels at half the image's side, or units of a hidden layer [32 for images, 128 for points].
        supervised: weight of the classification of the labelled samples.
        feature_matching: whether the generator matches the mean of the classifier's last hidden layer; if not, it
            learns from `loss` as well.
        loss: non-saturating, saturating, least-squares, hinge or wasserstein, of the log-odds of being real.
        generator_lr: learning rate of the generator.
        critic_lr: learning rate of the classifier.
        beta1: decay of Adam's first moment, 0 to below 1.
        beta2: decay of Adam's second moment, 0 to below 1.
        r1: weight of the penalty on the classifier's squared gradient at real samples [0.2 for images, 0.02 for
            points].
        shift: largest move of the images that the classifier sees, as a share of their side [0.0625 for images].
        check_every: steps between two looks at the samples' health and at the accuracy.

    Raises:
        ArgumentError: if a value is out of its range.

    References:
        Salimans et al. (2016), "Improved techniques for training GANs", section 5.
    """

    labels_per_class: int = 10
    supervised: float = 1.0
    feature_matching: bool = True
    loss: str = "non-saturating"
    generator_lr: float = 1e-3
    critic_lr: float = 1e-3
    beta1: float = 0.0
    beta2: float = 0.99
    r1: float | None = None
    shift: float | None = None

    most: ClassVar[dict[str, int]] = {**RunConfig.most, "labels_per_class": 10**9}
    shares: ClassVar[dict[str, float]] = {
        **RunConfig.shares,
        **dict.fromkeys(("supervised", "generator_lr", "critic_lr", "r1"), UNLIMITED),
        "beta1": 0.999999,
        "beta2": 0.999999,
        "shift": 0.5,
    }

    # What a GAN can have besides, and this one has not.
    network: ClassVar[str] = "classifier"
    conditional: ClassVar[bool] = False
    optimiser: ClassVar[str] = "adam"
    critic_steps: ClassVar[int] = 1
    r2: ClassVar[float] = 0.0
    gradient_penalty: ClassVar[float] = 0.0
    clip: ClassVar[float] = 0.0
    label_smoothing: ClassVar[float] = 0.0
    minibatch_discrimination: ClassVar[int] = 0
    virtual_batch_norm: ClassVar[bool] = False
    historical_averaging: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self.loss, "loss", tuple(LOSSES))


def train_semi_supervised(
    data: Data,
    config: SemiConfig = SemiConfig(),
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    on_step: OnStep | None = None,
    progress: bool = True,
    log_dir: str | os.PathLike[str] | None = None,
) -> Checkpoint:
    """Train a classifier of K classes with few labels, as the critic of a generator.

    `labelled_rows` says which labels are used.

    Args:
        data: images of one power-of-two side from 16, or points, with labels.
        config: the settings.
        out: the run's folder: it gets the checkpoint at the end, and snapshots in `snapshots/` on the way and
            after a Ctrl-C or SIGTERM, which stops the run when its step is whole.
        resume: go on from the newest snapshot in `out`; without one, begin.
        on_step: called after each step.
        progress: show a progress bar on standard error.
        log_dir: folder for TensorBoard's event files.

    Returns:
        A checkpoint with the averaged generator; the classifier as its critic, whose `classify` gives the logits of
        the classes; the held-out samples; and the history: what `train_gan` records, `supervised_loss`, and
        `accuracy`, the share of held-out samples that were classified rightly when last measured.

    Raises:
        LabelError: if the data have no labels, or a class has fewer than `labels_per_class`.
        DataError: if the images do not fit the networks, or there are fewer than 4 samples.
        ArgumentError: if settings do not fit the data or the machine's memory, if `resume` meets a run of
            other settings or data, or is missing where an unfinished run waits.
        DivergenceError: if a loss, a gradient or a weight is not finite; what was saved before stays.
        MissingDependencyError: if TensorBoard is asked for and not installed.
    """
    train, held_out, settings = prepared(resolved_semi(config, data), data, _networks)
    training = SemiSupervised(train, held_out, settings)
    return run(training, out=out, resume=resume, on_step=on_step, progress=progress, log_dir=log_dir)


def resolved_semi(config: SemiConfig, data: Data) -> Any:
    """Return the config with a value for every None; see `train_semi_supervised` for the errors."""
    if data.labels is None:
        raise LabelError(f"semi-supervised training needs labels, and {data.name} has none; train_gan needs none")
    settings = resolved(config, data, _FOR_IMAGES if data.is_images else _FOR_POINTS)
    return settings if data.is_images else replace(settings, shift=0.0)


def labelled_rows(data: Data, per_class: int, seed: int) -> Tensor:
    """Return which samples are used with their labels: (K * per_class,) row numbers, as many of each class.

    Rows are taken in an order that `seed` decides, until their class has enough; the result is in increasing order.

    Raises:
        LabelError: if there are no labels, or too few of a class.

    Examples:
        >>> from trainers import moons
        >>> rows = labelled_rows(moons(n=50), 2, seed=0)
        >>> sorted(moons(n=50).labels[rows].tolist())
        [0, 0, 1, 1]
    """
    per_class = as_count(per_class, "labels_per_class")
    if data.labels is None:
        raise LabelError(f"{data.name} has no labels")
    order = torch.from_numpy(streams.permutation(len(data), seed=streams.derived_seed(seed, streams.SPLITS)))
    chosen = []
    for k, name in enumerate(data.classes):
        rows = order[data.labels[order] == k]
        if len(rows) < per_class:
            raise LabelError(
                f"labels_per_class must be at most {len(rows)}, the samples of class {name} to train on, "
                f"got {per_class}"
            )
        chosen.append(rows[:per_class])
    return torch.cat(chosen).sort().values


def accuracy(classifier: Any, samples: Tensor, labels: Tensor) -> float:
    """Return the share of samples (N, *S) whose largest class logit is that of their label (N,).

    Args:
        classifier: with `classify(x (M, *S)) -> logits (M, K)`, such as the critic of `train_semi_supervised`.
        samples: the samples.
        labels: class numbers.
    """
    device, dtype = place_of(classifier)
    with torch.no_grad(), evaluating(classifier):
        found = [classifier.classify(part.to(device, dtype)).argmax(1).cpu() for part in samples.split(_AT_ONCE)]
    return float((torch.cat(found) == labels).float().mean())


def _networks(data: Data, config: Any) -> Any:
    """Return a function that makes the generator and the classifier for such data."""
    classes, width = len(data.classes), config.width
    if not data.is_images:
        dim = data.samples.shape[1]
        return lambda: (
            MLPGenerator(config.latent_dim, dim, width, HIDDEN_LAYERS),
            MLPClassifier(dim, width, HIDDEN_LAYERS, classes),
        )
    channels, size = data.samples.shape[1], data.samples.shape[2]
    return lambda: (
        ConvGenerator(config.latent_dim, channels, size, width),
        ConvClassifier(channels, size, width, classes),
    )


class SemiSupervised(Adversarial):
    """The steps of a GAN whose critic is a classifier that learns from some labels."""

    name = "semi"

    def __init__(self, data: Data, held_out: Data, config: Any) -> None:
        super().__init__(data, held_out, config)
        rows = labelled_rows(data, config.labels_per_class, config.seed)
        labels: Any = data.labels
        self.labelled, self.labels = data.floats(rows), labels[rows]

    def networks(self) -> Any:
        """Return what makes the generator and the classifier."""
        return _networks(self.data, self.config)

    def further_losses(self, number: int) -> dict[str, Tensor]:
        """Return the classification loss of this process's labelled samples in batch `number`."""
        n, seed = self.config.batch_size, streams.derived_seed(self.config.seed, streams.BATCHES)
        draws = torch.from_numpy(streams.uniform(n, 3, seed=seed, start=number * n, stream=streams.BATCHES))
        draws = draws[self.share]
        rows = (draws[:, 0] * len(self.labelled)).long()
        samples = shifted(self.labelled[rows].to(self.device), draws[:, 1:], self.reach)
        with self.low_precision():
            logits = self.plain_critic.classify(samples)
        loss = functional.cross_entropy(logits, self.labels[rows].to(self.device))
        return {"supervised_loss": self.config.supervised * loss}

    def measures(self) -> dict[str, float]:
        """Return the share of held-out samples that are classified rightly now."""
        labels: Any = self.held_out.labels
        return {"accuracy": accuracy(self.plain_critic, self.held_out.floats(), labels)}
