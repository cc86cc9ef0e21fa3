"""Training on several processes gives what one process gives; no process raises alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("sharded_training.py")
LIMIT = 60  # seconds


@pytest.mark.parametrize(
    ("ranks", "cases"),
    [
        (2, ("ddp", "fsdp2", "tensor_parallel", "local_shards", "misfits")),
        (4, ("ddp", "tensor_parallel", "local_shards")),
        (4, ("fsdp2", "misfits")),
    ],
    ids=str,
)
def test_several_processes_train_as_one(ranks, cases):
    distributed = pytest.importorskip("torch.distributed")
    if not (distributed.is_available() and distributed.is_gloo_available()):
        pytest.skip("this PyTorch has no gloo")
    command = [sys.executable, SCRIPT, str(ranks), *cases]
    run = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == [[]] * ranks
