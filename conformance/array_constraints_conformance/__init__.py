"""The conformance suite: it judges any implementation of weight constraints."""

from array_constraints_conformance.api import check_constraint, parametrize_with_checks
from array_constraints_conformance.report.outcomes import OUTCOMES
from array_constraints_conformance.report.record import VERSION, Report
from array_constraints_conformance.specification import Requirement, requirements

__all__ = [
    "OUTCOMES",
    "Report",
    "Requirement",
    "check_constraint",
    "parametrize_with_checks",
    "requirements",
]
__version__ = VERSION
