"""The command line: ``array-constraints project``, ``check`` and ``show``.

Exit codes: 0, all constraints hold; 1, one is violated, or the run failed; 2, the command makes
no sense; 3, the run was stopped and can be resumed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn, TypeVar

try:
    import click
    from rich.console import Console
    from rich.progress import Progress
except ImportError:  # pragma: no cover - without the extra
    raise SystemExit(
        "the command line needs click and rich: pip install 'array-constraints[files]'"
    ) from None

from array_constraints.cli.printing import (
    Commands,
    output,
    print_plan,
    print_report,
    print_tensors,
    say,
)
from array_constraints.config import BUILT_IN
from array_constraints.files import CHUNK_SIZE, MOST_WORKERS, PATIENCE, open_weights, planned
from array_constraints.files.formats.base import DamagedFileError
from array_constraints.files.run.plan import Plan, judge_target
from array_constraints.files.run.project import Checking, ResumableError, project
from array_constraints.parameters import value_from_text
from array_constraints.rules import Rule, Rules, constraint_of, read_rules

F = TypeVar("F", bound=Callable[..., Any])

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_UNITS |= {"t": 10**12, "ti": 2**40}
_PARAMETERS: dict[str, list[str]] = {}
for _name, _class in BUILT_IN.items():
    if dataclasses.is_dataclass(_class):
        for _field in dataclasses.fields(_class):
            _PARAMETERS.setdefault(_field.name, []).append(_name)


_KINDS = {"axis": "1, or 0,1, or none", "max_value": "a number, inf, or one for each slice"}


class _Bytes(click.ParamType[int]):
    """A number of bytes, with a unit or without."""

    name = "bytes"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?) *([kmgt]?i?)b?", str(value).lower())
        if found is None or found[2] not in _UNITS:
            self.fail(f"{value!r} is not a number of bytes such as 64MiB or 100MB", param, ctx)
        return int(Decimal(found[1]) * _UNITS[found[2]])


def _common(command: F) -> F:
    """Add the options that say what is constrained, and by whom."""
    options = [
        click.argument("source", metavar="IN"),
        click.option("--constraint", help="Name of a constraint, such as max_norm."),
        *(
            click.option(
                f"--{name.replace('_', '-')}",
                name,
                help=f"Of {', '.join(classes)}: {_KINDS.get(name, 'a number')}.",
            )
            for name, classes in _PARAMETERS.items()
        ),
        click.option("--select", multiple=True, help="Pattern of names; by default all."),
        click.option(
            "--rules",
            type=click.Path(path_type=Path, exists=True, dir_okay=False),
            help="File, .toml or .json, with an ordered list of patterns and constraints.",
        ),
        click.option(
            "--chunk-size",
            type=_Bytes(),
            default=CHUNK_SIZE,
            help="Bytes read at a time [64MiB].",
        ),
        click.option(
            "--workers",
            type=click.IntRange(1, MOST_WORKERS),
            help="Threads [one a processor].",
        ),
        click.option("--scheduler", help="Address of a Dask cluster, such as tcp://host:8786."),
        click.option(
            "--patience",
            type=float,
            default=PATIENCE,
            help=f"Seconds without a sign of life after which a cluster is given up "
            f"[{PATIENCE:g}].",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines."),
        click.option(
            "--progress",
            type=click.Choice(["auto", "none"]),
            default="auto",
            help="Progress bar on a terminal, or none.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 all constraints hold; 1 a violation, or a failure; 2 usage; "
    "3 stopped, can be resumed.",
)
@click.version_option(package_name="array-constraints")
def main() -> None:
    """Check and constrain weights in files of any size.

    Formats: .safetensors (one file, or shards), .npy, .npz, Zarr, HDF5, .weights.h5, .keras.
    """


@main.command(
    epilog="Example: array-constraints check model.safetensors --constraint max_norm "
    "--max-value 2 --axis 1 --select 'layers.*.weight'"
)
@_common
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
@_common
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option("--resume", is_flag=True, help="Go on where an earlier run was stopped.")
@click.option("--overwrite", is_flag=True, help="Replace OUT, and what a run has left of it.")
def project_command(
    source: str,
    target: Path,
    as_json: bool,
    progress: str,
    dry_run: bool,
    resume: bool,
    overwrite: bool,
    **options: Any,
) -> None:
    """Write a copy of IN to OUT whose selected weights satisfy their constraints.

    IN is never written to. What is not selected comes over byte for byte. OUT appears when it
    is complete; until then the work is in OUT.partial.
    """
    with contextlib.ExitStack() as stack:
        with _errors(usage=2):
            plan, crew = stack.enter_context(_planned(source, to_project=True, **options))
            judge_target(plan, target, resume=resume, overwrite=overwrite)
        if dry_run:
            _warn(plan)
            with output():
                print_plan(plan, as_json)
            return
        if resume and not plan.resumable:
            _note(f"{plan.why_not_resumable}: it begins anew")
        keep = {"resume": resume, "overwrite": overwrite}
        with _errors(usage=1), _progress(plan, crew, progress) as told:
            report = project(plan, target, crew, told, **keep)
    with output(f"; {target} is complete"):
        print_report(report, as_json)
    if not report.satisfied:
        _note(
            "what violates its constraint in the result is left by rule: most often it holds "
            "NaN, infinity, or nothing but zeros"
        )
    sys.exit(0 if report.satisfied else 1)


@main.command()
@click.argument("source", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
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
    chunk_size: int,
    workers: int | None,
    scheduler: str | None,
    patience: float,
    **parameters: str | None,
) -> Any:
    given = {name: value for name, value in parameters.items() if value is not None}
    return planned(
        source,
        _rules(constraint, given, select, rules),
        to_project=to_project,
        chunk_size=chunk_size,
        workers=workers,
        scheduler=scheduler,
        patience=patience,
    )


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
