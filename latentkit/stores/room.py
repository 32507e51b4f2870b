"""Whether what is to be written fits on the disk, asked before the work."""

import os
import shutil
from pathlib import Path

from latentkit.errors import OutputError

__all__ = ["check_room", "in_units"]

#: What stays free: a disk that is full to the brim stops other programs too.
SPARE = 64 * 2**20


def in_units(nbytes: float) -> str:
    """Return a number of bytes as people write it, such as "1.2 GiB"."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} {unit}" if unit == "bytes" else f"{nbytes:.3g} {unit}"
        nbytes /= 1024
    return f"{nbytes:,.3g} TiB" if nbytes < 1000 else f"{nbytes:,.0f} TiB"


def check_room(path: str | os.PathLike[str], nbytes: int) -> None:
    """Raise an error if so much more does not fit on the disk of a path that need not exist yet.

    Raises:
        OutputError: if it does not; the text gives the need and the space.
    """
    place = Path(path).absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        free = shutil.disk_usage(place).free
    except OSError:  # a file system that does not say
        return
    if nbytes > free - SPARE:
        raise OutputError(
            f"cannot write {os.fspath(path)}: it needs {in_units(nbytes)}, and {in_units(free)} are free there; ask "
            "for fewer rows or a smaller dtype, or choose another disk"
        )
