"""Runs tasks on a dask cluster. The only module that knows distributed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from dicube.archive.executors import Executor
from dicube.exceptions import CubeFileAccessError, needing
from dicube.storage.urls import text_without_credentials


@contextmanager
def dask_executor(address: str) -> Iterator[tuple[Executor, int]]:
    """Give an executor on the cluster of a scheduler, and the number of its threads.

    The workers need dicube and see sources and archive under the same paths. One thread a worker
    process is best.

    Args:
        address: of the scheduler, such as 'tcp://host:8786'.

    Raises:
        MissingPackageError: distributed is not installed.
        CubeFileAccessError: there is no scheduler at the address.
    """
    with needing("a dask cluster", "distributed", "dask"):
        from distributed import Client
    try:
        client: Any = cast(Any, Client)(address)
    except (OSError, ValueError) as error:
        shown = text_without_credentials(address)
        raise CubeFileAccessError(f"no scheduler at {shown}: {type(error).__name__}") from error
    with client:
        threads = sum(client.nthreads().values())
        # Equal arguments of two tasks don't mean equal results: files change.
        yield client.get_executor(pure=False), max(1, threads)
