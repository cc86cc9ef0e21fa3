"""No implementation is met by ending, delaying or deceiving the process that judges it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from array_constraints_conformance.cli import main

RIGHT = """
import atexit, os, signal, subprocess, sys, threading, time
import numpy as np

calls = 0

class NonNeg:
    def __call__(self, w):
        global calls
        calls += 1
        self.hostile(w)
        return np.where(w < 0, np.zeros((), w.dtype), w)

    def hostile(self, w):
        {}
"""
ONCE = "if calls == 3: "
ENDS = {
    "os._exit(0)": "the process ended with status 0",
    "os._exit(7)": "the process ended with status 7",
    "os.abort()": "the process was ended by signal 6 (SIGABRT)",
    "os.kill(os.getpid(), signal.SIGSEGV)": "signal 11 (SIGSEGV)",
    "os.kill(os.getpid(), signal.SIGKILL)": "signal 9 (SIGKILL)",
    "os.killpg(0, signal.SIGKILL)": "the process was ended by signal 9",
    "os.kill(os.getppid(), signal.SIGKILL); signal.pause()": (
        "what waits for the process was ended by signal 9"
    ),
    "os.kill(os.getppid(), signal.SIGTERM); signal.pause()": (
        "what waits for the process was ended by signal"
    ),
    "os.fork() and os._exit(0)": "the process ended with status 0",
    "os.closerange(0, 1000)": "the process ended with status 1",
    "import ctypes; ctypes.string_at(0)": "the process was ended by signal 11 (SIGSEGV)",
    "threading.Thread(target=os._exit, args=(0,)).start(); time.sleep(60)": "status 0",
}
QUICK = ["--quick", "--scope", "map", "--constraint", "NonNeg"]
FEW = [*QUICK, "--only", "ARR-1", "--only", "SET-3", "--only", "ARR-2"]


@pytest.fixture
def judged(tmp_path, monkeypatch, capfd):
    """Judge the text of a module; return the exit status, its record, and what was said."""

    def run(text, *options):
        name = f"hostile_{len(list(tmp_path.iterdir()))}"
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        folder = tmp_path / f"report_{name}"
        status = main(["--constraints", name, *(options or FEW), "--report", str(folder)])
        assert {path.name for path in folder.iterdir()} == {
            "report.html", "report.json", "report.md", "report.xml",
        }  # fmt: skip
        return status, json.loads((folder / "report.json").read_text()), capfd.readouterr()

    return run


def outcomes(record):
    return [result["outcome"] for result in record["results"]]


def messages(record):
    return [r["counterexample"]["message"] for r in record["results"] if r["counterexample"]]


def test_what_is_right_is_met(judged):
    status, record, _ = judged(RIGHT.format("pass"))
    assert status == 0
    assert outcomes(record) == ["met"] * 3
    assert record["timeout"] == 20


@pytest.mark.parametrize(("line", "message"), ENDS.items(), ids=list(ENDS))
def test_whatever_ends_the_process_is_not_met(judged, line, message):
    status, record, said = judged(RIGHT.format(ONCE + line))
    assert status == 1
    assert "not met" in outcomes(record)
    assert set(outcomes(record)) <= {"met", "not met"}
    assert message in messages(record)[0]
    assert message in said.out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise type('Mine', (KeyboardInterrupt,), {})", "Mine"),
        (
            "import array_constraints_conformance.counterexample as v; "
            "raise v.NotProvided('no')",
            "NotProvided: no",
        ),
    ],
)
def test_what_a_call_raises_is_not_met(judged, line, message):
    status, record, _ = judged(RIGHT.format(line))
    assert status == 1
    assert outcomes(record) == ["not met"] * 3
    assert all(f"raised {message}" in found for found in messages(record))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("os._exit(0)", "the process ended with status 0 while the module was imported"),
        ("os.abort()", "was ended by signal 6 (SIGABRT) while the module was imported"),
        ("while True: pass", "was stopped after 2 s while the module was imported"),
    ],
)
def test_what_ends_when_it_is_imported_is_not_met(judged, line, message):
    status, record, _ = judged(f"import os\n{line}", *FEW, "--timeout", "2")
    assert status == 1
    assert outcomes(record) == ["not met"] * 3
    assert all(message in found for found in messages(record))
    assert [library["name"] for library in record["libraries"]] == ["numpy"]


def test_requirements_that_do_not_apply_need_not_be_reached(judged):
    text = "import os\nos._exit(0)"
    _, record, _ = judged(text, *QUICK, "--only", "LAZY-1", "--only", "SET-3")
    assert sorted(outcomes(record)) == ["not applicable", "not met"]


@pytest.mark.parametrize(
    "line",
    [
        "time.sleep(3600)",
        "eval('[0 for _ in iter(int, 1)]')",
        "os.setsid(); time.sleep(3600)",
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "threading.Lock().__enter__.__self__.acquire(); signal.pause()",
    ],
)
def test_what_takes_for_ever_is_stopped(judged, tmp_path, line):
    noted = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); "
    text = RIGHT.format(f"if calls > 40: {noted}{line}")
    status, record, said = judged(text, *FEW, "--timeout", "3")
    assert status == 1
    assert record["timeout"] == 3
    assert "the process was stopped after 3 s" in messages(record)[0]
    assert "--timeout 3" in said.out  # of the line that reproduces it
    assert_gone(int((tmp_path / "pid").read_text()))


def assert_gone(process):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not alive(process):
            return
        time.sleep(0.05)
    raise AssertionError(f"process {process} is still there")


def alive(process):
    """Whether there is such a process, and not only its entry until somebody asks for it."""
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat")
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_what_was_judged_before_the_end_is_kept_and_other_constraints_are_judged(judged):
    text = RIGHT.format("type(self) is NonNeg and w.size == 0 and os._exit(0)")
    text += "\nclass UnitNorm(NonNeg):\n    def __init__(self, axis): pass\n"
    only = ["SET-12", "ARR-2", "ARR-7", "ARR-8", "NUM-3"]  # ARR-7 takes empty arrays
    options = [word for one in only for word in ("--only", one)]
    options += ["--constraint", "NonNeg", "--constraint", "UnitNorm"]
    _, record, _ = judged(text, "--quick", *options)
    found = [(r["constraint"], r["requirement"], r["outcome"]) for r in record["results"]]
    assert [one[1:] for one in found if one[0] == "NonNeg"] == [
        ("SET-12", "not applicable"),
        ("ARR-2", "met"),
        ("ARR-7", "not met"),
        ("ARR-8", "not met"),
        ("NUM-3", "not met"),
    ]
    assert messages(record)[:2] == [
        "the process ended with status 0",
        "not reached: at ARR-7 the process ended with status 0",
    ]
    assert ("UnitNorm", "ARR-2", "met") in found


def test_what_follows_the_end_is_not_reached(judged):
    _, record, _ = judged(RIGHT.format("os._exit(0)"))
    first, *others = messages(record)
    assert first == "the process ended with status 0"
    assert others == ["not reached: at SET-3 the process ended with status 0"] * 2


def test_a_known_gap_does_not_cover_the_end_of_the_process(judged, tmp_path):
    gap = '[[gap]]\nrequirement = "{}"\nreason = "no"\n'
    (tmp_path / "gaps.toml").write_text("".join(map(gap.format, ("SET-3", "ARR-1", "ARR-2"))))
    options = [*FEW, "--known-gaps", str(tmp_path / "gaps.toml")]
    status, record, _ = judged(RIGHT.format("os._exit(0)"), *options)
    assert status == 1
    assert outcomes(record) == ["not met"] * 3


@pytest.mark.parametrize(
    "line",
    [
        "threading.Thread(target=time.sleep, args=(3600,)).start()",
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)'])",
        "os.fork()",
        "os.fork() or time.sleep(3600)",
        "atexit.register(os._exit, 0)",
        "atexit.register(time.sleep, 3600)",
        "os.chdir('..')",
        "print('numpy: met'); os.write(1, b'all is met')",
        "sys.stdout.close(); os.close(1); os.close(2)",
        "sys.stdin.read()",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "os.environ.clear()",
    ],
)
def test_what_is_left_behind_changes_no_verdict_and_keeps_nothing_waiting(
    judged, tmp_path, monkeypatch, line
):
    monkeypatch.chdir(tmp_path)
    status, record, said = judged(RIGHT.format(ONCE + line))
    assert status == 0
    assert outcomes(record) == ["met"] * 3
    assert "all is met" not in said.out
    assert "numpy: met" not in said.out


def test_the_report_lies_where_it_was_asked_for(tmp_path, monkeypatch):
    (tmp_path / "moves.py").write_text(RIGHT.format("os.chdir('/')"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["--constraints", "moves", *FEW, "--report", "here"]) == 0
    assert (tmp_path / "here" / "report.html").is_file()


def test_libraries_side_by_side_end_each_for_itself(judged):
    text = RIGHT.format("'array_api_strict' in type(w).__module__ and os._exit(0)")
    libraries = ["--xp", "numpy", "--xp", "array_api_strict", "--processes", "2"]
    status, record, _ = judged(text, *FEW, *libraries)
    assert status == 1
    assert outcomes(record)[:3] == ["met"] * 3
    assert outcomes(record)[3:] == ["not met"] * 3


def test_a_comparison_that_ends_early_exits_1(tmp_path, monkeypatch, capfd):
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(RIGHT.format("os._exit(0)"))
    monkeypatch.syspath_prepend(tmp_path)
    options = ["--constraints", "one", "--against", "two", "--constraint", "NonNeg", "--quick"]
    assert main(options) == 1
    assert "not compared to the end: the process ended with status 0" in capfd.readouterr().err


@pytest.fixture
def interruptible():
    """What a shell starts in the background ignores SIGINT, and so does all that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.usefixtures("interruptible")
def test_whoever_stops_the_suite_stops_what_it_started(tmp_path, how):
    noted = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); "
    (tmp_path / "hangs.py").write_text(RIGHT.format(f"{noted}time.sleep(3600)"))
    words = [sys.executable, "-m", "array_constraints_conformance", "--constraints", "hangs"]
    path = os.pathsep.join([str(tmp_path), *sys.path])
    with subprocess.Popen(
        [*words, *FEW], env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE
    ) as suite:
        deadline = time.monotonic() + 60
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        suite.send_signal(how)
        _, said = suite.communicate()
    assert suite.returncode == (130 if how == signal.SIGINT else -how)
    assert (b"stopped" in said) == (how == signal.SIGINT)
    assert_gone(int((tmp_path / "pid").read_text()))
