"""Two implementations side by side: the largest difference, and the input that shows it."""

from __future__ import annotations

import numpy as np
from rich.table import Table

from array_constraints_conformance.formats import Format
from array_constraints_conformance.libraries import Library
from array_constraints_conformance.oracles import Slices, root
from array_constraints_conformance.runner import Plan
from array_constraints_conformance.subject import Subject
from array_constraints_conformance.trial import Trial
from array_constraints_conformance.verdict import NotProvided, Refused, RequirementNotMet, text


def table(plan: Plan, other: Subject) -> Table:
    """Return the largest difference per constraint, library and dtype, in roundoffs."""
    made = Table(title=f"{plan.subject.name} against {other.name}")
    columns = ("constraint", "library", "dtype", "largest difference", "at the slice")
    for column in (*columns, plan.subject.name, other.name):
        made.add_column(column)
    for library in plan.libraries:
        for name in plan.constraints or plan.subject.entries:
            for form in plan.trial(name, library).formats:
                made.add_row(
                    name, library.name, form.name, *_worst(plan, other, name, library, form)
                )
    return made


def _worst(
    plan: Plan, other: Subject, name: str, library: Library, form: Format
) -> tuple[str, str, str, str]:
    ours = Trial(plan.subject, name, library, plan.profile, plan.seed, [form])
    theirs = Trial(other, name, library, plan.profile, plan.seed, [form])
    largest, shown = -1.0, ("none", "", "", "")
    with library.active(), np.errstate(all="ignore"):
        for case in ours.cases:
            try:
                a, b = ours.observe(case), theirs.observe(case)
                pair = a.after, b.after
            except (NotProvided, Refused, RequirementNotMet) as refusal:
                return (f"cannot be compared: {refusal}"[:80], str(case.rule), "", "")
            for i in range(len(a.before)):
                found = _difference(*pair, i, form)
                if found > largest:
                    largest = found
                    rows = (a.before.rows[i], pair[0].rows[i], pair[1].rows[i])
                    before, one, two = map(text, rows)
                    shown = (f"{found:.3g} u", f"{case.rule}: {before}", one, two)
    return shown


def _difference(a: Slices, b: Slices, i: int, form: Format) -> float:
    """Return the distance of two slices, in roundoffs of the longer one."""
    if not (a.finite[i] and b.finite[i]):
        same = a.finite[i] == b.finite[i] and np.array_equal(
            a.values[i], b.values[i], equal_nan=True
        )
        return 0.0 if same else float("inf")
    longest = max(root(a.square(i)), root(b.square(i)))
    return float(a.distance(i, b) / longest / form.u) if longest else 0.0
