"""The command line: what to judge, on which libraries, and where to write the reports."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from array_constraints_conformance import known_gaps
from array_constraints_conformance.catalogue import CATALOGUE
from array_constraints_conformance.cli.tables import listed, summary
from array_constraints_conformance.known_gaps import BadGaps
from array_constraints_conformance.libraries import UnknownLibrary, installed
from array_constraints_conformance.numerics.formats import FORMATS
from array_constraints_conformance.processes.judging import Judging, Refusal, Unfinished
from array_constraints_conformance.processes.order import Order
from array_constraints_conformance.processes.process import Limits
from array_constraints_conformance.report.record import NAME, VERSION, Report
from array_constraints_conformance.report.summary import visible
from array_constraints_conformance.runner.gaps import closed_everywhere
from array_constraints_conformance.runner.plan import MODULE, Plan, WrongPlan
from array_constraints_conformance.runner.results import Result
from array_constraints_conformance.specification import SCOPES, requirements
from array_constraints_conformance.trial.profiles import PROFILES
from array_constraints_conformance.weights import golden

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
    add(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        help="stop the process that judges after so many seconds for one requirement of one "
        "constraint, or to import the module; by default "
        + ", ".join(f"{one.timeout:g} ({one.name})" for one in PROFILES.values()),
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


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
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
    except KeyboardInterrupt:
        print(f"{NAME}: stopped, and nothing written", file=sys.stderr)  # noqa: T201
        return 130
    except Unfinished as error:
        print(f"{NAME}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except (Refusal, UnknownLibrary, BadGaps, WrongPlan, WrongCall, OSError) as error:
        made.print_usage(sys.stderr)
        print(f"{NAME}: {error}", file=sys.stderr)  # noqa: T201
        return 2


class WrongCall(ValueError):
    """The arguments do not fit together."""


def _main(options: argparse.Namespace, console: Console, command: str) -> int:
    if options.list:
        console.print(listed())
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
    with Judging(_order(options), limits, gaps, options.known_gaps) as judging:
        if options.against:
            for line in judging.lines():
                console.print(visible(line), markup=False)
            return 0
        _refuse_idle_gaps(judging.plan)
        if options.report:
            options.report.mkdir(parents=True, exist_ok=True)  # or fail before judging
        results = _judged(judging, options.processes)
    return _reported(Report(judging.plan, results, command, limits.judging), options, console)


def _reported(report: Report, options: argparse.Namespace, console: Console) -> int:
    console.print(summary(report))
    for line in str(report).splitlines():
        console.print(visible(line), markup=False)
    if options.report:
        for path in report.write(options.report):
            console.print(f"written: {path}", markup=False)
    return 0 if report.met else 1


def _order(options: argparse.Namespace) -> Order:
    unknown = [name for name in options.only if name not in requirements()]
    unknown += [name for name in options.constraint if name not in (*CATALOGUE, MODULE)]
    if unknown:
        raise WrongCall(f"{unknown[0]!r} is no requirement or constraint")
    return Order(
        options.constraints,
        installed() if options.matrix else list(dict.fromkeys(options.xp or ["numpy"])),
        options.profile,
        options.seed,
        [_SCOPES[scope] for scope in options.scope] if options.scope else SCOPES,
        options.only,
        options.constraint,
        options.dtype,
        options.device,
        options.against,
    )


@contextmanager
def _progress(total: int) -> Iterator[Progress]:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task("judging", total=total)
        yield progress


def _judged(judging: Judging, processes: int) -> list[Result]:
    results: list[Result] = []
    with _progress(len(judging.tasks)) as progress:
        for result in judging.results(processes):
            results.append(result)
            text = f"{result.library} {result.constraint} {result.requirement.id}"
            progress.update(progress.task_ids[0], advance=1, description=text)
    return [closed_everywhere(result, results, judging.plan) for result in results]


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
