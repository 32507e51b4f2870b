"""How much noise does a GAN need? Trainings over a list of latent sizes and seeds, all measured alike."""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from latentkit.calibration import FEWEST
from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_count, as_seed
from latentkit.conditional import marginal
from latentkit.console import limited_threads
from latentkit.errors import ArgumentError, DataError
from latentkit.files import check_writable, write_json
from latentkit.folders import refuse_others
from latentkit.manifest import check_place
from latentkit.sampling.generate import generate
from trainers.config import GANConfig, resolved_gan
from trainers.data.dataset import Data
from trainers.gan import networks, train_gan
from trainers.run import TrainingState
from trainers.settings import check_memory
from trainers.snapshots import check_begin
from trainers.study import MARKER, Row, Study
from trainers.study_measures import StudyConfig, measure, measure_real
from trainers.study_pictures import POINTS, SHEET

__all__ = ["Study", "StudyConfig", "latent_size_study"]

RUNS, MEASURES = "runs", "measures.json"
_PROTOCOL = 1  # of the measures beside a training; another number when they come to mean something else


def latent_size_study(
    data: Data,
    sizes: Sequence[int],
    seeds: Sequence[int],
    config: GANConfig = GANConfig(),
    *,
    out: str | os.PathLike[str],
    resume: bool = True,
    progress: bool = True,
    measures: StudyConfig | None = None,
) -> Study:
    """Train one GAN for each latent size and seed, and measure them all in the same way.

    A seed decides the training, what is held out and what is drawn to measure. The seeds come one after
    another, each with all sizes. Each training has its own folder, `runs/dim-004-seed-0` and so on, which is
    a checkpoint to explore; its measures lie beside it. At the end study.csv, study.png, study.gif (of
    images, and of points of the plane) and study.json are written.

    Args:
        data: images of one power-of-two side from 16, or points.
        sizes: of the latents, all different.
        seeds: 0 to 2**64 - 1, all different; the film shows the first one's generators.
        config: the settings of all trainings; `latent_dim` and `seed` are the study's to set.
        out: the study's folder.
        resume: go on where an interrupted study was. What is finished is not trained again, so that sizes, seeds
            and steps can be added to a study. If False, everything is done anew.
        progress: show a progress bar on standard error.
        measures: how each generator is measured [StudyConfig()].

    Raises:
        ArgumentError: if sizes or seeds repeat or are out of range, or `out` holds a study of other settings or data.
        DataError: if the data do not fit the networks, or fewer than 20 samples are left to train on or held out.
        OutputError: if `out` is not writable or holds something else.
        DivergenceError: if a training diverges; what was finished before stays.
    """
    sizes, seeds = _distinct(sizes, lambda size: as_count(size, "a size"), "sizes"), _distinct(seeds, as_seed, "seeds")
    cells, measures = [(size, seed) for seed in seeds for size in sorted(sizes)], measures or StudyConfig()
    if config.latent_dim is not None:
        raise ArgumentError(f"a study's sizes say what latent_dim is, so leave it out; got {config.latent_dim}")
    run = resolved_gan(replace(config, latent_dim=max(sizes)), data)
    check_memory(networks(data, run), run)
    if min(run.holdout, len(data) - run.holdout) < FEWEST:
        raise DataError(
            f"a study needs at least {FEWEST} samples to train on and {FEWEST} held-out ones to compare with; "
            f"{data.name} has {len(data)} samples, of which {run.holdout} are to be held out"
        )
    settings = {name: value for name, value in asdict(run).items() if name not in ("latent_dim", "seed")}
    about = {
        "data": data.name,
        "fingerprint": data.fingerprint,
        "compared": measures.compared(data, run.holdout),
        "settings": settings,
        "measures": asdict(measures),
    }
    place = _check_out(Path(out), about if resume else None, config.free)
    folders = {cell: place / RUNS / f"dim-{cell[0]:03d}-seed-{cell[1]}" for cell in cells}
    for folder in folders.values():
        check_place(folder)
        check_begin(folder, resume)

    rows: dict[tuple[int, int], Row] = {}
    samples: dict[int, Tensor] = {}
    with limited_threads(run.threads), _Bar(len(cells), run.steps, progress) as bar:
        _note(place, about, rows)
        real = [measure_real(data, seed, run.holdout, measures) for seed in sorted(seeds)]
        for (size, seed), folder in folders.items():
            bar.begin(f"size {size}, seed {seed}")
            one = replace(config, latent_dim=size, seed=seed)
            checkpoint = train_gan(data, one, out=folder, resume=resume, on_step=bar.step, progress=False)
            bar.end()
            checkpoint = marginal(checkpoint) if checkpoint.conditional else checkpoint
            rows[size, seed] = _measured(folder, checkpoint, size, seed, about["compared"], measures)
            if seed == seeds[0]:
                prior = checkpoint.generator.prior
                latents = prior.sample(SHEET if data.is_images else POINTS, seed=0)
                samples[size] = generate(checkpoint.generator, latents)
            _note(place, about, rows)
        _, held_out = data.split(run.holdout, seeds[0])
        study = Study(
            **about,
            filmed=seeds[0],
            rows=tuple(rows[cell] for cell in sorted(rows)),
            real=tuple(real),
            samples=torch.stack([samples[size] for size in sorted(samples)]),
            held_out=held_out.floats(slice(0, SHEET if data.is_images else POINTS)),
        )
        study.save(place)
    return study


def _distinct(values: Sequence[int], check: Callable[[Any], int], name: str) -> list[int]:
    found = [check(value) for value in values]
    if not found or len(set(found)) != len(found):
        raise ArgumentError(f"{name} must be at least one, all different, got {found}")
    return found


def _check_out(out: Path, about: dict[str, Any] | None, free: frozenset[str]) -> Path:
    """Return `out`, or refuse it if it holds something else, or a study that is not the one that is to go on."""
    folder = check_writable(out)
    known = MARKER.read(folder)
    if known is None:
        refuse_others(folder, {RUNS}, f", and no {MARKER.name} of a study")
    elif about is not None:
        was, now = ({"data": one.get("fingerprint"), **(one.get("settings") or {})} for one in (known, about))
        other = [name for name in now if name not in free and was.get(name) != now[name]]
        if other:
            shown = ", ".join(f"{name} was {was.get(name)!r} and is {now[name]!r}" for name in other)
            raise ArgumentError(
                f"the study in {out} was begun otherwise: {shown}; go on with what it had, choose another out, or "
                "begin anew with resume=False"
            )
    return out


def _note(place: Path, about: dict[str, Any], rows: dict[tuple[int, int], Row]) -> None:
    """Write what the study is and what has been measured so far, for one that is interrupted."""
    measured = [asdict(rows[cell]) for cell in sorted(rows)]
    write_json(place / MARKER.name, {"kind": MARKER.kind, "format": MARKER.format, **about, "rows": measured})


def _measured(folder: Path, checkpoint: Checkpoint, size: int, seed: int, count: int, config: StudyConfig) -> Row:
    """Return the measures that lie beside a training if they are of its weights and were made alike, or make them."""
    made = {"weights": checkpoint.fingerprint, "protocol": _PROTOCOL, "compared": count, "measures": asdict(config)}
    with suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads((folder / MEASURES).read_bytes())
        if {name: found[name] for name in made} == made:
            return Row(**found["row"])
    row = measure(checkpoint, size, seed, count, config)
    write_json(folder / MEASURES, {**made, "row": asdict(row)})
    return row


class _Bar:
    """One progress bar for the steps of all trainings; those that were made before count once they are known."""

    def __init__(self, trainings: int, steps: int, shown: bool) -> None:
        self._bar = tqdm(total=trainings * steps, unit="step", disable=not shown, mininterval=0.5)
        self._steps, self._before = steps, 0

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def begin(self, name: str) -> None:
        """Say what trains now."""
        self._bar.set_description(name)

    def step(self, state: TrainingState) -> None:
        """Show a step of the present training; an `on_step`."""
        self._bar.update(self._before + state.step - self._bar.n)

    def end(self) -> None:
        """Count the present training as done."""
        self._before += self._steps
        self._bar.update(self._before - self._bar.n)
