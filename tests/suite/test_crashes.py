"""In code, too, whatever an implementation raises is a crash: no outcome of its own counts."""

from __future__ import annotations

import types

import pytest
from array_constraints_conformance import check_constraint
from array_constraints_conformance.trial.subject import single

WRONG = """
import sys
import array_constraints_conformance.counterexample as Findings

class NonNeg:
    def __call__(self, w):
        {}
"""
RAISES = {
    "sys.exit(0)": "SystemExit: 0",
    "raise BaseExceptionGroup('', [KeyboardInterrupt()])": "BaseExceptionGroup",
    "raise GeneratorExit": "GeneratorExit",
    "raise MemoryError": "MemoryError",
    "import pytest; pytest.skip('not here')": "Skipped: not here",
    "import hypothesis; hypothesis.reject()": "UnsatisfiedAssumption",
    "raise Findings.NotProvided('no')": "NotProvided: no",
    "raise Findings.NotApplicable('no')": "NotApplicable: no",
    "raise Findings.WrongMembership('no')": "WrongMembership: no",
    "raise type('Mine', (Findings.NotProvided,), {})('no')": "Mine: no",
    "raise ExceptionGroup('', [Findings.NotProvided('no')])": "ExceptionGroup",
    "raise Findings.RequirementNotMet.__new__(Findings.RequirementNotMet)": "RequirementNotMet",
    "raise Findings.Raised.__new__(Findings.Raised, 1)": "Raised",
}


@pytest.mark.parametrize(("line", "message"), RAISES.items(), ids=list(RAISES))
def test_what_a_call_raises_is_not_met(line, message):
    module = types.ModuleType("hostile")
    exec(WRONG.format(line), vars(module))
    for subject in (module, single(module.NonNeg(), contains=lambda w, slack: True)):
        report = check_constraint(subject, profile="quick", only=["ARR-1", "SET-1", "SET-2"])
        found = [
            r for r in report.results if r.outcome not in ("not provided", "not applicable")
        ]
        assert {r.outcome for r in found} == {"not met"}
        assert {"ARR-1", "SET-1", "SET-2"} == {r.requirement.id for r in found}
        assert all(f"raised {message}" in r.counterexample.message for r in found)
    assert report.record["timeout"] is None
