"""Rules from files of TOML and JSON."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from array_constraints.config import class_named, get, strict_json
from array_constraints.parameters import from_json, number_from_text
from array_constraints.rules.rule import OPTIONS, Rule
from array_constraints.rules.rules import Rules
from array_constraints.typing import name_of

_SELECTING = {"select", "kind", "ndim"}
_NONE = "none"
_LONGEST = 2**24
"""Bytes of a file of rules: a hundred thousand of them."""


def read_rules(path: str | Path) -> Rules:
    """Return the rules in a TOML or JSON file.

    A table ``rules`` lists them in order. Each says which weights it selects, by ``select``,
    ``kind``, ``ndim``, ``min_size`` and ``exclude``, as :class:`Rule` has them, and whether it
    is ``required``; a ``constraint``, which is a name or a whole config, and beside it the
    parameters of that constraint. ``"none"`` leaves alone what is selected.

    Raises
    ------
    ValueError
        If the file is not TOML or JSON in UTF-8, is longer than 16 MiB, has a key twice, is
        nested more than 64 levels deep, or says anything else.
    TypeError
        If a parameter is not of the type that the constraint takes.
    """
    path = Path(path)
    if path.suffix not in (".toml", ".json"):
        raise ValueError(f"{path}: rules are read from .toml or .json")
    with path.open("rb") as file:
        text = file.read(_LONGEST + 1)
    if len(text) > _LONGEST:
        raise ValueError(f"{path}: rules are at most {_LONGEST} bytes long")
    parse = _from_toml if path.suffix == ".toml" else strict_json.parsed
    try:
        content = parse(text.decode("utf-8-sig"))  # an editor may have put a mark there
    except RecursionError:
        raise ValueError(f"{path}: is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"{path}: not {path.suffix[1:].upper()}: {error}") from None
    entries = content.get("rules") if isinstance(content, dict) else None
    if not isinstance(entries, list) or set(content) != {"rules"}:
        raise ValueError(
            f"{path}: must hold one list, 'rules', in TOML tables [[rules]], and nothing else"
        )
    return Rules(_rule(entry, f"{path}: rule {i}") for i, entry in enumerate(entries, 1))


def _from_toml(text: str) -> Any:
    # TOML has underscores between digits.
    return tomllib.loads(text, parse_float=lambda n: number_from_text(n.replace("_", "")))


def _rule(entry: Any, where: str) -> Rule:
    if not isinstance(entry, dict) or "constraint" not in entry or not set(entry) & _SELECTING:
        keys = f", got {', '.join(entry)}" if isinstance(entry, dict) else ""
        raise ValueError(
            f"{where}: must have 'select', 'kind' or 'ndim', and 'constraint'{keys}"
        )
    options = {name: entry[name] for name in OPTIONS if name in entry}
    parameters = {k: v for k, v in entry.items() if k not in (*OPTIONS, "constraint")}
    try:
        constraint = constraint_of(entry["constraint"], parameters)
        return Rule(**{"select": "*", "constraint": constraint} | options)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}: {error}") from None


def constraint_of(identifier: Any, parameters: Mapping[str, Any]) -> Any:
    """Return the constraint that a name or a config and parameters beside it describe."""
    if identifier is None or identifier == _NONE:
        if parameters:
            raise ValueError(f"no constraint takes parameters, got {sorted(parameters)}")
        return None
    made = class_named(identifier) if isinstance(identifier, str) else get(identifier)
    missing = set(_required(made)) - set(parameters)
    if missing:
        named = ", ".join(sorted(missing))
        raise ValueError(f"{name_of(made)} needs the parameter {named}")
    if not parameters:
        return get(made)
    known = [f.name for f in dataclasses.fields(made)] if dataclasses.is_dataclass(made) else []
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ValueError(
            f"{name_of(made if isinstance(made, type) else type(made))} has no parameter "
            f"{', '.join(unknown)}: it has {', '.join(known) or 'none'}"
        )
    plain = {k: None if _is_none(v) else v for k, v in parameters.items()}
    values = {k: from_json(v) for k, v in plain.items()}
    return made(**values) if isinstance(made, type) else dataclasses.replace(made, **values)


def _required(made: Any) -> list[str]:
    """Return the fields of a class that have no default."""
    if not (isinstance(made, type) and dataclasses.is_dataclass(made)):
        return []
    fields = (f for f in dataclasses.fields(made) if f.init)
    nothing = dataclasses.MISSING
    return [f.name for f in fields if f.default is nothing and f.default_factory is nothing]


def _is_none(value: Any) -> bool:
    return isinstance(value, str) and value == _NONE  # TOML has no null
