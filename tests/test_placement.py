"""Where weights lie: on many devices, in other memories, in shards; results lie there too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
SECTIONS = (
    "no_transfers", "explicit_matrices", "long_slices", "explicit_kernels", "other_meshes",
    "transformed", "no_gathers", "donated", "forms_that_may_change", "host_memory", "trees",
)  # fmt: skip


def printed_by(script, *arguments):
    command = [sys.executable, FOLDER / script, *arguments]
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # compiles faster
    options = {"capture_output": True, "text": True, "timeout": 60, "env": environment}
    run = subprocess.run(command, **options)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def require_explicit_meshes():
    jax = pytest.importorskip("jax")
    if not hasattr(jax.sharding, "auto_axes"):
        pytest.skip("this JAX has no explicit meshes")


@pytest.mark.parametrize("section", SECTIONS)
def test_weights_of_jax_come_back_where_they_lie(section):
    """With eight devices, in a process of its own."""
    require_explicit_meshes()
    assert printed_by("placed_on_jax.py", section) == {section: []}


def test_every_section_is_tested():
    require_explicit_meshes()
    assert tuple(printed_by("placed_on_jax.py", "--list")) == SECTIONS


@pytest.mark.parametrize(
    "section", ["on_a_line", "on_a_grid", "kernels", "copies", "others", "thresholds"]
)
def test_shards_of_pytorch_are_constrained_as_the_whole_tensor(section):
    distributed = pytest.importorskip("torch.distributed")
    if not (distributed.is_available() and distributed.is_gloo_available()):
        pytest.skip("this PyTorch has no gloo")
    assert printed_by("sharded_on_torch.py", section) == [[], [], [], []]
