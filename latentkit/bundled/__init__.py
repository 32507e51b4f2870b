"""The checkpoints that come with latentkit, by name: each a folder here with its `MODEL_CARD.md`."""

import os
from pathlib import Path

from latentkit.errors import CheckpointError

__all__ = ["BUNDLED", "HOME", "found"]

#: The names by which `load` and every command know the bundled checkpoints.
BUNDLED = ("fashion-mnist",)

#: Where their folders are.
HOME = Path(__file__).parent


def found(checkpoint: str | os.PathLike[str]) -> Path:
    """Return the folder that a path or a bundled checkpoint's name means; what is there by that path comes first.

    Raises:
        CheckpointError: if the name is a bundled checkpoint's and this installation lacks it.
    """
    path, name = Path(checkpoint), os.fspath(checkpoint)
    if name not in BUNDLED or path.exists():
        return path
    folder = HOME / name
    if not folder.is_dir():
        raise CheckpointError(
            f"the bundled checkpoint {name} is missing from this installation of latentkit ({folder}), and there is "
            "no folder of that name here; install latentkit anew, or train one with latentkit-train"
        )
    return folder
