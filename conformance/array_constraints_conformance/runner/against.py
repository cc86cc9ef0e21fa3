"""Two implementations side by side: the largest difference, and the input that shows it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from array_constraints_conformance.counterexample import as_python, message_of
from array_constraints_conformance.libraries import Library
from array_constraints_conformance.numerics.exact import root
from array_constraints_conformance.numerics.formats import Format
from array_constraints_conformance.runner.plan import MODULE, Plan, WrongPlan
from array_constraints_conformance.trial.observation import Observation
from array_constraints_conformance.trial.subject import Subject
from array_constraints_conformance.trial.trial import Trial


def compared(plan: Plan, other: Subject) -> Iterator[str]:
    """Yield the largest difference per constraint, library and dtype, in roundoffs, as lines.

    Slices that one implementation makes finite and the other does not are shown apart.
    """
    if MODULE in plan.constraints:
        raise WrongPlan("constraints are compared, not modules")
    other = replace(other, definitions=plan.subject.definitions)
    yield f"{plan.subject.name} against {other.name}"
    names = plan.constraints or list(plan.subject.definitions)
    for library, name in product(plan.libraries, names):
        for fmt in plan.trial(name, library).formats:
            ours, theirs = (
                Trial(subject, name, library, plan.profile, plan.seed, [fmt])
                for subject in (plan.subject, other)
            )
            yield f"\n{name}, {library.name}, {fmt.name}"
            yield from _compared(ours, theirs, library, fmt)


def _compared(ours: Trial, theirs: Trial, library: Library, fmt: Format) -> Iterator[str]:
    largest, shown, apart = 0.0, None, None
    with library.active(), np.errstate(all="ignore"):
        for case in ours.cases:
            try:
                a, b = ours.observe(case), theirs.observe(case)
                _ = a.after, b.after  # the calls
            except Exception as error:
                yield f"  cannot be compared at {case.rule}: {message_of(error)}"
                return
            for i in range(len(a.before)):
                found = _difference(a, b, i, fmt)
                if found == math.inf:
                    apart = apart or (a, b, i)
                elif found > largest:
                    largest, shown = found, (a, b, i)
        yield f"  largest difference: {largest:.3g} u"
        yield from _shown(*shown) if shown else ()
        if apart:
            yield "  NaN or infinity in one alone:"
            yield from _shown(*apart)


def _shown(a: Observation, b: Observation, i: int) -> Iterator[str]:
    yield f"    constraint: {a.rule}"
    yield f"    input: {as_python(a.before.rows[i])}"
    for seen in (a, b):
        yield f"    {seen.calls.subject.name}: {as_python(seen.after.rows[i])}"


def _difference(a: Observation, b: Observation, i: int, fmt: Format) -> float:
    """Return the distance of two slices, in roundoffs of the longer one."""
    one, two = a.after, b.after
    if not (one.finite[i] and two.finite[i]):
        same = np.array_equal(one.values[i], two.values[i], equal_nan=True)
        return 0.0 if same else math.inf
    longest = max(root(one.square(i)), root(two.square(i)))
    return float(one.distance(i, two) / longest / fmt.u) if longest else 0.0
