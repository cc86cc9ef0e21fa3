"""Sets of one's own: rules that follow from nearest points, and requirements that are added."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate
from types import ModuleType

import numpy as np
import pytest
from array_constraints_conformance import (
    Definition,
    NearestRule,
    Requirement,
    check_constraint,
    parametrize_with_checks,
)
from array_constraints_conformance.catalogue import CATALOGUE
from array_constraints_conformance.cli import main
from array_constraints_conformance.numerics.exact import Slices, floats
from array_constraints_conformance.numerics.formats import FORMATS
from faults.all import FAULTS
from hypothesis import given
from hypothesis import strategies as st

import array_constraints as ac


@dataclass(frozen=True)
class TotalRule(NearestRule):
    """The entries sum to ``total``."""

    total: float = 0.0
    terms = frozenset({"equations", "convex sets", "symmetric sets"})

    def excess(self, row):
        return abs(sum(row) - Fraction(self.total))

    def nearest_point(self, row):
        over = (sum(row) - Fraction(self.total)) / len(row)
        return [x - over for x in row]


@dataclass(frozen=True)
class BallRule(NearestRule):
    """The magnitudes sum to ``radius`` at most."""

    radius: float = 1.0
    terms = frozenset({"convex sets", "sets with an interior", "solid sets", "symmetric sets"})
    terms |= {"even sets", "sets that keep signs"}

    def excess(self, row):
        return sum(map(abs, row)) - Fraction(self.radius)

    def nearest_point(self, row):
        if self.excess(row) <= 0:
            return row
        sums = accumulate(sorted(map(abs, row), reverse=True))
        least = max((total - Fraction(self.radius)) / k for k, total in enumerate(sums, 1))
        return [max(abs(x) - least, 0) * (1 if x > 0 else -1) for x in row]


TOTAL = Definition("Sum", {"total": 1.0, "axis": 0}, ({},), TotalRule.of)
BALL = Definition("Ball", {"radius": 1.0, "axis": 0}, ({},), BallRule.of)
NEVER = Requirement("OWN-1", "SHOULD", "map", "Never met", "Not once.", "Ball")


def never(seen) -> int:
    seen.fail(0, "never", "nothing")


def slices(*rows: list[float]) -> Slices:
    return Slices(np.asarray(rows, dtype=np.float64), (1,))


class TestARuleOfNearestPoints:
    rows = st.lists(st.floats(-4, 4), min_size=1, max_size=5)

    @given(row=rows)
    def test_has_the_nearest_points_and_violations_of_those_of_the_catalogue(self, row):
        for own, known in (
            (TOTAL.with_arguments({"total": 0.25}), CATALOGUE["Sum"]),
            (BALL.with_arguments({}), CATALOGUE["L1Ball"]),
        ):
            given = {k: v for k, v in own.arguments.items() if k != "axis"}
            theirs, found = known.with_arguments(given), slices(row)
            assert floats(own.nearest(found, 0)) == pytest.approx(
                floats(theirs.nearest(found, 0)), rel=1e-15, abs=1e-60
            )
            assert own.distance(found, 0) == theirs.distance(found, 0)

    def test_demands_no_more_than_roundoff_leaves(self):
        """A result that is rounded is right, one that is off by ten tolerances is not."""
        fmt, rule = FORMATS["float32"], BALL.with_arguments({})
        w = slices([3.0, -1.0, 0.5])
        right = np.asarray(floats(rule.nearest(w, 0))).astype(np.float32)
        wrong = right * (1 + 10 * float(fmt.tolerance(3)))
        for result, allowed in ((right, True), (wrong, False)):
            after = slices(result.tolist())
            assert rule.allowed(w, after, fmt, Fraction(0))[0] == allowed
            distance, size = rule.apart(w, after, 0)
            assert (distance <= rule.near(w, 0, fmt, size)) == allowed

    def test_keeps_what_is_inside_by_more_than_that(self):
        fmt, rule = FORMATS["float32"], BALL.with_arguments({})
        inside = slices([0.5, -0.25], [0.5, -0.5], [1.0, 1.0], [np.nan, 0.0])
        assert rule.interior(inside, fmt, Fraction(0)).tolist() == [True, False, False, False]
        assert rule.satisfies(inside).tolist() == [True, True, False, False]
        equation = TOTAL.with_arguments({})
        assert not equation.interior(slices([1.0, -1.0]), fmt, Fraction(0)).any()

    def test_has_no_excess_without_entries(self):
        assert BALL.with_arguments({}).over(slices([]), 0) == 0

    @pytest.mark.parametrize(
        ("made", "definition"),
        [(ac.Sum(1.0), TOTAL), (ac.L1Ball(0.7), BALL)],
        ids=lambda x: type(x).__name__,
    )
    def test_is_met_by_what_is_right(self, made, definition):
        report = check_constraint(
            made, definition=definition, profile="quick", dtypes=["float16", "float64"]
        )
        assert report.met, str(report)
        outcomes = {result.outcome for result in report.results}
        assert outcomes == {"met", "not applicable", "not provided"}

    @pytest.mark.parametrize(
        "fault",
        [f for f in FAULTS if f.constraints == ("Sum",)],
        ids=str,
    )
    def test_finds_the_faults_that_are_found_by_the_catalogue(self, fault):
        made = fault.module().Sum(0.0 if fault.breaks == "NUM-14" else 1.0)
        found = check_constraint(made, definition=TOTAL, only=[fault.breaks], profile="quick")
        assert found.outcome(fault.breaks) == "not met"


class TestADefinition:
    def judged(self, definition=BALL, made=None, **options):
        given = {"definition": definition, "profile": "quick", "dtypes": "float32"}
        return check_constraint(made or ac.L1Ball(0.7), **given | options)

    def test_may_add_a_requirement(self):
        report = self.judged(replace(BALL, requirements={NEVER: never}), only=["OWN-1"])
        (failure,) = report.failures
        assert failure.requirement is NEVER
        assert failure.counterexample.message == "never"
        assert report.record["requirements"][0]["law"] == "Not once."
        assert report.reproduce(failure).startswith(
            "check_constraint(..., definition=..., only=['OWN-1'], xp='numpy'"
        )

    def test_gives_its_checks_to_pytest(self):
        own = replace(BALL, requirements={NEVER: never})
        options = {"only": ["OWN-1"], "profile": "quick", "dtypes": "float32"}
        mark = parametrize_with_checks(ac.L1Ball(0.7), definition=own, **options).mark
        (check,) = mark.args[1]
        assert repr(check) == "Ball-OWN-1-numpy"
        with pytest.raises(pytest.fail.Exception, match="OWN-1 Never met: not met, Ball"):
            check()

    def test_may_be_one_of_the_catalogue_for_a_class_of_another_name(self):
        class Capped(ac.Constraint):
            def __init__(self, max_value=2, axis=0):
                self.max_value, self.axis = max_value, axis

            def __call__(self, w):
                return ac.MaxNorm(self.max_value, axis=self.axis)(w)

            def get_config(self):
                return {"max_value": self.max_value, "axis": self.axis}

        report = self.judged(CATALOGUE["MaxNorm"], Capped(0.7), only=["SET-3", "NUM-6"])
        assert [result.outcome for result in report.results] == ["met", "met"]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"made": ac.MaxNorm(1.0)}, "has a parameter 'radius', which MaxNorm does not"),
            ({"made": lambda w: w}, "has a parameter 'radius', which function does not"),
            ({"contains": lambda w, slack: True}, "contains= and definition= exclude each"),
            ({"made": ModuleType("mine")}, "a module has its definitions in"),
            ({"only": "OWN-2"}, "there is no requirement 'OWN-2': did you mean OWN-1"),
        ],
        ids=["another class", "a function", "and contains", "of a module", "no such law"],
    )
    def test_that_does_not_fit_is_a_value_error(self, options, message):
        own = replace(BALL, requirements={NEVER: never})
        with pytest.raises(ValueError, match=message):
            self.judged(own, **options)

    @pytest.mark.parametrize(
        ("requirement", "message"),
        [
            ({"id": "SET-1"}, "Ball: SET-1 is a requirement of the specification"),
            ({"level": "MAY"}, "OWN-1: unknown level or scope: MAY, map"),
        ],
    )
    def test_has_requirements_that_the_specification_can_hold(self, requirement, message):
        with pytest.raises(ValueError, match=message):
            replace(BALL, requirements={replace(NEVER, **requirement): never})


MODULE = """
import array_constraints as ac
from test_own_definitions import BALL, NEVER, never, replace

class Ball:
    def __init__(self, radius=1.0, axis=0):
        self.radius, self.axis = radius, axis

    def __call__(self, w):
        return ac.L1Ball(self.radius, axis=self.axis)(w)

CONFORMANCE_DEFINITIONS = (replace(BALL, requirements={NEVER: never}),)
"""


class TestAModule:
    @pytest.fixture
    def judged(self, tmp_path, monkeypatch, capsys):
        def run(text: str, *words: str) -> tuple[int, str]:
            (tmp_path / "balls.py").write_text(text)
            monkeypatch.syspath_prepend(tmp_path)
            command = ["--constraints", "balls", "--quick", "--dtype", "float32", *words]
            status = main([*command, "--report", str(tmp_path / "report")])
            shown = capsys.readouterr()
            return status, " ".join((shown.out + shown.err).split())

        return run

    def test_is_judged_by_its_definitions_on_the_command_line(self, judged):
        status, shown = judged(MODULE, "--only", "OWN-1", "--only", "SET-3", "--all")
        assert status == 1
        assert "SET-3 The result is the nearest point ✓ met" in shown
        assert "OWN-1 Never met: not met, Ball on numpy" in shown
        assert "MaxNorm" not in shown
        status, shown = judged(MODULE, "--constraint", "Ball", "--only", "SET-3")
        assert (status, "balls: met (1 requirement)" in shown) == (0, True)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("Ball = ac.MaxNorm", "a parameter 'radius', which MaxNorm does not take"),
            ("del Ball", "balls defines Ball, and has none"),
            (
                "CONFORMANCE_DEFINITIONS = (replace(BALL, name='NonNeg'),)",
                "NonNeg is defined by the suite, not by balls",
            ),
        ],
    )
    def test_with_a_definition_that_does_not_fit_is_a_wrong_call(self, judged, line, message):
        status, shown = judged(f"{MODULE}\n{line}\n", "--only", "SET-3")
        assert (status, message in shown) == (2, True)

    def test_is_compared_with_another_by_its_definitions(self, judged, tmp_path, capsys):
        (tmp_path / "others.py").write_text(MODULE)
        (tmp_path / "balls.py").write_text(MODULE)
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(tmp_path)
            words = ["--constraints", "balls", "--against", "others", "--dtype", "float32"]
            assert main([*words, "--quick"]) == 0
        assert "largest difference: 0 u" in capsys.readouterr().out
