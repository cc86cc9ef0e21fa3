"""The suite in Python: a function that judges a constraint, and a decorator for pytest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from array_constraints_conformance import known_gaps
from array_constraints_conformance.catalogue import Definition
from array_constraints_conformance.libraries import library
from array_constraints_conformance.numerics.formats import FORMATS
from array_constraints_conformance.processes.needs import missing
from array_constraints_conformance.report.outcomes import FAILURES
from array_constraints_conformance.report.record import Report
from array_constraints_conformance.runner.again import environment
from array_constraints_conformance.runner.gaps import closed_everywhere, with_gap
from array_constraints_conformance.runner.judgement import judge, run
from array_constraints_conformance.runner.plan import Plan
from array_constraints_conformance.runner.results import Result
from array_constraints_conformance.specification import SCOPES
from array_constraints_conformance.trial.profiles import PROFILES
from array_constraints_conformance.trial.subject import (
    Subject,
    UnknownSubject,
    module_subject,
    single,
)
from array_constraints_conformance.trial.trial import Trial


def check_constraint(
    constraint: Any,
    *,
    contains: Callable[[Any, float], bool] | None = None,
    axis: Any = None,
    convex: bool = False,
    idempotent: bool = True,
    definition: Definition | None = None,
    xp: str | Sequence[str] = "numpy",
    device: str | None = None,
    scope: str | Sequence[str] | None = None,
    only: str | Sequence[str] = (),
    profile: str = "default",
    seed: int = 0,
    gaps: str | None = None,
    dtypes: str | Sequence[str] = (),
) -> Report:
    """Judge one constraint, or a module of constraints, against the specification.

    Parameters
    ----------
    constraint
        A callable ``constraint(w)``; or a module with ``MaxNorm``, ``NonNeg`` and so on.
    contains
        The membership test of a constraint that the suite does not know by name:
        ``contains(w, slack)`` says whether ``w``, a float64 NumPy array, is allowed when every
        bound is widened by ``slack``, relative to its size; a negative ``slack`` narrows them.
        ``w`` is one slice, flattened, where ``axis`` is given; else the weight, flattened.
    axis
        What one slice of a constraint with ``contains`` runs along.
    convex
        Whether it is claimed to return the nearest point of a convex set.
    idempotent
        Whether applying it twice is claimed to be applying it once.
    definition
        The definition of a constraint that the suite does not know by name: it is judged as the
        suite's own are, and by the requirements that its definition adds. A module has its
        definitions in ``CONFORMANCE_DEFINITIONS``.
    xp
        The array library, or several, as ``"jax.numpy+x64"``.
    device
        Where its arrays are made.
    scope
        The scopes that are judged: unless they are named, those that the constraint offers; the
        report says which, and why.
    only
        The requirements that are judged: unless they are named, all of the scopes.
    profile
        How much is drawn: ``"quick"``, ``"default"`` or ``"thorough"``.
    seed
        What is drawn, beside numbers of the caller's own modules, which Hypothesis tries, too.
    gaps
        A TOML file of known gaps.
    dtypes
        The dtypes that it is judged with, by name: all of the library, unless they are named.

    Returns
    -------
    Report
        ``report.met``, ``print(report)``, ``report.write(folder)``.

    Raises
    ------
    ValueError
        If the call is wrong: no such library, profile, scope or requirement, nothing left to
        judge, a constraint of unknown name without ``contains`` or ``definition``, a definition
        that does not fit it, or a ``contains`` that raises.
        What the constraint raises when it is called is never raised here.

    Notes
    -----
    The constraint is called in this process, without a limit of time: what ends the process
    ends the run. The command line judges a module in another process.
    """
    subject = _subject(constraint, contains, axis, convex, idempotent, definition)
    plan = plan_of(subject, xp, device, scope, only, profile, seed, gaps, dtypes)
    return Report(plan, run(plan), command="check_constraint(...)")


def _subject(
    constraint: Any,
    contains: Any,
    axis: Any,
    convex: bool,
    idempotent: bool,
    definition: Definition | None,
) -> Subject:
    if isinstance(constraint, Subject):
        return constraint
    if isinstance(constraint, ModuleType):
        if definition is not None:
            raise UnknownSubject("a module has its definitions in CONFORMANCE_DEFINITIONS")
        return module_subject(constraint)
    return single(
        constraint,
        contains=contains,
        axis=axis,
        convex=convex,
        idempotent=idempotent,
        definition=definition,
    )


def plan_of(
    subject: Subject,
    xp: str | Sequence[str],
    device: str | None,
    scope: str | Sequence[str] | None,
    only: str | Sequence[str],
    profile: str,
    seed: int,
    gaps: str | None,
    dtypes: str | Sequence[str],
) -> Plan:
    """Return the plan that these arguments name, or raise ValueError."""
    names, only, dtypes = map(_listed, (xp, only, dtypes))
    scopes = None if scope is None else _listed(scope)
    for wrong, known in (
        ([s for s in scopes or () if s not in SCOPES], SCOPES),
        ([p for p in (profile,) if p not in PROFILES], PROFILES),
        ([d for d in dtypes if d not in FORMATS], FORMATS),
    ):
        if wrong:
            raise ValueError(f"{wrong[0]!r} is none of: {', '.join(known)}")
    return Plan(
        subject,
        [library(name, device) for name in names],
        PROFILES[profile],
        seed,
        scopes,
        only,
        gaps=known_gaps.read(gaps) if gaps else (),
        dtypes=dtypes,
        gaps_named=gaps,
        environment=environment(subject.module),
    )


def _listed(words: str | Sequence[str]) -> list[str]:
    return [words] if isinstance(words, str) else list(dict.fromkeys(words))


def _pytest() -> Any:
    """Return pytest, which nothing else of the suite needs."""
    try:
        import pytest
    except ModuleNotFoundError as error:
        raise ImportError(missing(error)) from error
    return pytest


class PytestCheck:
    """A requirement for a constraint on a library, as a check that a test calls."""

    def __init__(self, report: Report, trial: Trial, result: Result) -> None:
        self.report, self.trial, self.result = report, trial, result

    def __repr__(self) -> str:
        return f"{self.result.constraint}-{self.result.requirement.id}-{self.result.library}"

    def __call__(self) -> None:
        """Fail, skip or xfail as the outcome says."""
        pytest = _pytest()
        plan = self.report.plan
        found = judge(self.result.requirement, self.result.constraint, self.trial)
        found = closed_everywhere(with_gap(found, plan), self._others(), plan)
        if found.outcome in FAILURES:
            pytest.fail("\n".join(self.report.explained(found)), pytrace=False)
        if found.outcome == "known gap":
            pytest.xfail(found.reason or "")
        if found.outcome != "met":
            pytest.skip(f"{found.outcome}: {found.reason}")

    def _others(self) -> Iterator[Result]:
        """Yield all results of the same requirement: a known gap may cover several of them."""
        plan = self.report.plan
        for requirement, name, lib in plan.tasks():
            if requirement == self.result.requirement:
                yield with_gap(judge(requirement, name, plan.trial(name, lib)), plan)


def parametrize_with_checks(*constraints: Any, **options: Any) -> Any:
    """Return a decorator that gives a test every check of these constraints, one at a time.

    Takes the options of :func:`check_constraint`; the test takes ``check``, and calls it.
    Known gaps are xfails; what is not provided, not applicable or not put to the test is
    skipped, with that reason. The constraint is called in this process, without a limit.
    """
    pytest = _pytest()
    membership = {
        key: options.pop(key, default)
        for key, default in (
            ("contains", None),
            ("axis", None),
            ("convex", False),
            ("idempotent", True),
            ("definition", None),
        )
    }
    given: dict[str, Any] = {
        "xp": "numpy", "device": None, "scope": None, "only": (), "profile": "default",
        "seed": 0, "gaps": None, "dtypes": (),
    }  # fmt: skip
    if unknown := options.keys() - given.keys():
        raise TypeError(f"parametrize_with_checks takes no {', '.join(sorted(unknown))}=")
    given |= options
    cases = []
    for constraint in constraints:
        plan = plan_of(_subject(constraint, **membership), **given)
        report, trials = Report(plan, ()), {}
        for requirement, name, lib in plan.tasks():
            key = (name, lib.name)
            if key not in trials:
                trials[key] = plan.trial(name, lib)
            cases.append(
                PytestCheck(
                    report, trials[key], Result(requirement, name, lib.name, "untested")
                )
            )
    return pytest.mark.parametrize("check", cases, ids=repr)
