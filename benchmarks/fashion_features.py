"""Features to compare Fashion-MNIST images in: the penultimate layer of a small classifier, trained here.

A distance in these features is not FID, which is one in the features of a certain Inception network, and
can be compared only with distances in the same features. One seed and one thread give the same features.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit import metrics, streams
from latentkit.errors import DataError
from trainers import Data, fashion_mnist
from trainers.data.fashion import DEBIAN_FOLDER
from trainers.data.idx import read_idx
from trainers.loop import initialised, lay_out, native_bfloat16, shifted

__all__ = ["NAME", "Features", "frechet_distance", "train_features", "unseen_images"]

NAME = "the 64 penultimate features of a 3-layer CNN trained on Fashion-MNIST's 60,000 training images"

_EPOCHS, _BATCH, _RATE, _DECAY = 4, 128, 2e-3, 0.05
_FEATURES = 64
_REACH = 2  # pixels that a training image is moved by


class Classifier(nn.Module):
    """Gives logits (N, 10) of the classes of images (N, 1, 32, 32) in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, 32, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
        for before, after in ((32, 64), (64, 128)):
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(after)]
            layers += [nn.ReLU()]
        self.blocks = nn.Sequential(*layers, nn.Flatten())
        self.hidden = nn.Sequential(nn.Linear(128 * 4 * 4, _FEATURES), nn.ReLU())
        self.classes = nn.Linear(_FEATURES, 10)

    def features(self, x: Tensor) -> Tensor:
        """Return the penultimate layer (N, 64)."""
        return self.hidden(self.blocks(x.contiguous(memory_format=torch.channels_last)))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, 10)."""
        return self.classes(self.features(x))


@dataclass(frozen=True, eq=False)
class Features:
    """A trained classifier.

    Attributes: `classifier`, in eval mode; `accuracy`, its share of right classes on the 10,000 test images, which
    it has not seen; `seconds`, the CPU time that its training took.
    """

    classifier: Classifier
    accuracy: float
    seconds: float

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return the features (N, 64) of images (N, 1, 32, 32) in [-1, 1], computed in float32."""
        return torch.cat([self.classifier.features(part) for part in images.split(500)])


def unseen_images(folder: Path = DEBIAN_FOLDER) -> Data:
    """Return the 10,000 test images of Fashion-MNIST, padded from 28x28 to 32x32 as `fashion_mnist` pads.

    Raises:
        DataError: if a file is missing or damaged.
    """
    images, labels = (read_idx(folder / f"t10k-{name}-ubyte.gz") for name in ("images-idx3", "labels-idx1"))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))[:, None]
    classes = tuple(map(str, range(10)))
    return Data("fashion-mnist test", torch.from_numpy(padded), torch.from_numpy(labels.astype(np.int64)), classes)


def train_features(train: Data | None = None, test: Data | None = None, *, seed: int = 0) -> Features:
    """Train the classifier, in about a minute and a half, with moved images and a rate that falls to zero.

    Args:
        train: what to train on, by default the 60,000 training images.
        test: what to measure the accuracy on, by default the 10,000 test images.
        seed: decides the start, the order and the moves.
    """
    train, test = train or fashion_mnist(), test or unseen_images()
    if train.labels is None or test.labels is None:
        raise DataError("a classifier needs labels; these images have none")
    began = time.process_time()
    classifier = initialised(Classifier, seed)
    lay_out(classifier, torch.channels_last)
    steps = _EPOCHS * (len(train) // _BATCH)
    adam = torch.optim.AdamW(classifier.parameters(), _RATE, weight_decay=_DECAY, fused=True)
    falling = torch.optim.lr_scheduler.OneCycleLR(adam, _RATE, total_steps=steps + 1, pct_start=0.1)
    low_precision = torch.autocast("cpu", torch.bfloat16, enabled=native_bfloat16("cpu"))
    order = torch.from_numpy(np.concatenate([streams.permutation(len(train), seed=seed + k) for k in range(_EPOCHS)]))
    for step in range(steps):
        rows = order[step * _BATCH : (step + 1) * _BATCH]
        moves = streams.uniform(_BATCH, 2, seed=seed, start=step * _BATCH, stream=streams.BATCHES)
        with low_precision:
            logits = classifier(shifted(train.floats(rows), torch.from_numpy(moves), _REACH))
        loss = functional.cross_entropy(logits.float(), train.labels[rows], label_smoothing=0.1)
        adam.zero_grad()
        loss.backward()
        adam.step()
        falling.step()
    classifier.eval().requires_grad_(False)
    seconds = time.process_time() - began
    guesses = torch.cat([classifier(part).argmax(1) for part in test.floats().split(500)])
    return Features(classifier, float((guesses == test.labels).float().mean()), seconds)


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    """Return the squared Fréchet distance of these features (M, 64) and (N, 64)."""
    return metrics.frechet_distance(real, generated, features=NAME).distance
