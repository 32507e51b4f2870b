"""Processes for tests that kill or interrupt them, forked from one that has torch imported: each starts in no time.

That one has done no work yet, so that no thread of its own is lost in a fork.
"""

import multiprocessing
import os
import signal
import sys
import time
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from unittest.mock import patch

import pytest

_CONTEXT = multiprocessing.get_context("forkserver")
#: What the work imports when it gets there, and the tests that have work for processes.
_CONTEXT.set_forkserver_preload(
    [
        "jinja2",
        "matplotlib.backends.backend_agg",
        "matplotlib.figure",
        "pytest",
        "safetensors.torch",
        "sklearn.datasets",
        "sklearn.mixture",
        "torch._dynamo",
        "trainers.gan",
        "trainers.glo",
        "trainers.vae",
        "test_fire_interrupts",
        "test_fire_kills",
    ]
)

LONG = 120.0  # seconds: nothing here takes so long, and no test waits for ever


def usual_and_slow(usual, slow):
    """The numbers of the runs: the first ones in every run of the tests, the others where there is time."""
    return [*range(usual), *(pytest.param(n, marks=pytest.mark.slow) for n in range(usual, usual + slow))]


class Fork:
    """A process that runs `target(told, *given)`, where `told.send(...)` tells the test something.

    Attributes: `heard`, what it has told so far.
    """

    def __init__(self, target, *given):
        here = str(Path(__file__).parent)
        with patch.dict(os.environ, PYTHONPATH=os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])):
            forkserver.ensure_running()
        self._pipe, told = _CONTEXT.Pipe(duplex=False)
        self.process = _CONTEXT.Process(target=target, args=(told, *given), daemon=True)
        self.heard = []
        self.process.start()
        told.close()

    def wait_for(self, wanted) -> bool:
        """Wait until it tells `wanted`, or ends, and return whether it told it."""
        while self._hear():
            if self.heard[-1] == wanted:
                return True
        return False

    def signal(self, number: int) -> None:
        """Send a signal, if it is still there."""
        if self.process.is_alive():
            os.kill(self.process.pid, number)

    def kill(self) -> bool:
        """Kill it and return whether that is what ended it."""
        self.signal(signal.SIGKILL)
        return self.end() == -signal.SIGKILL

    def end(self) -> int:
        """Wait until it has ended, and return its exit code."""
        while self._hear():
            pass
        self.process.join(LONG)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
        self._pipe.close()
        assert code is not None, f"it has not ended after {LONG:.0f} s"
        return code

    def _hear(self) -> bool:
        try:
            if not self._pipe.poll(LONG):
                return False
            self.heard.append(self._pipe.recv())
        except (EOFError, OSError):
            return False
        return True


class Lines:
    """Counts the lines of some modules that run in a block; at line number `stop` it tells "waits", to be killed.

    Whatever a process has changed on the disk, it changed on one of the lines before: a kill at each line is a kill
    at each state of the disk that there is.
    """

    def __init__(self, modules, told: Connection, stop: int | None = None):
        self._files = {module.__file__ for module in modules}
        self._told, self._stop, self.count = told, stop, 0

    def __enter__(self):
        sys.settrace(self._called)
        return self

    def __exit__(self, *_):
        sys.settrace(None)

    def _called(self, frame: FrameType, _event, _argument):
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, _frame, event, _argument):
        if event == "line":
            if self.count == self._stop:
                self._told.send("waits")
                time.sleep(LONG)
            self.count += 1
        return self._line
