"""A generator of series or rows as a generator of their pictures."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentkit.priors import Prior
from latentkit.protocols import Generator, evaluating, place_of
from latentkit.series.drawing import as_images, pictures
from latentkit.series.scales import limits_of

__all__ = ["FRAME", "Pictured", "pictured"]

#: Width and height in pixels of a series that fills a film's frame.
FRAME = (320, 160)

#: Draws from the prior that fix the vertical scale of a generator's pictures.
DRAWN = 256

_BLOCK = 64


@dataclass(frozen=True, eq=False)
class Pictured:
    """A generator of series or rows as one of images: what `pictured` makes. It has no gradients.

    Attributes: `module`, the generator; `limits` (C, 2), the scale of all pictures; `rate`, samples a second, or None;
    `size`, width and height in pixels.
    """

    module: Generator
    limits: Tensor
    rate: float | None
    size: tuple[int, int]

    @property
    def prior(self) -> Prior:
        """The distribution that latents are drawn from."""
        return self.module.prior

    def __call__(self, z: Tensor, /) -> Tensor:
        """Return pictures (N, 3, H, W) in [-1, 1] for latents (N, D)."""
        made: Any = self.module(z)
        return as_images(made, size=self.size, limits=self.limits, rate=self.rate).to(z.device)


def pictured(
    generator: Generator, *, rate: float | None = None, size: tuple[int, int] = FRAME, seed: int = 0
) -> Pictured:
    """Return a generator of the pictures of a generator's series or rows, all to one scale.

    With it all that shows images shows them: films, sheets of sweeps, journeys.

    Args:
        generator: makes series (N, T) or (N, C, T), or rows (N, F).
        rate: samples a second of a series, to show its spectrogram as well.
        size: width and height of a picture in pixels.
        seed: of 256 latents whose samples fix the scale.

    Raises:
        ShapeError: if it makes neither series nor rows.
        NonFiniteError: if a sample holds NaN or infinity.

    Examples:
        >>> import latentkit as lk
        >>> waves = lk.wrap(lambda z: (z[:, :1] * torch.linspace(0, 20, 100)).sin(), lk.Normal(2))
        >>> lk.generate(pictured(waves), waves.prior.sample(3, seed=0)).shape
        torch.Size([3, 3, 160, 320])
    """
    device, dtype = place_of(generator)
    with evaluating(generator), torch.no_grad():
        samples = [generator(z.to(device, dtype)).cpu() for z in generator.prior.sample(DRAWN, seed=seed).split(_BLOCK)]
    found = torch.cat(samples)
    view = Pictured(generator, limits_of(found), rate, (size[0], size[1]))
    pictures(found[:1], size=view.size, limits=view.limits, rate=rate)  # an error here, not in the middle of a film
    return view
