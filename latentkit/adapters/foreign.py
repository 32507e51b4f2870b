"""What comes with other people's libraries: they may be missing, and their errors run over many lines."""

from importlib import import_module
from typing import Any

from latentkit.errors import MissingDependencyError

__all__ = ["needed", "reason"]

_LONGEST = 160


def needed(library: str, extra: str) -> Any:
    """Return an imported library, or say how it is installed.

    Args:
        library: the name that it is imported by.
        extra: the extra of latentkit that installs it.

    Raises:
        MissingDependencyError: if it is not installed, or cannot be imported.

    Examples:
        >>> needed("json", "biggan").dumps([1])
        '[1]'
    """
    try:
        return import_module(library)
    except ImportError as error:
        raise MissingDependencyError(f'this needs the library {library}: pip install "latentkit[{extra}]"') from error


def reason(error: BaseException) -> str:
    """Return the first line of what an error says, at most 160 characters of it, or its name if it says nothing.

    Examples:
        >>> reason(KeyError())
        'KeyError'
    """
    lines = str(error).strip().splitlines()
    return lines[0][:_LONGEST] if lines else type(error).__name__
