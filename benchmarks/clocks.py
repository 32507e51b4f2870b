"""Clocks, memory and turns: how benchmarks measure side by side, so that a busy machine spoils no ratio."""

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

__all__ = [
    "ROOT",
    "Rounds",
    "Spent",
    "cpu_seconds",
    "interleaved",
    "peak",
    "process",
    "python",
    "resident",
    "restart_peak",
    "timed",
]

#: The folder that holds `benchmarks` and `latentkit`.
ROOT = Path(__file__).resolve().parent.parent


def cpu_seconds() -> float:
    """Return the processor seconds, user and system, of this process and of the children that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def timed(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> Callable[[], float]:
    """Return a function that calls `call` and returns the seconds that it took by a clock.

    Args:
        call: what is measured; what it returns is dropped.
        clock: `time.perf_counter` for wall time, `time.process_time` for this process's processor time, `cpu_seconds`
            for that and its children's.
    """

    def run() -> float:
        start = clock()
        call()
        return clock() - start

    return run


@dataclass(frozen=True)
class Rounds:
    """Seconds by name, round by round; the k-th of each were measured next to each other."""

    seconds: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        """Return the median seconds."""
        return statistics.median(self.seconds[name])

    def best(self, name: str) -> float:
        """Return the least seconds."""
        return min(self.seconds[name])

    def ratios(self, over: str, under: str) -> list[float]:
        """Return the seconds of one over those of another, round by round."""
        return [a / b for a, b in zip(self.seconds[over], self.seconds[under], strict=True)]

    def ratio(self, over: str, under: str) -> float:
        """Return the median of the ratios of the rounds, which a slow spell of the machine moves least."""
        return statistics.median(self.ratios(over, under))


def interleaved(runs: Mapping[str, Callable[[], float]], rounds: int, *, warm_up: int = 0) -> Rounds:
    """Let runs take turns, every other round backwards, so that a drift of the machine hits all alike.

    Args:
        runs: functions that do something and return its seconds, by name; see `timed`.
        rounds: how often each is measured.
        warm_up: how often each runs before, unmeasured.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in list(runs.values()) * warm_up:
        run()
    for k in range(rounds):
        for name in list(runs)[:: 1 if k % 2 == 0 else -1]:
            seconds[name].append(runs[name]())
    return Rounds(seconds)


@dataclass(frozen=True)
class Spent:
    """What a process took: `wall` and `cpu` seconds (its own children's with them); its exit `code`, its `output`."""

    wall: float
    cpu: float
    code: int
    output: str = ""


def process(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    stdout: int | IO[str] | None = subprocess.DEVNULL,
    stderr: int | IO[str] | None = None,
    check: bool = True,
) -> Spent:
    """Run a command by itself and return what it took.

    Args:
        command: the program and its arguments; `python(...)` makes one of this interpreter.
        environment: variables to set or change.
        stdout: as in `subprocess.run`; nothing is shown unless told otherwise, and with PIPE it is returned.
        stderr: as in `subprocess.run`; shown unless told otherwise.
        check: raise `subprocess.CalledProcessError` if it fails.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **(environment or {})}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=variables, stdout=stdout, stderr=stderr, check=check, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(wall, cpu, done.returncode, done.stdout or "")


def python(*arguments: str) -> list[str]:
    """Return the command that runs this interpreter with arguments."""
    return [sys.executable, *arguments]


def resident(process: str = "self") -> float:
    """Return the resident memory of a process in MiB, from Linux's account of it."""
    return _mebibytes("VmRSS", process)


def peak(process: str = "self") -> float:
    """Return the largest resident memory that a process had so far, or since `restart_peak`, in MiB."""
    return _mebibytes("VmHWM", process)


def restart_peak() -> None:
    """Let the peak of this process's memory count from now on."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _mebibytes(field: str, process: str) -> float:
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024.0
