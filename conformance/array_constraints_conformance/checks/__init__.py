"""The checks, one per requirement, one module per family."""

from array_constraints_conformance.checks import (
    arrays,
    calls,
    configs,
    derivatives,
    dialects,
    errors,
    numbers,
    sets,
    sixteen_bit,
    tracing,
    violations,
)
from array_constraints_conformance.checks.registry import CHECKS, LAWS

__all__ = [
    "CHECKS",
    "LAWS",
    "arrays",
    "calls",
    "configs",
    "derivatives",
    "dialects",
    "errors",
    "numbers",
    "sets",
    "sixteen_bit",
    "tracing",
    "violations",
]
