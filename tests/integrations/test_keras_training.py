"""Real training with Keras on PyTorch and JAX, each backend in processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("keras")
SCRIPT = Path(__file__).with_name("keras_training.py")


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_training_saving_loading_and_going_on(backend, tmp_path):
    """All layers train, all constraints are satisfied exactly, and a new process goes on."""
    pytest.importorskip(backend)
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    # Keras itself meets a deprecation of NumPy's; what JAX has compiled may be half written.
    allowed = ("ignore::DeprecationWarning", "default:Error reading persistent compilation")
    command = [sys.executable, *(f"-W{each}" for each in ("error", *allowed)), str(SCRIPT)]
    for steps in (["train"], ["go_on", "complaints", "converted", "averaged"]):
        run = subprocess.run(
            [*command, str(tmp_path), *steps],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-3000:]
