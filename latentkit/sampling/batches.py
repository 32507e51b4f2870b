"""How many latents at a time a generator makes fastest on this machine, measured once and remembered."""

import hashlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentkit import __version__
from latentkit.checks import as_number, one_of
from latentkit.console import machine_memory
from latentkit.errors import OutputError
from latentkit.files import write_json
from latentkit.protocols import Critic, Generator, evaluating, modules_of, place_of
from latentkit.sampling.prepared import PRECISIONS, prepared

__all__ = ["LARGEST", "MEASURED_FROM", "USUAL", "cache_folder", "measured_batch", "planned_batch"]

#: Latents at a time where nothing was measured, and where nothing else is clearly faster.
USUAL = 64

#: What a network too slow for a search gets at most, and the largest that is tried; from twice the first on.
SMALLEST, LARGEST = 8, 4096

#: Latents from which on `generate` and others measure: from there the search costs a few percent, and once.
MEASURED_FROM = 8192

#: How much faster than `USUAL` another size must be to be taken: less is what a busy machine makes by chance.
CLEARLY = 0.97

#: In a first try; such sizes don't come to the race.
_MUCH_SLOWER = 1.3

_ROUNDS, _FEWEST_ROUNDS = 5, 2
#: A sample's feature maps and what is computed with them take so many times its own memory, roughly.
_WORKING_MEMORY = 64
#: What a search may take on a processor, whose caches are full long before.
_MOST_MEMORY = 2**30
_LARGEST_FILE = 2**16

_known: dict[str, int] = {}


def planned_batch(
    batch_size: int | None, n: int, generator: Generator, *, critic: Critic | None = None, precision: str = "float32"
) -> int:
    """Return the batch size of a call: what was asked for, `USUAL` for few latents, and the fastest one for many.

    Only n decides whether it is measured, so that equal calls go equal ways.
    """
    if batch_size is not None:
        return batch_size
    return USUAL if n < MEASURED_FROM else measured_batch(generator, critic=critic, precision=precision)


def measured_batch(
    generator: Generator, *, critic: Critic | None = None, precision: str = "float32", seconds: float = 2.0
) -> int:
    """Return how many latents at a time a generator makes fastest here: a power of two, 64 unless another is faster.

    Powers of two are timed in turn, up to 5 times, none that takes more than an eighth of `seconds` or of the memory,
    or more than 1 GiB on a processor. Another size than 64 is taken if it was faster each time but one, and by 3 % most
    times; of several the smallest within 3 % of the best. What was found is kept in this process, and in the user's
    cache folder (`XDG_CACHE_HOME`, or the platform's) if that can be written, by everything that it depends on: the
    networks' layers and shapes, their numbers' precision, the device, the threads, the processor and torch's version.
    Weights are not among them.

    A batch size changes samples by no more than float rounding. Where bits must be equal, on another machine or after
    the cache was emptied, give the number that was measured to every call: `generate(..., batch_size=b)`.

    Args:
        generator: the model.
        critic: also scores the samples, if given.
        precision: as in `prepared`.
        seconds: bound of the search, roughly, above 0; networks that make thousands of samples a second take a tenth.

    Returns:
        16 to 4096; 8, or fewer where memory asks for it, if a sample takes longer than a sixteenth of an eighth of
        `seconds`; 64 for a function, whose modules nobody can see.

    Raises:
        ArgumentError: if an argument is out of range.
    """
    precision = one_of(precision, "precision", PRECISIONS)
    seconds = as_number(seconds, "seconds", least=0.0, open_least=True)
    key = _key(generator, critic, precision)
    if key is None:
        return USUAL
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
    if name not in _known:
        kept = _read(name)
        if kept is None:
            kept = _searched(generator, critic, precision, seconds)
            _keep(name, kept, key)
        _known[name] = kept
    return _known[name]


def _key(generator: Generator, critic: Critic | None, precision: str) -> dict[str, Any] | None:
    """Return all that the fastest size depends on as JSON, or None if the networks can't be seen."""
    models = [generator] if critic is None else [generator, critic]
    if not all(modules_of(model) for model in models):
        return None
    device, dtype = place_of(generator)
    return {
        "networks": [_network(model) for model in models],
        "precision": [precision, str(dtype)],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "processor": _processor(),
        "torch": torch.__version__,
        "latentkit": __version__,
    }


def _network(model: Any) -> str:
    """Return a digest of a model's classes, layers and shapes."""
    parts = []
    while model is not None and not isinstance(model, torch.nn.Module):
        parts.append(type(model).__qualname__)
        model = getattr(model, "module", None)
    for module in modules_of(model) if model is not None else ():
        parts.append(repr(module))
        parts += [f"{name} {tuple(part.shape)} {part.dtype}" for name, part in module.state_dict().items()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _processor() -> str:
    named = str(torch.cpu.get_capabilities().get("cpu_name") or "")
    return f"{named} {torch.backends.cpu.get_cpu_capability()} {os.cpu_count()}"


def cache_folder() -> Path:
    """Return where measured batch sizes are kept; it need not be there."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if given and Path(given).is_absolute():
        base = Path(given)
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path.home() / ".cache"
    return base / "latentkit" / "batches"


def _read(name: str) -> int | None:
    """Return a size that was kept, or None if there is none that can be believed."""
    with suppress(OSError, ValueError, RuntimeError, RecursionError):
        path = cache_folder() / f"{name}.json"
        if path.stat().st_size <= _LARGEST_FILE:
            value = json.loads(path.read_bytes())
            size = value.get("batch_size") if isinstance(value, dict) else None
            if isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= LARGEST and not size & (size - 1):
                return size
    return None


def _keep(name: str, size: int, key: dict[str, Any]) -> None:
    with suppress(OutputError, RuntimeError):  # a cache that can't be written is done without; so is a missing home
        write_json(cache_folder() / f"{name}.json", {"batch_size": size, **key})


def _searched(generator: Generator, critic: Critic | None, precision: str, seconds: float) -> int:
    """Time the sizes in turn and return the fastest."""
    deadline = time.perf_counter() + seconds
    quick = prepared(generator, precision=precision)
    device, dtype = place_of(generator)
    # A busy machine takes time away from a thread, but adds little to the processor's time that it uses.
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    with torch.no_grad(), torch.random.fork_rng(), evaluating(quick, *([] if critic is None else [critic])):
        latents = generator.prior.sample(LARGEST, seed=0).to(device, dtype)
        first = quick(latents[:SMALLEST])
        judge = None if critic is None else prepared(critic, precision=precision, probe=first)

        def run(size: int) -> float:
            """Return the seconds a latent, from at least `USUAL` of them."""
            times = max(1, USUAL // size)
            start = clock()
            for _ in range(times):
                samples = quick(latents[:size])
                # Copying back waits for the device to finish.
                (samples if judge is None else judge(samples.to(*place_of(judge)))).cpu()
            return (clock() - start) / (times * size)

        start = time.perf_counter()
        quick(latents[:SMALLEST]).cpu()
        each = (time.perf_counter() - start) / SMALLEST
        most = min(LARGEST, _fitting(first), int(seconds / 8.0 / each))
        if most < 2 * SMALLEST:
            return 2 ** (max(1, min(_fitting(first), SMALLEST)).bit_length() - 1)
        return _fastest(most, run, deadline)


def _fitting(samples: Tensor) -> int:
    """Return how many samples like these may be in work at a time."""
    each = max(1, samples[0].numel() * samples.element_size() * _WORKING_MEMORY)
    memory = min(machine_memory() // 8, _MOST_MEMORY)
    if samples.device.type == "cuda":
        memory = torch.cuda.mem_get_info(samples.device)[0] // 2
    return int(memory // each)


def _fastest(most: int, run: Callable[[int], float], deadline: float) -> int:
    """Return the smallest size of the fastest, and the usual one unless those are clearly faster."""
    sizes = _promising(most, run)
    usual = max(size for size in sizes if size <= USUAL)
    ratios: dict[int, list[float]] = {size: [] for size in sizes}
    for turn in range(_ROUNDS):
        if turn >= _FEWEST_ROUNDS and time.perf_counter() > deadline:
            break
        seconds = {size: run(size) for size in (sizes if turn % 2 else sizes[::-1])}
        for size in sizes:
            ratios[size].append(seconds[size] / seconds[usual])
    # Faster in all rounds but one, and clearly so in most: what else takes turns here can't do that by chance.
    better = {size: statistics.median(found) for size, found in ratios.items() if sorted(found)[-2] < 1.0}
    best = min(better.values(), default=1.0)
    if best >= CLEARLY:
        return usual
    # What is larger for nothing takes memory, and the time of fresh pages whenever the allocator asks for them.
    return min(size for size, found in better.items() if found * CLEARLY <= best)


def _promising(most: int, run: Callable[[int], float]) -> list[int]:
    """Return the sizes up to `most` that are worth a race, by a first try of each until larger ones are slower."""
    tried: dict[int, float] = {}
    for size in (2**k for k in range((2 * SMALLEST).bit_length() - 1, most.bit_length())):
        try:
            run(size)  # kernels are chosen and memory is taken once
            tried[size] = run(size)
        except torch.OutOfMemoryError:
            break
        if size > USUAL and tried[size] > _MUCH_SLOWER * min(tried.values()):
            break
    if not tried:
        return [SMALLEST]
    least = min(tried.values())
    usual = max((size for size in tried if size <= USUAL), default=min(tried))
    return [size for size, each in tried.items() if size == usual or each < _MUCH_SLOWER * least]
