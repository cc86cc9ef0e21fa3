"""The command line: ``array-constraints project``, ``check`` and ``show``.

Exit codes: 0, all constraints hold; 1, one is violated; 2, the command makes no sense; 3, the
run was stopped and can be resumed; 4, it failed.
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
    sys.stderr.write("the command line needs click and rich: pip install click rich\n")
    raise SystemExit(4) from None

from array_constraints.cli.arguments import (
    of_a_check,
    of_a_listing,
    of_a_result,
    of_a_run,
    value_from_text,
)
from array_constraints.cli.constraints import described, parameters
from array_constraints.cli.printing import (
    counted,
    print_norms,
    print_plan,
    print_report,
    print_tensors,
)
from array_constraints.cli.streams import (
    FAILED,
    STOPPED,
    USAGE,
    VIOLATED,
    Commands,
    as_flags,
    output,
    say,
    with_flags,
)
from array_constraints.files import (
    DamagedFileError,
    Options,
    Plan,
    ResumableError,
    open_weights,
    planned,
)
from array_constraints.files.formats.table import SUFFIXES
from array_constraints.files.options import Detail
from array_constraints.files.run.check import Checking
from array_constraints.files.run.project import project
from array_constraints.files.run.target import check_target
from array_constraints.layers import Weight
from array_constraints.rules import OPTIONS, Rule, Rules, constraint_of, read_rules

_LIST = ": --verbose lists them"


_EXAMPLES = """\b
Examples:
  array-constraints show model.safetensors --norms
  array-constraints check model.pt --constraint max_norm --max-value 2
      --axis incoming --select '*.weight' --exclude '*embed*'
  array-constraints project model.pt out.pt --rules rules.toml"""


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Check and constrain weights in files of any size.\n\n"
    f"Formats: {SUFFIXES}; or a folder.\n\n{described()}",
    epilog=f"{_EXAMPLES}\n\nExit codes: 0 all constraints hold; 1 one is violated; 2 the "
    "command makes no sense; 3 stopped, and can be resumed; 4 failed.",
)
@click.version_option(package_name="array-constraints")
def main() -> None:
    """Run a command."""


@main.command(
    epilog="Example: array-constraints check model.safetensors --constraint max_norm "
    "--max-value 2 --axis 1 --select '*.weight'"
)
@of_a_run
@of_a_check
def check(
    source: str, as_json: bool, progress: str, verbose: bool, slices: int, **options: Any
) -> None:
    """Count the slices of IN that violate their constraints.

    It is said by how much they do, too, and which are the worst.
    """
    options["detail"] = Detail(slices)
    with contextlib.ExitStack() as stack:
        with _errors(usage=USAGE):
            plan, crew = stack.enter_context(_planned(source, to_project=False, **options))
        _warn(plan, verbose)
        with _errors(usage=FAILED), _progress(plan, crew, progress) as told:
            report = Checking(plan, crew, told).report()
    with output():
        print_report(report, as_json)
    sys.exit(0 if report.satisfied else VIOLATED)


@main.command(
    name="project",
    epilog="Example: array-constraints project model.safetensors out.safetensors "
    "--constraint max_norm --max-value 2 --axis 1 --select '*.weight'",
)
@of_a_run
@of_a_result
def project_command(
    source: str,
    target: Path,
    as_json: bool,
    progress: str,
    verbose: bool,
    dry_run: bool,
    **options: Any,
) -> None:
    """Write a copy OUT of IN that satisfies its constraints.

    IN is never written to. What is not selected comes over byte for byte. OUT appears when it
    is complete; until then the work is in OUT.partial.
    """
    with contextlib.ExitStack() as stack:
        with _errors(usage=USAGE):
            plan, crew = stack.enter_context(
                _planned(source, to_project=True, target=target, **options)
            )
            check_target(plan, target)
        _warn(plan, verbose)
        if dry_run:
            with output():
                print_plan(plan, as_json)
            return
        if plan.options.resume and not plan.resumable:
            _note(f"{plan.why_not_resumable}: it begins anew")
        with _errors(usage=FAILED), _progress(plan, crew, progress) as told:
            report = project(plan, target, crew, told)
    with output(f"; {target} is complete"):
        print_report(report, as_json)
    if not report.satisfied:
        _note(
            "what still violates its constraint cannot be mended: most often it holds NaN or "
            "infinity, or is nothing but zeros"
        )
    sys.exit(0 if report.satisfied else VIOLATED)


@main.command(
    epilog="Example: array-constraints show model.safetensors --norms --select '*.weight'"
)
@of_a_listing
def show(source: str, as_json: bool, norms: bool, **options: Any) -> None:
    """List the tensors in FILE, or the norms of their slices.

    Of each tensor the name, the shape and the dtype; with --norms how the Euclidean norms of
    its slices are distributed, to choose a bound by.
    """
    if norms:
        _show_norms(source, as_json, **options)
        return
    selecting, patterns = _selecting(options)
    with (
        _errors(usage=USAGE),
        open_weights(source, follow_links=options["follow_links"]) as opened,
    ):
        chosen = Rules(Rule(pattern, None, **selecting) for pattern in patterns)
        first = chosen.acting_on([Weight(t.name, t) for t in opened.tensors.values()])
        pairs = zip(opened.tensors.values(), first, strict=True)
        tensors = [tensor for tensor, (_, rule) in pairs if rule is not None]
    with output():
        print_tensors(tensors, as_json)


def _show_norms(
    source: str, as_json: bool, axis: str, progress: str, verbose: bool, **options: Any
) -> None:
    options |= {"constraint": "max_norm", "max_value": "0", "axis": axis, "rules": None}
    options["detail"] = Detail(distribution=True)
    with contextlib.ExitStack() as stack:
        with _errors(usage=USAGE):
            plan, crew = stack.enter_context(_planned(source, to_project=False, **options))
        _warn(plan, verbose)
        with _errors(usage=FAILED), _progress(plan, crew, progress) as told:
            report = Checking(plan, crew, told).report()
    with output():
        print_norms(report, as_json)


def _planned(
    source: str,
    *,
    to_project: bool,
    target: Path | None = None,
    constraint: str | None,
    rules: Path | None,
    **more: Any,
) -> Any:
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
    selecting, patterns = _selecting(given)
    values = {}
    for name, text in given.items():
        try:
            values[name] = value_from_text(text)
        except ValueError as error:
            raise click.UsageError(f"--{name.replace('_', '-')}: {error}") from None
    try:
        found = constraint_of(constraint, values)
    except (TypeError, ValueError) as error:
        raise type(error)(with_flags(str(error), parameters())) from None
    return Rules(Rule(pattern, found, **selecting) for pattern in patterns)


def _selecting(given: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Take the options that say which tensors, and return them, and the patterns of names."""
    found = {name: given.pop(name) for name in OPTIONS if given.get(name) not in (None, ())}
    return found, found.pop("select", ("*",))


@contextlib.contextmanager
def _errors(usage: int) -> Iterator[None]:
    """Say what is wrong in one line, with its exit code: ``usage`` where the command may be."""
    try:
        yield
    except ResumableError as error:
        _fail(error, STOPPED)
    except KeyboardInterrupt:
        _fail("stopped", FAILED)
    except (DamagedFileError, ImportError) as error:
        _fail(error, FAILED)
    except (FileExistsError, FileNotFoundError, LookupError, TypeError, ValueError) as error:
        _fail(error.args[0] if isinstance(error, KeyError) else error, usage)
    except (OSError, MemoryError) as error:
        _fail(error, FAILED)


def _fail(error: object, code: int) -> NoReturn:
    say(f"Error: {as_flags(str(error)) or type(error).__name__}")
    sys.exit(code)


def _note(text: str) -> None:
    say(f"Note: {text}")


def _warn(plan: Plan, verbose: bool) -> None:
    for warning in plan.warnings:
        say(f"Warning: {warning}")
    if plan.skipped:
        count = counted(len(plan.skipped), "tensor")
        _note(f"{count} skipped, which the constraint does not fit{'' if verbose else _LIST}")
    for skipped in plan.skipped if verbose else ():
        say(f"  {skipped.name}: {as_flags(skipped.reason)}")


@contextlib.contextmanager
def _progress(plan: Plan, crew: Any, wanted: str) -> Iterator[Callable[[int], None]]:
    if crew.remote:
        _note(
            f"{crew.count} threads of a cluster are at work: {crew.dashboard or 'no dashboard'}"
        )
    console = Console(stderr=True)
    hidden = wanted == "none" or not console.is_terminal
    with Progress(console=console, disable=hidden, transient=True) as bar:
        task = bar.add_task("", total=plan.bytes_read + plan.bytes_written)
        yield lambda count: bar.advance(task, count)
