"""The workers that do the work: threads of this process, or those of a Dask cluster."""

from __future__ import annotations

import concurrent.futures
import errno
import itertools
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from array_constraints.files.options import PATIENCE

Job = tuple[Any, ...]
"""The arguments of one call."""


class Workers(ABC):
    """Calls a function for many jobs, a few at a time, so that memory stays bounded."""

    count: int
    """How many jobs are done at a time."""
    remote = False
    """Whether jobs are done by other processes."""
    dashboard: str | None = None
    """Where to watch a cluster at work."""

    def run(
        self, function: Callable[..., Any], jobs: Iterable[Job], in_order: bool
    ) -> Iterator[tuple[Job, Any]]:
        """Return each job and its result, as they come in or in the order of the jobs.

        At most ``count`` results are held; in order, the jobs themselves may hold a block each.
        """
        jobs, most = iter(jobs), self.count if in_order else 2 * self.count
        waiting = {self.submit(function, job): job for job in itertools.islice(jobs, most)}
        try:
            while waiting:
                done = [next(iter(waiting))] if in_order else self.wait(list(waiting))
                for future in done:
                    job = waiting.pop(future)
                    yield job, self.result(future)
                    del future
                    for following in itertools.islice(jobs, 1):
                        waiting[self.submit(function, following)] = following
        finally:
            self.cancel(list(waiting))

    @abstractmethod
    def submit(self, function: Callable[..., Any], job: Job) -> Any:
        """Begin a call, and return a future."""

    @abstractmethod
    def wait(self, futures: list[Any]) -> Iterable[Any]:
        """Return the futures that are done, at least one."""

    def result(self, future: Any) -> Any:
        """Return the result of a call, or raise what it raised."""
        return future.result()

    @abstractmethod
    def cancel(self, futures: list[Any]) -> None:
        """Return once no call is under way any more."""

    def shared(self, value: Any) -> Any:
        """Return a stand-in for a value that many jobs are given."""
        return value

    def close(self) -> None:  # noqa: B027 - there may be nothing
        """Close everything that was opened here."""


class Threads(Workers):
    """Threads of this process."""

    def __init__(self, count: int | None = None) -> None:
        self.count = count or len(os.sched_getaffinity(0))
        self.pool = concurrent.futures.ThreadPoolExecutor(self.count)

    def submit(self, function: Callable[..., Any], job: Job) -> Any:
        try:
            return self.pool.submit(function, *job)
        except RuntimeError as error:
            said = f"no more than {threading.active_count()} threads can be started"
            raise OSError(errno.EAGAIN, f"{said}: use fewer workers") from error

    def wait(self, futures: list[Any]) -> Iterable[Any]:
        first = concurrent.futures.FIRST_COMPLETED
        return concurrent.futures.wait(futures, return_when=first).done

    def cancel(self, futures: list[Any]) -> None:
        for future in futures:
            future.cancel()
        concurrent.futures.wait(futures)

    def close(self) -> None:
        self.pool.shutdown()


def workers_for(
    count: int | None, scheduler: str | Any | None, patience: float = PATIENCE
) -> Workers:
    """Return the cluster at an address, that of a client, the active one, or else threads.

    Raises
    ------
    ImportError
        If a cluster is asked for and Dask is not installed.
    OSError
        If there is no scheduler at the address, or no worker for ``patience`` seconds.
    ValueError
        If both a number of threads and a cluster are given.
    """
    client = active_client() if scheduler is None else scheduler
    if client is None:
        return Threads(count)
    if count is not None and scheduler is not None:
        raise ValueError("workers are those of the cluster: give a number or a scheduler")
    if count is not None:
        return Threads(count)
    from array_constraints.files.run.cluster import Cluster, cluster_at

    if isinstance(client, str):
        return cluster_at(client, patience)
    return Cluster(client, patience)


def active_client() -> Any | None:
    """Return the client of Dask that is active here, if there is one."""
    import sys

    if "distributed" not in sys.modules:
        return None
    from distributed import default_client

    try:
        return default_client()
    except ValueError:
        return None
