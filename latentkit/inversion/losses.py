"""What an inversion makes small: functions of made and wanted samples, one number for each of them.

A loss is any function `loss(made (N, *S), wanted (N, *S)) -> (N,)` that is 0 where the two are equal and of which a row
depends on its own two samples alone. Gradient descent needs it to be made of torch operations.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from latentkit.errors import ShapeError
from latentkit.inversion.pyramid import laplacian_distance
from latentkit.protocols import check_rows

__all__ = ["Loss", "feature_loss", "losses_of", "pixel_loss", "pyramid_loss"]

_PIXELS = 0.01  # weight of the pixels beside the features

#: Made samples (N, *S) and wanted ones (N, *S) to numbers (N,).
Loss = Callable[[Tensor, Tensor], Tensor]


def pixel_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean squared difference (N,) of the numbers of samples (N, *S) and (N, *S).

    Raises:
        ShapeError: if they are no floats (N, *S), or of two shapes.
    """
    _check_pair(made, wanted)
    return (made - wanted).square().reshape(len(made), -1).mean(1)


def pyramid_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """Return the difference (N,) of images (N, C, H, W) over several scales, from fine detail to coarse brightness.

    It is the sum over the levels of a Laplacian pyramid of the mean absolute difference, in the images' unit: an
    image that is brighter by b everywhere differs by |b|. Outlines count as much as areas, so it is the loss for
    samples that the generator cannot make exactly; for those that it can, `pixel_loss` gets there in fewer steps.

    Raises:
        ShapeError: if the samples are no floats, no images, or of two shapes.

    References:
        Burt, Adelson (1983), "The Laplacian pyramid as a compact image code". Bojanowski, Joulin, Lopez-Paz, Szlam
        (2018), "Optimizing the latent space of generative networks", section 3.
    """
    _check_pair(made, wanted)
    return laplacian_distance(made, wanted)


def _check_pair(made: Tensor, wanted: Tensor) -> None:
    """Refuse what is no pair of float tensors (N, *S); whether all numbers are finite is seen in the loss."""
    for name, x in (("made", made), ("wanted", wanted)):
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim < 1:
            raise ShapeError(f"{name} samples must be a tensor of floats (N, *S), got {_said(x)}")
    if made.shape != wanted.shape:
        raise ShapeError(f"made and wanted samples must have one shape, got {_said(made)} and {_said(wanted)}")


def _said(x: Any) -> str:
    return f"{tuple(x.shape)} {x.dtype}" if isinstance(x, Tensor) else type(x).__name__


def feature_loss(features: Callable[[Tensor], Tensor]) -> Loss:
    """Return the loss that compares features: the mean squared difference of theirs, over that of pixels added.

    Features alone are blind to what they leave out, and to samples that fool them; the pixels, with a hundredth
    of the weight, decide there.

    Args:
        features: samples (N, *S) to features (N, ...), in torch operations: the hidden layer of a critic or a
            classifier, or a perceptual network.

    Raises:
        ShapeError: when called, if the features are not one row a sample.

    References:
        Dosovitskiy, Brox (2016), "Generating images with perceptual similarity metrics based on deep networks".
        Zhu, Krähenbühl, Shechtman, Efros (2016), "Generative visual manipulation on the natural image manifold".

    Examples:
        >>> import torch
        >>> loss = feature_loss(lambda x: x.mean(1, keepdim=True))
        >>> loss(torch.tensor([[2.0, 4.0]]), torch.tensor([[1.0, 1.0]])).tolist()
        [4.050000190734863]
    """

    def loss(made: Tensor, wanted: Tensor) -> Tensor:
        first, second = (check_rows(features(x), len(x), "the features") for x in (made, wanted))
        return pixel_loss(first, second) + _PIXELS * pixel_loss(made, wanted)

    return loss


def losses_of(loss: Loss, made: Tensor, wanted: Tensor) -> Tensor:
    """Return a loss's numbers (N,), checked.

    Raises:
        ShapeError: if it returns anything else than one number a sample.
    """
    found = check_rows(loss(made, wanted), len(made), "the loss")
    if found.shape != (len(made),):
        raise ShapeError(f"the loss must return one number a sample ({len(made)},), got {tuple(found.shape)}")
    return found
