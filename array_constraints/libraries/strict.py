"""array-api-strict: the standard alone, on NumPy's arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from array_constraints.libraries.base import Library
from array_constraints.libraries.numpy import quiet


class Strict(Library):
    """Arrays that have nothing but what the standard says."""

    def quiet(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return quiet(function)
