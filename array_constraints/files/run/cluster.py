"""A Dask cluster that works on a run: once it falls silent the run ends, and can be resumed."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from array_constraints.files.options import PATIENCE
from array_constraints.files.run.workers import Job, Workers

_SECONDS_FOR_AN_ANSWER = 10.0
_SECONDS_TO_ARRIVE = 3.0


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
        self._check_open()
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
        """Repeat an attempt of some seconds while workers are heard of; return its result."""
        from distributed.comm import CommClosedError

        seconds = min(5.0, self.patience / 4)
        heard: set[tuple[str, float]] | None = None
        since = time.monotonic()
        while True:
            self._check_open()
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
                    f"{self.address}, which has {self.seen}: start workers, or raise "
                    "patience"
                )

    def _heard(self, futures: list[Any]) -> set[tuple[str, float]]:
        """Return the workers at the tasks, and when the scheduler last heard of each."""
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
        """Return the scheduler's description of its workers, by name."""
        workers: dict[str, dict[str, Any]]
        workers = self._ask(self.client.scheduler.identity)["workers"]
        threads = sum(worker["nthreads"] for worker in workers.values())
        self.seen = f"{len(workers)} workers with {threads} threads"
        return workers

    def _ask(self, question: Callable[..., Any], **more: Any) -> Any:
        """Return the answer of the scheduler, or raise OSError if there is none in time."""
        self._check_open()
        seconds = min(_SECONDS_FOR_AN_ANSWER, self.patience)
        try:
            return self.client.sync(question, callback_timeout=seconds, **more)
        except TimeoutError as error:  # of asyncio, which says nothing, or of Dask
            raise TimeoutError(
                f"the scheduler of the cluster at {self.address} timed out: no answer "
                f"for {seconds:g} seconds"
            ) from error

    def _check_open(self) -> None:
        if self.client.status in ("closing", "closed"):
            raise self._lost()

    def _lost(self) -> OSError:
        return ConnectionError(f"the scheduler of the cluster at {self.address} was lost")


def _executes(worker: dict[str, Any]) -> bool:
    counts = worker["metrics"].get("task_counts")
    return counts is None or bool(counts.get("executing"))


def _same(value: Any) -> Any:
    return value


def cluster_at(address: str, patience: float) -> Cluster:
    """Return the cluster at an address, whose client is closed with it."""
    try:
        from distributed import Client
    except ImportError:
        raise ImportError(
            "a cluster needs Dask: pip install 'dask[array,distributed]'"
        ) from None
    with concurrent.futures.ThreadPoolExecutor(1) as pool:  # there may be a loop in this thread
        pool.submit(asyncio.run, _answer(address)).result()
    client = Client(address, set_as_default=False, timeout=_SECONDS_FOR_AN_ANSWER)
    try:
        return Cluster(client, patience, owned=True)
    except BaseException:
        _close(client)
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
