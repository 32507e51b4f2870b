"""What a run does and where its time goes: torch's operations, counted and by kind, or Python's functions."""

import cProfile
import pstats
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

__all__ = ["ARITHMETIC", "OUTSIDE", "Operations", "function_shares", "operation_shares", "operations_of", "spoken"]

#: The kinds that floating-point operations are counted of.
ARITHMETIC = ("convolutions", "matrix products")

OUTSIDE = "outside of torch's operations"

#: The first kind one of whose words is in an operation's name has it.
_KINDS = {
    "convolutions": "convolution conv_transpose conv2d",
    "matrix products": "addmm ::mm ::bmm matmul linear cdist",
    "batch norm": "batch_norm",
    "sorting and choosing": "topk sort kthvalue index gather scatter where nonzero",
    "activations": "relu tanh sigmoid softplus threshold",
    "the optimiser": "adam _foreach lerp",
    "copies and new tensors": "copy clone cat empty zero fill contiguous reorder stack col2im im2col strided view",
    "element by element": "::add ::sub ::mul ::div ::eq ::ne ::lt ::gt ::le ::ge clamp sqrt square abs pow exp log neg",
}


class Operations(TorchDispatchMode):
    """Counts, while it is entered, the floating-point operations of products and convolutions, forwards and backwards.

    It counts by the formulas of torch's `FlopCounterMode`, which itself cannot run along with `torch.autograd.grad`.

    Attributes: `count` so far; a product of two numbers and its sum are two.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation and count it."""
        given = kwargs or {}
        made = func(*args, **given)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.count += formula(*args, **given, out_val=made)
        return made


def operations_of(run: Callable[[], object]) -> float:
    """Return the floating-point operations of torch's products and convolutions in a run."""
    with Operations() as counter:
        run()
    return counter.count


def operation_shares(run: Callable[[], object]) -> dict[str, float]:
    """Return the share of a run's wall time that each kind of torch's operations takes, largest first.

    What lies outside of operations, Python and its libraries, is `OUTSIDE`. The profiler makes calls dearer, so that
    the many small ones weigh a little more than they do without it.
    """
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as found:
        start = time.perf_counter()
        run()
        wall = time.perf_counter() - start
    seconds: defaultdict[str, float] = defaultdict(float)
    for event in found.key_averages():
        seconds[_kind(event.key)] += event.self_cpu_time_total / 1e6
    seconds[OUTSIDE] += max(wall - sum(seconds.values()), 0.0)
    return _shares(seconds)


def _kind(name: str) -> str:
    """Return the kind of an operation; one that is of none goes by its own name."""
    lowered = name.lower()
    own = f"`{name.removeprefix('aten::')}`"
    return next((kind for kind, words in _KINDS.items() if any(word in lowered for word in words.split())), own)


def function_shares(run: Callable[[], object]) -> dict[str, float]:
    """Return the share of a run's time that is spent in each function itself, by file and name, largest first."""
    profiler = cProfile.Profile()
    profiler.runcall(run)
    seconds: defaultdict[str, float] = defaultdict(float)
    for key, row in pstats.Stats(profiler).get_stats_profile().func_profiles.items():
        # Of a function in C the profiler knows a description, such as "<method 'sort' of 'numpy.ndarray' objects>".
        built_in = _BUILT_IN.match(key)
        name = built_in["name"] if built_in else f"{Path(row.file_name).stem}.{key.strip('<>')}"
        seconds[f"`{name}`"] += row.tottime
    return _shares(seconds)


_BUILT_IN = re.compile(r"<(?:method '|built-in method (?:[\w.]+\.)?)(?P<name>\w+)")


def _shares(seconds: Mapping[str, float]) -> dict[str, float]:
    whole = sum(seconds.values()) or 1.0
    return {name: seconds[name] / whole for name in sorted(seconds, key=lambda name: -seconds[name])}


def spoken(shares: Mapping[str, float], *, least: float = 0.05, most: int = 4) -> str:
    """Return the largest shares as text.

    Examples:
        >>> spoken({"convolutions": 0.71, "batch norm": 0.12, "copies": 0.01})
        'convolutions 71 %, batch norm 12 %'
    """
    large = sorted(((share, name) for name, share in shares.items() if share >= least), reverse=True)
    return ", ".join(f"{name} {100 * share:.0f} %" for share, name in large[:most])
