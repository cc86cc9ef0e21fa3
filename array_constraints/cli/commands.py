"""The command line: ``array-constraints project``, ``check`` and ``show``.

Exit codes: 0, all constraints hold; 1, one is violated; 2, the command makes no sense; 3, the
run was stopped and can be resumed; 4, it failed.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
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
)
from array_constraints.cli.constraints import described
from array_constraints.cli.planning import planned_run, selecting
from array_constraints.cli.printing import print_norms, print_report, print_tensors
from array_constraints.cli.printing_plan import print_plan, print_result
from array_constraints.cli.streams import (
    FAILED,
    STOPPED,
    USAGE,
    VIOLATED,
    Commands,
    as_flags,
    output,
    say,
)
from array_constraints.cli.text import counted
from array_constraints.files import (
    DamagedFileError,
    Plan,
    ResumableError,
    open_weights,
)
from array_constraints.files.formats.table import SUFFIXES
from array_constraints.files.options import Detail
from array_constraints.files.run.check import Checking
from array_constraints.files.run.layers import named_in
from array_constraints.files.run.project import project
from array_constraints.files.run.report import Skipped
from array_constraints.files.run.selecting import unmatched
from array_constraints.files.run.target import check_target
from array_constraints.parameters import INCOMING
from array_constraints.rules import Rule, Rules

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
    "--max-value 2 --axis incoming --select '*.weight'"
)
@of_a_run
@of_a_check
def check(
    source: str, as_json: bool, progress: str, verbose: bool, slices: int, **options: Any
) -> None:
    """Count the slices of IN that violate their constraints.

    How far the farthest is off is printed, too; with --slices N also the N worst slices.
    """
    options["detail"] = Detail(slices)
    with contextlib.ExitStack() as stack:
        with _errors(usage=USAGE):
            plan, crew = stack.enter_context(planned_run(source, to_project=False, **options))
        _warn(plan, verbose)
        with _errors(usage=FAILED), _progress(plan, crew, progress) as told:
            report = Checking(plan, crew, told).report()
    with output():
        print_report(report, as_json)
    sys.exit(0 if report.satisfied else VIOLATED)


@main.command(
    name="project",
    epilog="Example: array-constraints project model.safetensors out.safetensors "
    "--constraint max_norm --max-value 2 --axis incoming --select '*.weight'",
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
                planned_run(source, to_project=True, target=target, **options)
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
        if not as_json:
            print_result(plan, target)
    if not report.satisfied:
        _note(
            "what still violates its constraint: most often it holds NaN or infinity, is "
            "nothing but zeros, or is under a rate below 1, which goes a share of the way"
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
    if options["axis"] is not None:
        raise click.UsageError("--axis is that of --norms")
    chosen_by, patterns = selecting(options)
    with (
        _errors(usage=USAGE),
        open_weights(source, follow_links=options["follow_links"]) as opened,
    ):
        chosen = Rules(Rule(pattern, None, **chosen_by) for pattern in patterns)
        warnings = unmatched(opened, chosen, options["strict"])
        weights = named_in(opened)
        first = chosen.acting_on(weights) if weights else []
        pairs = zip(opened.tensors.values(), first, strict=True)
        tensors = [tensor for tensor, (_, rule) in pairs if rule is not None]
    _say_warnings(warnings)
    with output():
        print_tensors(tensors, as_json)


def _show_norms(
    source: str, as_json: bool, axis: str | None, progress: str, verbose: bool, **options: Any
) -> None:
    options |= {"constraint": "max_norm", "max_value": "0", "rules": None}
    options["axis"] = axis or INCOMING
    options["detail"] = Detail(distribution=True)
    with contextlib.ExitStack() as stack:
        with _errors(usage=USAGE):
            plan, crew = stack.enter_context(planned_run(source, to_project=False, **options))
        _warn(plan, verbose)
        with _errors(usage=FAILED), _progress(plan, crew, progress) as told:
            report = Checking(plan, crew, told).report()
    with output():
        print_norms(report, as_json)


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


def _say_warnings(warnings: Iterable[str]) -> None:
    for warning in warnings:
        say(f"Warning: {as_flags(warning)}")


def _warn(plan: Plan, verbose: bool) -> None:
    _say_warnings(plan.warnings)
    if plan.skipped:
        count = counted(len(plan.skipped), "tensor")
        matrix = next((s for s in plan.skipped if s.is_weight), None)
        among = f", {matrix.name!r} of shape {matrix.shape} among them" if matrix else ""
        end = "" if verbose else _LIST
        _note(f"{count} skipped, which the constraint does not fit{among}{end}")
        if matrix and plan.options.detail.distribution:
            say(f"Warning: {matrix.name!r} is not shown: {as_flags(matrix.reason)}")
    if verbose:
        _list(plan.skipped)


def _list(some: Sequence[Skipped]) -> None:
    """Say which tensors are skipped, each reason once."""
    reasons: dict[str, list[str]] = {}
    for skipped in some:
        reasons.setdefault(as_flags(skipped.reason), []).append(skipped.name)
    for reason, names in reasons.items():
        say(f"  {reason}:")
        for name in names:
            say(f"    {name}")


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
