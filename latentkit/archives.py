"""Arrays in one `.npz` file that says what it is: read back with every fault named, and never with pickle."""

import json
import os
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from latentkit.errors import CheckpointError

__all__ = ["read_npz"]


def read_npz(
    path: str | os.PathLike[str],
    kind: str,
    number: int,
    *,
    wanted: Callable[[str, dict[str, Any]], bool] = lambda _name, _about: True,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what an `.npz` file of a kind and format number says about itself, and its arrays.

    Args:
        path: of the file.
        kind: what it must say that it is, such as "latentkit quality map".
        number: of the format.
        wanted: whether the array of a name is read, given what the file says about itself.

    Raises:
        CheckpointError: if the file is missing, damaged, of another kind, or written by a later version.
    """
    name, what = os.fspath(path), kind.removeprefix("latentkit ")
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            if broken is not None:
                raise CheckpointError(f"{name} is damaged: {broken} is not what was written; save the {what} again")
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"])) if "about" in stored else None
            if not isinstance(about, dict) or about.get("kind") != kind:
                raise CheckpointError(f"{name} is no {what}; pass a file that latentkit saved as one")
            if about.get("format") != number:
                raise CheckpointError(
                    f"{name} has format {about.get('format')!r}, this version of latentkit reads {number}; "
                    "update latentkit"
                )
            return about, {key: stored[key] for key in stored.files if key != "about" and wanted(key, about)}
    except CheckpointError:
        raise
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no file {name}; pass a saved {what}") from error
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError, RuntimeError, NotImplementedError) as error:
        raise CheckpointError(f"{name} is damaged or no {what} ({error}); pass a file that was saved whole") from error
