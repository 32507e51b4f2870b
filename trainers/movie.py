"""Training, filmed: give a `Movie` to a trainer as `on_step`, and save its film afterwards.

Points are shown over the critic's field with fixed axes, beside the image of a grid of latents; images
as samples of fixed latents beside the critic's scores of them. Without a critic there is no field and no score.
A conditional generator's grid is of one class, and its images have a column for each class.

What a critic says is shown by rank, as the share of a frame's real and generated samples that it scores lower:
not every critic has a zero between real and generated (a Wasserstein one has neither zero nor scale).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.animation import Animation, from_frames
from latentkit.calibration import score
from latentkit.checks import as_count, as_number
from latentkit.conditional import Marginal
from latentkit.errors import ArgumentError
from latentkit.priors import Empirical, Prior
from latentkit.protocols import Critic, Generator
from latentkit.render import enlargement, sheet, thumbnails, to_rgb, upscale
from latentkit.sampling.generate import generate
from latentkit.scatter import Stage, plane_limits
from latentkit.style import ACCENT, COLOURS, MUTED, SCALE, drawing
from trainers.data.dataset import Data
from trainers.run import TrainingState

__all__ = ["Movie"]

Frame = NDArray[np.uint8]

SIDE = 320  # pixels of a panel
POINTS = 1_000
FIELD = 64  # cells a side of the critic's field
LINES = 15  # of the latent grid, each way
COLUMNS, ROWS = 8, 6  # of the fixed latents of images
MOST_CLASSES = 12  # that are shown
THUMBNAIL = 32  # pixels: larger images are shown at this size
COMPARED = 128  # real images whose scores rank those of the samples


class Movie:
    """Watches a training and makes a film of it; watching changes nothing in the training.

    Early steps are watched more closely than late ones, since that is when most happens.

    Args:
        data: what is trained on: points (N, 2) or images.
        frames: how many frames the film has at most, at least 2.

    Raises:
        ArgumentError: if the data are neither images nor points of the plane.

    Examples:
        >>> from trainers import GANConfig, Movie, ring, train_gan
        >>> data = ring(n=400)
        >>> movie = Movie(data, frames=3)
        >>> _ = train_gan(data, GANConfig(steps=200, width=32, batch_size=64), on_step=movie, progress=False)
        >>> movie.film().count
        3
    """

    def __init__(self, data: Data, *, frames: int = 120) -> None:
        self._frames = as_count(frames, "frames", least=2)
        self._images = data.is_images
        if not self._images and data.samples.shape[1] != 2:
            raise ArgumentError(f"a film shows images or points (N, 2), not samples {tuple(data.samples.shape)}")
        self._steps: list[int] = []
        self._looks: list[tuple[Any, ...]] = []
        self._columns, self._of = COLUMNS, ""
        # From all over the data, which may lie class by class.
        count = min(COMPARED if self._images else POINTS, len(data))
        self._real = data.floats(torch.linspace(0, len(data) - 1, count, dtype=torch.float64).long())
        if not self._images:
            self._limits = plane_limits(data.samples)

    def __call__(self, state: TrainingState) -> None:
        """Look at a step, if it is one of those that are filmed."""
        # Squares of even steps: the first tenth of the frames shows the first hundredth of the run.
        due = {round(state.steps * (k / (self._frames - 1)) ** 2) for k in range(1, self._frames)} | {1}
        if state.step not in due:
            return
        self._steps.append(state.step)
        self._looks.append(self._at_images(state) if self._images else self._at_points(state))

    def _at_images(self, state: TrainingState) -> tuple[Any, ...]:
        latents, self._columns = _fixed_latents(state.generator)
        samples = generate(state.generator, latents)
        # Small ones: a film of 48 large colour images would be too large for a page.
        pictures = thumbnails(samples, THUMBNAIL) if max(samples.shape[2:]) > THUMBNAIL else to_rgb(samples)
        return pictures, None if state.critic is None else self._ranks(state.critic, samples, samples).numpy()

    def _at_points(self, state: TrainingState) -> tuple[Any, ...]:
        generator = state.generator
        made = generate(generator, generator.prior.sample(POINTS, seed=0), batch_size=POINTS)
        if isinstance(generator, Marginal):
            inner, self._of = _latent_grid(generator.module.prior), f", {generator.classes[0]}"
            latents = generator.in_class(torch.cat([inner, inner.new_zeros(len(inner), len(generator.classes))], 1), 0)
        else:
            latents = _latent_grid(generator.prior)
        grid = generate(generator, latents, batch_size=POINTS)
        field = None if state.critic is None else self._field(state.critic, made)
        return field, made.numpy(), grid.reshape(2 * LINES, -1, 2).numpy()

    def _field(self, critic: Critic, made: Tensor) -> NDArray[np.float32]:
        """Return the ranks (FIELD, FIELD) of places all over the plane beside generated points (N, 2)."""
        left, right, bottom, top = self._limits
        y, x = torch.meshgrid(torch.linspace(bottom, top, FIELD), torch.linspace(left, right, FIELD), indexing="ij")
        return self._ranks(critic, torch.stack([x, y], dim=-1).reshape(-1, 2), made).reshape(FIELD, FIELD).numpy()

    def _ranks(self, critic: Critic, samples: Tensor, made: Tensor) -> Tensor:
        """Return the critic's ranks (M,) in [0, 1] of samples (M, *S) among real ones and generated ones (N, *S)."""
        logits, *known = (score(critic, those) for those in (samples, self._real, made))
        # Real and generated ones count alike, however many there are.
        return torch.stack([share_below(logits, those) for those in known]).mean(0)

    def film(self, *, fps: float = 12.0) -> Animation:
        """Return the film; its last frame stands for two seconds.

        Raises:
            ArgumentError: if no step has been watched yet, or fps is out of range.
        """
        if not self._looks:
            raise ArgumentError("nothing has been filmed yet; give the movie to a trainer as on_step")
        durations = [1000.0 / as_number(fps, "fps", least=0.0, most=50.0, open_least=True)] * len(self._looks)
        durations[-1] = 2000.0
        captions = [f"step {step}" for step in self._steps]
        make = self._image_frames if self._images else self._point_frames
        return from_frames(make, count=len(self._looks), durations=durations, captions=captions)

    def _image_frames(self) -> Iterator[Frame]:
        """Yield the samples of the fixed latents, beside a critic's rank of each, dark for low ones."""
        from matplotlib import colormaps

        for pictures, scores in self._looks:
            scale = enlargement(pictures.shape[1:3], THUMBNAIL)
            samples = sheet(pictures, self._columns, scale=scale)
            if scores is None:
                yield samples
                continue
            colours = (colormaps[SCALE](scores)[:, None, None, :3] * 255).round().astype(np.uint8)
            tiles = sheet(upscale(colours, pictures.shape[1] * scale), self._columns)
            gap = np.full((samples.shape[0], 12, 3), 255, dtype=np.uint8)
            yield np.concatenate([samples, gap, tiles], axis=1)

    def _point_frames(self) -> Iterator[Frame]:
        """Yield points over the critic's field beside the image of the latent grid; axes are drawn once."""
        from matplotlib.collections import LineCollection

        left, right, bottom, top = self._limits
        judged = self._looks[0][0] is not None
        with drawing():
            titles = "samples over the critic's field" if judged else "samples", f"image of a latent grid{self._of}"
            panels = [Stage(self._limits, SIDE, title=title) for title in titles]
            field = panels[0].axes.imshow(
                np.full((FIELD, FIELD), 0.5),
                extent=(left, right, bottom, top),
                origin="lower",
                cmap="PuOr_r",
                vmin=0.0,
                vmax=1.0,
                alpha=0.55,
                interpolation="bilinear",
            )
            (real,) = panels[0].axes.plot(*self._real.numpy().T, ".", color=MUTED, markersize=2, markeredgewidth=0)
            (made,) = panels[0].axes.plot([], [], ".", color=ACCENT, markersize=3, markeredgewidth=0)
            (shadow,) = panels[1].axes.plot(*self._real.numpy().T, ".", color=MUTED, markersize=2, markeredgewidth=0)
            lines = LineCollection([], colors=[COLOURS[0]] * LINES + [COLOURS[2]] * LINES, linewidths=0.8)
            panels[1].axes.add_collection(lines)
            for panel, artists in zip(panels, ([field, real, made], [shadow, lines]), strict=True):
                panel.keep(artists)
        for values, points, grid in self._looks:
            with drawing():
                if values is not None:
                    field.set_data(values)
                made.set_data(*points.T)
                lines.set_segments(list(grid))
                frame = np.concatenate([panel.frame() for panel in panels], axis=1)
            yield frame


def share_below(values: Tensor, known: Tensor) -> Tensor:
    """Return for each of the values (M,) the share of known ones (N,) that lie below it; of equal ones half count.

    Examples:
        >>> share_below(torch.tensor([0.0, 2.0, 9.0]), torch.tensor([1.0, 2.0, 3.0, 4.0]))
        tensor([0.0000, 0.3750, 1.0000])
    """
    ordered = known.sort().values
    ends = [torch.searchsorted(ordered, values, right=right) for right in (False, True)]
    return (ends[0] + ends[1]) / (2 * len(ordered))


def _fixed_latents(generator: Generator) -> tuple[Tensor, int]:
    """Return the latents of images to watch, row by row, and how many a row.

    Over classes, neighbouring columns belong to one class, and in a row each class has the same latents.
    """
    if not isinstance(generator, Marginal):
        return generator.prior.sample(COLUMNS * ROWS, seed=0), COLUMNS
    classes = min(len(generator.classes), MOST_CLASSES)
    each = max(1, COLUMNS // classes)
    latents = generator.prior.sample(ROWS * each, seed=0).reshape(ROWS, 1, each, -1).expand(-1, classes, -1, -1)
    labels = torch.arange(classes).repeat_interleave(each).repeat(ROWS)
    return generator.in_class(latents.reshape(len(labels), -1), labels), classes * each


def _latent_grid(prior: Prior, points: int = 60) -> Tensor:
    """Return lines through the first two coordinates of a normal prior, at even quantiles; others are at the mean.

    `LINES` lines of constant first and as many of constant second coordinate, `points` latents each, as
    (2 LINES points, dim). With one coordinate both kinds are the same line. Of a mixture it is the grid of its
    heaviest component, along that component's own axes.
    """
    from scipy.special import ndtri

    levels = torch.from_numpy(ndtri((np.arange(LINES) + 0.5) / LINES)).float()
    along = torch.from_numpy(ndtri(np.linspace(0.01, 0.99, points))).float()
    fixed, moving = levels[:, None].expand(LINES, points), along.expand(LINES, points)
    latents = torch.zeros(2, LINES, points, max(prior.dim, 2))
    latents[0, ..., 0], latents[0, ..., 1] = fixed, moving
    latents[1, ..., 0], latents[1, ..., 1] = moving, fixed
    normal = latents[..., : prior.dim].reshape(-1, prior.dim)
    if not isinstance(prior, Empirical):
        return normal
    heaviest = int(prior.weights.argmax())
    return (prior.means[heaviest] + normal.to(prior.means) @ prior.scales[heaviest].T).float()
