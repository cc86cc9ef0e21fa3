"""The checks, one per requirement; an ID that the specification does not have fails at import."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from array_constraints_conformance.specification import requirements
from array_constraints_conformance.trial import Observation, Trial

Law = Callable[[Observation], int]
Check = Callable[[Trial], int]
F = TypeVar("F", bound=Callable[..., int])

LAWS: dict[str, Law] = {}
CHECKS: dict[str, Check] = {}


def law(requirement: str) -> Callable[[F], F]:
    """Register a law on what is seen of one weight; it returns how often it applied."""
    return _registered(requirement, LAWS)


def check(requirement: str) -> Callable[[F], F]:
    """Register a check of a trial; it returns how often its law applied."""
    return _registered(requirement, CHECKS)


def _registered(requirement: str, table: dict[str, F]) -> Callable[[F], F]:  # type: ignore[misc]
    if requirement not in requirements():
        raise ValueError(f"{requirement} is not in the specification")
    if requirement in LAWS or requirement in CHECKS:
        raise ValueError(f"{requirement} has a check already")

    def register(function: F) -> F:
        table[requirement] = function
        return function

    return register
