"""The registry of checks: an ID that the specification does not have fails at import."""

from __future__ import annotations

from collections.abc import Callable

from array_constraints_conformance.specification import requirements
from array_constraints_conformance.trial.observation import Observation
from array_constraints_conformance.trial.trial import Trial

Law = Callable[[Observation], int]
Check = Callable[[Trial], int]
LAWS: dict[str, Law] = {}
COMPARING: set[str] = set()
"""Laws that compare slices; of a custom constraint, whole weights are their slices."""
CLOSE: set[str] = set()
"""Laws that are put to the test with large weights, too, whose slices lie on their bound."""
CHECKS: dict[str, Check] = {}


def law(
    requirement: str, *, compares: bool = False, close: bool = False
) -> Callable[[Law], Law]:
    """Register a law on one observation; it returns how often it applied."""
    _refuse_unknown(requirement)
    if close:
        CLOSE.add(requirement)
    if compares:
        COMPARING.add(requirement)

    def register(function: Law) -> Law:
        LAWS[requirement] = function
        return function

    return register


def check(requirement: str) -> Callable[[Check], Check]:
    """Register a check of a trial; it returns how often its law applied."""
    _refuse_unknown(requirement)

    def register(function: Check) -> Check:
        CHECKS[requirement] = function
        return function

    return register


def _refuse_unknown(requirement: str) -> None:
    if requirement not in requirements():
        raise ValueError(f"{requirement} is not in the specification")
    if requirement in LAWS or requirement in CHECKS:
        raise ValueError(f"{requirement} has a check already")
