"""The suite finds each fault by the requirement that it breaks, and accepts what is right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from array_constraints_conformance.libraries import library
from array_constraints_conformance.runner import Plan, run
from array_constraints_conformance.specification import requirements
from array_constraints_conformance.trial import PROFILES
from array_constraints_conformance.trial.subject import Subject, module_subject
from faults.all import CORRECT, FAULTS
from faults.further.base import module_of
from faults.further.combined import COMBINED
from faults.further.exact import EXACT
from faults.further.monotone import Monotone
from faults.further.sliced import SLICED
from faults.further.sparse import SPARSE
from faults.further.thresholds import THRESHOLDS
from faults.making import Fault

# These compare a call with the violation, and with what becomes of a file: a fault of either
# breaks them, too.
SEEN_THROUGH_OTHERS = {"VIO-8", "FILE-1", "FILE-2"}

QUICK = replace(PROFILES["quick"], shrinks=False)  # nobody reads these counterexamples


def outcomes(
    subject: Subject,
    name: str = "numpy",
    constraints: tuple[str, ...] = (),
    only: Iterable[str] = (),
    dtypes: Sequence[str] = (),
) -> dict[tuple[str, str], str]:
    """Return what the quick profile says of each requirement for each constraint."""
    chosen = {"constraints": constraints, "only": list(only), "dtypes": dtypes}
    plan = Plan(subject, [library(name)], QUICK, **chosen)
    return {(r.requirement.id, r.constraint): r.outcome for r in run(plan)}


def others(fault: Fault) -> list[str]:
    """Return what else a fault is judged by.

    One of configs or of errors is judged by what is about these: what becomes of a weight it
    leaves alone. Of the faults of derivatives on PyTorch, the first one is compiled: that takes
    longer than all the rest together.
    """
    alike = [f for f in FAULTS if f.breaks.startswith("GRAD") and f.library == "torch"]
    spared = {fault.breaks} | ({"LAZY-4"} if fault in alike[1:] else set())
    families = ("CFG", "ERR") if fault.breaks.startswith(("CFG", "ERR")) else ("",)
    return [x for x in requirements() if x.startswith(families) and x not in spared]


def dtypes_of_others(fault: Fault) -> list[str]:
    """Return two dtypes, others for the next fault, in which nothing else may be broken."""
    dtypes, turn = library(fault.library).dtypes, FAULTS.index(fault)
    return [dtypes[(turn + i) % len(dtypes)] for i in range(min(2, len(dtypes)))]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_found_by_the_requirement_that_it_breaks(fault: Fault) -> None:
    pytest.importorskip(fault.library.partition("+")[0].partition(".")[0])
    judged = fault.subject(), fault.library, fault.constraints
    found = outcomes(*judged, only=[fault.breaks])
    found |= outcomes(*judged, only=others(fault), dtypes=dtypes_of_others(fault))
    right = {"met", "not applicable"} | ({"not provided"} if fault.contains else set())
    wrong = {requirement for (requirement, _), outcome in found.items() if outcome not in right}
    assert fault.breaks in wrong
    assert wrong <= {fault.breaks} | fault.also | SEEN_THROUGH_OTHERS


@pytest.mark.parametrize("module", [pytest.param(make, id=name) for name, make in CORRECT])
def test_a_right_implementation_is_accepted(module: Callable[[], Any]) -> None:
    found = outcomes(module_subject(module(), "another way"))
    assert {k: v for k, v in found.items() if v not in ("met", "not applicable")} == {}


@pytest.mark.parametrize(
    "made",
    [*EXACT, *SLICED, Monotone, *THRESHOLDS, *SPARSE, *COMBINED],
    ids=lambda cls: cls.__name__,
)
def test_a_right_further_set_is_accepted(made: type) -> None:
    found = outcomes(module_subject(module_of(made)), constraints=(made.__name__,))
    assert {k: v for k, v in found.items() if v not in ("met", "not applicable")} == {}


def test_every_requirement_has_a_fault() -> None:
    assert set(requirements()) - {fault.breaks for fault in FAULTS} == set()


def test_no_fault_is_declared_to_break_what_there_is_not() -> None:
    declared = {requirement for fault in FAULTS for requirement in {fault.breaks} | fault.also}
    assert declared <= set(requirements())


def test_there_are_many_faults_and_several_ways_to_be_right() -> None:
    assert len(FAULTS) >= 40
    assert len(CORRECT) >= 5
