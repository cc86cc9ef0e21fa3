"""From the options of a command to the plan of a run."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click

from array_constraints.cli.arguments import value_of
from array_constraints.cli.constraints import parameters
from array_constraints.cli.streams import with_flags
from array_constraints.files import Options, Plan, planned
from array_constraints.files.run.workers import Workers
from array_constraints.rules import OPTIONS, Rule, Rules, constraint_of, read_rules


def planned_run(
    source: str,
    *,
    to_project: bool,
    target: Path | None = None,
    constraint: str | None,
    rules: Path | None,
    **more: Any,
) -> AbstractContextManager[tuple[Plan, Workers]]:
    """Open a source and plan a run, as the options of a command say: see :func:`planned`."""
    fields = [field.name for field in dataclasses.fields(Options) if field.name in more]
    options = Options(**{name: more.pop(name) for name in fields})
    given = {name: value for name, value in more.items() if value not in (None, ())}
    found = _rules(constraint, given, rules)
    return planned(source, found, options, to_project=to_project, target=target)


def _rules(constraint: str | None, given: dict[str, Any], rules: Path | None) -> Rules:
    if (constraint is None) == (rules is None):
        raise click.UsageError("give either --constraint or --rules")
    if rules is not None:
        if given:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise click.UsageError(f"--rules say which constraint is where: leave out {flags}")
        return read_rules(rules)
    chosen_by, patterns = selecting(given)
    values = {}
    for name, text in given.items():
        try:
            values[name] = value_of(name, text)
        except ValueError as error:
            more = ", none or incoming" if name == "axis" else ""
            raise click.UsageError(f"--{name.replace('_', '-')}: {error}{more}") from None
    try:
        found = constraint_of(constraint, values)
    except (TypeError, ValueError) as error:
        raise type(error)(with_flags(str(error), parameters())) from None
    return Rules(Rule(pattern, found, **chosen_by) for pattern in patterns)


def selecting(given: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Take the options that say which tensors, and return them, and the patterns of names."""
    found = {name: given.pop(name) for name in OPTIONS if given.get(name) not in (None, ())}
    return found, found.pop("select", ("*",))
