"""A run in processes of its own, seen from the suite: every task gets an outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any

from array_constraints_conformance.counterexample import Counterexample
from array_constraints_conformance.known_gaps import Gap
from array_constraints_conformance.libraries import UnknownLibrary
from array_constraints_conformance.processes.process import Limits, Process
from array_constraints_conformance.processes.request import Request, libraries_of, subject_of
from array_constraints_conformance.report.outcomes import ORDER
from array_constraints_conformance.runner.gaps import with_gap
from array_constraints_conformance.runner.plan import Task
from array_constraints_conformance.runner.results import Result, not_met


class Refusal(ValueError):
    """A request that the other process refuses: nothing to judge, or no such module."""


class Unfinished(RuntimeError):
    """A comparison whose process ended too early."""


class Judging:
    """A request, the processes that carry it out, and the plan that they made of it.

    Raises
    ------
    Refusal, UnknownLibrary, WrongPlan
        If the call is wrong.
    """

    def __init__(
        self,
        request: Request,
        limits: Limits,
        gaps: Sequence[Gap] = (),
        gaps_named: str | None = None,
    ) -> None:
        self.request, self.limits, self.stop = request, limits, Event()
        self.process = self._started(request)
        try:
            said, self.lost = _plan_of(self.process), ""
            if said is None:
                self.lost = self.process.how_it_ended
                said = self._without_importing()
            subject = subject_of(request, said["version"], said["offers"], said["constraints"])
            libraries = libraries_of(request, said["libraries"])
            self.plan = request.plan(subject, libraries, gaps, gaps_named, said["environment"])
        except BaseException:
            self.process.end()
            raise
        self.tasks: list[tuple[Task, str | None]] = list(
            zip(self.plan.tasks(), said["exempt"], strict=True)
        )

    def __enter__(self) -> Judging:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.process.end()

    def _started(self, request: Request, *, imports: bool = True, start: int = 0) -> Process:
        return Process(request, self.limits, self.stop, imports=imports, start=start)

    def _without_importing(self) -> dict[str, Any]:
        """Return the plan as far as it is known where importing the module ends a process."""
        with self._started(self.request, imports=False) as another:
            said = _plan_of(another)
        if said is None:
            raise UnknownLibrary(another.how_it_ended)
        return said

    def results(self, processes: int = 1) -> Iterator[Result]:
        """Yield a result for each task, in their order; some gaps may seem closed."""
        if self.lost:
            yield from (_unreached(*task, self.lost) for task in self.tasks)
        elif processes == 1 or len(self.request.libraries) == 1:
            yield from self._results_of_one(self.request, self.tasks, self.process)
        else:
            self.process.end()
            yield from self._side_by_side(processes)

    def _side_by_side(self, processes: int) -> Iterator[Result]:
        def of_library(name: str) -> list[Result]:
            tasks = [task for task in self.tasks if task[0][2].name == name]
            return list(self._results_of_one(replace(self.request, libraries=[name]), tasks))

        with ThreadPoolExecutor(processes) as pool:
            try:
                for results in pool.map(of_library, [lib.name for lib in self.plan.libraries]):
                    yield from results
            finally:
                self.stop.set()  # or the pool would wait for what nobody wants any more

    def _results_of_one(
        self,
        request: Request,
        tasks: Sequence[tuple[Task, str | None]],
        process: Process | None = None,
    ) -> Iterator[Result]:
        """Yield the results of one process; after its end, a new one judges what is left.

        The task that it ended in is not met, and the rest of that constraint is not reached.
        """
        done = 0
        while done < len(tasks) and not self.stop.is_set():
            with process or self._started(request, start=done) as running:
                for task, said in zip(tasks[done:], _results_of(running), strict=False):
                    found = _result(task[0], said)
                    if found is None:
                        running.ending = "something else was written into the record"
                        break
                    yield with_gap(found, self.plan)
                    done += 1
            if done < len(tasks) and not self.stop.is_set():
                lost = _rest_of_constraint(tasks, done)
                yield not_met(lost[0][0], running.how_it_ended)
                at = f"not reached: at {lost[0][0][0].id} {running.how_it_ended}"
                yield from (_unreached(*task, at) for task in lost[1:])
                done, process = done + len(lost), None

    def lines(self) -> Iterator[str]:
        """Yield the lines of a comparison, or raise :class:`Unfinished`."""
        for message in self.process.messages:
            if "compared" in message:
                return
            _refuse(message)
            yield message["line"]
        raise Unfinished(f"not compared to the end: {self.process.how_it_ended}")


def _plan_of(process: Process) -> dict[str, Any] | None:
    """Return the plan that a process sends; None where it ends before."""
    for message in process.messages:
        _refuse(message)
        if "plan" in message:
            return message["plan"]  # type: ignore[no-any-return]
    return None


def _refuse(message: dict[str, Any]) -> None:
    if "refused" in message:
        raise Refusal(message["refused"])


def _results_of(process: Process) -> Iterator[Any]:
    for message in process.messages:
        if "refused" in message:  # a process that goes on where another has ended
            process.ending = f"it said: {message['refused']}"
            return
        if "result" in message:
            yield message["result"]


def _result(task: Task, said: Any) -> Result | None:
    """Return the result that was handed over; None where it is not that of the task."""
    requirement, name, library = task
    try:
        found = said["counterexample"]
        right = said["task"] == [requirement.id, name, library.name]
        made = Result(
            requirement,
            name,
            library.name,
            said["outcome"],
            said["applied"],
            said["seconds"],
            said["reason"],
            found and Counterexample(**found),
        )
    except (KeyError, TypeError):
        return None
    return made if right and made.outcome in ORDER else None


def _rest_of_constraint(
    tasks: Sequence[tuple[Task, str | None]], start: int
) -> list[tuple[Task, str | None]]:
    (_, name, library), _ = tasks[start]
    found = tasks[start:]
    return [task for task in found if task[0][1] == name and task[0][2] is library]


def _unreached(task: Task, exempt: str | None, message: str) -> Result:
    if exempt is None:
        return not_met(task, message)
    requirement, name, library = task
    return Result(requirement, name, library.name, "not applicable", reason=exempt)
