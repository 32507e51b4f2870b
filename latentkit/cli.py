"""The command `latentkit`: argv in, one public function each, nothing heavy before it is needed."""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from latentkit.console import check_threads, guarded, limited_threads, printed
from latentkit.options import parser

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for a user's mistake, 130 or 143 for an interrupt."""
    left = ["nothing half-written was left"]

    def run() -> None:
        arguments = parser().parse_args(argv)
        arguments.interrupted = left  # a verb says what is left of its work
        _let_waiting_threads_sleep()
        with limited_threads(_threads(arguments.threads)):
            from latentkit import verbs

            name = "import_file" if arguments.verb == "import" else str(arguments.verb)  # import is Python's own
            _finish(getattr(verbs, name)(arguments), arguments.json)

    return guarded("latentkit", run, interrupted=lambda: left[-1], ends=argv is None)


def _let_waiting_threads_sleep() -> None:
    """Keep torch's threads from spinning while they wait for each other, unless the user has decided or it is too late.

    Where other programs want the processor too, spinning takes it from the very thread that is waited for: on two
    busy cores a report took three times as long. Torch reads this when it is loaded.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _threads(count: int | None) -> int | None:
    """Return `--threads` if so many can be used; None if it was not given."""
    if count is None:
        return None
    check_threads(count, "--threads")
    from latentkit.checks import as_count

    return as_count(count, "--threads")


def _finish(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(_json(result))
        return
    width = max(map(len, result))
    for key, value in result.items():
        lines = [f"{name} {_shown(inner)}" for name, inner in value.items()] if isinstance(value, dict) else [value]
        lines = lines or ["none"]
        for k, line in enumerate(lines):
            printed(f"{key.replace('_', ' ') if k == 0 else '':<{width}}  {_shown(line)}")


def _json(result: dict[str, Any]) -> str:
    """Return JSON as it reads best, or where standard output cannot hold that, in ASCII: the same values."""
    text = json.dumps(result, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8", getattr(sys.stdout, "errors", None) or "strict")
    except UnicodeEncodeError:
        return json.dumps(result, allow_nan=False)
    return text


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_shown(inner)}" for name, inner in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    raise SystemExit(main())
