"""Parameter values as strict JSON holds them, and back."""

from __future__ import annotations

import math
from typing import Any


def to_json(value: object) -> Any:
    """Tuples become lists and infinity the string ``"inf"``: strict JSON has neither."""
    if isinstance(value, tuple | list):
        return [to_json(entry) for entry in value]
    if isinstance(value, dict):
        return {key: to_json(entry) for key, entry in value.items()}
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def from_json(value: object) -> Any:
    """Read :func:`to_json` back, and the arrays that Keras writes as dictionaries."""
    if isinstance(value, dict):
        if value.get("class_name") not in ("__numpy__", "__tensor__"):
            return {key: from_json(entry) for key, entry in value.items()}
        try:
            value = value["config"]["value"]
        except (KeyError, TypeError):
            raise ValueError(f"an array in a config has a 'value', got {value!r}") from None
    if isinstance(value, list):
        return tuple(from_json(entry) for entry in value)
    return float(value) if value in ("inf", "-inf") else value
