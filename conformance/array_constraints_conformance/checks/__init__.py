"""The checks, one per requirement, one module per family."""

from array_constraints_conformance.checks import (
    arrays,
    calls,
    configs,
    convexity,
    derivatives,
    dialects,
    errors,
    files,
    numbers,
    sets,
    sixteen_bit,
    tracing,
    trees,
    violations,
)
from array_constraints_conformance.checks.registry import CHECKS, CLOSE, COMPARING, LAWS

__all__ = [
    "CHECKS",
    "CLOSE",
    "COMPARING",
    "LAWS",
    "arrays",
    "calls",
    "configs",
    "convexity",
    "derivatives",
    "dialects",
    "errors",
    "files",
    "numbers",
    "sets",
    "sixteen_bit",
    "tracing",
    "trees",
    "violations",
]
