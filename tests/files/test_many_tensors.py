"""Files of many small tensors: memory for each is bounded, and so is the time."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from array_constraints import MaxNorm
from array_constraints.files import Options, check_file, planned
from array_constraints.files.run.plan import BYTES_OF_NAME
from array_constraints.rules import Rule, Rules


def save(path, count):
    """Write a file of tensors of 4 times 4 entries, without its library: it takes a while."""
    header = {
        f"layers.{i}.self_attention.weight": {
            "dtype": "F32",
            "shape": [4, 4],
            "data_offsets": [64 * i, 64 * i + 64],
        }
        for i in range(count)
    }
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.write(np.random.default_rng(0).standard_normal((count, 16), dtype="f4").tobytes())


def peak(*arguments):
    """Return the most memory that a run of the command line has held, in bytes."""
    command = [sys.executable, "-m", "array_constraints", *map(str, arguments)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **quiet)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in (0, 1)
    return usage.ru_maxrss * 1024


@pytest.mark.parametrize("command", ["show", "check", "project"])
def test_a_tensor_takes_no_more_memory_than_is_promised(command, tmp_path):
    few, many = tmp_path / "few.safetensors", tmp_path / "many.safetensors"
    save(few, 100)
    save(many, 10_100)
    peaks = []
    for path in (few, many):
        out = [path.with_name(f"out-{path.name}")] if command == "project" else []
        options = [] if command == "show" else ["--constraint", "max_norm", "--json"]
        peaks.append(peak(command, path, *out, *options))
    assert peaks[1] - peaks[0] <= 10_000 * BYTES_OF_NAME


def test_a_plan_counts_the_names_and_keeps_no_panels(tmp_path):
    path = tmp_path / "in.safetensors"
    save(path, 100)
    with planned(path, MaxNorm(), Options(workers=1), to_project=False) as (plan, _):
        assert plan.peak_memory >= 100 * BYTES_OF_NAME
        grids = {id(item.work.grid) for item in plan.items}
        assert len(grids) == 1  # one for all tensors of a shape
    assert len(check_file(path, MaxNorm()).tensors) == 100


def test_more_regions_than_are_listed_at_a_time_are_all_done(tmp_path, monkeypatch):
    path = tmp_path / "in.safetensors"
    save(path, 100)
    whole = check_file(path, MaxNorm(1.0, axis=1))
    monkeypatch.setattr("array_constraints.files.run.check._MOST_SIDE_BY_SIDE", 7)
    assert check_file(path, MaxNorm(1.0, axis=1)) == whole


def test_a_rule_that_acts_is_not_matched_with_every_name(monkeypatch):
    calls = []
    matches = Rule.matches

    def counted(self, name):
        calls.append(name)
        return matches(self, name)

    monkeypatch.setattr(Rule, "matches", counted)
    rules = Rules([Rule(f"{i}.*", MaxNorm()) for i in range(10)] + [Rule("*", None)])
    rules.match([f"{i}.{j}" for i in range(10) for j in range(100)] + ["rest"])
    assert len(calls) == sum(100 * (i + 1) for i in range(10)) + 11  # up to the first
