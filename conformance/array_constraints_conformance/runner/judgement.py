"""Run the checks of a subject on libraries, and judge: every outcome, never a crash."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from hypothesis.errors import Flaky

from array_constraints_conformance.checks import CHECKS, CLOSE, COMPARING, LAWS
from array_constraints_conformance.counterexample import (
    Counterexample,
    NotApplicable,
    NotProvided,
    Refused,
    RequirementNotMet,
    is_own,
    said,
)
from array_constraints_conformance.known_gaps import Gap
from array_constraints_conformance.libraries import Library, UnknownLibrary
from array_constraints_conformance.numerics.formats import FORMATS
from array_constraints_conformance.specification import SCOPES, Requirement, requirements
from array_constraints_conformance.trial.observation import Observation
from array_constraints_conformance.trial.subject import Subject
from array_constraints_conformance.trial.trial import PROFILES, Profile, Trial
from array_constraints_conformance.weights import decks as strategies

MODULE = "module"
Task = tuple[Requirement, str, Library]
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


class WrongPlan(ValueError):
    """What was asked for cannot be judged, or is nothing."""


@dataclass(frozen=True)
class Plan:
    """What to judge, and how thoroughly."""

    subject: Subject
    libraries: Sequence[Library]
    profile: Profile = PROFILES["default"]
    seed: int = 0
    scopes: Sequence[str] = SCOPES
    only: Sequence[str] = ()
    constraints: Sequence[str] = ()
    gaps: Sequence[Gap] = field(default_factory=tuple)
    dtypes: Sequence[str] = ()
    gaps_named: str | None = None

    def __post_init__(self) -> None:
        """Refuse what would judge nothing: it would seem to be met."""
        if self.seed < 0:
            raise WrongPlan(f"a seed is not negative, got {self.seed}")
        for library in self.libraries:
            if self.dtypes and not set(self.dtypes) & set(library.dtypes):
                raise UnknownLibrary(f"{library.name} has none of {', '.join(self.dtypes)}")
        if next(self.tasks(), None) is None:
            raise WrongPlan("nothing is left to judge, of these constraints and requirements")

    def trial(self, name: str, library: Library) -> Trial:
        """Return the trial of a constraint, or of the first one for the module as a whole."""
        known = next(iter(self.subject.entries)) if name == MODULE else name
        chosen = [d for d in library.dtypes if not self.dtypes or d in self.dtypes]
        formats = [FORMATS[dtype] for dtype in chosen]
        return Trial(self.subject, known, library, self.profile, self.seed, formats)

    def trials(self, start: int = 0) -> Iterator[tuple[Task, Trial]]:
        """Yield every task from the given one on, with its trial."""
        trials: dict[tuple[str, str], Trial] = {}
        for task in islice(self.tasks(), start, None):
            _, name, library = task
            key = (name, library.name)
            if key not in trials:
                trials.clear()  # the observations of the last one are not needed again
                trials[key] = self.trial(name, library)
            yield task, trials[key]

    def tasks(self) -> Iterator[Task]:
        """Yield every requirement for every constraint on every library that was asked for."""
        claimed = SCOPES if self.subject.scopes is None else self.subject.scopes
        scopes = [scope for scope in self.scopes if scope in claimed]
        for library in self.libraries:
            for name in [*self.subject.entries, MODULE]:
                if self.constraints and name not in self.constraints:
                    continue
                for requirement in requirements().values():
                    wanted = not self.only or requirement.id in self.only
                    module_wide = requirement.constraints == MODULE
                    if (
                        requirement.scope in scopes
                        and wanted
                        and module_wide == (name == MODULE)
                    ):
                        yield requirement, name, library


def run(plan: Plan) -> list[Result]:
    """Run a plan and return a result for each of its tasks, in their order."""
    results = list(judged(plan))
    return [closed_everywhere(result, results, plan) for result in results]


def judged(plan: Plan) -> Iterator[Result]:
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
            applied = put_to_the_test(requirement.id, trial)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever an implementation may do
        return _raised(error, requirement, name, trial)
    if not applied:
        return replace(blank, reason="nothing that was drawn put the law to the test")
    return replace(blank, outcome="met", applied=applied)


def _raised(error: BaseException, requirement: Requirement, name: str, trial: Trial) -> Result:
    """Return the outcome that the suite stated, or a crash."""
    if not is_own(error):
        return crashed(requirement, name, trial, error)
    blank = Result(requirement, name, trial.library.name, "untested")
    match error:
        case RequirementNotMet() | Refused():
            found = error.counterexample
            return replace(blank, outcome="not met", counterexample=found)
        case NotProvided():
            return replace(blank, outcome="not provided", reason=str(error))
        case NotApplicable():
            return replace(blank, outcome="not applicable", reason=str(error))
    raise error  # the membership test was wrong, not the implementation


def crashed(requirement: Requirement, name: str, trial: Trial, error: BaseException) -> Result:
    """Return what is said of an implementation that raised what no check expects."""
    message = f"raised {said(error)}"
    return not_met((requirement, name, trial.library), message)


def not_met(task: Task, message: str) -> Result:
    """Return that a requirement is not met, without a weight that shows it."""
    requirement, name, library = task
    found = Counterexample(message, name, got=message)
    return Result(requirement, name, library.name, "not met", counterexample=found)


def exemption(task: Task, trial: Trial) -> str | None:
    """Return why a requirement is not about this constraint or library, if it is not."""
    requirement, name, library = task
    if not _LIBRARY_TERMS[requirement.libraries](library):
        return f"applies to {requirement.libraries}"
    if requirement.libraries == "libraries with 16-bit dtypes" and not any(
        form.half for form in trial.formats
    ):
        return "no 16-bit dtype is judged"
    terms = {term.strip() for term in requirement.constraints.split(",")}
    if name != MODULE and not any(terms & rule.traits for rule in trial.rules):
        return f"applies to {requirement.constraints}"
    return None


def put_to_the_test(requirement: str, trial: Trial) -> int:
    """Return how often the law of a requirement applied, or raise what is wrong."""
    if requirement in CHECKS:
        return CHECKS[requirement](trial)
    law = LAWS[requirement]
    terms = {term.strip() for term in requirements()[requirement].constraints.split(",")}
    rules = [rule for rule in trial.rules if terms & rule.traits]
    applied = 0

    def holds(case: strategies.Case) -> None:
        nonlocal applied
        applied += law(trial.observe(case))

    if strategies.may_be_drawn(trial.rule):
        fewer = 3 if trial.sparse else 1
        count = trial.profile.examples // fewer
        source = (strategies.fitting(rules, trial.formats), trial.seed, count)
        try:
            for case in strategies.drawn(*source):
                holds(case)
        except (RequirementNotMet, Refused):
            with contextlib.suppress(Flaky):  # it fails in another way each time
                strategies.search(holds, *source)  # raises for the smallest weight
            raise
    for case in trial.cases:
        if terms & case.rule.traits:
            holds(case)
    for case in trial.close_cases if requirement in CLOSE else ():
        if terms & case.rule.traits:
            applied += law(Observation(trial, case))  # too large to be kept
    if requirement in COMPARING:
        applied += sum(law(pool) for pool in trial.pools)
    return applied


def with_gap(result: Result, plan: Plan) -> Result:
    """Return the result, as a known gap where one is listed for it.

    The quick profile does not close a gap: it may not have drawn what shows it.
    """
    for gap in plan.gaps:
        if gap.covers(result.requirement.id, result.constraint, result.library):
            if result.outcome == "not met":
                return replace(result, outcome="known gap", reason=gap.reason)
            if result.outcome == "met" and plan.profile.quick:
                return replace(result, reason="a known gap, which this profile did not show")
            if result.outcome == "met":
                return replace(result, outcome="gap closed", reason=gap.reason)
    return result


def closed_everywhere(result: Result, results: Iterable[Result], plan: Plan) -> Result:
    """Return the result, as met where the entry of its closed gap still shows in another."""
    if result.outcome != "gap closed":
        return result
    key = result.requirement.id, result.constraint, result.library
    (gap, *_) = (gap for gap in plan.gaps if gap.covers(*key))
    for other in results:
        covered = gap.covers(other.requirement.id, other.constraint, other.library)
        if covered and other.outcome == "known gap":
            where = f"{other.constraint} on {other.library}"
            return replace(result, outcome="met", reason=f"a known gap, which {where} shows")
    return result
