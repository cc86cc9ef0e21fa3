"""The array libraries that a constraint is judged on: how arrays are made, read and traced."""

from array_constraints_conformance.libraries.base import (
    DescribedLibrary,
    Description,
    Library,
    UnknownLibrary,
)
from array_constraints_conformance.libraries.table import installed, library

__all__ = [
    "DescribedLibrary",
    "Description",
    "Library",
    "UnknownLibrary",
    "installed",
    "library",
]
