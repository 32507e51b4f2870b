"""What every command does alike: its arguments, its errors as one plain line, its exit code, and its limits."""

import argparse
import errno
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from latentkit.errors import ArgumentError, LatentkitError
from latentkit.interrupts import Requests, heeded
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

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_ALWAYS_ALLOWED = 64  # threads, so that settings go from one machine to another


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are errors like all others, and whose options cannot be abbreviated."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Raise the mistake as an `ArgumentError`."""
        raise ArgumentError(f"{message}; see {self.prog} --help")


def guarded(program: str, run: Callable[[], None], *, interrupted: Callable[[], str], ends: bool = False) -> int:
    """Run a command's body and return its exit code.

    0 after work or `--help`, 2 for a user's mistake or too little memory, 130 for an interrupt, 143 for a
    polite request to end (SIGTERM). Anything else is a bug and shows its traceback.

    Args:
        program: the command's name, which begins every line.
        run: the body, from parsing the arguments on.
        interrupted: says what an interrupt left behind, in a few words.
        ends: the process ends with this command, see `latentkit.interrupts.heeded`.
    """
    with heeded(ends=ends) as requests:
        return _guarded(program, run, interrupted, requests)


def _guarded(program: str, run: Callable[[], None], interrupted: Callable[[], str], requests: Requests) -> int:

    def say(text: object) -> None:
        with suppress(OSError):  # of a terminal that was closed
            print(_holding(f"{program}: {' '.join(str(text).split())}", sys.stderr), file=sys.stderr)

    def warn(message: Warning | str, category: type[Warning], *_where: Any, **_more: Any) -> None:
        say(f"warning: {message}")

    try:
        with warnings.catch_warnings():
            warnings.showwarning = warn
            code = _code_of(run)
            sys.stdout.flush()
    except BaseException as error:
        # What follows a request is its doing: libraries that are interrupted while they load raise what they like.
        if requests.number is not None or isinstance(error, KeyboardInterrupt):
            requests.over = True
            number = requests.number or int(signal.SIGINT)
            say(f"{'interrupted' if number == signal.SIGINT else 'terminated'}; {interrupted()}")
            return 128 + number
        return _status(error, say)
    return code


def _code_of(run: Callable[[], None]) -> int:
    try:
        run()
    except SystemExit as end:  # argparse leaves this way after --help and --version
        return end.code if isinstance(end.code, int) else 0
    return 0


def _status(error: BaseException, say: Callable[[object], None]) -> int:
    """Say what went wrong, if it is no bug, and return the exit code."""
    if isinstance(error, LatentkitError):
        say(error)
        return 2
    if isinstance(error, BrokenPipeError):
        # Whoever read the output has gone, as with `| head`; nobody is left to tell.
        sys.stderr.close()
        return 0
    if isinstance(error, OSError) and error.errno in _FULL:
        with suppress(OSError, ValueError):  # what cannot be written is not tried again when the interpreter ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        place = "the output" if error.filename is None else os.fsdecode(error.filename)[:300]
        say(f"cannot write {place}: {error.strerror}; make room there")
        return 2
    if isinstance(error, OSError) and error.filename is not None and error.errno is not None:
        # What the system says of a file that a user named: no permission, a name too long, a disk that fails.
        say(f"cannot use {os.fsdecode(error.filename)[:300]}: {error.strerror}")
        return 2
    if isinstance(error, MemoryError | RuntimeError) and _lacks_memory(error):
        wanted = re.search(r"allocate ([\d.]+) ?(\w+)", str(error))
        amount = f" for {wanted[1]} {wanted[2]} more" if wanted else ""
        say(f"there is not enough memory{amount}; ask for fewer or smaller things at a time")
        return 2
    raise error


def _lacks_memory(error: Exception) -> bool:
    # Torch's allocators raise a RuntimeError of no class of their own.
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in ("CPUAllocator", "out of memory"))


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
