"""The command line: exit statuses, reports, known gaps, and lines that reproduce."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import sys

import pytest
from array_constraints_conformance.catalogue import CATALOGUE
from array_constraints_conformance.cli import main
from array_constraints_conformance.known_gaps import Gap
from array_constraints_conformance.libraries import library
from array_constraints_conformance.numerics.formats import FORMATS
from array_constraints_conformance.runner import Plan, run
from array_constraints_conformance.weights import golden
from faults.all import FAULTS

import array_constraints as ac

OURS = ["--constraints", "array_constraints", "--quick"]
KERAS = ["--constraints", "keras.constraints", "--quick"]


def test_what_is_met_exits_0(capsys):
    assert main([*OURS, "--only", "SET-2", "--only", "ERR-1"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("\n\narray_constraints: met (2 requirements)\n")
    assert main([*OURS, "--only", "SET-2", "--all"]) == 0
    assert "Interior points do not move" in capsys.readouterr().out


def test_what_is_not_met_exits_1_with_a_line_that_reproduces_it(capsys, tmp_path):
    arguments = [
        *KERAS,
        "--only",
        "SET-2",
        "--constraint",
        "MaxNorm",
        "--report",
        str(tmp_path),
    ]
    assert main(arguments) == 1
    said = capsys.readouterr().out
    assert "a slice that is allowed was changed" in said
    record = json.loads((tmp_path / "report.json").read_text())
    (result,) = record["results"]
    words = shlex.split(result["counterexample"]["reproduce"])
    assert main(words[words.index("array_constraints_conformance") + 1 :]) == 1
    again = capsys.readouterr().out
    for part in result["counterexample"]["input"].split("  # "):
        assert part in again


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--constraints MODULE is needed"),
        (["--constraints", "no.such.module"], "cannot be imported"),
        (["--constraints", "json"], "json has none of MaxNorm"),
        ([*OURS, "--xp", "nothing"], "cannot be used"),
        ([*OURS, "--only", "SET-99"], "no requirement 'SET-99'"),
        ([*OURS, "--only", "set-2"], "no requirement 'set-2': did you mean SET-2?"),
        ([*OURS, "--constraint", "Max"], "no constraint 'Max': did you mean MaxNorm?"),
        ([*OURS, "--only", "CFG-5", "--constraint", "NonNeg"], "nothing is left to judge"),
        ([*OURS, "--known-gaps", "nothing.toml"], "cannot be read"),
        ([*OURS, "--xp", "jax.numpy", "--dtype", "float64"], "jax.numpy has none of float64"),
        ([*OURS, "--device", "moon", "--xp", "torch"], "on device 'moon'"),
        ([*OURS, "--device", "cuda:0"], "on device 'cuda:0'"),
        ([*OURS, "--device", "cuda:0", "--xp", "dask.array"], "no device to choose"),
        ([*OURS, "--seed", "-1"], "a seed is not negative"),
        (["--constraints", ".relative"], "cannot be imported: TypeError"),
        ([*OURS, "--only", "SET-2", "--report", __file__], "File exists"),
        (["--golden", "/no/such/folder/golden.json"], "No such file"),
        ([*OURS, "--against", "no.such"], "--against 'no.such' cannot be imported"),
        ([*OURS, "--against", "json"], "json has none of MaxNorm"),
        ([*OURS, "--against", "array_constraints", "--only", "SET-2"], "takes no --only"),
        (
            [*OURS, "--against", "array_constraints", "--constraint", "module"],
            "constraints are compared",
        ),
    ],
)
def test_a_wrong_call_exits_2_and_says_what_is_wrong(capsys, arguments, message):
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert len(said.err.splitlines()) == 1
    assert not said.out


@pytest.mark.parametrize("options", [["--quick", "--thorough"], ["--matrix", "--xp", "numpy"]])
def test_a_wrong_option_exits_2(capsys, options):
    with pytest.raises(SystemExit, match="2"):
        main(options)
    said = capsys.readouterr().err
    assert "not allowed with" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon", ""])
def test_a_limit_is_a_number_of_seconds(capsys, text):
    with pytest.raises(SystemExit, match="2"):
        main(["--constraints", "array_constraints", "--timeout", text])
    assert "argument --timeout: invalid" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("1 / 0", "ZeroDivisionError"),
        ("def", "SyntaxError"),
        ("def __getattr__(name): raise ValueError(name)", "has none of MaxNorm"),
    ],
)
def test_a_module_that_cannot_be_imported_exits_2(capsys, monkeypatch, tmp_path, text, message):
    (tmp_path / "hostile.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "hostile", raising=False)
    assert main(["--constraints", "hostile"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


RUDE = r"""
def NonNeg():
    def call(w):
        raise ValueError("\udc80 [/bold] \x1b[31m")
    return call
"""


def test_what_an_implementation_says_cannot_break_the_report(capsys, monkeypatch, tmp_path):
    (tmp_path / "rude.py").write_text(RUDE)
    monkeypatch.syspath_prepend(tmp_path)
    arguments = [
        "--constraints",
        "rude",
        "--quick",
        "--only",
        "SET-1",
        "--constraint",
        "NonNeg",
    ]
    assert main(arguments) == 1
    assert r"ValueError: \udc80 [/bold] \x1b[31m" in capsys.readouterr().out


def test_a_library_is_judged_once(capsys):
    arguments = [*OURS, "--only", "SET-2", "--constraint", "NonNeg"]
    assert main([*arguments, "--xp", "numpy", "--xp", "numpy"]) == 0
    assert re.search(r"\n  map +✓ met +1 met;", capsys.readouterr().out)


def test_libraries_are_judged_in_processes_of_their_own(capsys):
    arguments = [*OURS, "--only", "ERR-1", "--xp", "numpy", "--xp", "array_api_strict"]
    assert main([*arguments, "--processes", "2"]) == 0
    apart = capsys.readouterr().out
    assert main(arguments) == 0
    assert capsys.readouterr().out == apart
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, "--processes", "0"])
    assert "argument --processes: invalid" in capsys.readouterr().err


def test_where_nothing_is_provided_the_verdict_is_untested(capsys, monkeypatch, tmp_path):
    (tmp_path / "little.py").write_text("MaxNorm = max")
    monkeypatch.syspath_prepend(tmp_path)
    arguments = ["--constraints", "little", "--only", "SET-1", "--constraint", "NonNeg"]
    assert main(arguments) == 0
    assert "little: untested" in capsys.readouterr().out


class TestKnownGaps:
    @pytest.fixture
    def gaps(self, tmp_path):
        def write(text):
            (tmp_path / "gaps.toml").write_text(text)
            return ["--known-gaps", str(tmp_path / "gaps.toml")]

        return write

    def test_a_gap_that_is_listed_is_no_failure(self, gaps, capsys):
        listed = gaps('[[gap]]\nrequirement = "SET-2"\nconstraint = "M*"\nreason = "epsilon"\n')
        only = ["--only", "SET-2", "--constraint", "MaxNorm"]
        assert main([*KERAS, *only, *listed]) == 0
        assert "known gap" in capsys.readouterr().out

    def test_a_gap_that_closed_exits_1(self, gaps, capsys):
        listed = gaps('[[gap]]\nrequirement = "ERR-1"\nreason = "old"\n')
        arguments = ["--constraints", "array_constraints", "--only", "ERR-1", *listed]
        assert main(arguments) == 1
        assert "gap closed" in capsys.readouterr().out
        assert main([*arguments, "--quick"]) == 0  # which may not have drawn what shows it

    def test_a_gap_is_open_while_one_of_those_that_it_covers_shows_it(self):
        (fault,) = (fault for fault in FAULTS if fault.summary == "NaN is a TypeError")
        gaps = [Gap("ERR-1", "a fault")]
        plan = Plan(fault.subject(), [library("numpy")], only=["ERR-1"], gaps=gaps)
        outcomes = {result.constraint: result for result in run(plan)}
        assert outcomes["MaxNorm"].outcome == "known gap"
        assert outcomes["MinMaxNorm"].outcome == "met"
        assert outcomes["MinMaxNorm"].reason == "a known gap, which MaxNorm on numpy shows"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[[gap]]\nrequirement = 'SET-99'\nreason = 'x'", "there is no requirement SET-99"),
            ("[[gap]]\nrequirement = 'SET-1'\nreason = ' '", "SET-1 has no reason"),
            ("[[gap]]\nrequirement = 'SET-1'", "reason"),
            ("[[gap]]\nrequirement = 'SET-1'\nreason = 'x'\nwhy = 'y'", "why"),
            ("[[gap]", "cannot be read"),
            ("[[gap]]\nrequirement = 'SET-1'\nreason = 3", "every value is a string"),
            ("gap = 3", "each entry begins with"),
            ("gap = [3]", "must be a mapping"),
            (
                "[[gap]]\nrequirement = 'SET-2'\nreason = 'x'\nconstraint = 'Max'",
                "is for 'Max', which there is not",
            ),
        ],
    )
    def test_a_bad_file_exits_2(self, gaps, capsys, text, message):
        assert main([*OURS, "--only", "SET-2", *gaps(text)]) == 2
        assert message in capsys.readouterr().err


def test_two_implementations_side_by_side(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")  # lines are not cut
    arguments = [
        *OURS,
        "--against",
        "keras.constraints",
        "--constraint",
        "NonNeg",
        "--constraint",
        "MaxNorm",
    ]
    assert main(arguments) == 0
    title, *parts = capsys.readouterr().out.split("\n\n")
    assert title == "array_constraints against keras.constraints"
    found = {tuple(part.splitlines()[0].split(", ")): part for part in parts}
    assert len(found) == 2 * len(FORMATS)
    assert "largest difference: 0 u" in found["NonNeg", "numpy", "float32"]
    max_norm = found["MaxNorm", "numpy", "float32"]
    largest, apart = max_norm.split("  NaN or infinity in one alone:\n")  # Keras overflows
    assert re.search(r"largest difference: [\d.e+]+ u\n    constraint: MaxNorm", largest)
    for shown in (largest, apart):
        assert re.search(r"\n?    input: \[.+\]\n    array_constraints: \[.+\]", shown)
        assert re.search(r"\n    keras.constraints: \[.+\]", shown)


def test_the_requirements_are_listed(capsys):
    assert main(["--list"]) == 0
    assert "SET-1" in capsys.readouterr().out


def _of_this_library(vector):
    made = getattr(ac, vector["constraint"], None)
    return (
        made is not None
        and vector["config"].keys() <= inspect.signature(made).parameters.keys()
    )


class TestGoldenVectors:
    @pytest.fixture
    def vectors(self, tmp_path):
        assert main(["--golden", str(tmp_path / "golden.json")]) == 0
        text = (tmp_path / "golden.json").read_text()
        return json.loads(text, parse_constant=pytest.fail)["vectors"]  # NaN is no JSON

    def test_they_hold_every_constraint_in_every_format(self, vectors):
        found = {(v["constraint"], v["dtype"]) for v in vectors}
        assert len(found) == len(CATALOGUE) * len(FORMATS)

    def test_this_library_agrees_with_them(self, vectors):
        import numpy as np

        for vector in filter(_of_this_library, vectors):
            fmt = FORMATS[vector["dtype"]]
            w, expected = (golden.entries(vector[key], fmt) for key in ("input", "result"))
            assert golden.bits(w) == vector["input"]
            config = {"class_name": vector["constraint"], "config": vector["config"]}
            result = ac.deserialize(config)(w.reshape(vector["shape"])).ravel()
            a, b = result.astype(np.float64), expected.astype(np.float64)
            if not np.isfinite(b).all():
                np.testing.assert_array_equal(a, b)
                continue
            scale = np.max(np.abs(b), initial=0.0) or 1.0
            distance = np.linalg.norm(a / scale - b / scale)
            tiny = 2 * float(fmt.u) * fmt.smallest / scale
            limit = (vector["tolerance"] + float(fmt.u)) * np.linalg.norm(b / scale) + 2 * tiny
            assert distance <= limit, vector
