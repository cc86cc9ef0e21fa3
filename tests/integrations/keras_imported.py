"""The Keras integration, imported for one module of tests, and forgotten after it.

It renames our classes, which the tests of all the rest are to see as they are without it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from array_constraints import Constraint, libraries
from array_constraints.config import BUILT_IN, registry

NAME = "array_constraints.integrations.keras"


@pytest.fixture(scope="module")
def integration() -> Iterator[ModuleType]:
    keras = pytest.importorskip("keras")
    registered, refuse = dict(registry._registered), Constraint.get_build_config
    names = {cls: cls.__name__ for cls in (*BUILT_IN.values(), *registered.values())}
    yield importlib.import_module(NAME)
    for module in [m for m in sys.modules if m.partition(f"{NAME}.")[0] in ("", NAME)]:
        del sys.modules[module]
    registry._listeners.clear()
    registry._registered.clear()
    registry._registered.update(registered)
    libraries.CONTENTS.clear()
    Constraint.get_build_config = refuse
    for cls, name in names.items():
        cls.__name__ = name
    for key in [key for key in keras.saving.get_custom_objects() if ">" in key]:
        del keras.saving.get_custom_objects()[key]
