"""Handwritten digits that come with scikit-learn: nothing to download."""

from typing import Any

import numpy as np
import torch

from latentkit import streams
from latentkit.errors import MissingDependencyError
from trainers.data.dataset import Data

__all__ = ["digits"]

_SIZE = 32


def digits() -> Data:
    """Return 1,797 handwritten digits, 32x32 and grey, with their classes.

    scikit-learn's 8x8 digits (17 levels) are enlarged four times by bicubic interpolation.

    Raises:
        MissingDependencyError: if scikit-learn is not installed.

    References:
        Alpaydin, Kaynak (1998), "Optical recognition of handwritten digits", UCI repository.

    Examples:
        >>> digits().samples.shape
        torch.Size([1797, 1, 32, 32])
    """
    from PIL import Image

    try:
        with streams.python_state_kept():
            from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingDependencyError("the digits need scikit-learn: pip install scikit-learn") from error
    bunch: Any = load_digits()
    small = np.round(np.asarray(bunch["images"]) * (255.0 / 16.0)).astype(np.uint8)
    large = [np.asarray(Image.fromarray(image).resize((_SIZE, _SIZE), Image.Resampling.BICUBIC)) for image in small]
    labels = torch.from_numpy(np.asarray(bunch["target"]).astype(np.int64))
    return Data("digits", torch.from_numpy(np.stack(large)[:, None]), labels, tuple("0123456789"))
