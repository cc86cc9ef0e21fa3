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

Job = tuple[Any, ...]
"""The arguments of one call."""


class Workers(ABC):
    """Calls a function for many jobs, a few at a time, so that memory stays bounded."""

    count: int
    """The number of jobs that are done at a time."""
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
