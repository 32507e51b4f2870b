"""What every command does alike: errors, warnings and interrupts as one plain line, and the exit code."""

import sys
import warnings
from collections.abc import Callable
from typing import Any

from latentkit.errors import LatentkitError

__all__ = ["guarded"]


def guarded(program: str, run: Callable[[], None], *, interrupted: str) -> int:
    """Run a command's body and return its exit code: 0, 2 for a user's mistake, 130 for an interrupt.

    Anything else is a bug and shows its traceback.

    Args:
        program: the command's name, which begins every line.
        run: the body.
        interrupted: what an interrupt leaves behind, in a few words.
    """

    def say(text: object) -> None:
        print(f"{program}: {' '.join(str(text).split())}", file=sys.stderr)

    def warn(message: Warning | str, category: type[Warning], *_where: Any, **_more: Any) -> None:
        say(f"warning: {message}")

    try:
        with warnings.catch_warnings():
            warnings.showwarning = warn
            run()
    except LatentkitError as error:
        say(error)
        return 2
    except KeyboardInterrupt:
        say(f"interrupted; {interrupted}")
        return 130
    except BrokenPipeError:
        # Whoever read the output has gone, as with `| head`; nobody is left to tell.
        sys.stderr.close()
    return 0
