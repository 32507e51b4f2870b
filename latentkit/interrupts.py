"""Requests to end a command by a signal: Ctrl-C, SIGTERM, and SIGHUP of a terminal that was closed."""

import _thread
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["SAME", "Requests", "handled", "heeded"]

#: What asks a process to end politely, by name: not every system has all of them.
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")

#: Seconds within which a second request is the first one again: torchrun passes on what the terminal has sent to all.
SAME = 1.0


def handled(handler: Callable[[int, Any], Any]) -> dict[int, Any]:
    """Let a handler have the requests to end, and return the handlers before it by signal, to be put back.

    Signals that are ignored, as under nohup, are left alone, and so is everything in threads other than the main one,
    which cannot have handlers.
    """
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in SIGNALS:
            number = getattr(signal, name, None)
            former = None if number is None else signal.getsignal(number)
            # None is a handler that could not be put back.
            if number is not None and former not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    return before


class Requests:
    """What came in while a block ran: each raises `KeyboardInterrupt`, for all that cleans up after a Ctrl-C.

    Attributes: `number`, of the first signal, or None; `over`, whether the work has ended, after which nothing is
    raised: a signal then ends the process at once and without a word.
    """

    number: int | None = None
    over = False
    _at = -math.inf
    _busy = False

    def heed(self, number: int, _frame: object) -> None:
        """Raise, for this signal has come."""
        if self._busy or time.monotonic() - self._at < SAME:
            return
        if self.over:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
            return
        self.number, self._at = self.number or number, time.monotonic()
        raise KeyboardInterrupt

    def swallowed(self) -> None:
        """Raise once more, in a moment: it was raised in a finaliser or a callback, which let nothing through."""
        self._busy = True  # here too nothing would get through
        try:
            timer = threading.Timer(0.05, self._again)
            timer.daemon = True
            timer.start()
        finally:
            self._busy = False

    def _again(self) -> None:
        while self._busy:
            time.sleep(0.01)
        if self.number is None or self.over:
            return
        self._at = -math.inf
        if hasattr(signal, "pthread_kill"):  # which wakes a thread that waits for something
            signal.pthread_kill(threading.main_thread().ident or 0, self.number)
        else:
            _thread.interrupt_main(signal.Signals(self.number))


@contextmanager
def heeded(*, ends: bool = False) -> Iterator[Requests]:
    """Let requests to end raise `KeyboardInterrupt` in the block.

    Signals that are ignored, as under nohup, stay ignored, and in threads other than the main one, which cannot have
    handlers, nothing changes.

    Args:
        ends: the process ends after the block, so the handlers stay: a Ctrl-C while Python takes itself down is no
            traceback.
    """
    requests = Requests()
    unraisable = sys.unraisablehook

    def hook(what: Any) -> None:
        if issubclass(what.exc_type, KeyboardInterrupt):
            requests.swallowed()
        else:
            unraisable(what)

    before = handled(requests.heed)
    if threading.current_thread() is threading.main_thread():
        sys.unraisablehook = hook
    try:
        yield requests
    finally:
        requests.over = True
        if not ends:
            sys.unraisablehook = unraisable
            for number, handler in before.items():
                signal.signal(number, handler)
