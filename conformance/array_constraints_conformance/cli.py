"""The command line: what to judge, on which libraries, and where to write the reports."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from array_constraints_conformance import against, golden, known_gaps
from array_constraints_conformance.formats import FORMATS
from array_constraints_conformance.known_gaps import BadGaps
from array_constraints_conformance.libraries import UnknownLibrary, installed, library
from array_constraints_conformance.record import NAME, VERSION, Report, worst
from array_constraints_conformance.report.summary import visible
from array_constraints_conformance.runner import (
    MODULE,
    Plan,
    Result,
    WrongPlan,
    closed_everywhere,
    judged,
)
from array_constraints_conformance.specification import SCOPES, requirements
from array_constraints_conformance.subject import UnknownSubject, module_named
from array_constraints_conformance.trial import PROFILES

_SCOPES = {"map": "map", "keras": "Keras API", "this": "this API"}
_EPILOG = """examples:
  %(prog)s --constraints keras.constraints --xp numpy --scope map --scope keras
  %(prog)s --constraints my_library.constraints --xp torch --xp jax.numpy+x64+jit --report out
  %(prog)s --constraints array_constraints --matrix --quick
  %(prog)s --constraints array_constraints --against keras.constraints --xp numpy

exit status: 0 when nothing is "not met" or "gap closed", 1 when something is,
2 for a wrong call
"""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=f"python -m {NAME}",
        description="Judge an implementation of weight constraints by a specification.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--constraints", metavar="MODULE", help="the module with MaxNorm, NonNeg, ...")
    where = made.add_mutually_exclusive_group()
    where.add_argument(
        "--xp",
        metavar="LIBRARY",
        action="append",
        help="an array library, as torch or jax.numpy+x64+jit; repeatable; default: numpy",
    )
    where.add_argument(
        "--matrix",
        action="store_true",
        help="every array library that is installed, in every mode",
    )
    add(
        "--scope",
        choices=_SCOPES,
        action="append",
        help="judge this scope; repeatable; all by default",
    )
    add(
        "--only",
        metavar="ID",
        action="append",
        default=[],
        help="judge this requirement; repeatable",
    )
    add(
        "--constraint",
        metavar="NAME",
        action="append",
        default=[],
        help="judge this constraint; repeatable",
    )
    add(
        "--dtype",
        choices=FORMATS,
        action="append",
        default=[],
        help="judge with this dtype; repeatable; default: all that the library has",
    )
    size = made.add_mutually_exclusive_group()
    size.add_argument(
        "--quick", action="store_const", const="quick", dest="profile", help="fewer draws"
    )
    size.add_argument(
        "--thorough",
        action="store_const",
        const="thorough",
        dest="profile",
        help="many draws, longer slices",
    )
    add(
        "--device", help="where arrays are made, as cuda:0; the library's own choice by default"
    )
    add(
        "--processes",
        metavar="N",
        type=_count,
        default=1,
        help="judge so many libraries at a time, each in a process of its own; 1 by default",
    )
    add("--seed", type=int, default=0, help="what is drawn; 0 by default")
    add(
        "--known-gaps",
        metavar="FILE",
        help="a TOML file of known gaps, or the name of one in the package",
    )
    add(
        "--report",
        metavar="DIR",
        type=Path,
        help="write report.json, .md, .xml and .html there",
    )
    add(
        "--against",
        metavar="MODULE",
        help="compare with a second implementation instead of judging",
    )
    add(
        "--golden",
        metavar="FILE",
        type=Path,
        help="write golden vectors as JSON, for other languages",
    )
    add("--list", action="store_true", help="list the requirements")
    add("--version", action="version", version=f"{NAME} {VERSION}")
    made.set_defaults(profile="default")
    return made


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    made = parser()
    options = made.parse_args(argv)
    console = Console(soft_wrap=True, highlight=False)
    try:
        return _main(
            options, console, shlex.join(["python", "-m", NAME, *(argv or sys.argv[1:])])
        )
    except (UnknownSubject, UnknownLibrary, BadGaps, WrongPlan, WrongCall, OSError) as error:
        made.print_usage(sys.stderr)
        print(f"{NAME}: {error}", file=sys.stderr)  # noqa: T201
        return 2


class WrongCall(ValueError):
    """The arguments do not fit together."""


def _main(options: argparse.Namespace, console: Console, command: str) -> int:
    if options.list:
        console.print(_listed())
        return 0
    if options.golden:
        vectors = json.dumps(golden.vectors(options.seed), indent=1, allow_nan=False)
        options.golden.write_text(vectors + "\n")
        console.print(f"golden vectors written to {options.golden}", markup=False)
        return 0
    if not options.constraints:
        raise WrongCall("--constraints MODULE is needed")
    plan = _plan(options)
    if options.against:
        for option in ("report", "known_gaps", "only", "scope"):
            if getattr(options, option):
                raise WrongCall(f"--against takes no --{option.replace('_', '-')}")
        for line in against.compared(plan, module_named(options.against, "--against")):
            console.print(visible(line), markup=False)
        return 0
    _refuse_idle_gaps(plan)
    if options.report:
        options.report.mkdir(parents=True, exist_ok=True)  # or fail before judging
    results = _judged(plan, options)
    results = [closed_everywhere(result, results, plan) for result in results]
    report = Report(plan, results, command)
    console.print(_summary(report))
    for line in str(report).splitlines():
        console.print(visible(line), markup=False)
    if options.report:
        for path in report.write(options.report):
            console.print(f"written: {path}", markup=False)
    return 0 if report.met else 1


def _plan(options: argparse.Namespace) -> Plan:
    subject = module_named(options.constraints)
    unknown = [name for name in options.only if name not in requirements()]
    unknown += [n for n in options.constraint if n not in (*subject.entries, MODULE)]
    if unknown:
        raise WrongCall(f"{unknown[0]!r} is no requirement or constraint")
    names = installed() if options.matrix else dict.fromkeys(options.xp or ["numpy"])
    return Plan(
        subject,
        [library(name, options.device) for name in names],
        PROFILES[options.profile],
        options.seed,
        [_SCOPES[scope] for scope in options.scope] if options.scope else SCOPES,
        options.only,
        options.constraint,
        known_gaps.read(options.known_gaps) if options.known_gaps else (),
        options.dtype,
        options.known_gaps,
    )


@contextmanager
def _progress(total: int) -> Iterator[Progress]:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task("judging", total=total)
        yield progress


def _judged(plan: Plan, options: argparse.Namespace) -> list[Result]:
    results: list[Result] = []
    with _progress(len(list(plan.tasks()))) as progress:
        for result in _results(plan, options):
            results.append(result)
            text = f"{result.library} {result.constraint} {result.requirement.id}"
            progress.update(progress.task_ids[0], advance=1, description=text)
    return results


def _results(plan: Plan, options: argparse.Namespace) -> Iterator[Result]:
    if options.processes == 1 or len(plan.libraries) == 1:
        yield from judged(plan)
        return
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        names = [library.name for library in plan.libraries]
        for results in pool.map(_on_one_library, repeat(options), names):
            yield from results


def _on_one_library(options: argparse.Namespace, name: str) -> list[Result]:
    options.xp, options.matrix = [name], False
    return list(judged(_plan(options)))


def _refuse_idle_gaps(plan: Plan) -> None:
    """Refuse known gaps of judged requirements for constraints that there are not."""
    judged = {(requirement.id, name) for requirement, name, _ in plan.tasks()}
    ids = {requirement for requirement, _ in judged}
    for gap in plan.gaps:
        named = any(gap.covers(*task, gap.library) for task in judged)
        if gap.requirement in ids and not named and not plan.constraints:
            raise BadGaps(
                f"the known gap {gap.requirement} is for {gap.constraint!r}, which there is not"
            )


def _summary(report: Report) -> Table:
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


def _listed() -> Table:
    table = Table()
    for column in ("ID", "level", "scope", "requirement", "constraints", "libraries"):
        table.add_column(column)
    for r in requirements().values():
        table.add_row(r.id, r.level, r.scope, r.title, r.constraints, r.libraries)
    return table
