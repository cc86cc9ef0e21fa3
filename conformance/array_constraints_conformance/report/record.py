"""The record of a run: one JSON-ready dictionary that every report is made from."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from array_constraints_conformance.report.files import SCHEMA_VERSION, write
from array_constraints_conformance.report.outcomes import FAILURES, ORDER
from array_constraints_conformance.runner.plan import Plan
from array_constraints_conformance.runner.results import Result
from array_constraints_conformance.specification import SCOPES

NAME = "array_constraints_conformance"
VERSION = metadata.version("array-constraints")  # one distribution


@dataclass(frozen=True)
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
            "constraints": list(self.plan.subject.definitions),
            "requirements": self._requirements(),
            "results": [self._result(result) for result in self.results],
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
        plan = self.plan
        device = plan.libraries[0].device_name if plan.libraries else None
        if plan.subject.single:
            words = [f"only={[result.requirement.id]!r}", f"xp={result.library!r}"]
            words += [f"profile={plan.profile.name!r}"]
            for name, value in (
                ("seed", plan.seed),
                ("dtypes", list(plan.dtypes)),
                ("device", device),
                ("gaps", plan.gaps_named),
            ):
                words += [f"{name}={value!r}"] if value else []
            return f"check_constraint(..., {', '.join(words)})"
        words = [
            "python",
            "-m",
            NAME,
            "--constraints",
            plan.subject.name,
            "--xp",
            result.library,
        ]
        words += ["--only", result.requirement.id, "--constraint", result.constraint]
        given = self.timeout not in (None, plan.profile.timeout)
        words += ["--timeout", f"{self.timeout:g}"] if given else []
        words += [f"--{plan.profile.name}"] if plan.profile.name != "default" else []
        words += [word for dtype in plan.dtypes for word in ("--dtype", dtype)]
        words += ["--seed", str(plan.seed)] if plan.seed else []
        words += ["--known-gaps", plan.gaps_named] if plan.gaps_named else []
        return shlex.join([*words, *(["--device", device] if device else [])])

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

    def __str__(self) -> str:
        verdicts = self.record["verdicts"]
        tested = any(verdict["outcome"] == "met" for verdict in verdicts)
        word = "not met" if not self.met else "met" if tested else "untested"
        lines = [f"{self.plan.subject.name}: {word}"]
        for verdict in verdicts:
            counts = ", ".join(f"{n} {outcome}" for outcome, n in verdict["counts"].items())
            lines.append(f"  {verdict['scope']}: {verdict['outcome']} ({counts})")
        for result in self.failures:
            lines += ["", *self.explained(result)]
        return "\n".join(lines)

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
        lines += [f"  law: {result.requirement.law}", f"  reproduce: {self.reproduce(result)}"]
        return lines


def worst(outcomes: Sequence[str]) -> str:
    """Return the worst of some outcomes."""
    return min(outcomes, key=ORDER.index, default="untested")
