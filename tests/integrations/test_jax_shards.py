"""Rules on sharded pytrees of JAX, trained on several devices."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("jax")
pytest.importorskip("optax")

from jax_network import printed_by

FOLDER = Path(__file__).parent


def test_shards_stay_where_they_are():
    """On four devices: nothing is gathered that the constraint alone does not gather."""
    found = json.loads(printed_by(str(FOLDER / "sharded_on_jax.py")))
    assert found.pop("cases") == 9
    assert found == {}
