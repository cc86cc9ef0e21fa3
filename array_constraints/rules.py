"""Which constraint applies to which named weight: an ordered list, the first match wins."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from array_constraints.config import get
from array_constraints.parameters import from_json, number_from_text

_NONE = "none"
_LONGEST = 2**24
"""Bytes of a file of rules: a hundred thousand of them."""


@dataclass(frozen=True)
class Rule:
    """A pattern of names, and the constraint of the weights that it matches.

    Parameters
    ----------
    select
        A pattern as a shell matches it: ``*`` stands for any characters, dots and slashes
        included, ``?`` for one, ``[ab]`` for one of those; upper and lower case differ.
    constraint
        A constraint, any callable, or ``None``: what it matches is left alone.

    Examples
    --------
    >>> from array_constraints import MaxNorm
    >>> from array_constraints.rules import Rule
    >>> Rule("layers.*.weight", MaxNorm(2.0, axis=1)).matches("layers.0.weight")
    True
    """

    select: str
    constraint: Any

    def __post_init__(self) -> None:
        if not isinstance(self.select, str):
            raise TypeError(f"select must be a pattern, got {type(self.select).__name__}")
        if self.constraint is not None and not callable(self.constraint):
            raise TypeError(
                f"the constraint of {self.select!r} must be callable or None, "
                f"got {type(self.constraint).__name__}"
            )

    def matches(self, name: str) -> bool:
        """Whether the pattern matches all of ``name``."""
        return self._pattern.match(name) is not None

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(fnmatch.translate(self.select))


@dataclass(frozen=True)
class Rules:
    """An ordered list of rules; the first that matches a name decides.

    Examples
    --------
    >>> from array_constraints import MaxNorm, NonNeg
    >>> from array_constraints.rules import Rule, Rules
    >>> rules = Rules([Rule("*.bias", None), Rule("head.*", NonNeg()), Rule("*", MaxNorm(2.0))])
    >>> rules.match(["body.weight", "body.bias", "head.weight"])
    {'body.weight': MaxNorm(max_value=2.0, axis=0), 'head.weight': NonNeg()}
    """

    rules: tuple[Rule, ...]

    def __init__(self, rules: Iterable[Rule]) -> None:
        object.__setattr__(self, "rules", tuple(rules))
        if not self.rules:
            raise ValueError("rules must hold at least one rule")

    def match(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the constraint of each name that has one, in the order of ``names``.

        Raises
        ------
        LookupError
            If no name is left for a rule: it would never act, which is most often a mistake.
        """
        names = list(names)
        first: dict[str, Rule] = {}
        for name in names:
            rule = next((rule for rule in self.rules if rule.matches(name)), None)
            if rule is not None:
                first[name] = rule
        acting = {id(rule) for rule in first.values()}
        for rule in self.rules:
            if id(rule) not in acting and not any(
                first[name].constraint == rule.constraint
                for name in names
                if rule.matches(name)
            ):
                raise LookupError(_unused(rule, names))
        return {
            name: rule.constraint for name, rule in first.items() if rule.constraint is not None
        }


def as_rules(rules: Any) -> Rules:
    """Return rules from a constraint for all weights, or pairs of pattern and constraint.

    Examples
    --------
    >>> as_rules([("*.weight", "unit_norm")]).rules
    (Rule(select='*.weight', constraint=UnitNorm(axis=0)),)
    """
    if isinstance(rules, Rules):
        return rules
    if isinstance(rules, Mapping) and "class_name" not in rules:
        rules = rules.items()
    if isinstance(rules, Iterable) and not isinstance(rules, str | Mapping):
        pairs = [(r.select, r.constraint) if isinstance(r, Rule) else r for r in rules]
        return Rules(Rule(select, get(constraint)) for select, constraint in pairs)
    return Rules([Rule("*", get(rules))])


def read_rules(path: str | Path) -> Rules:
    """Return the rules in a TOML or JSON file.

    A table ``rules`` lists them in order. Each has a pattern, ``select``, a ``constraint``,
    which is a name or a whole config, and beside it the parameters of that constraint;
    ``"none"`` leaves alone what it matches.

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
    parse = _from_toml if path.suffix == ".toml" else _from_json
    try:
        content = parse(text.decode("utf-8-sig"))  # an editor may have put a mark there
    except RecursionError:
        raise ValueError(f"{path}: is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"{path}: not {path.suffix[1:].upper()}: {error}") from None
    entries = content.get("rules") if isinstance(content, dict) else None
    if not isinstance(entries, list) or set(content) != {"rules"}:
        raise ValueError(f"{path}: must hold one list, 'rules', and nothing else")
    return Rules(_rule(entry, f"{path}: rule {i}") for i, entry in enumerate(entries, 1))


def _from_toml(text: str) -> Any:
    # TOML has underscores between digits.
    return tomllib.loads(text, parse_float=lambda n: number_from_text(n.replace("_", "")))


def _from_json(text: str) -> Any:
    return json.loads(text, parse_float=number_from_text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands there twice")
        found[key] = value
    return found


def _rule(entry: Any, where: str) -> Rule:
    if not isinstance(entry, dict) or not {"select", "constraint"} <= set(entry):
        raise ValueError(f"{where}: must have 'select' and 'constraint'")
    parameters = {k: v for k, v in entry.items() if k not in ("select", "constraint")}
    try:
        return Rule(entry["select"], constraint_of(entry["constraint"], parameters))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}: {error}") from None


def constraint_of(identifier: Any, parameters: Mapping[str, Any]) -> Any:
    """Return the constraint that a name or a config and parameters beside it describe."""
    if identifier is None or identifier == _NONE:
        if parameters:
            raise ValueError(f"no constraint takes parameters, got {sorted(parameters)}")
        return None
    constraint = get(identifier)
    if not parameters:
        return constraint
    known = [f.name for f in dataclasses.fields(constraint)] if _is_instance(constraint) else []
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ValueError(
            f"{type(constraint).__name__} has no parameter {', '.join(unknown)}: "
            f"it has {', '.join(known) or 'none'}"
        )
    plain = {k: None if v == _NONE else v for k, v in parameters.items()}  # TOML has no null
    values = {k: from_json(v) for k, v in plain.items()}
    return dataclasses.replace(constraint, **values)


def _is_instance(constraint: Any) -> bool:
    return dataclasses.is_dataclass(constraint) and not isinstance(constraint, type)


def _unused(rule: Rule, names: list[str]) -> str:
    taken = [name for name in names if rule.matches(name)]
    if taken:
        return (
            f"the rule {rule.select!r} never acts: earlier rules take all {len(taken)} "
            f"weights that it matches, {taken[0]!r} first; put it before them"
        )
    shown = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
    return f"the rule {rule.select!r} matches none of the {len(names)} weights: {shown}"
