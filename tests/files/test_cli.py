"""What the command line prints, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import array_constraints
from array_constraints.cli import main

W = np.asarray([[3.0, 0.3, np.nan], [4.0, 0.4, 1.0]], dtype="f4")
MAX_NORM = ["--constraint", "max_norm", "--max-value", "1", "--axis", "0"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    from safetensors.numpy import save_file

    monkeypatch.chdir(tmp_path)
    tensors = {"a.weight": W[:, :2].copy(), "b": W, "ids": np.arange(3)}
    save_file(tensors, "in.safetensors")
    np.save("w.npy", W[:, :2])
    return tmp_path


def run(*arguments: str, code: int):
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_check_counts_the_slices_that_violate_and_how_far(here):
    result = run("check", "in.safetensors", *MAX_NORM, "--select", "a*", code=1)
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert lines[0] == ["MaxNorm(max_value=1,", "axis=0):"]
    assert lines[1] == ["weight", "slices", "violating", "by", "at", "most"]
    assert lines[3] == ["a.weight", "2", "1", "4"]
    assert " ".join(lines[4]) == "1 weight, 2 slices: 1 violates, by at most 4"
    assert run("check", "w.npy", *MAX_NORM[:2], "--max-value", "inf", code=0)


def test_json_is_strict_and_says_the_same(here):
    result = run("check", "in.safetensors", *MAX_NORM, "--select", "[ab]*", "--json", code=1)
    found = json.loads(result.stdout, parse_constant=pytest.fail)
    assert found["satisfied"] is False
    assert [t["before"] for t in found["tensors"]] == [
        {"slices": 2, "violating": 1, "largest": 4.0, "nan": 0, "infinite": 0},
        {"slices": 3, "violating": 2, "largest": 4.0, "nan": 1, "infinite": 0},
    ]
    assert found["tensors"][0]["constraint"]["config"] == {"max_value": 1, "axis": 0}


def test_project_says_what_was_and_what_is_left(here):
    result = run("project", "w.npy", "out.npy", *MAX_NORM, "--json", code=0)
    (tensor,) = json.loads(result.stdout)["tensors"]
    assert tensor["before"]["violating"] == 1
    assert tensor["after"] == dict.fromkeys(tensor["after"], 0) | {"slices": 2}
    np.testing.assert_allclose(np.load("out.npy"), [[0.6, 0.3], [0.8, 0.4]], rtol=1e-6)


def test_what_cannot_be_constrained_is_left_and_reported(here):
    result = run(
        "project", "in.safetensors", "o.safetensors", *MAX_NORM, "--select", "b", code=1
    )
    assert "still violates its constraint: most often it holds NaN" in result.stderr
    assert (here / "o.safetensors").exists()


def test_show_lists_names_shapes_and_dtypes(here):
    result = run("show", "in.safetensors", code=0)
    assert ["a.weight", "(2,", "2)", "float32"] in [
        s.split() for s in result.stdout.splitlines()
    ]
    found = json.loads(run("show", "in.safetensors", "--json", code=0).stdout)
    assert {"name": "ids", "shape": [3], "dtype": "I64"} in found["tensors"]


def test_a_dry_run_prints_the_plan_and_does_nothing(here):
    arguments = ["project", "w.npy", "out.npy", *MAX_NORM, "--dry-run"]
    assert "can be resumed" in run(*arguments, code=0).stdout
    plan = json.loads(run(*arguments, "--workers", "3", "--json", code=0).stdout)
    (tensor,) = plan["tensors"]
    assert (tensor["form"], tensor["passes"], tensor["chunks"]) == ("slicewise", 1, 1)
    assert (plan["bytes_read"], plan["bytes_written"]) == (144, 144)
    assert plan["workers"] == 3
    assert sorted(p.name for p in here.iterdir()) == ["in.safetensors", "w.npy"]


def test_the_axis_mistake_is_warned_of(here):
    result = run("check", "in.safetensors", *MAX_NORM, "--select", "a*", code=1)
    assert "torch keeps (outputs, inputs)" in result.stderr
    np.save("row.npy", W[:1])
    assert "one entry" in run("check", "row.npy", *MAX_NORM, code=1).stderr
    silent = run("check", "in.safetensors", *MAX_NORM[:-1], "1", "--select", "a*", code=1)
    assert not silent.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["check", "w.npy"], 2, "--constraint or --rules"),
        (
            ["check", "w.npy", "--constraint", "no_such"],
            2,
            "unknown constraint 'no_such': known",
        ),
        (["check", "w.npy", "--constraint", "max-nrom"], 2, "did you mean max_norm?"),
        (
            ["check", "w.npy", "--constraint", "constraint"],
            2,
            "unknown constraint 'constraint'",
        ),
        (["check", "w.npy", *MAX_NORM, "--rate", "1"], 2, "MaxNorm has no parameter --rate"),
        (["check", "w.npy", *MAX_NORM[:-1], "x"], 2, "--axis: 'x' is not a number"),
        (["check", "w.npy", *MAX_NORM[:-1], "5"], 2, "axis 5 does not fit"),
        (["check", "w.npy", *MAX_NORM[:-1], "incoming"], 2, "--layout torch"),
        (
            ["check", "w.npy", *MAX_NORM[2:], "--rules", "old.npy"],
            2,
            "leave out --max-value, --axis",
        ),
        (
            ["check", "w.npy", *MAX_NORM, "--rules", "old.npy"],
            2,
            "either --constraint or --rules",
        ),
        (["check", "w.npy", "--constraint", "max_norm", "--max-value", "-1"], 2, "at least 0"),
        (["check", "w.npy", *MAX_NORM, "--select", "x*"], 2, "does not match the only weight"),
        (["check", "w.npy", *MAX_NORM, "--chunk-size", "12 parsecs"], 2, "number of bytes"),
        (
            ["check", "w.npy", *MAX_NORM, "--chunk-size", "1KiB"],
            2,
            "--chunk-size must be at least",
        ),
        (["check", "nothing.npy", *MAX_NORM], 2, "no such file"),
        (["check", "in.safetensors", *MAX_NORM, "--strict"], 2, "'ids': its dtype is I64"),
        (
            ["check", "in.safetensors", *MAX_NORM, "--select", "ids"],
            2,
            "'ids': its dtype is I64",
        ),
        (
            ["check", "in.safetensors", *MAX_NORM, "--select", "i*"],
            2,
            "none of the tensors that",
        ),
        (["check", "bad.npy", *MAX_NORM], 4, "bad.npy: "),
        (["check", "old.pkl", *MAX_NORM], 2, "safetensors.torch.save_file"),
        (["check", "s3://bucket/w.npy", *MAX_NORM], 2, "s3://bucket/w.npy: object stores"),
        (["project", "w.npy", "w.npy", *MAX_NORM], 2, "never written to"),
        (["project", "w.npy", "old.npy", *MAX_NORM], 2, "replace it with --overwrite"),
        (["project", "w.npy", "out.npz", *MAX_NORM], 2, "has to end with .npy"),
        (["project", "w.npy", "missing/out.npy", *MAX_NORM], 2, "no such folder"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_written(here, arguments, code, message):
    (here / "bad.npy").write_bytes(b"nothing of the kind")
    (here / "old.pkl").touch()
    (here / "old.npy").write_bytes(b"old")
    before = sorted(p.name for p in here.iterdir())
    assert message in run(*arguments, code=code).stderr
    assert sorted(p.name for p in here.iterdir()) == before
    assert (here / "old.npy").read_bytes() == b"old"


def test_parameters_are_numbers_or_several_numbers_or_none(here):
    several = ["--constraint", "max_norm", "--max-value", "9,0.1", "--axis", "0", "--json"]
    (tensor,) = json.loads(run("check", "w.npy", *several, code=1).stdout)["tensors"]
    assert tensor["constraint"]["config"] == {"max_value": [9, 0.1], "axis": 0}
    assert tensor["before"]["violating"] == 1
    whole = ["--constraint", "unit_norm", "--axis", "none", "--json"]
    (tensor,) = json.loads(run("check", "w.npy", *whole, code=1).stdout)["tensors"]
    assert tensor["before"]["slices"] == 1
    both = ["--constraint", "unit_norm", "--axis", "0,1", "--json"]
    assert (
        json.loads(run("check", "w.npy", *both, code=1).stdout)["tensors"][0]["before"]
        == (tensor["before"])
    )


def test_a_run_that_stops_can_be_resumed(here, monkeypatch):
    from array_constraints.files.formats.raw import RawTensor

    np.save("long.npy", np.tile(W[:, :2], (400_000, 1)))
    write, calls = RawTensor.write, []

    def full(self, *arguments):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        write(self, *arguments)

    monkeypatch.setattr(RawTensor, "write", full)
    arguments = ["project", "long.npy", "out.npy", *MAX_NORM, "--chunk-size", "2MiB"]
    result = run(*arguments, "--workers", "1", code=3)
    assert "No space left" in result.stderr
    assert "out.npy.partial" in result.stderr
    assert not (here / "out.npy").exists()
    assert (
        "go on with --resume, or begin anew with --overwrite" in run(*arguments, code=2).stderr
    )
    monkeypatch.setattr(RawTensor, "write", write)
    other = [*arguments[:3], "--constraint", "non_neg", "--resume"]
    assert "with other constraints" in run(*other, code=2).stderr
    run(*arguments, "--resume", code=0)
    assert np.linalg.norm(np.load("out.npy").astype("f8"), axis=0).max() <= 1
    assert not (here / "out.npy.partial").exists()


def test_help_has_examples_and_exit_codes(here):
    assert "--select '*.weight'" in run("check", "--help", code=0).stdout.replace("\n  ", " ")
    text = run("--help", code=0).stdout.replace("\n  ", " ")
    assert "1 one is violated" in text
    assert "4 failed" in text
    for name in ("max_norm --max-value 2 --axis 0", "non_neg", "unit_norm --axis 0"):
        assert name in text


def test_without_its_libraries_it_says_what_to_install():
    code = "import sys; sys.modules['click'] = None; import array_constraints.cli"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 4
    assert "pip install click rich" in done.stderr


def test_it_is_installed_as_a_command_and_runs_as_a_module(here):
    installed = str(Path(sys.executable).with_name("array-constraints"))
    for command in ([sys.executable, "-m", "array_constraints"], [installed]):
        done = subprocess.run([*command, "--version"], capture_output=True, check=True)
        assert array_constraints.__version__.encode() in done.stdout


def test_patterns_skip_what_no_constraint_fits_and_count_it(here):
    result = run("check", "in.safetensors", *MAX_NORM[:-1], "1", code=1)
    assert "Note: 1 tensor skipped, which the constraint does not fit: --verbose lists" in (
        result.stderr
    )
    assert "2 weights, 4 slices: 4 violate" in result.stdout
    listed = run("check", "in.safetensors", *MAX_NORM, "--verbose", code=1).stderr
    assert "  its dtype is I64, and constraints on files take float16" in listed
    assert ":\n    ids\n" in listed
    found = json.loads(run("check", "in.safetensors", *MAX_NORM, "--json", code=1).stdout)
    assert [skipped["name"] for skipped in found["skipped"]] == ["ids"]


def test_tensors_are_selected_by_names_dimensions_and_size(here):
    def chosen(*arguments):
        found = json.loads(run("show", "in.safetensors", "--json", *arguments, code=0).stdout)
        return {tensor["name"] for tensor in found["tensors"]}

    assert chosen() == {"a.weight", "b", "ids"}
    assert chosen("--select", "a*", "--select", "ids") == {"a.weight", "ids"}
    assert chosen("--exclude", "a*", "--exclude", "ids") == {"b"}
    assert chosen("--ndim", "2") == {"a.weight", "b"}
    assert chosen("--ndim", "1", "--ndim", "2", "--min-size", "4") == {"a.weight", "b"}
    assert chosen("--min-size", "5") == {"b"}


@pytest.mark.parametrize("name", ["max_norm", "max-norm", "MaxNorm", "MAXNORM", "maxNorm"])
def test_a_constraint_has_any_spelling(here, name):
    run("check", "w.npy", "--constraint", name, "--max-value", "inf", code=0)


def test_the_worst_slices_and_the_norms_are_listed(here):
    result = run("check", "in.safetensors", *MAX_NORM, "--select", "b", "--slices", "2", code=1)
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["b", "[:,", "2]", "nan"] in lines
    assert ["b", "[:,", "0]", "4"] in lines
    found = json.loads(
        run("check", "in.safetensors", *MAX_NORM, "--slices", "1", "--json", code=1).stdout
    )
    worst = [tensor["before"]["worst"] for tensor in found["tensors"]]
    assert worst == [
        [{"index": [None, 0], "violation": 4.0}],
        [{"index": [None, 2], "violation": "nan"}],
    ]
    text = run("show", "in.safetensors", "--norms", "--axis", "0", code=0).stdout
    assert "2 weights, 5 slices; least 0.5, 25 % 0.5, median 2.75" in text
    found = json.loads(
        run("show", "in.safetensors", "--norms", "--axis", "0", "--json", code=0).stdout
    )
    norms = found["tensors"][1]
    numbers = ["least", "quarter", "median", "three_quarters", "largest"]
    assert [norms.pop(name) for name in numbers] == pytest.approx(
        [0.5, 1.625, 2.75, 3.875, 5.0], rel=1e-3
    )
    assert norms == {"name": "b", "axis": 0, "slices": 3, "nan": 1, "infinite": 0}


def test_a_shell_completes_commands_and_constraints(here):
    command = str(Path(sys.executable).with_name("array-constraints"))
    words = {"COMP_WORDS": "array-constraints check --constraint m", "COMP_CWORD": "3"}
    environment = {**words, "_ARRAY_CONSTRAINTS_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [command], capture_output=True, text=True, check=True, env=environment
    )
    names = ("max_norm", "min_max_norm", "mask", "mean", "monotone")
    assert done.stdout.split() == [f"plain,{name}" for name in names]


def test_a_file_without_tensors_is_shown(here):
    torch = pytest.importorskip("torch")
    torch.save({"epoch": 3}, "empty.pt")
    assert "0 tensors, 0 entries" in run("show", "empty.pt", code=0).stdout


def test_any_name_of_a_tied_weight_selects_it_and_none_speaks_to_a_terminal(here):
    torch = pytest.importorskip("torch")
    w = torch.ones(2, 3)
    torch.save({"a": w, "b": w, "\x1b[31mc": w, "d": w}, "tied.pt")
    for name in ("a", "b", "d"):
        shown = run("show", "tied.pt", "--select", name, code=0).stdout
        assert r"b, '\x1b[31mc', and 1 more" in shown
        assert "\x1b" not in shown


def test_an_axis_is_asked_for_with_norms_alone(here):
    assert "--axis is that of --norms" in run("show", "w.npy", "--axis", "0", code=2).stderr


def test_patterns_that_leave_nothing_out_are_named(here):
    check = ("check", "in.safetensors", *MAX_NORM)
    result = run(*check, "--exclude", "embed*", code=1)
    assert "Warning: --exclude='embed*' matches no tensor\n" in result.stderr
    result = run(*check, "--exclude", "B*", "--strict", code=2)
    assert "Error: --exclude='B*' matches no tensor; did you mean '*b*'?" in result.stderr
    show = ("show", "in.safetensors", "--exclude", "embed*")
    assert "Warning: --exclude='embed*' matches no tensor\n" in run(*show, code=0).stderr
    assert "Error: --exclude='embed*' matches no" in run(*show, "--strict", code=2).stderr


def test_what_norms_are_not_shown_of_is_named_with_what_to_do(here):
    from safetensors.numpy import save_file

    tensors = {"conv.weight": np.ones((2, 2, 3, 3), "f4"), "fc.weight": np.ones((2, 2), "f4")}
    save_file(tensors, "m.safetensors", {"format": "pt"})
    shown = run("show", "m.safetensors", "--norms", code=0)
    assert "Warning: 'conv.weight' is not shown: " in shown.stderr
    assert "if none is transposed add --transposed none, else --transposed P" in shown.stderr
    assert (
        "conv.weight"
        in run("show", "m.safetensors", "--norms", "--transposed", "none", code=0).stdout
    )


def test_matrices_that_are_skipped_are_named(here):
    from safetensors.numpy import save_file

    save_file({"conv": np.ones((2, 2, 3, 3)), "fc": np.ones((2, 2))}, "m.safetensors")
    many = ["--constraint", "max_norm", "--max-value", "9", "--axis", "1,2,3"]
    said = run("check", "m.safetensors", *many, code=0).stderr
    assert "1 tensor skipped, which the constraint does not fit, 'fc' of shape (2, 2)" in said


@pytest.mark.parametrize("width", [30, 60, 80])
def test_no_number_is_cut_on_a_narrow_terminal(width, monkeypatch, capsys):
    from array_constraints.cli import tables

    monkeypatch.setattr(tables.Console, "is_terminal", True)
    monkeypatch.setenv("COLUMNS", str(width))
    columns = ("weight", "slices", *"abcdefg", "NaN", "infinite")
    row = ("model.layers.0.weight", "1,024", *["1.23e-05"] * 7, "3", "12")
    tables.print_table(columns, [row, ("model.layers.1.weight", *row[1:])])
    printed = capsys.readouterr().out
    assert printed.count("1.23e-05") == 14
    assert "model.layers.0.weight" in printed
    assert max(map(len, printed.splitlines())) <= width


def test_what_is_made_of_others_is_given_by_its_config(here):
    relaxed = json.dumps({"class_name": "Relaxed", "config": {"constraint": "max_norm"}})
    result = run("check", "w.npy", "--constraint", relaxed, code=1)
    assert "Relaxed(constraint=MaxNorm(max_value=2, axis=0), rate=0.5)" in result.stdout
    heads = {"class_name": "Sphere", "config": {"axis": [0, 1]}}
    blocks = json.dumps({"class_name": "Blocks", "config": {"constraint": heads, "size": 1}})
    result = run("project", "w.npy", "out.npy", "--constraint", blocks, code=0)
    assert "2 slices" in result.stdout
    norms = np.linalg.norm(np.load("out.npy"), axis=1)
    np.testing.assert_allclose(norms, 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("blocks", "blocks is given by its config: --constraint '{"),
        ("{", "is no config of a constraint"),
        ('{"class_name": "Chain", "config": {"constraints": []}}', "at least one constraint"),
        ('{"class_name": "Nope"}', "unknown constraint 'Nope'"),
    ],
)
def test_a_config_that_is_none_is_refused_in_one_line(here, given, said):
    result = run("check", "w.npy", "--constraint", given, code=2)
    assert said in result.stderr.replace("\n", " ")
