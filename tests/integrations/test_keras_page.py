"""The blocks on Keras in README and docs run, on a backend that trains."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("page", "fence", "printed"),
    [
        ("docs/training/keras.md", "python", "4 of 4 weights are constrained"),
        ("docs/keras.md", "py", "4 constraints of Keras were replaced"),
        ("README.md", "py", "1 of 2 weights are constrained"),
    ],
)
def test_the_script_of_the_page_runs(page, fence, printed, tmp_path):
    for module in ("keras", "torch", "sklearn"):
        pytest.importorskip(module)
    text = (ROOT / page).read_text()
    blocks = re.findall(rf"```{fence}\n(.*?)```", text, flags=re.DOTALL)
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
    assert printed in run.stdout
