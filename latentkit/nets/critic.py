"""What the critics share: a score of the last features, and for classes a projection and a probe."""

import torch
from torch import Tensor, nn

from latentkit.errors import LabelError
from latentkit.nets.layers import MinibatchDiscrimination, normalise_spectra
from latentkit.nets.settings import as_labels, at_least_single

__all__ = ["FeatureCritic"]


class FeatureCritic(nn.Module):
    """A critic that scores a linear function of its features f.

    Without classes the logit is score(f). With classes it is D(x, y) = score(f) + <embed[y], f>, and a linear
    probe q(y | x) tells the classes apart from the same features, without changing them when it is trained.

    A subclass defines `trunk`, and calls `add_heads` at the end of its constructor.

    References:
        Miyato, Koyama (2018), "cGANs with projection discriminator".
        Salimans et al. (2016), "Improved techniques for training GANs" (minibatch discrimination).
    """

    classes: int
    score: nn.Linear
    embed: nn.Embedding | None
    probe: nn.Linear | None
    compare: MinibatchDiscrimination | None

    def add_heads(self, hidden: int, *, classes: int, spectral: bool, minibatch_kernels: int) -> None:
        """Add the layers after the trunk, and normalise the spectra of all of them if `spectral`.

        Args:
            hidden: size of what `trunk` returns.
            classes: number of classes, or 0.
            spectral: divide each weight by its largest singular value. The probe keeps its own scale: a class can
                be certain however smooth the critic is.
            minibatch_kernels: number of features that compare a sample with its batch, or 0.
        """
        self.classes = classes
        size = hidden + minibatch_kernels
        self.compare = MinibatchDiscrimination(hidden, minibatch_kernels) if minibatch_kernels else None
        self.score = nn.Linear(size, 1)
        self.embed = nn.Embedding(classes, size) if classes else None
        if self.embed is not None:
            nn.init.normal_(self.embed.weight, std=size**-0.5)  # as large a part of the logit as the score
        if spectral:
            normalise_spectra(self)
        self.probe = nn.Linear(size, classes) if classes else None

    def trunk(self, x: Tensor) -> Tensor:
        """Return the last hidden layer (N, H) for samples (N, *S)."""
        raise NotImplementedError

    def features(self, x: Tensor) -> Tensor:
        """Return what the score is a linear function of, (N, F), for samples (N, *S).

        It is the last hidden layer, followed by the comparison with the batch if there is one; in eval mode that
        is a constant, so that no row depends on the others.
        """
        hidden = self.trunk(x)
        return hidden if self.compare is None else self.compare(hidden)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits (N,) for samples (N, *S), larger means more real.

        With labels (N,) it is the logit of being a real sample of that class. A critic with classes that gets no
        labels sums over them: the log of the sum over y of q(y | x) exp(D(x, y)).

        Raises:
            LabelError: if the labels do not fit, or this critic has no classes.
        """
        features = self.features(x)
        if labels is not None:
            return self._logits(features, as_labels(labels, len(x), self.classes))
        if self.embed is None or self.probe is None:
            return at_least_single(self.score(features)[:, 0])
        # Not detached: the gradient at x is that of the number returned.
        by_class = at_least_single(self.score(features) + features @ self.embed.weight.T)
        return torch.logsumexp(by_class + at_least_single(self.probe(features)).log_softmax(1), 1)

    def classify(self, x: Tensor) -> Tensor:
        """Return class logits (N, classes) for samples (N, *S); in training no gradient reaches the features.

        Raises:
            LabelError: if this critic has no classes.
        """
        return self._class_logits(self.features(x))

    def both(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (N,) of `forward` and the class logits (N, classes) of `classify` at one cost.

        Raises:
            LabelError: if the labels do not fit, or this critic has no classes.
        """
        features = self.features(x)
        return self._logits(features, as_labels(labels, len(x), self.classes)), self._class_logits(features)

    def _logits(self, features: Tensor, labels: Tensor) -> Tensor:
        if self.embed is None:
            raise LabelError("this critic has no classes; build it with classes=K")
        return at_least_single(self.score(features)[:, 0] + (self.embed(labels) * features).sum(1))

    def _class_logits(self, features: Tensor) -> Tensor:
        if self.probe is None:
            raise LabelError("this critic has no classes; build it with classes=K")
        return at_least_single(self.probe(features.detach() if self.training else features))
