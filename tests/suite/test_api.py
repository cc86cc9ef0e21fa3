"""The suite in code: one call that judges a constraint, and cases for pytest."""

from __future__ import annotations

import math
import subprocess
import sys
import types
from collections import Counter
from functools import partial
from xml.etree import ElementTree

import numpy as np
import pytest
from array_constraints_conformance import check_constraint, parametrize_with_checks
from array_constraints_conformance.api import plan_of
from array_constraints_conformance.report.outcomes import ORDER
from array_constraints_conformance.trial.subject import module_subject, single
from faults.making import implementation

import array_constraints as ac

Names = types.SimpleNamespace
DTYPES = ["float16", "float32", "float64"]  # NumPy clips bfloat16 to float32


def inside(w, slack):
    return bool((np.abs(w) <= 1 + slack).all())


def clip(w):
    return w.clip(-1, 1)


def outcomes(report) -> Counter:
    return Counter(result.outcome for result in report.results)


class TestACustomConstraint:
    def test_is_judged_with_its_membership_test(self):
        report = check_constraint(
            clip, contains=inside, convex=True, profile="quick", scope="map", dtypes=DTYPES
        )
        assert report.met
        assert not outcomes(report)["untested"]
        assert "clip: met" in str(report)
        for requirement in ("SET-1", "SET-2", "SET-4", "SET-5", "SET-6", "SET-7", "ARR-2"):
            assert report.outcome(requirement) == "met"
        assert report.outcome("SET-3") == "not applicable"

    def test_that_misses_its_set_is_not_met_with_a_counterexample(self):
        report = check_constraint(lambda w: w.clip(-2, 2), contains=inside, profile="quick")
        assert not report.met
        assert report.outcome("SET-1") == "not met"
        (failure,) = [r for r in report.failures if r.requirement.id == "SET-1"]
        assert failure.counterexample.expected == "an allowed value"
        again = (
            "check_constraint(..., contains=..., only=['SET-1'], xp='numpy', profile='quick')"
        )
        assert again in str(report)
        assert "; contains= is given whole weights: pass axis= for slices, and nearest" in str(
            report
        )

    def test_that_always_raises_the_same_is_said_to(self):
        def broken(w):
            raise RuntimeError("at least 2 dimensions")

        report = check_constraint(broken, contains=inside, profile="quick")
        count = len(report.failures)
        assert count > 5
        assert f"see all {count} counterexamples, {count} with this exception: " in str(report)

    def test_is_judged_again_by_the_arguments_it_was_given(self):
        def small(w):
            return w.clip(-2, 2)

        given = {"axis": 0, "convex": True, "idempotent": False}
        report = check_constraint(small, contains=inside, profile="quick", **given)
        again = (
            "check_constraint(small, contains=..., axis=0, convex=True, idempotent=False, only="
        )
        assert again in str(report)
        assert "any callable is judged as a map\n" in str(report)
        called = check_constraint(partial(small), contains=inside, profile="quick")
        assert "check_constraint(..., contains=..., only=" in str(called)  # it has no name

    def test_that_moves_members_is_not_met(self):
        report = check_constraint(lambda w: w.clip(-0.5, 0.5), contains=inside, profile="quick")
        assert report.outcome("SET-2") == "not met"

    def test_that_moves_again_is_not_met_unless_it_claims_no_idempotence(self):
        def halve(w):
            return w / 2

        def anything(w, slack):
            return slack >= 0

        options = {"contains": anything, "profile": "quick", "only": ["SET-6"]}
        assert check_constraint(halve, **options).outcome("SET-6") == "not met"
        found = check_constraint(halve, idempotent=False, **options)
        assert found.outcome("SET-6") == "not applicable"

    def test_that_is_not_convex_is_caught_if_it_claims_to_be(self):
        def away(w):  # onto the outside of (-1, 1)
            return np.where(np.abs(w) < 1, np.where(w < 0, -1, 1).astype(w.dtype), w)

        def outside(w, slack):
            return bool((np.abs(w) >= 1 - slack).all())

        options = {"contains": outside, "profile": "quick", "only": ["SET-4", "SET-5"]}
        report = check_constraint(away, convex=True, **options)
        assert [r.outcome for r in report.results] == ["not met", "not met"]
        assert check_constraint(away, **options).met

    def test_may_work_on_slices(self):
        def unit_sum(w):
            return w - (w.sum(axis=0, keepdims=True) - 1) / w.shape[0]

        def sums_to_one(w, slack):
            return abs(w.sum() - 1) <= max(slack, 0) * (1 + np.abs(w).sum())

        report = check_constraint(
            unit_sum, contains=sums_to_one, axis=0, profile="quick", only=["ARR-1", "SET-6"]
        )
        assert report.outcome("ARR-1") == "met"

    @pytest.mark.parametrize("axis", [None, 2, -1, (0, 1), (-1, -3), [1]], ids=str)
    def test_may_have_slices_along_any_axis(self, axis):
        def in_ball(w, slack):
            return bool(np.linalg.norm(w) <= 1 + slack)

        report = check_constraint(
            ac.MaxNorm(1.0, axis=axis),
            contains=in_ball,
            axis=axis,
            convex=True,
            profile="quick",
            scope="map",
            dtypes="float64",
        )
        assert report.met, str(report)
        assert not outcomes(report)["untested"]

    def test_may_bring_a_weight_near_zero(self):
        def centred(w):
            return w - w.mean()

        def mean_is_zero(w, slack):
            return bool(abs(w.mean()) <= max(slack, 0) * (1 + np.abs(w).max()))

        options = {"profile": "quick", "dtypes": "float64", "only": ["SET-6", "SET-7"]}
        assert check_constraint(centred, contains=mean_is_zero, **options).met

    @pytest.mark.parametrize(
        ("contains", "message"),
        [
            (lambda w, slack: 1 / 0, "contains= raised ZeroDivisionError: .* slack"),
            (lambda w: True, "contains= raised TypeError"),
            (lambda w, slack: None, "is to return True or False, not None"),
            (lambda w, slack: w <= 1, "is to return True or False, not array"),
        ],
    )
    def test_a_membership_test_that_cannot_be_used_is_the_callers_error(
        self, contains, message
    ):
        with pytest.raises(ValueError, match=message):
            check_constraint(clip, contains=contains, profile="quick", only="SET-1")

    def test_that_crashes_is_not_met_and_does_not_crash_the_suite(self):
        class Panic(BaseException):
            """An error like those that compiled extensions raise."""

        class UnprintableError(Exception):
            def __str__(self):
                raise ValueError

        errors = (ZeroDivisionError("division"), SystemExit(3), MemoryError())
        for error in (*errors, GeneratorExit(), Panic("panic"), UnprintableError()):

            def crash(w, error=error):
                raise error

            report = check_constraint(crash, contains=inside, profile="quick", only=["SET-1"])
            assert report.outcome("SET-1") == "not met"
            assert f"raised {type(error).__name__}" in str(report)

    def test_that_returns_no_array_is_not_met(self):
        report = check_constraint(lambda w: None, contains=inside, profile="quick", scope="map")
        assert outcomes(report)["met"] <= 1  # the input is untouched

    def test_without_the_rest_of_the_api_lacks_it_but_breaks_nothing(self):
        report = check_constraint(
            clip, contains=inside, profile="quick", scope="this API", dtypes=DTYPES
        )
        assert set(outcomes(report)) <= {"not provided", "not applicable", "met"}

    def test_without_a_violation_lacks_it_also_where_its_call_raises(self):
        def crash(w):
            raise ZeroDivisionError

        report = check_constraint(crash, contains=inside, profile="quick", scope="this API")
        assert report.outcome("VIO-3") == "not provided"

    def test_shows_a_slice_as_one_of_its_weight_and_another_dtype_of_the_result(self):
        report = check_constraint(
            lambda w: (w * 2).astype("float64"),
            contains=inside,
            axis=0,
            profile="quick",
            dtypes=["float32"],
            only=["SET-2"],
        )
        (failure,) = report.failures
        assert "  # one slice of a weight of shape (" in failure.counterexample.input
        assert failure.counterexample.got.endswith("  # float64")

    def test_a_law_that_nothing_put_to_the_test_is_untested(self):
        def nothing(w, slack):
            return slack >= 0

        report = check_constraint(clip, contains=nothing, profile="quick", only=["SET-2"])
        assert report.outcome("SET-2") == "untested"
        assert report.met  # it is no counterexample, but it is said
        assert report.record["verdicts"][0]["outcome"] == "untested"


class TestAKnownConstraint:
    def test_is_judged_by_its_own_parameters(self):
        report = check_constraint(ac.MaxNorm(3.0, axis=1), profile="quick")
        assert report.met, str(report)
        assert outcomes(report)["met"] > 40
        assert "untested" not in outcomes(report)
        (result,) = [r for r in report.results if r.requirement.id == "SET-1"]
        assert report.reproduce(result).startswith("check_constraint(..., only=['SET-1']")

    @pytest.mark.parametrize(
        "constraint",
        [
            ac.MaxNorm(math.inf),
            ac.MaxNorm(0),
            ac.MaxNorm(1e5),
            ac.MaxNorm(1e-6),
            ac.MinMaxNorm(0.5, math.inf),
            ac.MinMaxNorm(0.5, 1.5, rate=0.9),
            ac.MinMaxNorm(0.0, 1.0, rate=0.0),
        ],
        ids=repr,
    )
    def test_is_met_with_any_parameters(self, constraint):
        """Also where no law applies in some dtype: 1e5 is no float16."""
        report = check_constraint(constraint, profile="quick")
        assert report.met, str(report)

    @pytest.mark.parametrize(
        ("constraint", "message"),
        [
            (ac.MaxNorm, "MaxNorm is a class: pass an instance"),
            (type("MaxNorm", (), {})(), r"get_config\(\) does not give .*AttributeError"),
            (
                type("MaxNorm", (), {"get_config": lambda self: {"max_value": None}})(),
                r"get_config\(\) does not give .*TypeError",
            ),
        ],
    )
    def test_needs_parameters_that_can_be_read(self, constraint, message):
        with pytest.raises(ValueError, match=message):
            check_constraint(constraint)

    def test_has_a_short_repr_and_a_table_for_notebooks(self):
        def doubled(w):
            return w * 2

        options = {"profile": "quick", "dtypes": "float32", "only": ["SET-1", "SET-2", "ARR-1"]}
        report = check_constraint(doubled, contains=inside, **options)
        shown = "doubled: not met (2 of 3 requirements)"
        assert repr(report) == f"<Report: {shown}, on numpy>"
        table = ElementTree.fromstring(report._repr_html_())
        assert table.find("caption/strong").text == shown
        rows = ["".join(cell.text or "" for cell in row) for row in table.iter("tr")]
        assert rows == [
            "map✗ not met",
            "SET-1 The result is allowed✗ not metdoubled",
            "SET-2 Interior points do not move✗ not metdoubled",
        ]
        assert str(report).endswith(shown)
        assert report.text(every=True).count("reproduce:") == 2

    def test_an_unknown_one_needs_a_membership_test(self):
        with pytest.raises(ValueError, match=r"clip is none of MaxNorm, .*pass contains="):
            check_constraint(clip)

    def test_modules_and_namespaces_are_subjects_too(self):
        report = check_constraint(ac, profile="quick", only=["SET-1"])
        names = [r.constraint for r in report.results]
        assert names[:4] == ["MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"]
        assert {"Box", "Mask", "Sphere", "Mean", "Hyperplane"} < set(names)
        module = types.ModuleType("mine")
        module.NonNeg = ac.NonNeg
        found = check_constraint(module, profile="quick", only=["SET-1"])
        assert found.outcome("SET-1", "NonNeg") == "met"
        assert found.outcome("SET-1", "MaxNorm") == "not provided"
        with pytest.raises(ValueError, match="has none of MaxNorm"):
            check_constraint(types.ModuleType("empty"))


class TestTheScopesThatAreJudged:
    """Those that are offered, unless scopes are asked for."""

    def scopes(self, given, scope=None, only=()):
        named = isinstance(given, Names)
        subject = module_subject(given, "mine") if named else single(given, contains=inside)
        plan = plan_of(subject, "numpy", None, scope, only, "quick", 0, None, ())
        return {each.scope: each.reason for each in plan.choices if each.judged}, plan

    def test_are_the_map_alone_of_a_function(self):
        found, plan = self.scopes(clip)
        assert set(found) == {"map"}
        assert found["map"].startswith("any callable is judged as a map; contains= is given")
        assert [choice.reason for choice in plan.choices[1:]] == [
            "it has no get, serialize, deserialize or get_config",
            "it has no apply, violation or copy=",
        ]

    def test_are_two_of_what_keras_has(self):
        class NonNeg:
            def __call__(self, w):
                return w

            def get_config(self):
                return {}

        found, _ = self.scopes(Names(NonNeg=NonNeg, get=NonNeg))
        assert found["Keras API"] == "it has get and get_config"
        assert list(found) == ["map", "Keras API"]

    def test_are_all_of_what_has_more(self):
        found, _ = self.scopes(Names(**vars(ac)))
        keras = "it has get, serialize, deserialize and get_config"
        ours = "it has apply, violation and copy="
        assert (found["Keras API"], found["this API"]) == (keras, ours)

    def test_are_those_that_are_asked_for(self):
        found, _ = self.scopes(Names(NonNeg=clip), scope="this API")
        assert found == {"this API": "asked for"}
        found, _ = self.scopes(Names(NonNeg=clip), only="CALL-4")
        assert found == {"this API": "asked for"}

    def test_are_never_those_that_a_module_disclaims(self):
        module = Names(NonNeg=clip, CONFORMANCE_SCOPES=("map",))
        found, plan = self.scopes(module)
        assert found == {"map": "CONFORMANCE_SCOPES of the module names it"}
        assert plan.choices[2].reason == "CONFORMANCE_SCOPES of the module does not name it"
        with pytest.raises(ValueError, match="nothing is left to judge"):
            self.scopes(module, scope="this API")

    def test_are_found_also_where_looking_raises(self):
        class Hostile(type):
            def __getattr__(cls, name):
                raise RuntimeError(name)

        found, _ = self.scopes(Names(NonNeg=Hostile("NonNeg", (), {})))
        assert list(found) == ["map"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"xp": "nothing"}, "cannot be used"),
        ({"scope": "all"}, "'all' is none of: map, Keras API, this API"),
        ({"only": ["SET-99"]}, "there is no requirement 'SET-99': did you mean SET-9?"),
        ({"profile": "slow"}, "'slow' is none of: quick, default, thorough"),
        ({"gaps": "no_such_file"}, "cannot be read"),
        ({"seed": -1}, "a seed is not negative"),
        ({"device": "cuda:0"}, "on device 'cuda:0'"),
        ({"xp": []}, "nothing is left to judge"),
        ({"scope": []}, "nothing is left to judge"),
        ({"only": "SET-1", "scope": "this API"}, "nothing is left to judge"),
    ],
)
def test_a_wrong_call_is_a_value_error(options, message):
    with pytest.raises(ValueError, match=message):
        check_constraint(ac.NonNeg(), **options)


def test_several_libraries_are_judged_one_after_the_other():
    report = check_constraint(
        ac.NonNeg(), xp=["numpy", "array_api_strict"], only=["SET-1"], profile="quick"
    )
    assert [r.library for r in report.results] == ["numpy", "array_api_strict"]


def test_the_record_of_a_run_fits_its_schema(tmp_path):
    import json
    from importlib import resources

    import jsonschema

    report = check_constraint(lambda w: w.clip(-2, 2), contains=inside, profile="quick")
    files = {path.name: path for path in report.write(tmp_path)}
    assert set(files) == {"report.json", "report.md", "report.xml", "report.html"}
    record = json.loads(files["report.json"].read_text())
    schema = resources.files("array_constraints_conformance").joinpath(
        "report/record.schema.json"
    )
    jsonschema.validate(record, json.loads(schema.read_text()))
    assert {result["outcome"] for result in record["results"]} <= set(ORDER)


@parametrize_with_checks(ac.UnitNorm(), profile="quick", only=["SET-1", "NUM-9", "VIO-3"])
def test_pytest_runs_every_check_as_a_case(check):
    check()


PYTEST = """
import numpy as np
from array_constraints_conformance import parametrize_with_checks

def keep(w):
    return w.clip(-2, 2)

def inside(w, slack):
    return bool((np.abs(w) <= 1 + slack).all())

@parametrize_with_checks(keep, contains=inside, profile="quick", gaps=GAPS, dtypes=["float32"],
                         only=["SET-1", "SET-2", "SET-3", "ARR-2", "VIO-1"])
def test_conformance(check):
    check()
"""


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (None, {"failed": 1, "passed": 2, "skipped": 2}),
        ("SET-1", {"xfailed": 1, "passed": 2, "skipped": 2}),
    ],
)
def test_in_pytest_failures_fail_gaps_are_xfails_and_the_rest_is_skipped(
    tmp_path, gap, expected
):
    gaps = None
    if gap:
        gaps = str(tmp_path / "gaps.toml")
        (tmp_path / "gaps.toml").write_text(
            f'[[gap]]\nrequirement = "{gap}"\nreason = "known"\n'
        )
    (tmp_path / "test_it.py").write_text(PYTEST.replace("GAPS", repr(gaps)))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    for word, count in expected.items():
        assert f"{count} {word}" in run.stdout, run.stdout
    if not gap:
        assert "law: The norm of each finite" in run.stdout
        assert "keep-SET-1-numpy" in run.stdout


def test_in_pytest_a_gap_is_open_while_one_of_those_that_it_covers_shows_it(tmp_path):
    (tmp_path / "gaps.toml").write_text(
        '[[gap]]\nrequirement = "SET-2"\nconstraint = "M*"\nreason = "known"\n'
    )
    faulty = implementation(MaxNorm={"__call__": lambda self, w, copy=None: w * 0.999})
    faulty.CONFORMANCE_SCOPES = ("map",)
    subject = module_subject(faulty, "faulty")
    options = {"only": "SET-2", "dtypes": "float64", "gaps": str(tmp_path / "gaps.toml")}
    mark = parametrize_with_checks(subject, **options)
    cases = {repr(case): case for case in mark.args[1]}
    with pytest.raises(pytest.xfail.Exception, match="known"):
        cases["MaxNorm-SET-2-numpy"]()
    cases["MinMaxNorm-SET-2-numpy"]()  # met there, and shown by MaxNorm


def test_an_unknown_option_is_a_type_error():
    with pytest.raises(TypeError, match="parametrize_with_checks takes no quick="):
        parametrize_with_checks(ac.NonNeg(), quick=True)


def test_two_seeds_give_the_same_verdict_on_a_fault_and_on_the_right_one():
    faulty = implementation(MaxNorm={"__call__": lambda self, w, copy=None: w * 0.999})
    for module, expected in ((ac, "met"), (faulty, "not met")):
        module.__dict__.setdefault("__name__", "faulty")
        for seed in (1, 2):
            report = check_constraint(
                module_subject(module), seed=seed, only=["SET-2"], profile="quick"
            )
            assert report.outcome("SET-2", "MaxNorm") == expected
