"""Where weights lie: on many devices, in other memories, in shards; results lie there too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("placed_on_jax.py")
SECTIONS = (
    "no_transfers", "explicit_matrices", "explicit_kernels", "other_meshes", "transformed",
    "forms_that_may_change", "host_memory", "trees",
)  # fmt: skip


@pytest.fixture(scope="module")
def found_on_jax():
    """What is not right on JAX with eight devices, by section: one process for all."""
    jax = pytest.importorskip("jax")
    if not hasattr(jax.sharding, "auto_axes"):
        pytest.skip("this JAX has no explicit meshes")
    run = subprocess.run([sys.executable, SCRIPT], capture_output=True, check=True, text=True)
    return json.loads(run.stdout)


@pytest.mark.parametrize("section", SECTIONS)
def test_weights_of_jax_come_back_where_they_lie(found_on_jax, section):
    assert found_on_jax[section] == []


def test_every_section_is_tested(found_on_jax):
    assert tuple(found_on_jax) == SECTIONS
