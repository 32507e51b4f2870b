"""Ray kept to itself: what it prints, logs, warns of, reports and takes over in this process, within a block.

Its errors are raised all the same. What it says of lost workers goes to standard output, where a script reads a result.
"""

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from latentkit.errors import MissingDependencyError

__all__ = ["nothing_printed", "quiet_ray"]

#: What Ray reads when it is loaded and when it starts; what a user has set stays.
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anybody
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # otherwise it warns that a later version will do so
    "RAY_DEDUP_LOGS": "0",  # otherwise it prints what it kept back when the process ends
}
#: What Ray sets itself when it starts.
_ITS_OWN = ("RAY_AUTH_MODE",)
_LOGGERS = ("ray", "ray.data")


@contextmanager
def quiet_ray() -> Iterator[Any]:
    """Give the module `ray`, with Ray Data, that says nothing within the block.

    Raises:
        MissingDependencyError: if it is not installed.
    """
    with ExitStack() as stack:
        stack.enter_context(_environment(_SETTINGS))
        stack.enter_context(_warned_of_nothing())
        try:
            import ray
            import ray.data
            import ray.util.client
        except ImportError as error:
            raise MissingDependencyError(
                'engine="ray" needs Ray Data; install it with: pip install "latentkit[ray]"'
            ) from error
        stack.enter_context(_logged_nowhere())
        stack.enter_context(_own_output())
        stack.enter_context(_own_handler())
        yield ray


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in (*values, *_ITS_OWN)}
    os.environ.update({name: value for name, value in values.items() if name not in os.environ})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _warned_of_nothing() -> Iterator[None]:
    """Ignore warnings of the kinds that Ray raises of its own code; blocks are made, and warn, in the workers."""
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, FutureWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"ray(\.|$)")
        yield


@contextmanager
def _logged_nowhere() -> Iterator[None]:
    """Take the handlers of Ray's loggers away, for it configures their levels itself when it starts."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [logging.NullHandler()], False
    try:
        yield
    finally:
        for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)


class _WithoutRay:
    """Standard output, deaf to the threads in which Ray prints what it hears from the cluster."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if threading.current_thread().name.startswith("ray_"):
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _own_output() -> Iterator[None]:
    before, filtered = sys.stdout, _WithoutRay(sys.stdout)
    sys.stdout = filtered
    try:
        yield
    finally:
        if sys.stdout is filtered:
            sys.stdout = before


@contextmanager
def _own_handler() -> Iterator[None]:
    """Put the handler of a request to end back, which Ray takes for itself when it starts."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with suppress(TypeError, ValueError):  # in another thread, or one that was not set from Python
            signal.signal(signal.SIGTERM, before)


@contextmanager
def nothing_printed() -> Iterator[None]:
    """Send what libraries print to standard error past Python nowhere, such as that a log level was read."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # a process without standard error
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device, not a path of ours
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
