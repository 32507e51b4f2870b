"""Making a quality map: many draws of the prior, scored block by block, in memory or in a store."""

import os
from functools import partial

import torch
from torch import Tensor

from latentkit.calibration import Calibration, score
from latentkit.checks import as_count, as_seed
from latentkit.console import limited_threads
from latentkit.engines import check_engine, run_blocks
from latentkit.errors import ArgumentError, CriticError
from latentkit.projection import Features, featured, sample_features
from latentkit.protocols import Critic, Generator
from latentkit.quality.blocks import SCORES, ScoreWork, block_rows, columns_of
from latentkit.quality.chart import GRAPH_LIMIT, chart_size
from latentkit.quality.charting import chart_first
from latentkit.quality.map import QualityMap
from latentkit.quality.scoring import MOST_REAL, as_real, calibrate_against
from latentkit.quality.stored import Frame, map_of, map_of_store, read_frame
from latentkit.sampling.batches import planned_batch
from latentkit.sampling.fingerprints import fingerprint
from latentkit.sampling.generate import generate, pays_back
from latentkit.stores import Table, begun, check_room, create_store, kind_of

__all__ = ["quality_map"]


def quality_map(
    generator: Generator,
    critic: Critic | None,
    real: Tensor,
    *,
    n: int = 10_000,
    seed: int = 0,
    batch_size: int | None = None,
    method: str | None = None,
    calibration: Calibration | None = None,
    features: Features | None = None,
    graph_limit: int = GRAPH_LIMIT,
    allow_uninformative: bool = False,
    store: str | os.PathLike[str] | None = None,
    resume: bool = False,
    engine: str = "local",
    address: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    gpus: float = 0.0,
    progress: bool = False,
) -> QualityMap:
    """Score n draws of the prior with a critic calibrated on held-out data.

    Memory does not grow with the size of samples or latents but for the chart: about 40 bytes a latent, and with a
    store not with their number either.

    Args:
        generator: the model.
        critic: its discriminator, or any scorer.
        real: (M, *S) real samples that neither was trained on, at least 20. Beside calibrating the critic they say
            from which probability on a latent is good.
        n: how many latents to map; latents 0 to n - 1 of the seed.
        seed: 0 to 2**64 - 1.
        batch_size: latents a call; by default 64 for few latents and what is fastest for many.
        method: how to calibrate, such as "isotonic" or "logistic", or None for the best.
        calibration: that of this critic against this generator, if it was calibrated before.
        features: samples (B, *S) to features (B, F), whose Euclidean distance says how alike samples are; by
            default all numbers of a sample.
        graph_limit: how many latents to chart for islands, bottlenecks and routes, at most; see
            `QualityMap.charted`. 0 charts none, and saves their memory. The chart is chosen first, from as many latents
            as show enough good and bad ones, up to ten times as many as are charted; the samples of the first are kept
            meanwhile, up to 2**26 numbers, and others are made twice. Of a map of up to 200,000 latents each is placed
            at the very nearest charted sample, which may take longer than to make its own; a larger one takes a short
            way, see `QualityMap.exact_places`.
        allow_uninformative: return the map of a critic without signal instead of refusing.
        store: a folder for the scores, without a suffix. They are written block by block, and the map's tensors are
            memory-mapped, so that a map of any size can be made and looked at; `load_quality(store)` opens it again.
            It is the same map bit for bit.
        resume: go on with a store that the same call began; without one, begin.
        engine: "local" or "ray", for a map in a store; see `latentkit.engines.run_blocks`, also for the next four.
        address: of a Ray cluster.
        workers: how many of them, for "ray".
        threads: of torch, in this process or in each worker.
        gpus: that each worker needs, for "ray".
        progress: show a progress bar on standard error.

    Raises:
        CriticError: if there is no critic, or it carries no signal and `allow_uninformative` is False.
        ShapeError: if there are fewer than 20 real samples, or they are not of the generator's shape.
        ArgumentError: if an argument is out of range, or belongs to a map in a store and there is none.
        OutputError: if the store does not fit on the disk, other things are in the way, or the one that is to be gone
            on with was begun by another call.
    """
    n, seed, limit = as_count(n, "n"), as_seed(seed), as_count(graph_limit, "graph_limit", least=0)
    if critic is None:
        raise CriticError("there is no critic to score latents with; pass any function from samples to logits (N,)")
    if calibration is not None and method is not None:
        raise ArgumentError(f"a calibration is given, so it cannot be made by method={method!r}; leave one out")
    check_engine(engine, address=address, workers=workers, threads=threads, gpus=gpus)
    if store is None and (resume or engine != "local" or threads is not None):
        raise ArgumentError("resume, engine and threads are for a map in a store; pass store=FOLDER as well")
    if store is not None and kind_of(store) != "npy":
        raise ArgumentError(f"a map's store is a folder without a suffix, got {os.fspath(store)!r}")
    there = None if store is None else begun(store, resume)
    if there is not None and batch_size is None:  # what was not said is what it was begun with
        batch_size = there.plan.get("batch_size")
    size = as_count(planned_batch(batch_size, n, generator, critic=critic), "batch_size")
    block = block_rows(n, size, generator.prior.dim)
    if store is not None and there is None:
        check_room(store, Table(n, block, SCORES).nbytes)
    frame = None if there is None else read_frame(there)
    if frame is None:
        given = calibration
        if given is not None:
            real = as_real(real, generate(generator, generator.prior.sample(1, seed=seed, start=n)))
        else:
            given = calibrate_against(generator, critic, real, seed=seed, start=n, method=method, batch_size=size)
        frame = Frame(generator.prior, seed, given, score(critic, real[:MOST_REAL], batch_size=size))
    if frame.calibration.verdict == "uninformative" and not allow_uninformative:
        raise CriticError(
            f"no quality map was made. {frame.calibration.explanation} Train longer, use another critic, hold out "
            "more real samples, or pass allow_uninformative=True to see the scores all the same."
        )
    width = _width(generator, real, features) if limit else 0
    most = chart_size(limit, width) if limit else 0
    work = ScoreWork(
        generator,
        critic,
        frame.calibration,
        seed,
        size,
        features=features,
        whole=n <= most,
        many=pays_back(n),
    )
    if store is None:
        if most and not work.whole:
            frame = chart_first(work, n, most, width, block, frame, progress=progress)
        return _in_memory(work.on(frame), n, block, frame, progress)
    plan = {
        "of": "quality map",
        "generator": fingerprint(generator),
        "critic": fingerprint(critic),
        "real": fingerprint(real),
        "seed": seed,
        "batch_size": size,
        "method": method,
        "calibration": None if calibration is None else fingerprint(calibration),
        "graph_limit": limit,
        "features": None if features is None else fingerprint(features),
    }
    columns = columns_of(bool(limit), width if work.whole else None)
    made = create_store(store, kind="npy", rows=n, block=block, columns=columns, plan=plan, resume=resume)
    run = partial(
        run_blocks, engine=engine, address=address, workers=workers, threads=threads, gpus=gpus, progress=progress
    )
    # The frame is there before the first block, so that all blocks are scored alike.
    frame.write(made)
    if most and not work.whole and frame.chart is None:
        with limited_threads(threads):
            frame = chart_first(
                work,
                n,
                most,
                width,
                block,
                frame,
                store=made,
                run=run if engine != "local" else None,
                progress=progress,
            )
        frame.write(made)
    return map_of_store(run(made, work.on(frame)), frame)


def _in_memory(work: ScoreWork, n: int, block: int, frame: Frame, progress: bool) -> QualityMap:
    """Return the map of latents 0 to n - 1, made block by block."""
    from tqdm import tqdm

    found: dict[str, Tensor] = {}
    with tqdm(total=n, desc="scoring", unit="latent", disable=not progress, leave=False) as bar:
        for start in range(0, n, block):
            stop = min(start + block, n)
            for name, part in work(start, stop, each=bar.update).items():
                values = torch.from_numpy(part)
                if name not in found:
                    found[name] = torch.empty((n, *values.shape[1:]), dtype=values.dtype)
                found[name][start:stop] = values
    return map_of(found, frame, custom=work.features is not None)


def _width(generator: Generator, real: Tensor, features: Features | None) -> int:
    """Return how many numbers a sample's features have."""
    if len(real):  # as wide as those of a generated sample, and there already
        return featured(real[:1], features).shape[1]
    return sample_features(generator, generator.prior.sample(1, seed=0), features or "samples", batch_size=1).shape[1]
