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
from array_constraints_conformance.checks.registry import CHECKS, COMPARING, LAWS

__all__ = [
    "CHECKS",
    "COMPARING",
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
