"""Odd values, names and streams on the command line: one line, an exit code, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from array_constraints.cli import main

MAX_NORM = ["--constraint", "max_norm"]
DEEP = 900


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", np.ones((50, 40), "f4"))
    (tmp_path / "loop.npy").symlink_to("loop.npy")
    (tmp_path / "folder.npy").mkdir()
    os.mkfifo("fifo.npy")
    return tmp_path


def run(*arguments, code):
    """Return the last line of what is said; all but the usage and warnings is one line."""
    result = CliRunner().invoke(main, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), arguments
    assert result.exit_code == code, result.output
    beside = ("Usage:", "Try ", "Warning:")
    said = [line for line in result.stderr.splitlines() if line and not line.startswith(beside)]
    assert len(said) == (code == 2)
    assert "".join(said).isprintable()
    return "".join(said)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--chunk-size", "9" * 400, "--chunk-size must be at most"),
        ("--chunk-size", "9" * 5000, "--chunk-size must be at most"),
        ("--chunk-size", "9" * 40 + "GiB", "--chunk-size must be at most"),
        ("--chunk-size", "nan", "not a number of bytes"),
        ("--chunk-size", "", "not a number of bytes"),
        ("--workers", "1" + "0" * 21, "is not in the range"),
        ("--workers", "5000", "is not in the range"),
        ("--patience", "nan", "patience must be"),
        ("--patience", "0", "patience must be at least 1"),
        ("--axis", "", "--axis: '' is not a number"),
        ("--axis", " ", "--axis: '' is not a number"),
        ("--axis", ",", "--axis: '' is not a number"),
        ("--axis", "()", "--axis: '' is not a number"),
        ("--axis", "0,,1", "--axis: '' is not a number"),
        ("--axis", "(0", "--axis: '(0' is not a number"),
        ("--axis", "1.0", "--axis must be an int"),
        ("--max-value", "", "--max-value: '' is not a number"),
        ("--max-value", "nan", "--max-value must be at least 0, got nan"),
        ("--max-value", "1e400", "'1e400' is beyond the range of numbers"),
        ("--max-value", "9" * 400, "is beyond the range of numbers"),
        ("--max-value", "9" * 5000, "is beyond the range of numbers"),
        ("--max-value", "0x10", "'0x10' is not a number"),
        ("--max-value", "1_000", "'1_000' is not a number"),
        ("--max-value", "١٢", "is not a number"),
        ("--max-value", "\x1b[31m", r"'\x1b[31m' is not a number"),
        ("--select", "", "the rule '' does not match the only weight"),
        (
            "--select",
            "\udcff\x1b[31m",
            r"the rule '\udcff\x1b[31m' does not match the only weight",
        ),
        ("--scheduler", "", "missing port number"),
    ],
    ids=lambda value: value[:12],
)
def test_an_odd_value_is_named(here, option, value, message):
    if option == "--scheduler":
        pytest.importorskip("distributed")
    assert message in run("check", "in.npy", *MAX_NORM, f"{option}={value}", code=2)


@pytest.mark.parametrize("value", ["0,1", "(0,1)", "[0, 1]", "0,1,", "none"])
def test_several_ways_to_write_an_axis(here, value):
    result = CliRunner().invoke(main, ["check", "in.npy", *MAX_NORM, "--axis", value, "--json"])
    assert json.loads(result.stdout)["tensors"][0]["before"]["slices"] == 1


@pytest.mark.parametrize("name", ["", "-", "folder.npy", "fifo.npy", "loop.npy", "/dev/null"])
def test_what_is_no_file_is_named(here, name):
    assert run("check", name, *MAX_NORM, code=2)
    assert run("show", name, code=2)


@pytest.mark.parametrize("more", [(), ("--overwrite",), ("--resume",), ("--dry-run",)])
@pytest.mark.parametrize(
    "name", ["", "/", "-", "folder.npy", "fifo.npy", "loop.npy", "loop.npy/x.npy", "/dev/null"]
)
def test_a_target_that_cannot_be_is_named(here, name, more):
    before = sorted(here.iterdir())
    assert run("project", "in.npy", name, *MAX_NORM, *more, code=2)
    assert sorted(here.iterdir()) == before


def nested(kind, depth):
    open_, close = {"list": ("[", "]"), "dict": ('{"a":', "}")}[kind]
    return open_ * depth + "1" + close * depth


RULE = '{{"rules": [{{"select": "*", "constraint": "max_norm", {} }}]}}'
RULES = {
    "lists.json": (RULE.format(f'"axis": {nested("list", DEEP)}'), "levels deep"),
    "dicts.json": (RULE.format(f'"axis": {nested("dict", 400)}'), "levels deep"),
    "deeper.json": (nested("list", 100_000), "nested too deep"),
    "deeper.toml": (f"rules = {nested('list', 2000)}", "nested too deep"),
    "tables.toml": (
        "[[rules]]\nselect = '*'\nconstraint = 'max_norm'\naxis" + ".a" * 300 + " = 1",
        "levels deep",
    ),
    "select.json": (RULE.replace('"*"', nested("list", 500)).format('"axis": 0'), "pattern"),
    "twice.json": (RULE.format('"max_value": 1, "max_value": 1e9'), "'max_value' stands there"),
    "twice.toml": ("rules = []\nrules = []", "not TOML"),
    "large.json": (RULE.format('"max_value": 1e400'), "beyond the range"),
    "nan.json": (RULE.format('"max_value": NaN'), "max_value must be at least 0, got nan"),
    "empty.json": ("", "not JSON"),
    "empty.toml": ("", "one list, 'rules'"),
    "latin.toml": (b"# \xe9", "not TOML"),
}


@pytest.mark.parametrize("name", RULES)
def test_odd_rules_are_named(here, name):
    text, message = RULES[name]
    (here / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    said = run("check", "in.npy", "--rules", name, code=2)
    assert message in said
    assert name in said


def test_rules_may_begin_with_a_mark_and_have_tuples_and_underscores(here):
    (here / "a.json").write_bytes(
        b"\xef\xbb\xbf"
        + RULE.format('"axis": {"class_name": "__tuple__", "items": [0, 1]}').encode()
    )
    run("check", "in.npy", "--rules", "a.json", code=1)
    (here / "a.toml").write_text(
        "[[rules]]\nselect='*'\nconstraint='max_norm'\nmax_value=1_0.0"
    )
    run("check", "in.npy", "--rules", "a.toml", code=0)


def test_rules_without_end_are_not_read(here):
    with (here / "huge.toml").open("wb") as file:
        file.truncate(2**32)
    assert "at most" in run("check", "in.npy", "--rules", "huge.toml", code=2)


def test_no_arguments_print_the_help(here):
    text = CliRunner().invoke(main, []).output
    assert "\nCommands:\n" in text


NAMES = [
    ":smile:",
    "[red]a[/red]",
    "a\x1b[31mb",
    "a\u202eb",
    "'a'",
    " a",
    "ü.日本",
    "line\nbreak",
]


def test_names_are_printed_as_they_are_or_quoted(here):
    from safetensors.numpy import save_file

    save_file({name: np.ones((2, 2), "f4") for name in NAMES}, "n.safetensors")
    shown = [":smile:", "[red]a[/red]", r"'a\x1b[31mb'", r"'a\u202eb'", '''"'a'"''', "' a'"]
    shown += ["ü.日本", r"'line\nbreak'"]
    for command in (["show", "n.safetensors"], ["check", "n.safetensors", *MAX_NORM]):
        lines = CliRunner().invoke(main, command).stdout.splitlines()
        lines = lines[command[0] == "check" :]  # the constraint
        assert len(lines) == 5 + len(NAMES)  # the head, empty lines on either side, the total
        for name in shown:
            assert any(line.startswith(f" {name}  ") for line in lines), name
    found = json.loads(CliRunner().invoke(main, ["show", "n.safetensors", "--json"]).stdout)
    assert sorted(t["name"] for t in found["tensors"]) == sorted(NAMES)
    project = ["project", "n.safetensors", "o.safetensors", *MAX_NORM, "--axis", "1"]
    lines = CliRunner().invoke(main, [*project, "--dry-run"]).stdout.splitlines()
    assert any(line.startswith(" :smile:  ") for line in lines)


def shell(command, **environment):
    program = f"{sys.executable} -m array_constraints"
    return subprocess.run(
        ["bash", "-c", command.replace("PROGRAM", program)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("what", ["check in.npy --constraint non_neg", "show in.npy", "--help"])
def test_a_full_standard_output_is_one_line(here, what):
    done = shell(f"PROGRAM {what} > /dev/full")
    assert done.returncode == 4
    assert (
        done.stderr == "Error: the standard output cannot be written: No space left on device\n"
    )


def test_a_report_that_cannot_be_written_leaves_a_complete_result(here):
    done = shell("PROGRAM project in.npy out.npy --constraint max_norm > /dev/full")
    assert done.returncode == 4
    assert done.stderr.endswith("No space left on device; out.npy is complete\n")
    assert np.linalg.norm(np.load("out.npy"), axis=0).max() <= 2


def test_a_reader_that_goes_away_and_closed_streams_change_no_exit_code(here):
    from safetensors.numpy import save_file

    save_file({f"w{i}": np.ones(3, "f4") for i in range(3000)}, "many.safetensors")
    check = "PROGRAM check many.safetensors --constraint"
    assert shell(f"{check} non_neg | head -1; exit ${{PIPESTATUS[0]}}").returncode == 0
    done = shell(f"{check} max_norm --max-value 0.1 | head -1; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (1, "")
    assert shell(f"{check} non_neg >&- 2>&-").returncode == 0
    assert shell(f"{check} no_such 2> /dev/full").returncode == 2


def test_names_go_to_an_output_of_any_encoding(here):
    np.save("ü日本.npy", np.ones(3))
    np.save(os.fsdecode(b"\xff.npy"), np.ones(3))
    for name in ("ü*.npy", "$'\\xff.npy'"):
        done = shell(f"PROGRAM show {name}", PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stderr) == (0, "")
    assert r"'\udcff'" in done.stdout
