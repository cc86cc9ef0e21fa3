"""JSON as files have it: each key once, and no number beyond the range of numbers."""

from __future__ import annotations

import json
from typing import Any

from array_constraints.parameters import number_from_text


def parsed(text: str) -> Any:
    """Return what a JSON text says; the bare ``Infinity`` and ``NaN`` of Keras are read, too.

    Raises
    ------
    ValueError
        If it is no JSON, has a key twice in one dictionary, or a number out of range.
    RecursionError
        If it is nested deeper than the parser goes.
    """
    return json.loads(text, parse_float=number_from_text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands there twice")
        found[key] = value
    return found
