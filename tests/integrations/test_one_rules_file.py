"""One file of rules in PyTorch, Keras, Flax and Equinox: the same units, always satisfied."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
RULES = FOLDER.parent / "data" / "one_file_of_rules.toml"
WEIGHTS = {
    "conv MaxNorm": {"9": 4},
    "body MaxNorm": {"144": 16},
    "lstm MinMaxNorm": {"6": 24, "8": 24},
    "head UnitNorm": {"22": 10},
}
"""Slices of each length, by layer: in an LSTM of 8 inputs, 4 gates of 6 rows, twice."""


@pytest.mark.parametrize(
    ("framework", "needs", "backend"),
    [
        ("torch", "torch", "numpy"),
        ("keras", "keras", "jax"),
        ("keras", "torch", "torch"),
        ("flax", "flax", "numpy"),
        ("equinox", "equinox", "numpy"),
    ],
    ids=["PyTorch", "Keras on JAX", "Keras on PyTorch", "Flax", "Equinox"],
)
def test_rules_hold_at_each_step_and_find_the_same_units(framework, needs, backend):
    pytest.importorskip(needs)
    command = [sys.executable, FOLDER / "one_rules_file.py", framework, RULES]
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compiling is most of the time
    }
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert len(found["violations"]) == 6  # when attached, and after each of five steps
    for violations in found["violations"]:
        assert violations
        assert set(violations.values()) == {0.0}
    units = {name: n for name, n in found["units"].items() if not name.endswith("NonNeg")}
    assert units == WEIGHTS
    biases = {name for name in found["units"] if name.endswith("NonNeg")}
    assert biases == {"conv NonNeg", "body NonNeg", "lstm NonNeg"}
