"""The work of a quality map: the scores of a block of draws, and where each lies on the chart."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.calibration import Calibration
from latentkit.projection import Features, featured
from latentkit.protocols import Critic, Generator, moved
from latentkit.quality.chart import Chart
from latentkit.quality.scoring import scored_samples
from latentkit.quality.stored import Frame
from latentkit.sampling.generate import generate
from latentkit.sampling.prepared import is_prepared, prepared
from latentkit.stores import Column

__all__ = ["SCORES", "ScoreWork", "Scored", "block_rows", "columns_of"]

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
    kept: dict[tuple[int, int], "Scored"] = field(default_factory=dict)

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
        kept = Scored(self, start, stop) if kept is None else kept
        place = None
        if self.chart is not None and self.picked is not None:
            place = _Placer(self.chart, self.picked, start, stop)
        features: list[Tensor] = []
        for batch in kept.batches(wanted=place is not None or self.whole):
            if place is not None:
                place.see(batch)
            if self.whole:
                features.append(batch)
            if each is not None:
                each(len(batch))
        columns = kept.columns()
        if place is not None:
            columns["places"] = place.finished()
        if self.whole:
            columns |= {"places": torch.arange(start, stop, dtype=torch.int32), "features": torch.cat(features)}
        return {name: value.numpy() for name, value in columns.items()}

    def keep(self, start: int, stop: int) -> None:
        """Score latents [start, stop) and keep them with their samples' features, until their block is asked for."""
        self.kept[start, stop] = kept = Scored(self, start, stop)
        kept.features = list(kept.batches(wanted=True))

    def on(self, frame: Frame) -> "ScoreWork":
        """Return this work on the chart of a map's frame, if it has one."""
        return replace(self, chart=frame.chart, picked=frame.picked)

    def placed(self, device: str) -> "ScoreWork":
        """Put the models on a device, for a worker that has one of its own, and return the work."""
        moved(device, self.generator, self.critic)
        return replace(self)


class Scored:
    """Latents [start, stop) of a work, scored while their samples' features pass by.

    Attributes: `features`, those of each batch, if they are kept.
    """

    def __init__(self, work: ScoreWork, start: int, stop: int) -> None:
        self.work, self.start = work, start
        self.latents = work.generator.prior.sample(stop - start, seed=work.seed, start=start)
        self.logits, self.features = torch.empty(len(self.latents)), list[Tensor]()

    def batches(self, *, wanted: bool) -> Iterator[Tensor]:
        """Yield the features (B, F) of the samples batch by batch, or, if not `wanted`, the samples (B, *S)."""
        if self.features:
            yield from self.features
            return
        done = 0
        for batch, found in scored_samples(*self.work.ready, self.latents, batch_size=self.work.batch_size):
            self.logits[done : done + len(batch)] = found
            done += len(batch)
            yield featured(batch, self.work.features) if wanted else batch

    def columns(self) -> dict[str, Tensor]:
        """Return the scores, once all batches have passed by."""
        work = self.work
        return {
            "index": torch.arange(self.start, self.start + len(self.latents)),
            "logits": self.logits,
            "probability": work.calibration.probability(self.logits),
            "density_ratio": work.calibration.density_ratio(self.logits),
            "typicality": work.generator.prior.typicality(self.latents).double(),
        }


class _Placer:
    """Finds the places on a chart of latents [start, stop), whose samples' features come batch by batch."""

    def __init__(self, chart: Chart, picked: Tensor, start: int, stop: int) -> None:
        self.chart = chart
        self.places = torch.full((stop - start,), -1, dtype=torch.int32)
        first, last = torch.searchsorted(picked, torch.tensor([start, stop])).tolist()
        # A charted latent lies where it is, also where others have the very same sample.
        self.places[picked[first:last] - start] = torch.arange(first, last, dtype=torch.int32)
        self.others = (self.places < 0).nonzero()[:, 0]
        self.waiting: list[Tensor] = []
        self.coded: list[Tensor] = []
        self.seen = self.held = self.done = 0

    def see(self, batch: Tensor) -> None:
        """Take the next features (B, F)."""
        rows = (self.places[self.seen : self.seen + len(batch)] < 0).nonzero()[:, 0]
        self.seen += len(batch)
        if len(rows):
            part = batch[rows] if len(rows) < len(batch) else batch
            self.waiting.append(part)
            if not self.chart.exact:  # now, while it is at hand
                self.coded.append(self.chart.placing.coded(part))
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
            if self.chart.exact:
                self.places[rows] = self.chart.nearest(torch.cat(self.waiting))
            else:
                self.places[rows] = self.chart.placing.nearest(self.waiting, self.coded)
            self.done += self.held
            self.waiting, self.coded, self.held = [], [], 0
