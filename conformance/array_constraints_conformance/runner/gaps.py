"""Known gaps among the results, and gaps that have closed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from array_constraints_conformance.runner.plan import Plan
from array_constraints_conformance.runner.results import Result


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
    """Return the result; met, where the gap that it closes still shows in another result."""
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
