"""Tables for the terminal: the requirements, and the worst outcome of each in a run."""

from __future__ import annotations

from rich.table import Table

from array_constraints_conformance.report.record import Report, worst
from array_constraints_conformance.specification import requirements


def summary(report: Report) -> Table:
    """Return a table of the worst outcome of each requirement on each library."""
    names = [library.name for library in report.plan.libraries]
    table = Table(title=f"{report.plan.subject.name}, profile {report.plan.profile.name}")
    for column in ("", "requirement", *names):
        table.add_column(column)
    cells: dict[tuple[str, str], list[str]] = {}
    for result in report.results:
        cells.setdefault((result.requirement.id, result.library), []).append(result.outcome)
    for requirement in {
        result.requirement.id: result.requirement for result in report.results
    }.values():
        outcomes = [worst(cells[requirement.id, name]) for name in names]
        table.add_row(requirement.id, requirement.title, *map(_styled, outcomes))
    return table


def _styled(outcome: str) -> str:
    colour = {"met": "green", "not met": "bold red", "gap closed": "red", "known gap": "yellow"}
    style = colour.get(outcome, "dim")
    return f"[{style}]{outcome}[/]"


def listed() -> Table:
    table = Table()
    for column in ("ID", "level", "scope", "requirement", "constraints", "libraries"):
        table.add_column(column)
    for r in requirements().values():
        table.add_row(r.id, r.level, r.scope, r.title, r.constraints, r.libraries)
    return table
