"""A small classifier of samples, so that "more like class k" is an attribute as well.

Kernel logistic regression: samples are averaged down to 16 pixels a side, reduced to 64 principal components, and
compared with up to 400 of the labelled ones by a Gaussian kernel; a multinomial logistic regression reads the
comparisons. Far from all labelled samples every comparison is 0, so no log-odds run away there, as a linear
classifier's do. Of Fashion-MNIST (1,400 labelled samples) it gets 82 % right, of scikit-learn's digits 99 %, in about
a second; multinomial regression on the components alone gets 78 and 97 %.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit import streams
from latentkit.checks import floating, require_finite
from latentkit.directions.labels import FEWEST, split
from latentkit.errors import ArgumentError, LabelError, ShapeError

__all__ = ["ClassScores", "class_scores"]

#: Side of the images that are compared, in pixels; principal components; and samples to compare with.
_SIDE, _COMPONENTS, _CENTRES = 16, 64, 400

#: Weight of the errors against the size of the coefficients, chosen by held-out log loss on both data sets.
_C = 30.0


@dataclass(frozen=True, eq=False)
class ClassScores:
    """What a small classifier, fitted on labelled real samples, says of others.

    Attributes: `names` (K,) of the classes; `accuracy` in [0, 1], the share of 30 % of each class that the same
    classifier gets right when it is fitted on the other 70 % (the one here is fitted on all); `by_class` (K,), the
    same for each class; `counts` (K,), how many labelled samples each had; `shape` of a sample; `logits`, from
    samples (N, *S) to (N, K) float64, the log of the classes' probabilities up to a number for each sample.
    """

    names: tuple[str, ...]
    accuracy: float
    by_class: tuple[float, ...]
    counts: tuple[int, ...]
    shape: tuple[int, ...]
    logits: Callable[[Tensor], Tensor]

    def probabilities(self, samples: Tensor) -> Tensor:
        """Return the probabilities (N, K) float64 of the classes for samples (N, *S).

        Raises:
            ShapeError: if the samples have another shape than those it was fitted on.
        """
        return torch.softmax(self.logits(samples), dim=1)

    def log_odds(self, samples: Tensor, k: int) -> Tensor:
        """Return the log-odds (N,) float64 that samples (N, *S) are of class k rather than of any other.

        Raises:
            ShapeError: if the samples have another shape than those it was fitted on.
            ArgumentError: if there is no class k.
        """
        if not 0 <= k < len(self.names):
            raise ArgumentError(f"k must be the number of a class, 0 to {len(self.names) - 1}, got {k!r}")
        logits = self.logits(samples)
        others = torch.cat([logits[:, :k], logits[:, k + 1 :]], dim=1)
        return logits[:, k] - torch.logsumexp(others, dim=1)

    def attributes(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return one attribute a class, by its name: from samples (N, *S) to the log-odds (N,) of the class."""
        return {name: partial(self.log_odds, k=k) for k, name in enumerate(self.names)}


def class_scores(real: Tensor, labels: Tensor | Sequence[int], names: Sequence[str]) -> ClassScores:
    """Fit a small classifier on labelled real samples, to measure generated ones by.

    `learned = class_scores(holdout, labels, names)`, then `learned.attributes()["sneaker"](x)` is how much samples
    look like one. It is deterministic: the samples that it compares with are chosen by a fixed stream.

    Args:
        real: (N, *S) real samples, images or any other shape.
        labels: (N,) whole numbers 0 to K - 1.
        names: K names of the classes, at least 2, all different.

    Raises:
        ShapeError: if the samples are not (N, *S).
        NonFiniteError: if a sample holds NaN or infinity.
        LabelError: if labels are of another length, not 0 to K - 1, or leave a class fewer than 5 samples.
        ArgumentError: if there are fewer than 2 names, or two are equal.

    References:
        Zhu, Hastie (2005), "Kernel logistic regression and the import vector machine".
        Williams, Seeger (2001), "Using the Nyström method to speed up kernel machines", equations 7 to 9.
    """
    names = tuple(names)
    if len(names) < 2 or len(set(names)) != len(names):
        raise ArgumentError(
            f"a classifier needs at least 2 classes of different names, got {', '.join(names) or 'none'}"
        )
    x = floating(real, "samples")
    if x.ndim < 2 or x.numel() == 0:
        raise ShapeError(f"samples must be (N, *S), got {tuple(x.shape)}")
    require_finite(x, "samples")
    y = _classes(labels, len(x), names)
    rows, shape = _flat(x), tuple(x.shape[1:])
    fitted = split(y)
    right = (_fit(rows[fitted], y[fitted])(rows[~fitted]).argmax(1) == y[~fitted]).double()
    final = _fit(rows, y)

    def logits(samples: Tensor) -> Tensor:
        given = floating(samples, "samples")
        if tuple(given.shape[1:]) != shape or given.ndim != len(shape) + 1:
            wanted = ", ".join(["N", *map(str, shape)])
            raise ShapeError(f"this classifier was fitted on samples ({wanted}), got {tuple(given.shape)}")
        return final(_flat(require_finite(given, "samples")))

    by_class = tuple(float(right[y[~fitted] == k].mean()) for k in range(len(names)))
    counts = tuple(torch.bincount(y, minlength=len(names)).tolist())
    return ClassScores(names, float(right.mean()), by_class, counts, shape, logits)


def _classes(labels: Any, n: int, names: tuple[str, ...]) -> Tensor:
    """Return labels as checked class numbers (n,) int64 on the CPU."""
    try:
        values = torch.as_tensor(labels).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        raise LabelError(f"labels must be a tensor of class numbers, got {type(labels).__name__}") from None
    if tuple(values.shape) != (n,):
        raise LabelError(f"labels must be one a sample, ({n},), got {tuple(values.shape)}")
    known = torch.arange(len(names))
    if values.is_complex() or not bool(torch.isin(values.double(), known.double()).all()):
        raise LabelError(f"labels must be whole numbers from 0 to {len(names) - 1}, one for each of the names")
    classes = values.long()
    counts = torch.bincount(classes, minlength=len(names))
    if int(counts.min()) < FEWEST:
        said = ", ".join(f"{count} of {name}" for name, count in zip(names, counts.tolist(), strict=True))
        raise LabelError(f"a classifier needs at least {FEWEST} samples of each class, got {said}")
    return classes


def _flat(samples: Tensor) -> Tensor:
    """Return samples as rows (N, F) float64 on the CPU, images at most 16 pixels a side."""
    x = samples.double().cpu()
    if x.ndim == 4 and max(x.shape[2:]) > _SIDE:
        x = torch.nn.functional.adaptive_avg_pool2d(x, (min(x.shape[2], _SIDE), min(x.shape[3], _SIDE)))
    return x.flatten(1)


def _fit(rows: Tensor, classes: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the function from rows (N, F) to logits (N, K) of a classifier fitted on labelled rows."""
    with streams.python_state_kept():
        from sklearn.linear_model import LogisticRegression

    middle = rows.mean(0)
    _, singular, components = torch.linalg.svd(rows - middle, full_matrices=False)
    components = components[:_COMPONENTS][singular[:_COMPONENTS] > 1e-9 * singular[0].clamp(min=1e-300)]
    if not len(components):
        raise LabelError("all samples are the same, so nothing tells their classes apart")
    reduced = (rows - middle) @ components.T
    chosen = streams.permutation(len(rows), seed=0)[:_CENTRES]
    centres = reduced[torch.from_numpy(chosen)]
    scale = 1.0 / float(reduced.square().sum(1).mean())
    values, vectors = torch.linalg.eigh(_kernel(centres, centres, scale))
    # Equal centres make the kernel singular; what they would add is left out.
    kept = values > 1e-9 * values[-1]
    root = vectors[:, kept] / values[kept].sqrt()

    def features(given: Tensor) -> Tensor:
        return _kernel((given - middle) @ components.T, centres, scale) @ root

    model = LogisticRegression(C=_C, max_iter=5000).fit(features(rows).numpy(), classes.numpy())
    weights: NDArray[np.float64] = np.asarray(model.coef_)
    offsets: NDArray[np.float64] = np.asarray(model.intercept_)
    if len(weights) == 1:  # of two classes only the second one's log-odds are kept
        weights, offsets = np.concatenate([0.0 * weights, weights]), np.append(0.0, offsets)
    matrix, offset = torch.from_numpy(weights.T.copy()), torch.from_numpy(offsets)
    return lambda given: features(given) @ matrix + offset


def _kernel(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """Return exp(-scale * |a_i - b_j|^2) (N, M)."""
    squared = a.square().sum(1)[:, None] + b.square().sum(1) - 2.0 * a @ b.T
    return torch.exp(-scale * squared.clamp(min=0.0))
