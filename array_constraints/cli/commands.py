"""The command line: ``array-constraints project``, ``check`` and ``show``.

Exit codes: 0, all constraints hold; 1, one is violated, or the run failed; 2, the command makes
no sense; 3, the run was stopped and can be resumed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

try:
    import click
    from rich.console import Console
    from rich.progress import Progress
except ImportError:  # pragma: no cover - without the extra
    raise SystemExit(
        "the command line needs click and rich: pip install 'array-constraints[files]'"
    ) from None

from array_constraints.cli.arguments import (
    of_a_listing,
    of_a_result,
    of_a_run,
    value_from_text,
)
from array_constraints.cli.printing import print_plan, print_report, print_tensors
from array_constraints.cli.streams import Commands, output, say
from array_constraints.files import (
    DamagedFileError,
    Options,
    Plan,
    ResumableError,
    open_weights,
    planned,
)
from array_constraints.files.formats.table import SUFFIXES
from array_constraints.files.run.check import Checking
from array_constraints.files.run.project import project
from array_constraints.files.run.target import check_target
from array_constraints.rules import Rule, Rules, constraint_of, read_rules


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Check and constrain weights in files of any size.\n\n"
    f"Formats: {SUFFIXES}; or a folder.",
    epilog="Exit codes: 0 all constraints hold; 1 a violation, or a failure; 2 usage; "
    "3 stopped, can be resumed.",
)
@click.version_option(package_name="array-constraints")
def main() -> None:
    """Run a command."""


@main.command(
    epilog="Example: array-constraints check model.safetensors --constraint max_norm "
    "--max-value 2 --axis 1 --select 'layers.*.weight'"
)
@of_a_run
def check(source: str, as_json: bool, progress: str, **options: Any) -> None:
    """Print how many slices of IN violate their constraints, and how far."""
    with contextlib.ExitStack() as stack:
        with _errors(usage=2):
            plan, crew = stack.enter_context(_planned(source, to_project=False, **options))
        with _errors(usage=1), _progress(plan, crew, progress) as told:
            report = Checking(plan, crew, told).report()
    with output():
        print_report(report, as_json)
    sys.exit(0 if report.satisfied else 1)


@main.command(
    name="project",
    epilog="Example: array-constraints project model.safetensors out.safetensors "
    "--constraint max_norm --max-value 2 --axis 1 --select 'layers.*.weight'",
)
@of_a_run
@of_a_result
def project_command(
    source: str,
    target: Path,
    as_json: bool,
    progress: str,
    dry_run: bool,
    **options: Any,
) -> None:
    """Write a copy of IN to OUT whose selected weights satisfy their constraints.

    IN is never written to. What is not selected comes over byte for byte. OUT appears when it
    is complete; until then the work is in OUT.partial.
    """
    with contextlib.ExitStack() as stack:
        with _errors(usage=2):
            plan, crew = stack.enter_context(_planned(source, to_project=True, **options))
            check_target(plan, target)
        if dry_run:
            _warn(plan)
            with output():
                print_plan(plan, as_json)
            return
        if plan.options.resume and not plan.resumable:
            _note(f"{plan.why_not_resumable}: it begins anew")
        with _errors(usage=1), _progress(plan, crew, progress) as told:
            report = project(plan, target, crew, told)
    with output(f"; {target} is complete"):
        print_report(report, as_json)
    if not report.satisfied:
        _note(
            "what violates its constraint in the result is left by rule: most often it holds "
            "NaN, infinity, or nothing but zeros"
        )
    sys.exit(0 if report.satisfied else 1)


@main.command()
@of_a_listing
def show(source: str, as_json: bool) -> None:
    """List the tensors in FILE: names, shapes, dtypes."""
    with _errors(usage=2), open_weights(source) as opened:
        tensors = list(opened.tensors.values())
    with output():
        print_tensors(tensors, as_json)


def _planned(
    source: str,
    *,
    to_project: bool,
    constraint: str | None,
    select: tuple[str, ...],
    rules: Path | None,
    **more: Any,
) -> Any:
    fields = [field.name for field in dataclasses.fields(Options) if field.name in more]
    options = Options(**{name: more.pop(name) for name in fields})
    given = {name: value for name, value in more.items() if value is not None}
    found = _rules(constraint, given, select, rules)
    return planned(source, found, options, to_project=to_project)


def _rules(
    constraint: str | None, given: dict[str, str], select: tuple[str, ...], rules: Path | None
) -> Rules:
    if (constraint is None) == (rules is None):
        raise click.UsageError("give either --constraint or --rules")
    if rules is not None:
        if given or select:
            raise click.UsageError(
                "--rules say which constraint, of which parameters, is where"
            )
        return read_rules(rules)
    values = {}
    for name, text in given.items():
        try:
            values[name] = value_from_text(text)
        except ValueError as error:
            raise click.UsageError(f"--{name.replace('_', '-')}: {error}") from None
    found = constraint_of(constraint, values)
    return Rules(Rule(pattern, found) for pattern in select or ("*",))


@contextlib.contextmanager
def _errors(usage: int) -> Iterator[None]:
    """Say what is wrong in one line, with its exit code: ``usage`` where the command may be."""
    try:
        yield
    except ResumableError as error:
        _fail(error, 3)
    except (DamagedFileError, ImportError) as error:
        _fail(error, 1)
    except (FileExistsError, FileNotFoundError, LookupError, TypeError, ValueError) as error:
        _fail(error.args[0] if isinstance(error, KeyError) else error, usage)
    except (OSError, MemoryError) as error:
        _fail(error, 1)


def _fail(error: object, code: int) -> NoReturn:
    say(f"Error: {error or type(error).__name__}")
    sys.exit(code)


def _note(text: str) -> None:
    say(f"Note: {text}")


def _warn(plan: Plan) -> None:
    for warning in plan.warnings:
        say(f"Warning: {warning}")


@contextlib.contextmanager
def _progress(plan: Plan, crew: Any, wanted: str) -> Iterator[Callable[[int], None]]:
    _warn(plan)
    if crew.remote:
        _note(
            f"{crew.count} threads of a cluster are at work: {crew.dashboard or 'no dashboard'}"
        )
    console = Console(stderr=True)
    hidden = wanted == "none" or not console.is_terminal
    with Progress(console=console, disable=hidden, transient=True) as bar:
        task = bar.add_task("", total=plan.bytes_read + plan.bytes_written)
        yield lambda count: bar.advance(task, count)
