"""The judgement of each task of a plan: it runs a check, and never crashes."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

from hypothesis.errors import Flaky

from array_constraints_conformance.checks import CHECKS, CLOSE, COMPARING, LAWS
from array_constraints_conformance.checks.registry import Law
from array_constraints_conformance.counterexample import (
    NotApplicable,
    NotProvided,
    Raised,
    RequirementNotMet,
    was_stated,
)
from array_constraints_conformance.libraries import Library
from array_constraints_conformance.runner.gaps import closed_everywhere, with_gap
from array_constraints_conformance.runner.plan import MODULE, Plan, Task
from array_constraints_conformance.runner.results import Result, crashed
from array_constraints_conformance.specification import Requirement
from array_constraints_conformance.trial.observation import Observation
from array_constraints_conformance.trial.trial import Trial
from array_constraints_conformance.weights.draws import drawn, fitting, search
from array_constraints_conformance.weights.layouts import may_be_drawn

_LIBRARY_TERMS: dict[str, Callable[[Library], bool]] = {
    "every library": lambda lib: True,
    "NumPy alone": lambda lib: lib.name == "numpy",
    "libraries other than NumPy": lambda lib: lib.name != "numpy",
    "libraries with 16-bit dtypes": lambda lib: "sixteen-bit" in lib.traits,
    "lazy libraries": lambda lib: "lazy" in lib.traits,
    "chunked libraries": lambda lib: "chunked" in lib.traits,
    "strict libraries": lambda lib: "strict" in lib.traits,
    "libraries with byte orders": lambda lib: "byte-ordered" in lib.traits,
    "strided libraries": lambda lib: "strided" in lib.traits,
    "writable libraries": lambda lib: "writable" in lib.traits,
    "tracing libraries": lambda lib: "tracing" in lib.traits,
    "differentiating libraries": lambda lib: "differentiating" in lib.traits,
}


def run(plan: Plan) -> list[Result]:
    """Run a plan and return a result for each of its tasks, in their order."""
    results = list(results_of(plan))
    return [closed_everywhere(result, results, plan) for result in results]


def results_of(plan: Plan) -> Iterator[Result]:
    """Yield a result for each task of a plan; some gaps may seem closed until all are known."""
    for (requirement, name, _), trial in plan.trials():
        yield with_gap(judge(requirement, name, trial), plan)


def judge(requirement: Requirement, name: str, trial: Trial) -> Result:
    """Return the outcome of one requirement."""
    start = time.perf_counter()
    found = _outcome(requirement, name, trial)
    return replace(found, seconds=round(time.perf_counter() - start, 4))


def _outcome(requirement: Requirement, name: str, trial: Trial) -> Result:
    blank = Result(requirement, name, trial.library.name, "untested")
    reason = exemption((requirement, name, trial.library), trial)
    if reason is not None:
        return replace(blank, outcome="not applicable", reason=reason)
    try:
        if name != MODULE and not trial.subject.provides(name):
            missing = f"{trial.subject.name} has no {name}"
            return replace(blank, outcome="not provided", reason=missing)
        with trial.library.active(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            applied = put_to_the_test(requirement, trial)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever an implementation may do
        return _raised(error, requirement, name, trial)
    if not applied:
        return replace(blank, reason="nothing that was drawn put the law to the test")
    return replace(blank, outcome="met", applied=applied)


def _raised(error: BaseException, requirement: Requirement, name: str, trial: Trial) -> Result:
    """Return the outcome that the suite's exception stands for, or a crash."""
    if not was_stated(error):
        return crashed((requirement, name, trial.library), error)
    blank = Result(requirement, name, trial.library.name, "untested")
    match error:
        case RequirementNotMet() | Raised():
            found = error.counterexample
            return replace(blank, outcome="not met", counterexample=found)
        case NotProvided():
            return replace(blank, outcome="not provided", reason=str(error))
        case NotApplicable():
            return replace(blank, outcome="not applicable", reason=str(error))
    raise error  # the membership test was wrong, not the implementation


def exemption(task: Task, trial: Trial) -> str | None:
    """Return why a requirement is not about this constraint or library, if it is not."""
    requirement, name, library = task
    if not _LIBRARY_TERMS[requirement.libraries](library):
        return f"applies to {requirement.libraries}"
    if requirement.libraries == "libraries with 16-bit dtypes" and not any(
        fmt.half for fmt in trial.formats
    ):
        return "no 16-bit dtype is judged"
    if name != MODULE and not any(requirement.terms & rule.traits for rule in trial.rules):
        return f"applies to {requirement.constraints}"
    return None


def put_to_the_test(requirement: Requirement, trial: Trial) -> int:
    """Return how often the law of a requirement applied, or raise its counterexample."""
    if requirement.id in CHECKS:
        return CHECKS[requirement.id](trial)
    law = trial.definition.requirements.get(requirement) or LAWS[requirement.id]
    applied = _in_draws(law, requirement, trial)
    for case in trial.cases:
        if requirement.terms & case.rule.traits:
            applied += law(trial.observe(case))
    for case in trial.close_cases if requirement.id in CLOSE else ():
        if requirement.terms & case.rule.traits:
            applied += law(Observation(trial.calls, case))  # too large to be kept
    if requirement.id in COMPARING:
        applied += sum(law(pool) for pool in trial.pools)
    return applied


def _in_draws(law: Law, requirement: Requirement, trial: Trial) -> int:
    """Return how often a law applied to drawn weights, or raise, for the smallest if asked."""
    if not may_be_drawn(trial.rule):
        return 0
    rules = [rule for rule in trial.rules if requirement.terms & rule.traits]
    count = trial.profile.examples // (3 if trial.samples_a_third else 1)
    formats = trial.half(trial.formats, len(trial.constraint) + 1)
    source = (fitting(rules, formats), trial.seed, count)
    try:
        return sum(law(trial.observe(case)) for case in drawn(*source))
    except (RequirementNotMet, Raised):
        if trial.profile.shrinks:
            with contextlib.suppress(Flaky):  # it fails in another way each time
                search(lambda case: law(trial.observe(case)), *source)
        raise
