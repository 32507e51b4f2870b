"""What a film of latents shows: a generator, latents, and how their samples become frames."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from latentkit.checks import as_count, require_finite
from latentkit.errors import ArgumentError
from latentkit.protocols import Generator
from latentkit.render import LEAST_CELL, enlargement, render_samples, samples_sheet
from latentkit.sampling.generate import generate, stream

__all__ = ["BACKDROP", "LEAST_SIDE", "Scene"]

Frame = NDArray[np.uint8]

#: An image is enlarged until its longer side has so many pixels.
LEAST_SIDE = 128

#: Random samples that a moving point is shown over.
BACKDROP = 1500


@dataclass(frozen=True, eq=False)
class Scene:
    """Latents (T, N, D) of N curves and how they are filmed; `Scene.of` makes it, with one frame as a trial.

    Attributes: `generator`; `latents`; `scale` of images or points; `columns` of a sheet, None to choose;
    `batch_size`; `closed`, the first frame follows on the last; `backdrop` (M, 2) of points, None for images;
    `size`, (W, H) of a frame in pixels.
    """

    generator: Generator
    latents: Tensor
    scale: int
    columns: int | None
    batch_size: int
    closed: bool
    backdrop: Tensor | None
    size: tuple[int, int]

    @classmethod
    def of(
        cls,
        generator: Generator,
        latents: Tensor,
        *,
        scale: int | None,
        columns: int | None,
        batch_size: int,
        closed: bool,
    ) -> "Scene":
        """Return a scene after one frame's samples: an error here is better than one in the middle of a film.

        Raises:
            ArgumentError: if a number is out of range, or points are to be filmed along several curves.
            ShapeError: if the samples cannot be drawn.
            NonFiniteError: if a sample of the first frame holds NaN or infinity.
        """
        batch_size = as_count(batch_size, "batch_size")
        first = require_finite(generate(generator, latents[0], batch_size=batch_size), "a sample of frame 0")
        backdrop, together = None, latents.shape[1]
        if first.ndim == 2 and first.shape[1] == 2:
            if together > 1:
                raise ArgumentError(f"points are filmed along one curve, got {together}; images along several")
            backdrop = generate(generator, generator.prior.sample(BACKDROP, seed=0), batch_size=batch_size)
            scale = 1 if scale is None else scale
        elif scale is None:
            least = LEAST_SIDE if together == 1 else LEAST_CELL
            scale = enlargement(first.shape[2:], least) if first.ndim == 4 and first.numel() else 1
        scale = as_count(scale, "scale")
        columns = None if columns is None else as_count(columns, "columns")
        picture = next(_pictures(first, scale, columns, backdrop, closed))
        size = picture.shape[1], picture.shape[0]
        return cls(generator, latents, scale, columns, batch_size, closed, backdrop, size)

    def film(self) -> Iterator[Frame]:
        """Yield the frames (H, W, 3), batch by batch."""
        latents, batch_size = self.latents, self.batch_size
        if self.backdrop is not None:  # two numbers a sample: the whole way is needed for the axes and the trail
            points = generate(self.generator, latents[:, 0], batch_size=batch_size)
            yield from _pictures(points, self.scale, self.columns, self.backdrop, self.closed)
            return
        together = latents.shape[1]
        whole = max(batch_size // together, 1) * together
        done = 0
        for samples in stream(self.generator, latents.flatten(0, 1), batch_size=whole):
            made = len(samples) // together
            require_finite(samples, f"the samples of frames {done} to {done + made - 1}")
            done += made
            for one in samples.split(together):
                yield from _pictures(one, self.scale, self.columns, None, self.closed)


def _pictures(
    samples: Tensor, scale: int, columns: int | None, backdrop: Tensor | None, closed: bool
) -> Iterator[Frame]:
    """Yield one frame a sample, or of several images one frame with all of them."""
    if samples.ndim == 4 and len(samples) > 1:
        yield samples_sheet(samples, columns=columns, scale=scale)
        return
    yield from render_samples(samples, scale=scale, backdrop=backdrop, closed=closed)
