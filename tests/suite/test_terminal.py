"""What a user sees in a terminal or a log: short, whole, readable, and the verdict last."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from array_constraints_conformance.processes.needs import NEEDS
from array_constraints_conformance.report.table import table
from array_constraints_conformance.report.text import all_lines, first_lines
from sample_record import REQUIREMENTS, sample

FEW = ["--quick", "--dtype", "float32", "--only", "SET-1", "--only", "SET-2"]
SUITE = [sys.executable, "-m", "array_constraints_conformance"]
HALVED = """
import numpy as np


def halved(w):
    return w * 0.5


def MaxNorm(**parameters):
    return halved


MinMaxNorm = UnitNorm = NonNeg = MaxNorm
"""


def text_of(lines) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def failing(requirements: int, libraries: int, value: str = "[1.0, 2.0]") -> dict:
    """A record in which every requirement is not met on every library."""
    record = sample()
    found = next(r for r in record["results"] if r["outcome"] == "not met")
    found["counterexample"].update(dict.fromkeys(("input", "expected", "got"), value))
    record["libraries"] = [
        {**record["libraries"][0], "name": f"a.library.number{i}+jit"} for i in range(libraries)
    ]
    first = {
        **record["requirements"][1],
        "title": "A title of fifty characters, as long as any",
    }
    record["requirements"] = [{**first, "id": f"SET-{i}"} for i in range(requirements)]
    record["results"] = [
        {**found, "requirement": requirement["id"], "library": library["name"]}
        for requirement in record["requirements"]
        for library in record["libraries"]
    ]
    return record


class TestAReport:
    @pytest.mark.parametrize("width", [80, 120, 200])
    @pytest.mark.parametrize("libraries", [1, 3, 9])
    @pytest.mark.parametrize("requirements", [1, 12, 89, 400])
    def test_takes_40_rows_at_most_and_the_verdict_is_the_last(
        self, width, libraries, requirements
    ):
        lines = text_of(first_lines(failing(requirements, libraries, "[0.125, " * 200), width))
        assert sum(max(1, -(-len(line) // width)) for line in lines) <= 40
        share = f"{requirements} of {requirements} requirement" + "s" * (requirements > 1)
        assert lines[-1] == f"keras.constraints: not met ({share})"
        assert any("--all" in line for line in lines)
        assert any("✗" in line and "SET-0" in line for line in lines)

    @pytest.mark.parametrize("width", [80, 120, 200])
    def test_shows_everything_where_it_is_asked_to(self, width):
        record = failing(89, 2)
        said = "\n".join(text_of(all_lines(record, width)))
        for result in record["results"]:
            assert f"{result['requirement']} A title" in said
        assert said.count(record["results"][0]["counterexample"]["reproduce"]) == 2 * 89
        assert said.endswith("keras.constraints: not met (89 of 89 requirements)")

    @pytest.mark.parametrize("width", [80, 120, 200])
    @pytest.mark.parametrize("libraries", [2, 4, 9, 30])
    def test_has_columns_with_heads_of_their_own(self, width, libraries):
        record = failing(3, libraries)
        heads, rows, legend = table(record, record["requirements"], width)
        (head,), rows = text_of(heads), text_of(rows)
        columns = head.split()
        assert len(set(columns)) == len(columns) == libraries
        starts = [head.index(f" {name}") + 1 for name in columns]
        for row in rows:
            assert [row[start] for start in starts] == ["✗"] * libraries
        if columns[0] == "A":
            explained = " ".join(text_of(legend))
            for name, library in zip(columns, record["libraries"], strict=True):
                assert f"{name} {library['name']}" in explained
        if libraries < 10:
            assert max(map(len, [head, *rows])) <= width

    def test_says_which_scopes_are_judged_and_why(self):
        lines = text_of(first_lines(sample(), 120))
        shown = [line.split() for line in lines[-5:-2]]
        assert [line[0] for line in shown] == ["map", "Keras", "this"]
        assert lines[-4].endswith("20 met; it has get")
        reason = "not judged: it has no `violation` (--scope this judges it)"
        assert lines[-3] == f"  this API   {reason}"

    def test_of_what_is_met_is_short(self):
        record = sample()
        record["results"] = [r for r in record["results"] if r["outcome"] == "met"]
        record["requirements"] = [r for r in record["requirements"] if r["id"] != "OWN-1"]
        lines = text_of(first_lines(record, 80))
        assert len(lines) < 10
        assert lines[-1] == f"keras.constraints: met ({len(REQUIREMENTS) - 1} requirements)"


def run(*words: str, folder, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SUITE, *words], cwd=folder, env={**os.environ, **variables}, check=False,
        capture_output=True, text=True,
    )  # fmt: skip


class TestInAnEmptyFolder:
    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "halved.py").write_text(HALVED)
        return tmp_path

    def test_the_line_that_reproduces_shows_the_same_when_pasted_into_a_shell(self, folder):
        words = ["--constraints", "keras.constraints", "--xp", "torch", "--quick"]
        words += ["--only", "SET-2", "--constraint", "MaxNorm", "--report"]
        assert run(*words, "first", folder=folder, KERAS_BACKEND="torch").returncode == 1
        (result,) = json.loads((folder / "first" / "report.json").read_text())["results"]
        line = result["counterexample"]["reproduce"]
        assert "KERAS_BACKEND=torch " in line
        unset = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
        again = subprocess.run(
            ["bash", "-c", f"{line} --report again"], cwd=folder, check=False, text=True,
            env=unset, capture_output=True,
        )  # fmt: skip
        assert again.returncode == 1, again.stderr
        (other,) = json.loads((folder / "again" / "report.json").read_text())["results"]
        for key in ("message", "constraint", "input", "expected", "got", "reproduce"):
            assert other["counterexample"][key] == result["counterexample"][key]

    def test_the_quick_check_of_the_readme_ends_in_its_verdict(self, folder):
        readme = (Path(__file__).parents[2] / "conformance" / "README.md").read_text()
        (command,) = re.findall(
            r"^ +\.venv/bin/(python -m array_\w+ .+)$", readme, re.MULTILINE
        )
        words = shlex.split(command)[3:]
        assert "--quick" in words
        said = run(*words, "--only", "SET-1", folder=folder)
        assert said.returncode == 0
        verdict = "array_constraints: met"
        assert said.stdout.splitlines()[-1] == f"{verdict} (1 requirement)"
        assert f"The last line is the verdict, `{verdict}`" in readme

    def test_variables_of_libraries_that_are_not_used_are_left_out(self, folder):
        words = ["--constraints", "halved", *FEW, "--report", "here"]
        run(*words, folder=folder, KERAS_BACKEND="torch", JAX_ENABLE_X64="1")
        text = (folder / "here" / "report.json").read_text()
        assert "KERAS_BACKEND" not in text
        assert "JAX_ENABLE_X64" not in text

    def test_nothing_is_left_behind(self, folder):
        assert run("--constraints", "halved", *FEW, folder=folder).returncode == 1
        code = (
            "import halved\n"
            "from array_constraints_conformance import check_constraint\n"
            "check_constraint(halved, profile='quick', only='SET-2', dtypes='float32')\n"
        )
        subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
        left = {path.name for path in folder.iterdir()}
        assert left <= {"halved.py", "__pycache__"}

    def test_a_log_is_not_wrapped_and_has_no_colours(self, folder):
        unset = {"COLUMNS": "", "PYTHONIOENCODING": "utf-8"}
        said = run("--constraints", "halved", *FEW, "--scope", "map", folder=folder, **unset)
        assert said.returncode == 1
        lines = said.stdout.splitlines()
        assert len(lines) <= 40
        assert "\x1b" not in said.stdout
        assert lines[-1].startswith("halved: not met (")
        assert "Keras API  not judged: not asked for" in said.stdout

    def test_an_encoding_without_the_symbols_breaks_nothing(self, folder):
        said = run("--constraints", "halved", *FEW, folder=folder, PYTHONIOENCODING="ascii")
        assert said.returncode == 1
        assert "\\u2717 not met" in said.stdout

    def test_a_terminal_shows_the_verdict_in_sight_and_in_colour(self, folder):
        said = in_a_terminal(["--constraints", "halved", *FEW], folder, 80)
        last = said.rstrip().splitlines()[-1]
        assert last.startswith("halved: \x1b[1;31mnot met\x1b[0m (")
        assert len(said.splitlines()) <= 40


def in_a_terminal(words, folder, width: int) -> str:
    """Run the suite with a terminal as its output, and return what it shows there."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(width), "TERM": "xterm"}
    with subprocess.Popen(
        [*SUITE, *words], cwd=folder, env=environment, stdout=theirs, stderr=subprocess.DEVNULL
    ) as process:
        os.close(theirs)
        said = b""
        while True:
            select.select([ours], [], [])
            try:
                part = os.read(ours, 2**16)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            said += part
        process.wait()
    os.close(ours)
    return said.decode().replace("\r\n", "\n")


BLOCKED = """
import sys


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "NAME":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Blocked())
"""


@pytest.mark.parametrize("package", ["hypothesis", "ml_dtypes", "numpy", "rich"])
def test_a_package_that_is_not_installed_is_named_in_one_sentence(tmp_path, package):
    (tmp_path / "sitecustomize.py").write_text(BLOCKED.replace("NAME", package))
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    said = run("--list", folder=tmp_path, PYTHONPATH=path)
    assert said.returncode == 2
    name = package.replace("_", "-")
    install = "pip install hypothesis ml-dtypes numpy pytest rich"
    sentence = f"the conformance suite needs {name}: {install}"
    assert said.stderr == f"array_constraints_conformance: {sentence}\n"
    if package == "rich":  # the API does not need it
        return
    code = "from array_constraints_conformance import check_constraint"
    api = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert api.stderr.splitlines()[-1] == f"ImportError: {sentence}"


def test_without_pytest_all_but_its_cases_work(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BLOCKED.replace("NAME", "pytest"))
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    assert run("--list", folder=tmp_path, PYTHONPATH=path).returncode == 0
    code = (
        "from array_constraints_conformance import parametrize_with_checks\n"
        "parametrize_with_checks(print, contains=print)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert "ImportError: the conformance suite needs pytest: pip install" in said.stderr


def test_what_is_to_be_installed_is_what_the_extra_names():
    project = Path(__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    assert [re.split("[>=]", each)[0] for each in extras["conformance"]] == list(NEEDS)
