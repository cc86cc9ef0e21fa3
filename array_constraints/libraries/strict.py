"""array-api-strict: the standard alone, on NumPy's arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from array_constraints.libraries.base import Library
from array_constraints.libraries.numpy import call_quietly


class Strict(Library):
    """Arrays that have nothing but what the standard says."""

    def quietly(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return call_quietly(function, *arguments)
