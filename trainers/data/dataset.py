"""Training data: samples in memory or in a mapped file, with their labels where there are some."""

import hashlib
import operator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_count, require_finite
from latentkit.errors import DataError, LabelError
from trainers.data.mapped import MappedSamples

__all__ = ["Data", "encodable"]

_FINGERPRINTED = 2**24  # bytes of samples that a fingerprint looks at


def encodable(text: str) -> str:
    """Return text with escapes for what UTF-8 cannot hold, as file names may have: checkpoints are written in it.

    A name in UTF-8 that Python left undecoded, as it does in a locale that knows only ASCII, is decoded here.
    """
    try:
        return text.encode("utf-8", "surrogateescape").decode()
    except UnicodeError:
        return text.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, eq=False)
class Data:
    """Samples to train on.

    It can be handed to a `torch.utils.data.DataLoader`, with worker processes of any kind.

    Args:
        name: what it is called in checkpoints and reports.
        samples: images (N, C, H, W) uint8, 0 to 255, in memory or in a file, or points (N, F) float32.
        labels: class numbers (N,) int64, or None.
        classes: the names of the classes; empty without labels.

    Raises:
        DataError: if the samples are of neither kind, or not finite.
        LabelError: if labels and samples or classes do not fit.

    Examples:
        >>> from trainers import ring
        >>> train, held_out = ring(n=100).split(20, seed=0)
        >>> train.samples.shape, held_out.samples.shape
        (torch.Size([80, 2]), torch.Size([20, 2]))
    """

    name: str
    samples: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", encodable(self.name))
        object.__setattr__(self, "classes", tuple(map(encodable, self.classes)))
        samples, labels = self.samples, self.labels
        images = isinstance(samples, Tensor) and samples.ndim == 4 and samples.dtype == torch.uint8
        points = isinstance(samples, Tensor) and samples.ndim == 2 and samples.dtype == torch.float32
        if not (images or points) or samples.numel() == 0:
            got = f"{tuple(samples.shape)} {samples.dtype}" if isinstance(samples, Tensor) else type(samples).__name__
            raise DataError(f"samples must be images (N, C, H, W) uint8 or points (N, F) float32, got {got}")
        if points:
            require_finite(samples, "samples")
        if labels is None:
            if self.classes:
                raise LabelError("classes are given but labels are not; give both or neither")
            return
        if labels.shape != samples.shape[:1] or labels.dtype != torch.int64:
            raise LabelError(
                f"labels must be ({len(samples)},) int64, one a sample, got {tuple(labels.shape)} {labels.dtype}"
            )
        if int(labels.min()) < 0 or int(labels.max()) >= len(self.classes):
            raise LabelError(
                f"labels must lie in 0 to {len(self.classes) - 1} for {len(self.classes)} classes, "
                f"got {int(labels.min())} to {int(labels.max())}"
            )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return one sample as `floats` gives it, (C, H, W) or (F,), and its label, or -1 without labels.

        Raises:
            IndexError: if there is no such sample.
        """
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"{self.name} has {len(self)} samples, so no number {number}")
        number %= len(self)
        label = -1 if self.labels is None else int(self.labels[number])
        return self.floats(slice(number, number + 1))[0], label

    @property
    def is_images(self) -> bool:
        """Whether the samples are images rather than points."""
        return self.samples.ndim == 4

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that differ between different data, such as before and after a pause in training.

        Of the samples their shape and type count, and all bytes up to 16 MiB, above that evenly spaced rows; the
        labels and the classes count in full, the name not at all.
        """
        count = len(self)
        step = -(-self.samples.nbytes // _FINGERPRINTED)
        rows = torch.arange(0, count, step)
        rows[-1] = count - 1
        digest = hashlib.sha256(repr((tuple(self.samples.shape), self.samples.dtype, self.classes)).encode())
        digest.update(self.samples[rows].contiguous().numpy().tobytes())
        if self.labels is not None:
            digest.update(self.labels.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def split(self, holdout: int, seed: int) -> tuple["Data", "Data"]:
        """Return the training part and `holdout` held-out samples, chosen by `seed`.

        The parts of images in a file hold only the numbers of their rows.

        Raises:
            ArgumentError: if `holdout` is not a whole number of at least 1.
            DataError: if nothing would be left to train on.
        """
        holdout = as_count(holdout, "holdout")
        if holdout >= len(self):
            raise DataError(f"cannot hold out {holdout} of {len(self)} samples; hold out fewer")
        order = torch.from_numpy(streams.permutation(len(self), seed=seed))
        return self._rows(order[holdout:]), self._rows(order[:holdout])

    def _rows(self, rows: Tensor) -> "Data":
        labels = None if self.labels is None else self.labels[rows]
        samples = self.samples
        chosen = samples.subset(rows) if isinstance(samples, MappedSamples) else samples[rows]
        return replace(self, samples=chosen, labels=labels)

    def floats(self, rows: Tensor | slice = slice(None)) -> Tensor:
        """Return the samples of `rows` as a generator would make them: images (M, C, H, W) in [-1, 1]."""
        chosen = self.samples[rows]
        return chosen.to(torch.float32) / 127.5 - 1.0 if self.is_images else chosen
