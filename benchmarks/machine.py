"""Which machine and which versions figures are from; nothing of a user, a folder or a network is told."""

import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.clocks import ROOT

__all__ = ["commit", "load_average", "machine", "told", "versions"]

PACKAGES = (
    "latentkit",
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "umap-learn",
    "pynndescent",
    "numba",
    "pillow",
    "matplotlib",
    "safetensors",
    "ray",
    "zarr",
    "pyarrow",
)

#: Instructions that decide how fast networks run here.
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")


def machine() -> dict[str, Any]:
    """Return the processor's model, the cores that this process may use, memory in GiB, and the system."""
    about = _account("/proc/cpuinfo", ":")
    flags = about.get("flags", about.get("Features", "")).split()
    memory = _account("/proc/meminfo", ":").get("MemTotal", "0").split()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": about.get("model name") or platform.processor() or platform.machine(),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "cores": cores,
        "memory_gib": round(int(memory) / 2**20, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def commit() -> str | None:
    """Return the commit that the code is from, with "+changes" if files differ from it; None outside a checkout."""
    try:
        name = _git("rev-parse", "--short=12", "HEAD")
        return name + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def load_average() -> float | None:
    """Return how many processes wanted to run in the last minute, on average; None where that is not known."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def told(about: dict[str, Any]) -> str:
    """Return the machine and the main versions as a line of text.

    Args:
        about: has what `machine` gives as "machine" and what `versions` gives as "versions".
    """
    one, parts = about["machine"], about["versions"]
    extra = f" ({', '.join(one['instructions'])})" if one["instructions"] else ""
    packages = ", ".join(f"{name} {parts[name]}" for name in ("python", "torch", "numpy", "numba") if name in parts)
    return f"{one['processor']}{extra}, {one['cores']} cores, {one['memory_gib']:g} GiB, {one['system']}; {packages}"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _account(path: str, separator: str) -> dict[str, str]:
    """Return the first value of each name in one of Linux's accounts; nothing where there is none."""
    found: dict[str, str] = {}
    with suppress(OSError):
        for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(separator)
            found.setdefault(name.strip(), value.strip())
    return found
