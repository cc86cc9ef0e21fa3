"""Lines, numbers with nouns, and JSON, as the commands print them."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable
from typing import Any

from array_constraints.cli.streams import printable
from array_constraints.files.run.report import Skipped
from array_constraints.typing import name_of

_LONGEST = 200
"""Characters of a constraint above a table."""


def counted(count: int, noun: str) -> str:
    """Return a number and its noun, as ``1 weight`` or ``2,000 weights``."""
    if count != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {noun}"


def shown(constraint: Any) -> str:
    """Return a constraint as it stands above a table."""
    text = printable(repr(constraint))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def config_of(constraint: Any) -> Any:
    """Return a constraint as JSON has it."""
    return {"class_name": name_of(type(constraint)), "config": constraint.get_config()}


def skipped_as_json(some: Iterable[Skipped]) -> list[dict[str, str]]:
    """Return what is skipped, and why, as JSON has it."""
    return [{"name": one.name, "reason": one.reason} for one in some]


def print_json(rows: Iterable[dict[str, Any]], **rest: Any) -> None:
    """Print a JSON object whose ``tensors`` are rows that come one by one."""
    head = f"{json.dumps(rest, indent=2, allow_nan=False)[:-2]}," if rest else "{"
    sys.stdout.write(f'{head}\n  "tensors": [')
    between = ""
    for row in rows:
        text = json.dumps(row, indent=2, allow_nan=False)
        sys.stdout.write(f"{between}\n{textwrap.indent(text, '    ')}")
        between = ","
    print_line("\n  ]\n}")


def print_line(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")
