"""What every command does alike: its arguments, its errors as one plain line, its exit code, and its limits."""

import argparse
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from latentkit.errors import ArgumentError, LatentkitError
from latentkit.texts import readable

__all__ = [
    "Parser",
    "check_threads",
    "guarded",
    "limited_threads",
    "machine_memory",
    "printed",
    "said",
    "watched",
]

_ALWAYS_ALLOWED = 64  # threads, so that settings go from one machine to another


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are errors like all others, and whose options cannot be abbreviated."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Raise the mistake as an `ArgumentError`."""
        raise ArgumentError(f"{message}; see {self.prog} --help")


class _Terminated(KeyboardInterrupt):
    """The process was asked to end: an interrupt, so that all that cleans up after one does so."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def guarded(program: str, run: Callable[[], None], *, interrupted: Callable[[], str]) -> int:
    """Run a command's body and return its exit code.

    0 after work or `--help`, 2 for a user's mistake or too little memory, 130 for an interrupt, 143 for a
    polite request to end (SIGTERM). Anything else is a bug and shows its traceback.

    Args:
        program: the command's name, which begins every line.
        run: the body, from parsing the arguments on.
        interrupted: says what an interrupt left behind, in a few words.
    """

    def say(text: object) -> None:
        print(_holding(f"{program}: {' '.join(str(text).split())}", sys.stderr), file=sys.stderr)

    def warn(message: Warning | str, category: type[Warning], *_where: Any, **_more: Any) -> None:
        say(f"warning: {message}")

    try:
        with _raising_on_requests_to_end(), warnings.catch_warnings():
            warnings.showwarning = warn
            run()
            sys.stdout.flush()
    except LatentkitError as error:
        say(error)
        return 2
    except SystemExit as end:  # argparse leaves this way after --help and --version
        return end.code if isinstance(end.code, int) else 0
    except _Terminated as end:
        say(f"terminated; {interrupted()}")
        return 128 + end.number
    except KeyboardInterrupt:
        say(f"interrupted; {interrupted()}")
        return 130
    except BrokenPipeError:
        # Whoever read the output has gone, as with `| head`; nobody is left to tell.
        sys.stderr.close()
    except OSError as error:
        # What the system says of a file that a user named: no permission, a name too long, a disk that fails.
        if error.filename is None or error.errno is None:
            raise
        say(f"cannot use {os.fsdecode(error.filename)[:300]}: {error.strerror}")
        return 2
    except (MemoryError, RuntimeError) as error:
        if not _lacks_memory(error):
            raise
        wanted = re.search(r"allocate ([\d.]+) ?(\w+)", str(error))
        amount = f" for {wanted[1]} {wanted[2]} more" if wanted else ""
        say(f"there is not enough memory{amount}; ask for fewer or smaller things at a time")
        return 2
    return 0


def _lacks_memory(error: Exception) -> bool:
    # Torch's allocators raise a RuntimeError of no class of their own.
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in ("CPUAllocator", "out of memory"))


@contextmanager
def _raising_on_requests_to_end() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP of a closed terminal, end the block as Ctrl-C does: with all its clean-up."""

    def end(number: int, _frame: object) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)  # a second request must not cut the clean-up short
        raise _Terminated(number)

    before = {}
    if threading.current_thread() is threading.main_thread():  # no other thread may set handlers
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            handler = None if number is None else signal.getsignal(number)
            # Ignored, as under nohup, means ignored; None is a handler that could not be put back.
            if number is not None and handler not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def printed(text: str) -> None:
    """Print a text on standard output; what that cannot hold, and what would be an order to a terminal, by its code."""
    print(_holding(text, sys.stdout))


def _holding(text: str, stream: IO[str] | None) -> str:
    """Return a text as a stream can hold it: under LC_ALL=C that may be ASCII alone, of which names are no part.

    A file's name that is no text comes as halves of surrogate pairs, which such streams write as the bytes they were.
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"
    errors = getattr(stream, "errors", None) or "strict"

    def held(character: str) -> str:
        try:
            character.encode(encoding, errors)
        except UnicodeEncodeError:
            return character.encode(encoding, "backslashreplace").decode(encoding)
        return character if "\ud800" <= character <= "\udfff" else readable(character)

    return text if text.isascii() and text.isprintable() else "".join(map(held, text))


def watched() -> bool:
    """Whether somebody sees standard error as it is written; a progress bar in a log file is litter."""
    return sys.stderr is not None and sys.stderr.isatty()


def check_threads(count: int, name: str = "threads") -> None:
    """Raise `ArgumentError` for more threads than are of use here: of far too many torch dies without a word."""
    most = max(_ALWAYS_ALLOWED, 4 * (os.cpu_count() or 1))
    if count > most:
        raise ArgumentError(f"{name} must be at most {most} on this machine, got {count}")


@contextmanager
def limited_threads(threads: int | None) -> Iterator[None]:
    """Let torch use `threads` threads within the block; None leaves the number as it is."""
    if threads is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def said(program: str, text: str) -> None:
    """Say something before a long run, to somebody who watches; a log file hears nothing."""
    if watched():
        print(f"{program}: {text}", file=sys.stderr)


def machine_memory() -> int:
    """Return the bytes of memory that this process may use, or 1 TiB where the machine does not say.

    What a container or a service is allowed counts, where that is less than what the machine has.
    """
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        memory = 2**40
    return min([memory, *_allowed()])


def _allowed(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Return the bytes that the control groups of this process are limited to, of those that Linux shows.

    Args:
        groups: the file that names them, one a line: `0::/path` of version 2, `4:memory:/path` of version 1.
        root: where their files are.

    References:
        The Linux kernel's documentation, "Control Group v2" (`memory.max`) and "Memory Resource Controller"
        (`memory.limit_in_bytes` of version 1).
    """
    try:
        lines = groups.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # another system
        return []
    found = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            base, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        # A group is held to the limits of all above it. In a container the path may be the one outside, which is not
        # there, and only the limits of the root are seen, which are the container's.
        own = base / path.lstrip("/")
        for folder in (own, *own.parents):
            with suppress(OSError, ValueError):  # "max" is no number
                found.append(int((folder / name).read_text(encoding="ascii")))
            if folder == base:
                break
    return found
