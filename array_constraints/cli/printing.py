"""The tables for people and the JSON for machines that the commands print."""

from __future__ import annotations

import itertools
import json
import math
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.filesize import decimal
from rich.table import Column, Table

from array_constraints.cli.streams import printable
from array_constraints.files.formats.base import Tensor
from array_constraints.files.run.plan import Item, Plan
from array_constraints.files.run.report import Report, Summary, TensorReport
from array_constraints.typing import name_of

_LONGEST = 80
"""Characters of a constraint in a table."""
_WIDTH_OF_FILES = 10_000
"""Columns of a table that no terminal shows: its lines are as long as they are."""
_ROWS_OF_PAGE = 1_000
"""Rows of a table that are laid out at a time; each page has its head."""

Row = Sequence[str]


def print_tensors(tensors: Sequence[Tensor], as_json: bool) -> None:
    """Print the names, shapes and dtypes of tensors."""
    if as_json:
        rows = ({"name": t.name, "shape": t.shape, "dtype": t.dtype} for t in tensors)
        _print_json(rows)
        return
    _print_table(
        ("tensor", "shape", "dtype", "chunks"),
        ((_name(t.name), str(t.shape), t.dtype, str(t.chunks or "")) for t in tensors),
    )


def print_report(report: Report, as_json: bool) -> None:
    """Print how far tensors are from what is allowed, before and after."""
    if as_json:
        rest = {"satisfied": report.satisfied, "warnings": list(report.warnings)}
        _print_json((_as_json(t) for t in report.tensors), **rest)
        return
    columns = ["tensor", "constraint", "slices", "violating", "by at most"]
    if any(t.after is not None for t in report.tensors):
        columns += ["left", "left by at most"]
    _print_table(columns, map(_row, report.tensors))


def print_plan(plan: Plan, as_json: bool) -> None:
    """Print what a run would do."""
    if as_json:
        rest = {
            "peak_memory": plan.peak_memory,
            "bytes_read": plan.bytes_read,
            "bytes_written": plan.bytes_written,
            "workers": plan.workers,
            "resumable": plan.resumable,
            "why_not_resumable": plan.why_not_resumable,
            "warnings": list(plan.warnings),
        }
        _print_json((_item_as_json(item) for item in plan.items), **rest)
        return
    _print_table(
        ("tensor", "shape", "dtype", "constraint", "form", "passes", "chunks", "of"),
        map(_item_row, plan.items),
    )
    why = plan.why_not_resumable
    _print(
        f"{plan.workers} at a time: at most {decimal(plan.peak_memory)} of memory; "
        f"{decimal(plan.bytes_read)} read, {decimal(plan.bytes_written)} written; "
        f"{f'cannot be resumed: {why}' if why else 'can be resumed'}"
    )


def _row(t: TensorReport) -> Row:
    left = () if t.after is None else _cells(t.after)
    return (
        _name(t.name),
        _shown(t.constraint),
        str(t.before.slices),
        *_cells(t.before),
        *left,
    )


def _cells(summary: Summary) -> tuple[str, str]:
    return str(summary.violating), f"{summary.largest:.3g}"


def _item_row(item: Item) -> Row:
    t, numbers = item.tensor, (str(item.passes), str(item.regions))
    of = decimal(item.bytes_of_region)
    return (
        _name(t.name), str(t.shape), t.dtype, _shown(item.constraint), item.form, *numbers, of
    )  # fmt: skip


def _as_json(t: TensorReport) -> dict[str, Any]:
    row = {"name": t.name, "constraint": _config(t.constraint), "before": _numbers(t.before)}
    return row if t.after is None else {**row, "after": _numbers(t.after)}


def _item_as_json(item: Item) -> dict[str, Any]:
    return {
        "name": item.tensor.name,
        "shape": item.tensor.shape,
        "dtype": item.tensor.dtype,
        "constraint": _config(item.constraint),
        "form": item.form,
        "passes": item.passes,
        "chunks": item.regions,
        "chunk_bytes": item.bytes_of_region,
    }


def _config(constraint: Any) -> Any:
    return {"class_name": name_of(type(constraint)), "config": constraint.get_config()}


def _numbers(summary: Summary) -> dict[str, Any]:
    largest = summary.largest
    numbers = summary._asdict()
    return {**numbers, "largest": largest if math.isfinite(largest) else str(largest)}


def _name(name: str) -> str:
    """Return a name as it is, or quoted: one of a file from elsewhere may hold anything."""
    return name if name and name.isprintable() and name == name.strip(" '\"") else repr(name)


def _shown(constraint: Any) -> str:
    text = printable(repr(constraint))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _print_table(columns: Row, rows: Iterable[Row]) -> None:
    """Print rows below their columns, page by page: of many rows, one page is held."""
    width = None if Console().is_terminal else _WIDTH_OF_FILES
    console = Console(width=width, markup=False, highlight=False, emoji=False)
    left = iter(rows)
    pages = iter(lambda: list(itertools.islice(left, _ROWS_OF_PAGE)), [])
    for page in itertools.chain([next(pages, [])], pages):
        table = Table(Column(columns[0], overflow="fold"), *columns[1:], box=SIMPLE_HEAD)
        for row in page:
            table.add_row(*row)
        with console.capture() as text:
            console.print(table)
        sys.stdout.write(text.get())


def _print_json(rows: Iterable[dict[str, Any]], **rest: Any) -> None:
    """Print a JSON object whose ``tensors`` are rows that come one by one."""
    head = f"{json.dumps(rest, indent=2, allow_nan=False)[:-2]}," if rest else "{"
    sys.stdout.write(f'{head}\n  "tensors": [')
    between = ""
    for row in rows:
        text = json.dumps(row, indent=2, allow_nan=False)
        sys.stdout.write(f"{between}\n{textwrap.indent(text, '    ')}")
        between = ","
    _print("\n  ]\n}")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
