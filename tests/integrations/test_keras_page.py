"""The script of docs/training/keras.md runs, on a backend that trains."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "training" / "keras.md"


def test_the_script_of_the_page_runs(tmp_path):
    for module in ("keras", "torch", "sklearn"):
        pytest.importorskip(module)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    (tmp_path / "script.py").write_text("".join(blocks))
    run = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "4 of 4 weights are constrained" in run.stdout
