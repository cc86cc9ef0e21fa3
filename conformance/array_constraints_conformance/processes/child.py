"""The process that judges: it imports the implementation, and hands over result by result."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Any

from array_constraints_conformance.libraries import UnknownLibrary, library
from array_constraints_conformance.processes.order import Order, subject_of
from array_constraints_conformance.runner.against import compared
from array_constraints_conformance.runner.judgement import exemption, judge
from array_constraints_conformance.runner.plan import Plan, WrongPlan
from array_constraints_conformance.runner.results import Result, crashed
from array_constraints_conformance.specification import SCOPES
from array_constraints_conformance.trial.subject import UnknownSubject, module_named


class Speaker:
    """The pipe to the suite: one message a line, from this process alone."""

    def __init__(self, report: int, token: str) -> None:
        self.report, self.token, self.process = report, token, os.getpid()

    def __call__(self, **message: Any) -> None:
        if os.getpid() != self.process:  # a fork that the implementation has made
            os._exit(1)
        line = json.dumps({"token": self.token, **message}).encode() + b"\n"
        while line:
            line = line[os.write(self.report, line) :]


def main(words: dict[str, Any]) -> None:
    """Do what was ordered, and say so."""
    say, order = Speaker(words["report"], words["token"]), Order(**words["order"])
    say(started=True)
    try:
        subject = module_named(order.constraints) if words["imports"] else subject_of(order)
        say(imported=True)
        libraries = [library(name, order.device) for name in order.libraries]
        plan = order.plan(subject, libraries)
        say(plan=_described(plan))
        if order.against:
            other = module_named(order.against, "--against")
            for line in compared(plan, other):
                say(line=line)
            say(compared=True)
            return
    except (UnknownSubject, UnknownLibrary, WrongPlan) as error:
        say(refused=str(error))
        return
    if words["imports"]:
        _judged(plan, words["start"], say)


def _described(plan: Plan) -> dict[str, Any]:
    """Return what the suite has to know of a plan that it cannot make itself."""
    claimed = plan.subject.scopes
    return {
        "version": plan.subject.version,
        "scopes": claimed and [scope for scope in SCOPES if scope in claimed],
        "libraries": [asdict(one.described) for one in plan.libraries],
        "exempt": [exemption(task, trial) for task, trial in plan.trials()],
    }


def _judged(plan: Plan, start: int, say: Speaker) -> None:
    for task, trial in plan.trials(start):
        try:
            found = judge(task[0], task[1], trial)
        except KeyboardInterrupt as error:  # of the implementation: no key reaches this group
            found = crashed(task, error)
        say(result=_written(found))


def _written(found: Result) -> dict[str, Any]:
    return {
        "task": [found.requirement.id, found.constraint, found.library],
        "outcome": found.outcome,
        "applied": int(found.applied),
        "seconds": found.seconds,
        "reason": found.reason,
        "counterexample": found.counterexample and asdict(found.counterexample),
    }
