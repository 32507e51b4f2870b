"""Charting a map before it is made, so that its latents need to be made only once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from numpy.typing import NDArray

from latentkit.projection import sample_features
from latentkit.quality.blocks import ScoreWork
from latentkit.quality.chart import NUMBERS, Chart, chosen, looked_through, settled
from latentkit.quality.choosing import drawn_rows, threshold_of
from latentkit.quality.placing import exact_places
from latentkit.quality.stored import Frame
from latentkit.stores import Column, Store, create_store

__all__ = ["chart_first"]

#: The folder, in a map's store, of the scores that its chart is chosen by.
PILOT = "pilot"


@dataclass(frozen=True, eq=False)
class PilotWork:
    """The probabilities of latents [start, stop), for `latentkit.engines.run_blocks`.

    Attributes: `work`, the map's.
    """

    work: ScoreWork

    def __call__(self, start: int, stop: int) -> Mapping[str, NDArray[Any]]:
        """Return the latents' probabilities (M,) float64."""
        return {"probability": self.work(start, stop)["probability"]}

    def kept(self, start: int, stop: int) -> Mapping[str, NDArray[Any]]:
        """Return the same, and let the work keep what else was found, for when it comes to these latents."""
        self.work.keep(start, stop)
        return {"probability": self.work.kept[start, stop].columns()["probability"].numpy()}

    def placed(self, device: str) -> "PilotWork":
        """Put the models on a device and return the work."""
        return PilotWork(self.work.placed(device))


def chart_first(
    work: ScoreWork,
    n: int,
    size: int,
    width: int,
    block: int,
    frame: Frame,
    *,
    store: Store | None = None,
    run: Callable[[Store, PilotWork], Store] | None = None,
    progress: bool = False,
) -> Frame:
    """Return the frame with a chart of `size` of the first latents.

    Latents are scored block by block until enough good and bad ones are known; the work keeps what it finds of the
    first ones.

    Args:
        work: the map's, without a chart.
        n: how many latents the map has.
        size: how many points the chart has.
        width: numbers of a sample's features.
        block: latents that are scored at once, as in the map itself.
        frame: of the map.
        store: of the map, in which the scores are kept, so that they are not made again.
        run: makes all of them in the store, side by side, instead of as many as are needed, one after the other.
        progress: show a progress bar on standard error.
    """
    from tqdm import tqdm

    pilot_work, seen = PilotWork(work), looked_through(size, n)
    rows = min(n, -(-seen // block) * block)
    pilot, missing = None, set(range(-(-rows // block)))
    if store is not None:
        pilot = create_store(
            store.path / PILOT,
            kind="npy",
            rows=rows,
            block=block,
            columns={"probability": Column("float64")},
            plan={**store.plan, "of": "pilot of a quality map"},
            resume=True,
        )
        if run is not None:
            pilot = run(pilot, pilot_work)
        missing = set(pilot.missing())
    threshold = threshold_of(frame.calibration, frame.real_logits) if len(frame.real_logits) else 0.0
    probability = torch.empty(0, dtype=torch.float64)
    with tqdm(total=rows, desc="charting", unit="latent", disable=not progress, leave=False) as bar:
        for k, start in enumerate(range(0, rows, block)):
            stop = min(start + block, rows)
            if k in missing or pilot is None:
                # What fits the memory of a chart is kept until it is placed; the rest is made again.
                found = pilot_work.kept(start, stop) if stop * width <= NUMBERS else pilot_work(start, stop)
                if pilot is not None:
                    pilot.write(k, found)
            else:
                found = {"probability": pilot["probability"][start:stop]}
            probability = torch.cat([probability, torch.from_numpy(found["probability"])])
            bar.update(stop - start)
            if settled(probability[:seen] >= threshold, size):
                break
    picked = chosen(probability[:seen] >= threshold, size)
    latents = drawn_rows(frame.prior, picked, frame.seed)
    features = sample_features(work.generator, latents, work.features or "samples", batch_size=work.batch_size)
    exact = exact_places(n, *features.shape)
    chart = Chart(frame.prior, latents, features, probability[picked], work.features is not None, exact)
    return replace(frame, chart=chart, picked=picked)
