"""Requests to end, put off until a step is whole: a Ctrl-C in the middle of one would leave half-updated weights."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from latentkit.interrupts import SAME, handled

__all__ = ["Requests", "deferred_requests"]


class Requests:
    """What has been asked while a block ran: `number` is the signal's, or None."""

    number: int | None = None

    def obey(self) -> None:
        """Do what was asked for, now: after a Ctrl-C that is a `KeyboardInterrupt`."""
        if self.number is not None:
            signal.raise_signal(self.number)


@contextmanager
def deferred_requests() -> Iterator[Requests]:
    """Note SIGINT, SIGTERM and SIGHUP instead of obeying them within the block; one more, a second later, is obeyed.

    The handlers are put back at the end of the block; call `obey` after it. Signals that are ignored, and
    threads other than the main one, which cannot have handlers, are left alone.
    """
    requests = Requests()
    since = 0.0

    def note(number: int, _frame: object) -> None:
        nonlocal since
        if requests.number is None:
            requests.number, since = number, time.monotonic()
        elif time.monotonic() - since > SAME:
            restore()
            signal.raise_signal(number)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)
        before.clear()

    before = handled(note)
    try:
        yield requests
    finally:
        restore()
