"""The conformance suite: it judges any implementation of weight constraints."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from array_constraints_conformance.processes.needs import missing

if TYPE_CHECKING:
    from array_constraints_conformance.api import check_constraint, parametrize_with_checks
    from array_constraints_conformance.catalogue import Definition, NearestRule
    from array_constraints_conformance.report.outcomes import OUTCOMES
    from array_constraints_conformance.report.record import Report
    from array_constraints_conformance.specification import Requirement, requirements
    from array_constraints_conformance.trial.observation import Observation

    __version__: str

__all__ = [
    "OUTCOMES",
    "Definition",
    "NearestRule",
    "Observation",
    "Report",
    "Requirement",
    "check_constraint",
    "parametrize_with_checks",
    "requirements",
]

# Imported when they are asked for, so that what is not installed can be named in one sentence.
_HOMES = {
    "OUTCOMES": ("report.outcomes", "OUTCOMES"),
    "Definition": ("catalogue", "Definition"),
    "NearestRule": ("catalogue", "NearestRule"),
    "Observation": ("trial.observation", "Observation"),
    "Report": ("report.record", "Report"),
    "Requirement": ("specification", "Requirement"),
    "__version__": ("report.record", "VERSION"),
    "check_constraint": ("api", "check_constraint"),
    "parametrize_with_checks": ("api", "parametrize_with_checks"),
    "requirements": ("specification", "requirements"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, own = _HOMES[name]
    try:
        value = getattr(importlib.import_module(f"{__name__}.{home}"), own)
    except ModuleNotFoundError as error:
        raise ImportError(missing(error)) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
