"""The commands: judge and report, compare two implementations, list, write golden vectors."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

from array_constraints_conformance import known_gaps
from array_constraints_conformance.cli.options import WrongCall, one_line, parser, request_of
from array_constraints_conformance.cli.tables import coloured, listed
from array_constraints_conformance.known_gaps import BadGaps
from array_constraints_conformance.libraries import UnknownLibrary
from array_constraints_conformance.processes.judging import Judging, Refusal, Unfinished
from array_constraints_conformance.processes.process import Limits
from array_constraints_conformance.report.record import NAME, Report
from array_constraints_conformance.report.summary import visible
from array_constraints_conformance.report.text import WITHOUT_A_TERMINAL
from array_constraints_conformance.runner.again import shell_line
from array_constraints_conformance.runner.gaps import closed_everywhere
from array_constraints_conformance.runner.plan import Plan, WrongPlan
from array_constraints_conformance.runner.results import Result
from array_constraints_conformance.weights import golden


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = parser().parse_args(argv)
    console = _console()
    try:
        return _main(options, console, list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        print(f"{NAME}: stopped, and nothing written", file=sys.stderr)  # noqa: T201
        return 130
    except Unfinished as error:
        print(f"{NAME}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except (Refusal, UnknownLibrary, BadGaps, WrongPlan, WrongCall, OSError) as error:
        print(f"{NAME}: {one_line(error)}", file=sys.stderr)  # noqa: T201
        return 2


def _console() -> Console:
    """Return where the report goes; what its encoding lacks is written as an escape."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return Console(soft_wrap=True, highlight=False)


def _main(options: argparse.Namespace, console: Console, words: list[str]) -> int:
    if options.list:
        console.print(listed(), soft_wrap=False)
        return 0
    if options.golden:
        vectors = json.dumps(golden.vectors(options.seed), indent=1, allow_nan=False)
        options.golden.write_text(vectors + "\n")
        console.print(f"golden vectors written to {options.golden}", markup=False)
        return 0
    if not options.constraints:
        raise WrongCall("--constraints MODULE is needed")
    if options.against:
        for option in ("report", "known_gaps", "only", "scope"):
            if getattr(options, option):
                raise WrongCall(f"--against takes no --{option.replace('_', '-')}")
    gaps = known_gaps.read(options.known_gaps) if options.known_gaps else ()
    limits = Limits.of(options.profile, options.timeout)
    with Judging(request_of(options), limits, gaps, options.known_gaps) as judging:
        if options.against:
            for line in judging.lines():
                console.print(visible(line), markup=False)
            return 0
        _refuse_idle_gaps(judging.plan)
        if options.report:
            options.report.mkdir(parents=True, exist_ok=True)  # or fail before judging
        results = _results(judging, options.processes)
    command = shell_line(judging.plan.environment, words)
    return _reported(Report(judging.plan, results, command, limits.judging), options, console)


def _reported(report: Report, options: argparse.Namespace, console: Console) -> int:
    if options.report:
        first, *others = report.write(options.report)
        names = ", ".join(path.suffix for path in others)
        console.print(f"written: {visible(str(first))}, {names}", markup=False)
    width = console.width if console.is_terminal or os.environ.get("COLUMNS") else None
    for line in coloured(report, options.all, width or WITHOUT_A_TERMINAL):
        console.print(line)
    return 0 if report.met else 1


@contextmanager
def _progress(total: int) -> Iterator[Progress]:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task("judging", total=total)
        yield progress


def _results(judging: Judging, processes: int) -> list[Result]:
    results: list[Result] = []
    with _progress(len(judging.tasks)) as progress:
        for result in judging.results(processes):
            results.append(result)
            text = f"{result.library} {result.constraint} {result.requirement.id}"
            progress.update(progress.task_ids[0], advance=1, description=text)
    return [closed_everywhere(result, results, judging.plan) for result in results]


def _refuse_idle_gaps(plan: Plan) -> None:
    """Refuse known gaps that cover no constraint, though their requirement is judged."""
    judged = {(requirement.id, name) for requirement, name, _ in plan.tasks()}
    ids = {requirement for requirement, _ in judged}
    for gap in plan.gaps:
        named = any(gap.covers(*task, gap.library) for task in judged)
        if gap.requirement in ids and not named and not plan.constraints:
            raise BadGaps(
                f"the known gap {gap.requirement} is for {gap.constraint!r}, which there is not"
            )
