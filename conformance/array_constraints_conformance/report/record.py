"""The record of a run: one JSON-ready dictionary that every report is made from."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from array_constraints_conformance.report.files import SCHEMA_VERSION, write
from array_constraints_conformance.report.law import plain
from array_constraints_conformance.report.notebook import to_notebook
from array_constraints_conformance.report.outcomes import FAILURES, ORDER
from array_constraints_conformance.report.summary import libraries_line, verdict_line
from array_constraints_conformance.report.text import WITHOUT_A_TERMINAL, all_lines, first_lines
from array_constraints_conformance.runner.again import SUITE, call_again, line_again
from array_constraints_conformance.runner.plan import Plan
from array_constraints_conformance.runner.results import Result
from array_constraints_conformance.specification import SCOPES

NAME = SUITE


def _version() -> str:
    """Return the version of the distribution, which has the library and the suite."""
    try:
        return metadata.version("array-constraints")
    except metadata.PackageNotFoundError:
        return "(not installed)"


VERSION = _version()


@dataclass(frozen=True, repr=False)
class Report:
    """The results of a run, with its plan.

    ``timeout`` is how many seconds a requirement had in a process of its own; None where it
    was judged in the process of the caller, without a limit.
    """

    plan: Plan
    results: Sequence[Result]
    command: str = ""
    timeout: float | None = None

    @property
    def met(self) -> bool:
        """Whether nothing is "not met" or "gap closed"."""
        return not self.failures

    @property
    def failures(self) -> list[Result]:
        return [result for result in self.results if result.outcome in FAILURES]

    def outcome(self, requirement: str, constraint: str | None = None) -> str:
        """Return the worst outcome of a requirement, over constraints and libraries."""
        outcomes = [
            result.outcome
            for result in self.results
            if result.requirement.id == requirement and constraint in (None, result.constraint)
        ]
        return worst(outcomes)

    @cached_property
    def record(self) -> dict[str, Any]:
        """The record, as its schema in the package describes it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "suite": {"name": NAME, "version": VERSION},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": self.command,
            "profile": self.plan.profile.name,
            "seed": self.plan.seed,
            "timeout": self.timeout,
            "subject": {"name": self.plan.subject.name, "version": self.plan.subject.version},
            "libraries": [asdict(library.described) for library in self.plan.libraries],
            "constraints": self.plan.constraints_shown,
            "requirements": self._requirements(),
            "results": [self._result(result) for result in self.results],
            "scopes": [asdict(choice) for choice in self.plan.choices],
            "verdicts": self._verdicts(),
        }

    def _requirements(self) -> list[dict[str, str]]:
        judged = {result.requirement.id: result.requirement for result in self.results}
        return [asdict(requirement) for requirement in judged.values()]

    def _result(self, result: Result) -> dict[str, Any]:
        found = result.counterexample
        shown = (
            None if found is None else {**asdict(found), "reproduce": self.reproduce(result)}
        )
        return {
            "requirement": result.requirement.id,
            "constraint": result.constraint,
            "library": result.library,
            "outcome": result.outcome,
            "applied": result.applied,
            "seconds": result.seconds,
            "reason": result.reason,
            "counterexample": shown,
        }

    def reproduce(self, result: Result) -> str:
        """Return a command, or a call, that judges this requirement again."""
        if self.plan.subject.in_code:
            return call_again(self.plan, result)
        return line_again(self.plan, result, self.timeout)

    def _verdicts(self) -> list[dict[str, Any]]:
        verdicts = []
        for scope in SCOPES:
            counts = Counter(r.outcome for r in self.results if r.requirement.scope == scope)
            if counts:
                failed = any(counts[outcome] for outcome in FAILURES)
                tested = counts["met"] + counts["known gap"]
                outcome = "not met" if failed else "met" if tested else "untested"
                verdicts.append({"scope": scope, "outcome": outcome, "counts": dict(counts)})
        return verdicts

    def write(self, folder: str | Path) -> list[Path]:
        """Write report.json, report.md, report.xml and report.html into a folder."""
        return write(self.record, Path(folder))

    def text(self, *, every: bool = False, width: int | None = None) -> str:
        """Return the report as plain text, the verdict last.

        Parameters
        ----------
        every
            Every requirement and counterexample; else the first of them, on 40 lines at most.
        width
            Of a line, in characters; that of the terminal, unless it is given.
        """
        width = width or shutil.get_terminal_size((WITHOUT_A_TERMINAL, 40)).columns
        lines = all_lines(self.record, width) if every else first_lines(self.record, width)
        return "\n".join("".join(text for text, _ in line) for line in lines)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<Report: {verdict_line(self.record)}, on {libraries_line(self.record)}>"

    def _repr_html_(self) -> str:
        """Return the verdict and what is not met as a small table, for notebooks."""
        return to_notebook(self.record)

    def explained(self, result: Result) -> list[str]:
        """Return the lines that explain a failure, the last of them how to reproduce it."""
        where = f"{result.constraint} on {result.library}"
        lines = [
            f"{result.requirement.id} {result.requirement.title}: {result.outcome}, {where}"
        ]
        found = result.counterexample
        if found is not None:
            lines.append(f"  {found.message}")
            dtype = f" ({found.dtype})" if found.dtype else ""
            for label, shown in (
                ("constraint", found.constraint),
                ("input", found.input + dtype if found.input else ""),
                ("expected", found.expected),
                ("got", found.got),
            ):
                lines += [f"  {label}: {shown}"] if shown else []
        elif result.reason:
            lines.append(f"  {result.reason}")
        lines += [
            f"  law: {plain(result.requirement.law)}",
            f"  reproduce: {self.reproduce(result)}",
        ]
        return lines


def worst(outcomes: Sequence[str]) -> str:
    """Return the worst of some outcomes."""
    return min(outcomes, key=ORDER.index, default="untested")
