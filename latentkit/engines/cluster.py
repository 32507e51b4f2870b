"""A Ray cluster for the length of a block: one that is joined and left as it was, or one of this machine that ends."""

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from latentkit.engines.quiet import nothing_printed
from latentkit.errors import EngineError

__all__ = ["joined"]

#: Bytes of shared memory of a cluster that is started here. Blocks go to the store and never through it.
_SHARED = 128 * 2**20

#: Seconds for a cluster to answer.
_PATIENCE = 10.0


@contextmanager
def joined(ray: Any, address: str | None, cpus: int | None, size: int) -> Iterator[None]:
    """Connect this process to a cluster within the block.

    Args:
        ray: the module.
        address: of the cluster to join; None starts one here, unless this process is connected to one already.
        cpus: processors that a cluster started here counts; None is as many as there are.
        size: bytes that it must be able to share between workers, beside a little.

    Raises:
        EngineError: if the cluster cannot be reached or started.
    """
    if ray.is_initialized():
        _check_same(ray, address)
        yield
        return
    with _own_folder(address is None) as folder:
        try:
            _connect(ray, address, cpus, size, folder)
            yield
        finally:
            ray.shutdown()  # of a cluster that was joined this ends the connection alone


def _connect(ray: Any, address: str | None, cpus: int | None, size: int, folder: str | None) -> None:
    ours: dict[str, Any] = {}
    if address is None:
        shared = _SHARED + 2 * size
        ours = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": shared, "_temp_dir": folder}
    try:
        if address is not None:
            _check_answers(address)
        with nothing_printed():
            ray.init(address or "local", logging_level=logging.CRITICAL, log_to_driver=False, **ours)
    except (OSError, RuntimeError, ValueError, OverflowError) as error:  # its ConnectionError is an OSError
        first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        if address is None:
            raise EngineError(f"no Ray could be started on this machine: {first}") from error
        raise EngineError(
            f"no Ray cluster answers at {address!r} ({first}); begin one by `ray start --head`, set RAY_AUTH_MODE to "
            "token if it asks for one, or leave the address out to use this machine alone"
        ) from error


def _check_answers(address: str) -> None:
    """Raise an `OSError` if nothing answers at "host:port": Ray itself would wait for minutes, and then end here."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()


def _check_same(ray: Any, address: str | None) -> None:
    here = ray.get_runtime_context().gcs_address
    if address not in (None, "auto", here):
        raise EngineError(
            f"this process is connected to the Ray cluster at {here}, not {address}; call ray.shutdown() first, or "
            "leave the address out"
        )


@contextmanager
def _own_folder(wanted: bool) -> Iterator[str | None]:
    """Give a folder for the sockets and logs of a cluster of ours, which goes with it."""
    if not wanted:
        yield None
        return
    # Not the user's own temporary folder, which may be nested deep: a socket's path has room for a hundred letters.
    folder = tempfile.mkdtemp(prefix="latentkit-ray-", dir="/tmp" if os.access("/tmp", os.W_OK) else None)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
