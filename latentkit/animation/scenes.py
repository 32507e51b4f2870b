"""What a film of latents shows: a generator, latents, and how their samples become frames."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from latentkit.checks import as_count, require_finite
from latentkit.errors import ArgumentError
from latentkit.protocols import Generator
from latentkit.render import LEAST_CELL, enlargement, render_samples, sheet, tiles
from latentkit.sampling.generate import generate, stream
from latentkit.series import limits_of, sample_kind

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
    `batch_size`; `closed`, the first frame follows on the last; `backdrop` (M, *S) of points, series and rows, None for
    images;
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
        kind = sample_kind(first.shape[1:])
        if kind == "point" and together > 1:
            raise ArgumentError(f"points are filmed along one curve, got {together}; images along several")
        if kind in ("point", "row", "series"):  # what a point moves over, or what fixes the scale of waveforms and bars
            backdrop = generate(generator, generator.prior.sample(BACKDROP, seed=0), batch_size=batch_size)
            scale = 1 if scale is None else scale
        elif scale is None:
            least = LEAST_SIDE if together == 1 else LEAST_CELL
            scale = enlargement(first.shape[2:], least) if kind == "image" else 1
        scale = as_count(scale, "scale")
        columns = None if columns is None else as_count(columns, "columns")
        picture = next(_pictures(first, scale, columns, backdrop, closed))
        size = picture.shape[1], picture.shape[0]
        return cls(generator, latents, scale, columns, batch_size, closed, backdrop, size)

    def film(self) -> Iterator[Frame]:
        """Yield the frames (H, W, 3), batch by batch."""
        latents, batch_size = self.latents, self.batch_size
        if self.backdrop is not None and self.backdrop.shape[1:] == (2,):  # the whole way is needed for the trail
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
                yield from _pictures(one, self.scale, self.columns, self.backdrop, self.closed)


def _pictures(
    samples: Tensor, scale: int, columns: int | None, backdrop: Tensor | None, closed: bool
) -> Iterator[Frame]:
    """Yield one frame a sample, or of several images one frame with all of them."""
    kind = sample_kind(samples.shape[1:])
    if len(samples) > 1 and kind != "point":
        limits = None if kind == "image" or backdrop is None else limits_of(backdrop)
        yield sheet(tiles(samples, scale, limits=limits), columns)
        return
    yield from render_samples(samples, scale=scale, backdrop=backdrop, closed=closed)
