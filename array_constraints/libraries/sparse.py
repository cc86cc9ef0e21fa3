"""PyData Sparse, which no constraint takes."""

from __future__ import annotations

from typing import Any

from array_constraints.libraries.base import Library


class Sparse(Library):
    """Sparse arrays: zeros that are not stored have no place to go to."""

    def refused(self, w: Any) -> str | None:
        return "stored sparsely: make it dense first"
