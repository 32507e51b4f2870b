"""Critics of a semi-supervised GAN: K classes of real samples, and one of generated ones.

The logit of the generated class is fixed at 0, which takes nothing away: a softmax does not change when a
number is added to all of its logits. The log-odds of being real are then the log of the sum of exp(l) over the
K class logits l, so one network is a classifier and a critic.

References:
    Salimans et al. (2016), "Improved techniques for training GANs", section 5.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from latentkit.checks import as_count
from latentkit.nets.conv import conv_trunk
from latentkit.nets.mlp import leaky_layers
from latentkit.nets.settings import at_least_single, checked

__all__ = ["ConvClassifier", "MLPClassifier"]


class _Classifier(nn.Module):
    classes: int
    head: nn.Linear

    def features(self, x: Tensor) -> Tensor:
        """Return the last hidden layer (N, F) for samples (N, *S)."""
        raise NotImplementedError

    def classify(self, x: Tensor) -> Tensor:
        """Return the logits (N, classes) of the real classes for samples (N, *S); that of a generated one is 0."""
        return at_least_single(self.head(self.features(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N,) for samples (N, *S): the log-odds of being real, of whatever class."""
        return torch.logsumexp(self.classify(x), 1)


class ConvClassifier(_Classifier):
    """Tells K classes of images (N, channels, size, size) apart, and real from generated ones.

    Args:
        channels: 1 for grey, 3 for colour.
        size: side of an image in pixels, a power of two from 16 to 1024.
        width: channels of the feature maps of side size / 2; each halving doubles them, up to 8 times.
        classes: number K of classes, at least 1.

    Raises:
        ArgumentError: if an argument is not in its range.
    """

    network: ClassVar[str] = "conv-classifier"

    def __init__(self, channels: int, size: int, width: int, classes: int) -> None:
        super().__init__()
        self.settings = checked(channels=channels, size=size, width=width, classes=as_count(classes, "classes"))
        self.classes = classes
        self.blocks, self.hidden, features = conv_trunk(channels, size, width)
        self.head = nn.Linear(features, classes)

    def features(self, x: Tensor) -> Tensor:
        """Return the last hidden layer (N, F) for images (N, channels, size, size)."""
        return self.hidden(self.blocks(x.contiguous(memory_format=torch.channels_last)))


class MLPClassifier(_Classifier):
    """Tells K classes of points (N, in_dim) apart, and real from generated ones.

    Args:
        in_dim: size of a point.
        width: units of each hidden layer.
        depth: number of hidden layers, 1 to 64.
        classes: number K of classes, at least 1.

    Raises:
        ArgumentError: if an argument is not in its range.
    """

    network: ClassVar[str] = "mlp-classifier"

    def __init__(self, in_dim: int, width: int, depth: int, classes: int) -> None:
        super().__init__()
        self.settings = checked(in_dim=in_dim, width=width, depth=depth, classes=as_count(classes, "classes"))
        self.classes = classes
        self.layers = leaky_layers(in_dim, width, depth)
        self.head = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        """Return the last hidden layer (N, width) for points (N, in_dim)."""
        return self.layers(x)
