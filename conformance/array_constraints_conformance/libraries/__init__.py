"""The array libraries that a constraint is judged on: how arrays are made, read and traced."""

from array_constraints_conformance.libraries.base import (
    Description,
    Elsewhere,
    Library,
    UnknownLibrary,
)
from array_constraints_conformance.libraries.table import installed, library

__all__ = [
    "Description",
    "Elsewhere",
    "Library",
    "UnknownLibrary",
    "installed",
    "library",
]
