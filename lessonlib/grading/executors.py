"""Where submissions are graded: threads here, or the workers of a dask cluster.

Threads are enough here: the work is in the sandboxes, which are processes. An executor schedules; it does
not isolate.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from lessonlib.errors import LessonError
from lessonlib.grading.sandbox import spares


@contextmanager
def threads(workers: int) -> Iterator[tuple[Executor, int]]:
    """(an executor of threads, how many submissions to keep in hand)."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="grade")
    try:
        yield pool, 2 * workers
    finally:
        pool.shutdown(cancel_futures=True)
        spares.close()


@contextmanager
def dask(address: str) -> Iterator[tuple[Executor, int]]:
    """(the executor of a dask cluster, how many submissions to keep in hand).

    A submission whose worker is lost is graded by another. The machines need this package, in this version,
    and bubblewrap; submissions travel as bytes, so they share no disk.

    Args:
        address: "dask://host:port" of the scheduler.

    Raises:
        LessonError: dask.distributed is not installed, or nobody answers.
    """
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise LessonError('dask.distributed is not installed: pip install "lessonlib[cluster]".') from error
    try:
        client = Client("tcp://" + address.partition("://")[2], timeout=20, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise LessonError(
            f"No dask scheduler answers at {address}: start one with `dask scheduler`."
        ) from error
    with client:
        threads_of_workers: Any = client.nthreads()
        cores = sum(threads_of_workers.values())
        if not cores:
            raise LessonError(f"The cluster at {address} has no worker: start some with `dask worker`.")
        yield client.get_executor(retries=2), 2 * cores


@contextmanager
def choose(address: str, workers: int) -> Iterator[tuple[Executor, int]]:
    """The cluster at an address, or threads here where there is none."""
    if not address:
        with threads(workers) as found:
            yield found
    elif address.startswith(("dask://", "tcp://")):
        with dask(address) as found:
            yield found
    else:
        raise LessonError(f"There is no executor {address!r}: write dask://host:port.")
