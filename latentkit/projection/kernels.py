"""Importing umap-learn so that its kernels are compiled once a machine, not once a process."""

import atexit
import importlib
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from latentkit.streams import python_state_kept

__all__ = ["numba_kernels", "one_thread", "umap_learn"]


def numba_kernels() -> Any:
    """Import Numba so that it can keep what it compiles, in a private folder where the home cannot be written to."""
    numba: Any = importlib.import_module("numba")  # it types neither its settings nor what is done to them here
    if not numba.config.CACHE_DIR:
        # For numba as it is, which may have been imported long ago, and for when it reads its environment again.
        numba.config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"] = str(_cache_folder())
    return numba


def umap_learn() -> Any:
    """Import umap-learn, which also works without a writable home.

    It leaves most of its kernels uncached, ten seconds of compiling in every process. While it is imported
    `numba.njit` keeps what it compiles in a folder of latentkit's own, or in a private one that goes with the process
    where the home cannot be written to. If something else has imported it before, it stays as it is.
    """
    if "umap" in sys.modules:
        return sys.modules["umap"]
    numba = numba_kernels()
    plain = numba.njit

    def cached(*arguments: Any, **options: Any) -> Any:
        return plain(*arguments, **{"cache": True, **options})

    numba.njit = cached
    try:
        with warnings.catch_warnings(), python_state_kept():
            warnings.simplefilter("ignore")
            import umap
    finally:
        numba.njit = plain
    return umap


def _cache_folder() -> Path:
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latentkit" / "numba"
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache):
            pass
    except (OSError, RuntimeError):
        # Numba unpickles what it finds there: a folder with a known name in a shared place could be somebody else's.
        cache = Path(tempfile.mkdtemp(prefix="latentkit-numba-"))
        atexit.register(shutil.rmtree, cache, ignore_errors=True)
    return cache


@contextmanager
def one_thread() -> Iterator[None]:
    """Run on one thread, so that sums are taken in one order, and give torch its threads back.

    Numba sets the number of OpenMP threads of the whole process, which is torch's too.
    """
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    try:
        with threadpool_limits(limits=1, user_api="openmp"):
            yield
    finally:
        torch.set_num_threads(threads)
