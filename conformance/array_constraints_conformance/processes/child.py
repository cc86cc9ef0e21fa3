"""The process that judges: it imports the implementation and sends result by result."""

from __future__ import annotations

import gc
import json
import os
from dataclasses import asdict
from typing import Any

from array_constraints_conformance.libraries import UnknownLibrary, library
from array_constraints_conformance.processes.request import Request, subject_of
from array_constraints_conformance.runner.again import environment
from array_constraints_conformance.runner.against import compared
from array_constraints_conformance.runner.judgement import exemption, judge
from array_constraints_conformance.runner.plan import Plan, WrongPlan
from array_constraints_conformance.runner.results import Result, crashed
from array_constraints_conformance.trial.subject import UnknownSubject, module_named


class Sender:
    """A pipe to the suite: one message a line, from this process and not from its forks."""

    def __init__(self, report: int, token: str) -> None:
        self.report, self.token, self.process = report, token, os.getpid()

    def __call__(self, **message: Any) -> None:
        if os.getpid() != self.process:  # a fork that the implementation has made
            os._exit(1)
        line = json.dumps({"token": self.token, **message}).encode() + b"\n"
        while line:
            line = line[os.write(self.report, line) :]


def main(words: dict[str, Any]) -> None:
    """Judge or compare as requested, and send each result."""
    send, request = Sender(words["report"], words["token"]), Request(**words["request"])
    send(started=True)
    try:
        subject = module_named(request.constraints) if words["imports"] else subject_of(request)
        send(imported=True)
        libraries = [library(name, request.device) for name in request.libraries]
        plan = request.plan(subject, libraries)
        send(plan=_described(plan))
        if request.against:
            other = module_named(request.against, "--against")
            for line in compared(plan, other):
                send(line=line)
            send(compared=True)
            return
    except (UnknownSubject, UnknownLibrary, WrongPlan) as error:
        send(refused=str(error))
        return
    if words["imports"]:
        _judge(plan, words["start"], send)


def _described(plan: Plan) -> dict[str, Any]:
    """Return the parts of a plan that are known only where the module is imported."""
    return {
        "version": plan.subject.version,
        "constraints": {
            name: list(map(asdict, known.requirements))
            for name, known in plan.subject.definitions.items()
        },
        "offers": [asdict(offer) for offer in plan.subject.offers],
        "environment": environment(plan.subject.module),
        "libraries": [asdict(one.described) for one in plan.libraries],
        "exempt": [exemption(task, trial) for task, trial in plan.trials()],
    }


def _judge(plan: Plan, start: int, send: Sender) -> None:
    gc.freeze()  # what is imported is there for good; and JAX and Hypothesis, which make much,
    gc.set_threshold(10_000)  # are called back each time that garbage is looked for
    for task, trial in plan.trials(start):
        try:
            found = judge(task[0], task[1], trial)
        except KeyboardInterrupt as error:  # of the implementation: no key reaches this group
            found = crashed(task, error)
        send(result=_written(found))


def _written(found: Result) -> dict[str, Any]:
    return {
        "task": [found.requirement.id, found.constraint, found.library],
        "outcome": found.outcome,
        "applied": int(found.applied),
        "seconds": found.seconds,
        "reason": found.reason,
        "counterexample": found.counterexample and asdict(found.counterexample),
    }
