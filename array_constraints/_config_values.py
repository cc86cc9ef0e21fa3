"""Parameter values as strict JSON holds them, and back."""

from __future__ import annotations

import math
from typing import Any


def to_json(value: object) -> Any:
    """Tuples become lists and infinity the string ``"inf"``: strict JSON has neither."""
    if isinstance(value, tuple | list):
        return [to_json(entry) for entry in value]
    return str(value) if value in (math.inf, -math.inf) else value


def from_json(value: object) -> Any:
    """Read :func:`to_json` back, and the arrays that Keras writes as dictionaries."""
    if isinstance(value, dict) and value.get("class_name") in ("__numpy__", "__tensor__"):
        value = value["config"]["value"]
    if isinstance(value, list):
        return [from_json(entry) for entry in value]
    return float(value) if value in ("inf", "-inf") else value
