"""How images grow in progressive training: which side is trained at which step, and how images look meanwhile.

References:
    Karras, Aila, Laine, Lehtinen (2018), "Progressive growing of GANs for improved quality, stability, and
    variation", section 2 and figure 2.
"""

import torch
from torch import Tensor
from torch.nn import functional

from latentkit.checks import as_count
from latentkit.nets.settings import START

__all__ = ["at_stage", "phases", "schedule"]


def schedule(step: int, size: int, phase_steps: int) -> tuple[int, float]:
    """Return the side that is trained in a step, and the share of its newest block, above 0 and up to 1.

    The phases of growth are of one length: side 4; then for each doubling a phase of fading in and one of settling.
    The full side stays once it is there.

    Args:
        step: from 1 on.
        size: the full side in pixels, a power of two from 4.
        phase_steps: steps of a phase.

    Examples:
        >>> [schedule(step, 16, 2) for step in range(1, 10)]
        [(4, 1.0), (4, 1.0), (8, 0.5), (8, 1.0), (8, 1.0), (8, 1.0), (16, 0.5), (16, 1.0), (16, 1.0)]
    """
    phase, passed = divmod(as_count(step, "step") - 1, as_count(phase_steps, "phase_steps"))
    if phase >= phases(size) - 1:
        return size, 1.0
    # Odd phases are those of fading in.
    return START * 2 ** ((phase + 1) // 2), (passed + 1) / phase_steps if phase % 2 else 1.0


def phases(size: int) -> int:
    """Return how many phases there are: one for side 4, two for each doubling."""
    return 2 * (size // START).bit_length() - 1


def at_stage(images: Tensor, side: int, alpha: float) -> Tensor:
    """Return images (N, C, S, S) as they are shown while `side` is faded in: (N, C, side, side).

    Args:
        images: of a side S that is `side` or a multiple of it.
        side: pixels are averaged down to it.
        alpha: share of these images; the rest is what of them is left at half the side, enlarged.
    """
    if images.shape[-1] != side:
        images = functional.avg_pool2d(images, images.shape[-1] // side)
    if alpha < 1.0:
        coarse = functional.interpolate(functional.avg_pool2d(images, 2), scale_factor=2.0, mode="nearest")
        images = torch.lerp(coarse, images, alpha)
    return images
