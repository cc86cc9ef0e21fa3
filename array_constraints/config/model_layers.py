"""The layers of a Keras model: how they lie in each other, and their constraints."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from array_constraints.config import dialects, registry
from array_constraints.constraint import Constraint

_ARGUMENT = re.compile(r"(.*_)?constraints?", re.DOTALL)
_FUNCTIONS = ("__lambda__", "<lambda>", "function")
_LONGEST_NAME = 400
"""Characters of a path that are shown in a message."""


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer: two of them are the same only if they stand at the same place of the file."""

    path: str


@dataclass(frozen=True)
class _Entry:
    """What stands at an argument of a layer: a constraint, or ``None``."""

    layer: _Layer
    places: tuple[str, ...]
    value: Any

    @property
    def path(self) -> str:
        return "/".join(filter(None, (self.layer.path, *self.places)))

    @property
    def owner(self) -> str:
        """The path without the argument, which no other layer may have."""
        return "/".join(filter(None, (self.layer.path, *self.places[:-1])))


def constraints_in(
    model: Mapping[str, Any],
    path: str | Path,
    custom_objects: Mapping[str, type[Constraint]] | None = None,
) -> dict[str, Constraint]:
    """Return the constraints of a model by their paths; ``path`` is the file, for messages."""
    entries = list(_entries(model["config"], _Layer(""), (), False))
    owners: dict[str, set[_Layer]] = {}
    for entry in entries:
        owners.setdefault(entry.owner, set()).add(entry.layer)
    found: dict[str, Constraint] = {}
    for entry in entries:
        if entry.value is None:
            continue
        where = f"{path}: {entry.path[:_LONGEST_NAME]!r}"
        if len(owners[entry.owner]) > 1 or entry.path in found:
            raise ValueError(f"{where}: two layers have this path: give each its own name")
        found[entry.path] = _constraint(entry.value, where, custom_objects)
    return found


def _entries(
    value: Any, layer: _Layer, places: tuple[str, ...], in_argument: bool
) -> Iterator[_Entry]:
    """Yield what stands at the arguments of a layer and of those in it, at any depth."""
    if isinstance(value, str) or value is None:
        if in_argument:
            yield _Entry(layer, places, value)
    elif isinstance(value, list):
        for i, entry in enumerate(value):
            yield from _entries(entry, layer, (*places, str(i)), in_argument)
    elif isinstance(value, dict):
        if registry.names_constraint(value) or (in_argument and _is_config(value)):
            yield _Entry(layer, places, value)
        elif isinstance(value.get("class_name"), str) and "config" in value:
            yield from _entries(value["config"], _inside(layer, value), (), False)
        else:
            for key, entry in value.items():
                named = in_argument or _ARGUMENT.fullmatch(key) is not None
                yield from _entries(entry, layer, (*places, key), named)


def _is_config(value: Mapping[str, Any]) -> bool:
    return any(key in value for key in ("class_name", "className", "name"))


def _inside(layer: _Layer, value: Mapping[str, Any]) -> _Layer:
    """Return a layer that lies in another one; Keras 1 names some of them outside."""
    config = value["config"]
    name = config.get("name") if isinstance(config, dict) else None
    names = [n for n in (name, value.get("name")) if isinstance(n, str) and n]
    own = names[0] if names else dialects.snake(value["class_name"].rpartition(">")[2])
    return _Layer(f"{layer.path}/{own}" if layer.path else own)


def _constraint(
    value: str | Mapping[str, Any],
    where: str,
    custom_objects: Mapping[str, type[Constraint]] | None,
) -> Constraint:
    config = {"class_name": value} if isinstance(value, str) else value
    if config.get("class_name") in _FUNCTIONS:
        raise ValueError(
            f"{where}: is a function, which is never run from a file: make it a subclass of "
            "Constraint, register it, and save the model with it"
        )
    try:
        constraint = registry.deserialize(config, custom_objects)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{where}: {error}") from error
    assert constraint is not None  # noqa: S101 - only None gives None
    return constraint
