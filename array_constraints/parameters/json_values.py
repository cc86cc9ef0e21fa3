"""Values of configs: as strict JSON and back, and numbers from texts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

DEEPEST = 64
"""Levels of lists and dictionaries in a config; an array of NumPy has as many dimensions."""

_INT = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(
    r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|[+-]?(inf|infinity|nan)", re.IGNORECASE
)
_SEQUENCES = ("__tuple__", "TensorShape")  # of TensorFlow and tf_keras: {"items": [...]}
_ARRAYS = ("__numpy__", "__tensor__")  # of Keras 3: {"config": {"value": ...}}


def number_from_text(text: str) -> float:
    """Return the number that a text stands for, an int if it has no point and no exponent.

    Raises
    ------
    ValueError
        If it is not a number in decimal digits, ``inf`` or ``nan``, or out of the range.
    """
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{_shortened(text)} is not a number")
    found = float(text)
    if math.isinf(found) and "i" not in text.lower():
        raise ValueError(f"{_shortened(text)} is beyond the range of numbers: write inf")
    return int(text) if _INT.fullmatch(text) else found


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def judge_depth(value: object) -> None:
    """Raise ValueError where a value is nested too deep to be read, printed or compared."""
    level = [value]
    for _ in range(DEEPEST + 1):
        held = {id(entry): entry for outer in level for entry in _entries(outer)}
        level = [v for v in held.values() if isinstance(v, Mapping | list | tuple)]
        if not level:
            return
    raise ValueError(f"a config is nested more than {DEEPEST} levels deep: flatten it")


def _entries(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    return list(value) if isinstance(value, list | tuple) else []


def to_json(value: object) -> Any:
    """Tuples become lists and infinity the string ``"inf"``: strict JSON has neither."""
    if isinstance(value, tuple | list):
        return [to_json(entry) for entry in value]
    if isinstance(value, dict):
        return {key: to_json(entry) for key, entry in value.items()}
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def from_json(value: object) -> Any:
    """Read :func:`to_json` back, and what Keras and TensorFlow write as dictionaries."""
    judge_depth(value)
    return _restored(tuples_restored(value))


def _restored(value: object) -> Any:
    if isinstance(value, Mapping) and _kind(value) in _ARRAYS:
        config = value.get("config")
        if not isinstance(config, Mapping) or "value" not in config:
            raise ValueError(f"an array in a config has a 'value', got keys {list(value)}")
        value = config["value"]
    if isinstance(value, Mapping):
        return {key: _restored(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return tuple([_restored(entry) for entry in value])
    return float(value) if isinstance(value, str) and value in ("inf", "-inf") else value


def tuples_restored(value: object) -> Any:
    """Return a value with tuples where TensorFlow wrote dictionaries for them."""
    if isinstance(value, Mapping):
        if _kind(value) not in _SEQUENCES:
            return {key: tuples_restored(entry) for key, entry in value.items()}
        items = value.get("items")
        if not isinstance(items, list | tuple):
            kind = type(items).__name__
            raise ValueError(f"a {_kind(value)} in a config has a list of 'items', got {kind}")
        return tuple([tuples_restored(entry) for entry in items])
    if isinstance(value, list | tuple):
        entries = [tuples_restored(entry) for entry in value]
        return tuple(entries) if isinstance(value, tuple) else entries
    return value


def _kind(value: Mapping[Any, Any]) -> object:
    return value.get("class_name", value.get("className"))
