"""What the command line prints: tables for people, JSON for machines."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.table import Column, Table

from array_constraints.files.plan import Plan
from array_constraints.files.report import Report, Summary
from array_constraints.files.stored import Tensor

_WIDTH_OF_FILES = 200


def print_tensors(tensors: Sequence[Tensor], as_json: bool) -> None:
    """Print the names, shapes and dtypes of tensors."""
    if as_json:
        rows = [{"name": t.name, "shape": t.shape, "dtype": t.dtype} for t in tensors]
        click.echo(json.dumps({"tensors": rows}, indent=2))
        return
    table = _table("tensor", "shape", "dtype", "chunks")
    for t in tensors:
        table.add_row(_name(t.name), str(t.shape), t.dtype, str(t.chunks or ""))
    _console().print(table)


def print_report(report: Report, as_json: bool) -> None:
    """Print how far tensors are from what is allowed, before and after."""
    if as_json:
        click.echo(json.dumps(_as_json(report), indent=2, allow_nan=False))
        return
    projected = any(t.after is not None for t in report.tensors)
    table = _table("tensor", "constraint", "slices", "violating", "by at most")
    if projected:
        table.add_column("left")
        table.add_column("left by at most")
    for t in report.tensors:
        cells = [_name(t.name), _shown(t.constraint), str(t.before.slices), *_cells(t.before)]
        table.add_row(*cells, *(_cells(t.after) if t.after is not None else ()))
    _console().print(table)


def _table(name: str, *columns: str) -> Table:
    return Table(Column(name, overflow="fold"), *columns, box=box.SIMPLE_HEAD)


def _console() -> Console:
    """Return the standard output; a file gets lines as long as they are."""
    width = None if Console().is_terminal else _WIDTH_OF_FILES
    return Console(width=width, markup=False, highlight=False)


def _name(name: str) -> str:
    """Return a name as it is, or quoted: one of a file from elsewhere may hold anything."""
    return name if name and name.isprintable() else repr(name)


def _shown(constraint: Any) -> str:
    text = repr(constraint)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _cells(summary: Summary) -> tuple[str, str]:
    return str(summary.violating), f"{summary.largest:.3g}"


def _as_json(report: Report) -> dict[str, Any]:
    rows = []
    for t in report.tensors:
        row = {
            "name": t.name,
            "constraint": _config(t.constraint),
            "before": _numbers(t.before),
        }
        rows.append(row if t.after is None else {**row, "after": _numbers(t.after)})
    return {"satisfied": report.satisfied, "tensors": rows, "warnings": list(report.warnings)}


def _config(constraint: Any) -> Any:
    return {"class_name": type(constraint).__name__, "config": constraint.get_config()}


def _numbers(summary: Summary) -> dict[str, Any]:
    largest = summary.largest
    numbers = summary._asdict()
    return {**numbers, "largest": largest if math.isfinite(largest) else str(largest)}


def print_plan(plan: Plan, as_json: bool) -> None:
    """Print what a run would do."""
    total = {
        "peak_memory": plan.peak_memory,
        "bytes_read": plan.bytes_read,
        "bytes_written": plan.bytes_written,
        "workers": plan.workers,
        "resumable": plan.resumable,
        "why_not_resumable": plan.why_not_resumable,
    }
    if as_json:
        rows = [
            {
                "name": item.tensor.name,
                "shape": item.tensor.shape,
                "dtype": item.tensor.dtype,
                "constraint": _config(item.constraint),
                "form": item.form,
                "passes": item.passes,
                "chunks": item.regions,
                "chunk_bytes": item.bytes_of_region,
            }
            for item in plan.items
        ]
        text = {"tensors": rows, **total, "warnings": list(plan.warnings)}
        click.echo(json.dumps(text, indent=2))
        return
    for warning in plan.warnings:
        click.echo(f"Warning: {warning}", err=True)
    table = _table("tensor", "shape", "dtype", "constraint", "form", "passes", "chunks", "of")
    for item in plan.items:
        t = item.tensor
        numbers = (str(item.passes), str(item.regions), decimal(item.bytes_of_region))
        table.add_row(
            _name(t.name), str(t.shape), t.dtype, _shown(item.constraint), item.form, *numbers
        )
    _console().print(table)
    why = plan.why_not_resumable
    click.echo(
        f"{plan.workers} at a time: at most {decimal(plan.peak_memory)} of memory; "
        f"{decimal(plan.bytes_read)} read, {decimal(plan.bytes_written)} written; "
        f"{f'cannot be resumed: {why}' if why else 'can be resumed'}"
    )
