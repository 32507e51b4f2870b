"""The work of a quality map: the scores of a block of draws, and where each lies on the chart."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.calibration import Calibration
from latentkit.projection import Features, featured
from latentkit.protocols import Critic, Generator, modules_of
from latentkit.quality.chart import Chart
from latentkit.quality.scoring import scored_samples
from latentkit.quality.stored import Frame
from latentkit.sampling.generate import generate
from latentkit.sampling.prepared import is_prepared, prepared
from latentkit.stores import Column

__all__ = ["SCORES", "ScoreWork", "block_rows", "columns_of"]

#: What is known of each latent of a map.
SCORES = {
    "index": Column("int64"),
    "logits": Column("float32"),
    "probability": Column("float64"),
    "density_ratio": Column("float64"),
    "typicality": Column("float64"),
}


def columns_of(charted: bool, width: int | None) -> dict[str, Column]:
    """Return what is known of each latent of a map, `charted` or not.

    Args:
        charted: whether there is a chart, so that each latent has its place on it.
        width: the numbers F of a sample's features, if all latents are charted, and theirs are kept.
    """
    found = SCORES | ({"places": Column("int32")} if charted else {})
    return found | ({} if width is None else {"features": Column("float32", (width,))})


def block_rows(n: int, batch_size: int, dim: int) -> int:
    """Return how many latents are scored as one block: whole batches, and as many as are worth a file.

    Args:
        n: how many latents there are in all: the more, the larger the blocks, from 2**13 to 2**16.
        batch_size: latents a call.
        dim: of a latent; a block has at most 2**23 coordinates.
    """
    rows = min(max(2**13, min(n // 256, 2**16)), 2**23 // dim)
    return max(1, rows // batch_size) * batch_size


@dataclass(frozen=True, eq=False)
class ScoreWork:
    """Scores latents [start, stop) of a seed, for `latentkit.engines.run_blocks`.

    Attributes: `generator`; `critic`; `calibration` of its logits; `seed` of the latents; `batch_size`, latents a call,
    counted from `start`; `chart`, on which latents are placed, or None; `picked` (G,) long, the latents that are its
    rows; `features`, what the chart was made with; `whole`, whether instead all latents are charted, so that their
    samples' features are wanted; `many`, whether so many latents are scored in all that faster copies of the models
    pay; `kept`, blocks whose samples' features were kept when the chart was chosen, so that they are not made again.
    """

    generator: Generator
    critic: Critic
    calibration: Calibration
    seed: int
    batch_size: int
    chart: Chart | None = None
    picked: Tensor | None = None
    features: Features | None = None
    whole: bool = False
    many: bool = True
    kept: dict[tuple[int, int], "_Kept"] = field(default_factory=dict)

    @cached_property
    def ready(self) -> tuple[Generator, Critic]:
        """The models as they are run, made ready once."""
        if not self.many:
            return self.generator, self.critic
        generator = prepared(self.generator)
        if is_prepared(self.critic):
            return generator, self.critic
        probe = generate(generator, self.generator.prior.sample(4, seed=0), batch_size=4)
        return generator, prepared(self.critic, probe=probe)

    def __call__(
        self, start: int, stop: int, *, each: Callable[[int], object] | None = None
    ) -> Mapping[str, NDArray[Any]]:
        """Return the columns of the latents; `each` hears how many a batch had."""
        kept = self.kept.pop((start, stop), None)
        columns, batches = self._scored(start, stop) if kept is None else (kept.columns, iter(kept.features))
        place = None
        if self.chart is not None and self.picked is not None:
            place = _Placer(self.chart, self.picked, start, stop)
        features: list[Tensor] = []
        for batch in batches:
            if place is not None:
                place.see(batch)
            if self.whole:
                features.append(batch)
            if each is not None:
                each(len(batch))
        if place is not None:
            columns["places"] = place.finished()
        if self.whole:
            columns |= {"places": torch.arange(start, stop, dtype=torch.int32), "features": torch.cat(features)}
        return {name: value.numpy() for name, value in columns.items()}

    def keep(self, start: int, stop: int) -> Tensor:
        """Score latents [start, stop), keep what they are until they are placed, and return their probability (M,)."""
        columns, batches = self._scored(start, stop)
        kept = _Kept(columns, list(batches))
        self.kept[start, stop] = kept
        return kept.columns["probability"]

    def _scored(self, start: int, stop: int) -> tuple[dict[str, Tensor], Iterator[Tensor]]:
        """Return the scores, which are there when the features of all batches have been yielded, and these."""
    def on(self, frame: Frame) -> "ScoreWork":
        """Return this work on the chart of a map's frame, if it has one."""
        return replace(self, chart=frame.chart, picked=frame.picked)

    def placed(self, device: str) -> "ScoreWork":
        """Put the models on a device, for a worker that has one of its own, and return the work."""
        for model in (self.generator, self.critic):
            for module in modules_of(model):
                module.to(device)
        return replace(self)


class _Placer:
    """Finds the places on a chart of latents [start, stop), whose samples come batch by batch."""

    def __init__(self, chart: Chart, picked: Tensor, features: Features | None, start: int, stop: int) -> None:
        self.chart, self.features = chart, features
        self.places = torch.full((stop - start,), -1, dtype=torch.int32)
        first, last = torch.searchsorted(picked, torch.tensor([start, stop])).tolist()
        # A charted latent lies where it is, also where others have the very same sample.
        self.places[picked[first:last] - start] = torch.arange(first, last, dtype=torch.int32)
        self.others = (self.places < 0).nonzero()[:, 0]
        self.waiting: list[Tensor] = []
        self.seen = self.held = self.done = 0

    def see(self, batch: Tensor) -> None:
        """Take the next samples (B, *S)."""
        rows = (self.places[self.seen : self.seen + len(batch)] < 0).nonzero()[:, 0]
        self.seen += len(batch)
        if len(rows):
            self.waiting.append(featured(batch[rows] if len(rows) < len(batch) else batch, self.features))
            self.held += len(rows)
        if self.held >= self.chart.at_once:
            self._place()

    def finished(self) -> Tensor:
        """Return the places (M,) int32 of all."""
        self._place()
        return self.places

    def _place(self) -> None:
        if self.held:
            rows = self.others[self.done : self.done + self.held]
            self.places[rows] = self.chart.nearest(torch.cat(self.waiting))
            self.done += self.held
            self.waiting, self.held = [], 0
