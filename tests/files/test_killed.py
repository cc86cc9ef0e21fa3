"""Runs that are killed at random moments leave nothing half done, and can be continued."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from stored_weights import FORMATS

SCRIPT = Path(__file__).with_name("kill.py")
KILLS = 30


@pytest.mark.parametrize(
    "form", [f for f in FORMATS if f.name not in ("npy-fortran", "npy-big-endian")], ids=str
)
def test_the_target_is_absent_old_or_complete_and_resuming_gives_the_same_bytes(form, tmp_path):
    run = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT), form.name, str(KILLS), "7"],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": "", "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    assert seen["absent"] + seen["old"] + seen["complete"] == KILLS
    assert seen["absent"]
    assert seen["old"]
    assert bool(seen["continued"]) == form.resumable
