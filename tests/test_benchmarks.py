"""The benchmarks: what they compare, not how long it takes."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from benchmarks import contestants, gpu, measure, report, targets
from benchmarks.cases import CASES, Case
from benchmarks.interleaved import Contestant, Ratio, interleave, ratio

ROOT = Path(__file__).parents[1]


def test_contestants_take_turns_and_are_restored_before_each_call():
    events = []
    pair = [
        Contestant("a", lambda: events.append("a")),
        Contestant("b", lambda: events.append("b"), lambda: events.append("restore b")),
    ]
    seconds = interleave(pair, rounds=3)
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3}
    assert all(time > 0 for times in seconds.values() for time in times)
    for before, event in itertools.pairwise(events):
        assert event != "b" or before == "restore b"
    turns = [event for i, event in enumerate(events) if i == 0 or events[i - 1] != event]
    assert turns.count("a") >= 3


def test_a_ratio_is_the_median_of_those_of_each_round():
    seconds = {"a": [1.0, 2.0, 9.0, 4.0, 5.0], "b": [1.0, 1.0, 1.0, 1.0, 1.0]}
    assert ratio(seconds, "a", "b") == Ratio(4.0, 2.0, 5.0)
    assert ratio({"a": [3.0], "b": [2.0]}, "a", "b") == Ratio(1.5, 1.5, 1.5)


OF_SETS = """
import numpy as np
from benchmarks import sets

def values(call):
    return np.asarray(call())

cases = (((40, 6), 0, 1.0), ((40, 6), 1, 0.02), ((50,), 0, 1.0))
for group in (*sets.thresholds(cases), *sets.patterns((8, 8))):
    right = values(group.calls.pop(sets.REFERENCE))
    assert len(group.calls) == 3
    for call in group.calls.values():
        np.testing.assert_allclose(values(call), right, atol=1e-5)
order = {"order 1": 1, "order infinity": np.inf}
for axis, group in zip((0, 0, 0, 1, 1, 1), sets.rescalings((64, 64)), strict=True):
    assert len(group.calls) == 6
    for name, call in group.calls.items():
        norms = np.linalg.norm(values(call), order.get(name), axis)
        np.testing.assert_allclose(norms, 1 if "root" not in name else 8 / 64, rtol=1e-5)
"""


def test_sets_are_timed_beside_what_does_the_same():
    for name in ("jax", "optax", "torch"):
        pytest.importorskip(name)
    run = subprocess.run(
        [sys.executable, "-c", OF_SETS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


EACH = [
    Case((8, 8), 0),
    Case((8, 8), 0, constraint="UnitNorm"),
    Case((8, 8), 1, constraint="MinMaxNorm"),
    Case((8, 8), 0, constraint="NonNeg"),
    Case((8, 8), 1, "float16", "all"),
    Case((8, 8), 0, "bfloat16", "feasible"),
    Case((3, 3, 4, 5), (0, 1, 2), "float64"),
]


@pytest.mark.parametrize("library", contestants.LIBRARIES)
def test_all_contestants_do_what_they_are_timed_for(library):
    """Each library in a process of its own, as Keras has one backend in each."""
    pytest.importorskip(library)
    cases = EACH if library != "jax" else EACH[:4]  # its benchmarks are those of float32
    code = (
        "import json; from benchmarks import contestants, measure;"
        "from benchmarks.cases import Case;"
        f"make = contestants.LIBRARIES[{library!r}];"
        f"print(json.dumps([measure.errors(case, make(case)[1]) for case in {cases!r}]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=contestants.one_thread(library),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(run.stdout.splitlines()[-1])
    assert len(found) == len(cases)
    assert all({"ours", "Keras"} <= set(errors) for errors in found)


def test_a_wrong_result_is_not_timed():
    case = Case((8, 8), 0)
    with pytest.raises(ValueError, match="ours is off"):
        measure.errors(case, {"ours": case.weight})


def record():
    even = asdict(Ratio(0.5, 0.4, 0.6))
    peers = {"numpy": ("Keras", "bare expression", "copy"), "torch": report.PEERS["torch"]}
    rows = [
        {
            "library": library,
            "case": str(case),
            "contestant": name,
            "seconds": 1e-5,
            "ratios": dict.fromkeys(peers[library], even),
        }
        for library in peers
        for case in CASES
        for name in ("ours", "ours, in place", "Keras")
    ]
    rows += [rows[0] | {"case": "500 tensors of 64x64"}]
    rows += [rows[0] | {"case": "growth: 8x8 axis 0", "seconds per entry": 1e-9}]
    memory = [
        {"library": "numpy", "shape": (8, 8), "axis": 0, "call": "feasible", "peak": 0.01}
    ]
    environment = {"processor": "any", "python": "3", "packages": {"numpy": "2"}}
    found = {"environment": environment, "rounds": 1, "rows": rows, "memory": memory}
    return found | {"targets": targets.judged(rows)}


def test_targets_are_judged_by_the_median():
    found = record()["targets"]
    assert {t["library"] for t in found} == {"numpy", "torch"}
    assert {t["met"] for t in found if t["most"] < 0.5} == {False}
    assert {t["met"] for t in found if t["most"] >= 0.5} == {True}


def test_every_target_names_a_case_and_contestants_that_are_measured():
    cases = {str(case) for case in CASES} | {"500 tensors of 64x64"}
    for target in targets.TARGETS:
        assert set(target.cases) <= cases


def test_tables_and_picture_are_made_of_the_record(tmp_path, capsys):
    text = report.markdown(record())
    for title in ("On numpy", "On torch", "Memory", "Growth"):
        assert f"### {title}" in text
    assert "| 4096x4096 axis 0 | in place | 10 | 0.50 (0.40-0.60) |" in text
    assert "not met" not in text
    assert "**not met**" in report.targets_markdown(record())
    widths = {
        line.count("|") for line in text.split("### Memory")[1].splitlines() if "|" in line
    }
    assert 5 in widths
    report.show(record())
    assert "4096x4096" in capsys.readouterr().out
    report.draw(record(), tmp_path / "picture.svg")
    assert (tmp_path / "picture.svg").read_text().count("<svg") == 1


def test_the_expected_result_is_that_of_the_definition():
    case = Case((2, 1), 0)
    assert np.linalg.norm(measure.expected(case)) == pytest.approx(case.bound(case.weight()))


def test_what_is_added_to_a_step_of_pytorch_is_measured():
    torch_steps = pytest.importorskip("benchmarks.torch_steps")
    found = list(torch_steps.added(8, 1e-3, rounds=1, device="cpu"))
    assert len(found) == 3  # the bare step again, ours, and by hand
    assert all(share > -1 for share in found)


def test_calls_on_a_gpu_are_timed_beside_their_peers(monkeypatch):
    """Here on the CPU: ten calls in a row are one."""
    calls = []
    own = {"ours": lambda: calls.append("ours"), "copy": lambda: calls.append("copy")}
    monkeypatch.setattr(gpu, "CASES", [Case((8, 4), 0)])
    monkeypatch.setitem(gpu.WAYS, "here", (lambda case, device: own, lambda device: own))
    found = list(gpu.rows("here", "cpu", rounds=2))
    assert [(row["case"], row["contestant"]) for row in found] == [
        ("8x4 axis 0", "ours"), ("8x4 axis 0", "copy"),
        ("100 tensors of 64x64", "ours"), ("100 tensors of 64x64", "copy"),
    ]  # fmt: skip
    assert found[0]["of ours"] == [1, 1, 1]
    assert all(row["us"] > 0 for row in found)
    assert calls[:10] == ["ours"] * 10


def test_what_is_added_to_a_step_of_jax_is_printed():
    pytest.importorskip("optax")
    options = ["--rounds", "1", "--widths", "8"]
    command = [sys.executable, "-m", "benchmarks.jax_steps", *options]
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # compiles faster
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert run.returncode == 0, run.stderr
    assert [line.split("|")[2].strip() for line in run.stdout.splitlines()[2:]] == [
        "violating", "satisfied",
    ]  # fmt: skip
