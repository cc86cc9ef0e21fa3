"""Who does the passes: threads of this process, or the workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import errno
import itertools
import logging
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any

PATIENCE = 30.0
"""Seconds without a sign of life: workers of Dask say twice a second that they live."""
MOST_WORKERS = 4096
"""Threads at most: more than any machine has processors."""

_SECONDS_FOR_AN_ANSWER = 10.0
_SECONDS_TO_ARRIVE = 3.0

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
        """Return what stands for a value in many jobs."""
        return value

    def close(self) -> None:  # noqa: B027 - there may be nothing
        """Let everything go that was opened here."""


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


class Cluster(Workers):
    """The workers of a Dask cluster, which see the files under the same paths.

    A cluster is given up once nothing was finished for ``patience`` seconds and nothing was
    heard in that time of a worker that is at a task: a long task is no reason.
    """

    remote = True

    def __init__(self, client: Any, patience: float = PATIENCE, owned: bool = False) -> None:
        self.client, self.patience, self.owned = client, patience, owned
        if client.scheduler is None:
            raise ConnectionError("scheduler: this client is closed: open another")
        self.address = client.scheduler.address
        self.seen = "no scheduler that answers"
        self.count = self._threads() or self._threads_to_come()
        self.dashboard = client.dashboard_link or None  # after that: it waits for an answer

    def submit(self, function: Callable[..., Any], job: Job) -> Any:
        self._judge_open()
        return self.client.submit(function, *job, pure=False)

    def wait(self, futures: list[Any]) -> Iterable[Any]:
        from distributed import wait

        def some(seconds: float) -> list[Any]:
            with self.client.as_current():
                return list(wait(futures, seconds, return_when="FIRST_COMPLETED").done)

        done: list[Any] = self._patiently(some, futures)
        return done

    def cancel(self, futures: list[Any]) -> None:
        """Cancel: what is under way finds no place to write to any more."""
        with contextlib.suppress(OSError):
            self._ask(lambda: self.client.cancel(futures, asynchronous=True))

    def result(self, future: Any) -> Any:
        from distributed.scheduler import KilledWorker

        self.wait([future])
        try:
            if future.status == "error":
                return future.result()
            return self._patiently(future.result, [future])
        except KilledWorker as error:
            raise OSError(
                "workers of the cluster died several times at the same task, most often "
                f"because their memory limit is below five chunks: {error}"
            ) from error

    def shared(self, value: Any) -> Any:
        """Return a task's result: what is scattered would be lost with its worker."""
        return self.submit(_same, (value,))

    def close(self) -> None:
        if self.owned:
            _close(self.client)

    def _threads(self) -> int:
        """Return how many threads the workers have."""
        return sum(worker["nthreads"] for worker in self._workers().values())

    def _threads_to_come(self) -> int:
        """Return how many threads there are once a cluster without workers has got one."""
        task = self.submit(_same, (None,))  # for which an adaptive cluster gets a worker
        try:
            task.result(min(_SECONDS_TO_ARRIVE, self.patience))
        except TimeoutError:
            waiting = "no worker of the cluster at %s yet: waiting %g seconds for one"
            logging.getLogger(__name__).warning(waiting, self.address, self.patience)
            try:
                self.result(task)
            finally:
                self.cancel([task])
        return max(1, self._threads())

    def _patiently(self, attempt: Callable[[float], Any], futures: list[Any]) -> Any:
        """Return what an attempt of some seconds returns, repeated while there is life."""
        from distributed.comm import CommClosedError

        seconds = min(5.0, self.patience / 4)
        heard: set[tuple[str, float]] | None = None
        since = time.monotonic()
        while True:
            self._judge_open()
            try:
                return attempt(seconds)
            except TimeoutError:
                before, heard = heard, self._heard(futures)
            except (concurrent.futures.CancelledError, CommClosedError) as error:
                raise self._lost() from error
            if before is not None and heard - before:
                since = time.monotonic()
            elif time.monotonic() - since >= self.patience:
                raise TimeoutError(
                    f"nothing was finished for {self.patience:g} seconds by the cluster at "
                    f"{self.address}, which has {self.seen}: start workers, or give it more "
                    "patience"
                )

    def _heard(self, futures: list[Any]) -> set[tuple[str, float]]:
        """Return who is at the tasks, and when the scheduler last heard of each."""
        try:
            workers = self._workers()
            at_work = self._ask(self.client.scheduler.processing, workers=None)
        except OSError:
            self.seen = "no scheduler that answers"
            return set()
        keys = {future.key for future in futures}
        at_them = [w for w, tasks in at_work.items() if not keys.isdisjoint(tasks)]
        return {
            (name, workers[name]["last_seen"])
            for name in at_them or workers  # none has the tasks: they wait for one that is busy
            if name in workers and _executes(workers[name])
        }

    def _workers(self) -> dict[str, dict[str, Any]]:
        """Return what the scheduler knows of its workers."""
        workers: dict[str, dict[str, Any]]
        workers = self._ask(self.client.scheduler.identity)["workers"]
        threads = sum(worker["nthreads"] for worker in workers.values())
        self.seen = f"{len(workers)} workers with {threads} threads"
        return workers

    def _ask(self, question: Callable[..., Any], **more: Any) -> Any:
        """Return the answer of the scheduler, or raise OSError if there is none in time."""
        self._judge_open()
        seconds = min(_SECONDS_FOR_AN_ANSWER, self.patience)
        return self.client.sync(question, callback_timeout=seconds, **more)

    def _judge_open(self) -> None:
        if self.client.status in ("closing", "closed"):
            raise self._lost()

    def _lost(self) -> OSError:
        return ConnectionError(f"the scheduler of the cluster at {self.address} was lost")


def _executes(worker: dict[str, Any]) -> bool:
    counts = worker["metrics"].get("task_counts")
    return counts is None or bool(counts.get("executing"))


def _same(value: Any) -> Any:
    return value


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
    if not isinstance(client, str):
        return Cluster(client, patience)
    try:
        from distributed import Client
    except ImportError:
        raise ImportError(
            "a cluster needs Dask: pip install 'array-constraints[dask]'"
        ) from None
    with concurrent.futures.ThreadPoolExecutor(1) as pool:  # there may be a loop in this thread
        pool.submit(asyncio.run, _answer(client)).result()
    found = Client(client, set_as_default=False, timeout=_SECONDS_FOR_AN_ANSWER)
    try:
        return Cluster(found, patience, owned=True)
    except BaseException:
        _close(found)
        raise


async def _answer(address: str) -> None:
    """Raise OSError if no scheduler answers: a client would wait for one that is stopped."""
    from distributed import Security, rpc

    args = Security().get_connection_args("client")
    scheduler = rpc(address, timeout=_SECONDS_FOR_AN_ANSWER, connection_args=args)
    try:
        await asyncio.wait_for(scheduler.identity(), _SECONDS_FOR_AN_ANSWER)
    except TimeoutError:
        raise TimeoutError(f"the scheduler at {address} does not answer") from None
    finally:
        await scheduler.close_rpc()


def _close(client: Any) -> None:
    with contextlib.suppress(OSError):  # the scheduler does not answer
        client.close(timeout=_SECONDS_FOR_AN_ANSWER)


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
