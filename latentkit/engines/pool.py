"""The engine "ray": Ray Data over the blocks that are missing, with actors that hold the work once each.

Nothing but numbers of blocks goes through Ray: each worker writes what it makes into the store itself.
"""

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from latentkit import __version__
from latentkit.console import limited_threads
from latentkit.engines.blocks import Work, named, where
from latentkit.engines.cluster import joined
from latentkit.engines.quiet import quiet_ray
from latentkit.errors import ArgumentError, EngineError, LatentkitError, OutputError
from latentkit.stores import Store

__all__ = ["Post", "Tally", "Worker", "run_on_ray"]

#: Workers that a block may end before it is left out: once may be a machine's fault, four times is the block's.
ATTEMPTS = 4

#: Parts that Ray Data schedules, at most; of very many blocks several make a part.
_PARTS = 10_000

#: Blocks that are named in an error.
_NAMED = 8

#: Seconds between two looks at a cluster from outside.
_PAUSE = 0.5

#: How a block went.
_DONE, _LOST, _FAILED = 0, 1, 2


def run_on_ray(
    store: Store,
    work: Work,
    missing: list[int],
    done: Callable[[int], None],
    *,
    address: str | None,
    workers: int | None,
    threads: int,
    gpus: float,
) -> None:
    """Let the workers of a cluster make the missing blocks of a store; `done` hears of each.

    The first error of the work ends it, as it does in one process. A block that ends its workers is left out, and
    the others are made before that is an error.

    Raises:
        EngineError: if the cluster cannot be reached or is too small, or blocks keep ending their workers.
        MissingDependencyError: if ray is not installed.
    """
    lost: list[int] = []
    with quiet_ray() as ray:
        packed = _packed(ray, store, work)
        with joined(ray, address, None if workers is None else workers * threads, len(packed)):
            count = min(_workers(ray, workers, threads, gpus), len(missing))
            rows = _rows_from_outside if ray.util.client.ray.is_connected() else _rows
            for k, how, error in rows(ray, packed, missing, count, threads, gpus):
                if how == _FAILED:
                    _raise(ray, store, k, error)
                if how == _LOST:
                    lost.append(k)
                else:
                    done(k)
    if lost:
        numbers = ", ".join(map(str, sorted(lost)[:_NAMED])) + (", ..." if len(lost) > _NAMED else "")
        raise EngineError(
            f"{len(lost):,} of {len(missing):,} blocks of {store.path} ended {ATTEMPTS} workers each and were left out "
            f"({numbers}), as happens for want of memory; the others are done. Give workers more memory or a smaller "
            "batch, and go on by resume"
        )


def _packed(ray: Any, store: Store, work: Work) -> bytes:
    try:
        return ray.cloudpickle.dumps((__version__, sys.path, ray.cloudpickle.dumps((store, work))))
    except Exception as error:  # whatever a user's object raises when it is taken apart
        raise ArgumentError(
            f"this work cannot be sent to other processes ({type(error).__name__}: {error}); build it from modules, "
            'functions and tensors, or use engine="local"'
        ) from error


def _workers(ray: Any, wanted: int | None, threads: int, gpus: float) -> int:
    """Return how many workers the cluster has room for, and no more than are wanted."""
    there = ray.cluster_resources()
    room = int(there.get("CPU", 0) // threads)
    if gpus:
        room = min(room, int(there.get("GPU", 0.0) // gpus))
    if not room:
        needs = f"{threads} processors" + (f" and {gpus:g} GPUs" if gpus else "")
        raise EngineError(
            f"a worker needs {needs}, and the cluster has {there.get('CPU', 0):g} and {there.get('GPU', 0):g}; ask for "
            "less, or join a larger one"
        )
    return room if wanted is None else min(wanted, room)


def _rows(
    ray: Any, packed: bytes, missing: list[int], workers: int, threads: int, gpus: float
) -> Iterator[tuple[int, int, bytes]]:
    """Yield for each block, as it is made, its number, how it went, and the error if it failed."""
    tally = ray.remote(num_cpus=0)(Tally).remote()
    blocks = ray.data.from_items(missing, override_num_blocks=min(len(missing), max(_PARTS, workers)))
    made = blocks.map_batches(
        Worker,
        fn_constructor_args=(ray.put(packed), tally, ATTEMPTS, threads, gpus),
        batch_size=1,
        # One at a time: a block that waits behind another is done later than by whichever worker is free first.
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
        num_cpus=threads,
        num_gpus=gpus or None,
    )
    made.context.enable_progress_bars = False
    made.context.print_on_execution_start = False
    made.context.execution_no_progress_timeout_s = -1  # a block may take an hour, or a cluster have no room for one
    made.context.max_consecutive_actor_init_deaths = ATTEMPTS
    try:
        for row in made.iter_rows():
            yield int(row["block"]), int(row["how"]), row["error"]
    except ray.exceptions.RayError as error:
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise EngineError(
            f"the workers failed: {last}; every machine of the cluster needs latentkit {__version__} and what the work "
            "is made of. The blocks that are done stay"
        ) from error
    finally:
        ray.kill(tally)


def _rows_from_outside(
    ray: Any, packed: bytes, missing: list[int], workers: int, threads: int, gpus: float
) -> Iterator[tuple[int, int, bytes]]:
    """Yield the same to a process that is no part of the cluster, from which Ray Data cannot be used."""
    post = ray.remote(num_cpus=0)(Post).remote()
    task = ray.remote(num_cpus=0, max_retries=0)(_posted)
    end = task.remote(post, packed, missing, workers, threads, gpus)
    try:
        ended = False
        while not ended:
            ended = bool(ray.wait([end], timeout=_PAUSE)[0])
            yield from ray.get(post.taken.remote())
        ray.get(end)
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, LatentkitError) else EngineError(str(error.cause)) from error
    finally:
        ray.cancel(end, force=True)
        ray.kill(post)


def _posted(post: Any, packed: bytes, missing: list[int], workers: int, threads: int, gpus: float) -> None:
    ray = _ray()
    for row in _rows(ray, packed, missing, workers, threads, gpus):
        ray.get(post.put.remote(row))


class Post:
    """Holds what the cluster says of blocks until it is taken."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, bytes]] = []

    def put(self, row: tuple[int, int, bytes]) -> None:
        """Add a row."""
        self._rows.append(row)

    def taken(self) -> list[tuple[int, int, bytes]]:
        """Return what has come since."""
        rows, self._rows = self._rows, []
        return rows


def _raise(ray: Any, store: Store, k: int, packed: bytes) -> None:
    """Raise the error of a worker as the engine "local" would have."""
    error, text = ray.cloudpickle.loads(packed)
    if isinstance(error, LatentkitError):
        raise named(error, store, k) from None
    error.add_note(f"{where(store, k)}\nIn the worker:\n{text}")
    raise error


class Tally:
    """Counts how often each block was begun: a block that ends whoever begins it must not do so for ever."""

    def __init__(self) -> None:
        self._begun: dict[int, int] = {}
        self._done: set[int] = set()

    def begin(self, k: int) -> int:
        """Return which attempt at block k this is, from 1, or 0 if it is done."""
        if k in self._done:
            return 0
        self._begun[k] = self._begun.get(k, 0) + 1
        return self._begun[k]

    def done(self, k: int) -> None:
        """Count block k as done."""
        self._done.add(k)


class Worker:
    """An actor that holds the work, makes blocks, and writes them into the store.

    Args:
        packed: a reference to the version of the sender, the store and the work, as bytes.
        tally: the actor that counts.
        attempts: after which a block is left out.
        threads: of torch.
        gpus: that are this worker's; with any the work is put there, if it can be.
    """

    def __init__(self, packed: Any, tally: Any, attempts: int, threads: int, gpus: float) -> None:
        self._tally, self._attempts, self._threads, self._gpus = tally, attempts, threads, gpus
        self._ready: tuple[Store, Work] | None = None
        # An error here would end the actor without a word of what it was, so that it waits for the first block.
        self._error = b""
        try:
            self._ready = self._unpacked(packed)
        except Exception as error:
            self._error = _carried(error)

    def _unpacked(self, packed: Any) -> tuple[Store, Work]:
        ray = _ray()
        data = ray.get(packed) if isinstance(packed, ray.ObjectRef) else packed
        version, places, both = ray.cloudpickle.loads(data)
        if version != __version__:
            raise EngineError(f"a worker has latentkit {__version__}, and the sender {version}; install one everywhere")
        # Modules beside the sender's script, or that are there for its tests, are found where the machines share them.
        sys.path += [place for place in places if place not in sys.path]
        store, work = ray.cloudpickle.loads(both)
        if not store.path.is_dir():
            raise OutputError(
                f"{store.path} is not there on a worker's machine; put it on a file system that all machines share"
            )
        placed = getattr(work, "placed", None)
        return store, placed("cuda") if self._gpus and placed is not None else work

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Make the blocks of a batch, and return how each went."""
        numbers = [int(k) for k in batch["item"]]
        went = [self._made(k) for k in numbers]
        return {"block": numbers, "how": [how for how, _ in went], "error": [error for _, error in went]}

    def _made(self, k: int) -> tuple[int, bytes]:
        if self._ready is None:
            return _FAILED, self._error
        attempt = _ray().get(self._tally.begin.remote(k))
        if not 0 < attempt <= self._attempts:
            return (_LOST if attempt else _DONE), b""
        store, work = self._ready
        try:
            with limited_threads(self._threads):
                store.write(k, work(*store.span(k)))
        except Exception as error:
            return _FAILED, _carried(error)
        self._tally.done.remote(k)
        return _DONE, b""


def _ray() -> Any:
    import ray
    import ray.data

    return ray


def _carried(error: Exception) -> bytes:
    """Return an error and its traceback as bytes; one that cannot travel by what it says."""
    cloudpickle = _ray().cloudpickle
    text = "".join(traceback.format_exception(error))
    try:
        packed = cloudpickle.dumps((error, text))
        cloudpickle.loads(packed)
    except Exception:
        packed = cloudpickle.dumps((EngineError(f"{type(error).__name__}: {error}"), text))
    return packed
