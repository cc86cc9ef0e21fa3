"""Constraints to and from configurations: strict JSON, and every dialect of Keras."""

from array_constraints.config.built_in import BUILT_IN
from array_constraints.config.models import read_constraints
from array_constraints.config.registry import (
    PACKAGE,
    class_named,
    deserialize,
    get,
    register,
    serialize,
    tell,
)

__all__ = [
    "BUILT_IN",
    "PACKAGE",
    "class_named",
    "deserialize",
    "get",
    "read_constraints",
    "register",
    "serialize",
    "tell",
]
