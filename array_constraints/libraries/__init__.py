"""Array libraries: one file each, the only place where a library is named or imported."""

from array_constraints.libraries.base import Library
from array_constraints.libraries.table import (
    CONTENTS,
    compiling,
    mapped_at_once,
    of,
    of_namespace,
    ties,
    traced,
)

__all__ = [
    "CONTENTS",
    "Library",
    "compiling",
    "mapped_at_once",
    "of",
    "of_namespace",
    "ties",
    "traced",
]
