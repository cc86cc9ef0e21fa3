"""How libraries find the thresholds by which slices are brought to a sum."""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def thresholds_of(library: Any) -> Any:
    """Return how a library finds thresholds: a :class:`~.expression.Thresholds`."""
    return library.thresholds(library)
