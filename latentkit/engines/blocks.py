"""Blocks of rows and the engines that make them: a store is filled block by block, here or by many workers."""

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from latentkit.checks import as_count, as_number, one_of
from latentkit.console import check_threads, limited_threads
from latentkit.errors import ArgumentError, LatentkitError
from latentkit.stores import Store

__all__ = ["ENGINES", "Work", "check_engine", "named", "run_blocks", "where"]

#: Where blocks are made: in this process, or by the workers of a Ray cluster.
ENGINES = ("local", "ray")

#: Rows [start, stop) to arrays by column. A function of the two numbers alone, so that a block can be made twice, by
#: whom and when does not matter. For workers elsewhere it must be picklable; what has `placed(device)`, which returns
#: the same work there, is put on the worker's GPU.
Work = Callable[[int, int], Mapping[str, NDArray[Any]]]


def run_blocks(
    store: Store,
    work: Work,
    *,
    engine: str = "local",
    address: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    gpus: float = 0.0,
    progress: bool = False,
) -> Store:
    """Make the blocks that a store still lacks, and finish it.

    Whatever ends the call before, the blocks that are done stay: the same call goes on from there. The engine changes
    nothing in the store: with the same work, number of threads and kind of processor it is the same bit for bit.

    Args:
        store: to be filled, as `create_store` makes it; for several machines on a file system that all of them share.
        work: makes rows [start, stop).
        engine: "local", block after block in this process, or "ray", blocks side by side by actors of a Ray cluster,
            each of which holds the work once. A worker that is lost is replaced, and its block is made again.
        address: of the cluster to join, for "ray": "auto" for the one that this machine is part of, "host:port", or
            "ray://host:port" from outside. None starts a cluster of this machine, and ends it.
        workers: how many actors, for "ray"; by default as many as there are processors, or GPUs if they need some.
        threads: of torch in this process, or in each worker; by default as many as torch uses here, and one in each
            worker.
        gpus: that each worker needs, for "ray", such as 1.0, or 0.5 for two workers a GPU.
        progress: show a progress bar on standard error.

    Returns:
        the finished store.

    Raises:
        ArgumentError: if a number is out of range, or an option belongs to the other engine.
        EngineError: if the cluster cannot be reached, or blocks keep ending their workers; the text names them.
        MissingDependencyError: if the engine is "ray" and ray is not installed.
    """
    check_engine(engine, address=address, workers=workers, threads=threads, gpus=gpus)
    missing = store.missing()
    if not missing:
        return store.finish()
    from tqdm import tqdm

    left = sum(stop - start for start, stop in map(store.span, missing))
    with tqdm(
        total=store.rows,
        initial=store.rows - left,
        desc=f"filling {store.path.name}",
        unit="row",
        unit_scale=True,
        disable=not progress,
        leave=False,
    ) as bar:

        def done(k: int) -> None:
            start, stop = store.span(k)
            bar.update(stop - start)

        if engine == "ray":
            from latentkit.engines.pool import run_on_ray

            run_on_ray(store, work, missing, done, address=address, workers=workers, threads=threads or 1, gpus=gpus)
        else:
            _run_here(store, work, missing, done, threads)
    return store.finish()


def check_engine(
    engine: str, *, address: str | None = None, workers: int | None = None, threads: int | None = None, gpus: float = 0
) -> None:
    """Check the settings of `run_blocks`; call it before the first heavy step.

    Raises:
        ArgumentError: if a number is out of range, or an option belongs to the other engine.
    """
    one_of(engine, "engine", ENGINES)
    if threads is not None:
        check_threads(as_count(threads, "threads"))
    if workers is not None:
        as_count(workers, "workers")
    as_number(gpus, "gpus", least=0.0)
    ours = {"address": address is not None, "workers": workers is not None, "gpus": gpus > 0}
    given = [name for name, there in ours.items() if there]
    if engine != "ray" and given:
        raise ArgumentError(f"{' and '.join(given)} are for the engine 'ray', and this one is {engine!r}")


def _run_here(store: Store, work: Work, missing: list[int], done: Callable[[int], None], threads: int | None) -> None:
    with limited_threads(threads):
        for k in missing:
            try:
                arrays = work(*store.span(k))
            except LatentkitError as error:
                raise named(error, store, k) from error
            except Exception as error:
                error.add_note(where(store, k))
                raise
            store.write(k, arrays)
            done(k)


def named(error: LatentkitError, store: Store, k: int) -> LatentkitError:
    """Return an error of the same kind that says in which block of a store it arose."""
    return type(error)(f"{error} ({where(store, k)})")


def where(store: Store, k: int) -> str:
    """Return in words which block an error arose in."""
    start, stop = store.span(k)
    return f"in block {k} of {store.path}, rows {start:,} to {stop - 1:,}; the blocks that are done stay"
