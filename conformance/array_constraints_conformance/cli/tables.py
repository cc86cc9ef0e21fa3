"""What the terminal shows: the report in colours, and the table of requirements."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from array_constraints_conformance.report.record import Report
from array_constraints_conformance.report.text import all_lines, first_lines
from array_constraints_conformance.specification import requirements

_COLOURS = {
    "met": "green",
    "not met": "bold red",
    "gap closed": "red",
    "untested": "yellow",
    "known gap": "yellow",
    "not provided": "dim",
    "not applicable": "dim",
}


def coloured(report: Report, every: bool, width: int) -> Iterator[Text]:
    """Yield the lines of a report, each outcome in its colour."""
    for line in (all_lines if every else first_lines)(report.record, width):
        yield Text.assemble(*((text, _COLOURS.get(outcome, "")) for text, outcome in line))


def listed() -> Table:
    """Return a table of the requirements."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("ID", "level", "scope", "requirement", "constraints", "libraries"):
        table.add_column(column, no_wrap=column in ("ID", "level", "scope"))
    for r in requirements().values():
        table.add_row(r.id, r.level, r.scope, r.title, r.constraints, r.libraries)
    return table
