"""Results: the outcome of each task of a plan, and those of an implementation that crashed."""

from __future__ import annotations

from dataclasses import dataclass

from array_constraints_conformance.counterexample import Counterexample, message_of
from array_constraints_conformance.runner.plan import Task
from array_constraints_conformance.specification import Requirement


@dataclass(frozen=True)
class Result:
    """The outcome of one requirement for one constraint on one library."""

    requirement: Requirement
    constraint: str
    library: str
    outcome: str
    applied: int = 0
    seconds: float = 0.0
    reason: str | None = None
    counterexample: Counterexample | None = None


def crashed(task: Task, error: BaseException) -> Result:
    """Return that a requirement is not met, as the implementation raised an error."""
    return not_met(task, f"raised {message_of(error)}")


def not_met(task: Task, message: str) -> Result:
    """Return that a requirement is not met, with a message but no weight that shows it."""
    requirement, name, library = task
    found = Counterexample(message, name, got=message)
    return Result(requirement, name, library.name, "not met", counterexample=found)
