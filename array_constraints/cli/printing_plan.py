"""The plan of a run, and what came of it, as the commands print them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.filesize import decimal

from array_constraints.cli.streams import printable
from array_constraints.cli.tables import Row, print_table
from array_constraints.cli.text import (
    config_of,
    counted,
    print_json,
    print_line,
    shown,
    skipped_as_json,
)
from array_constraints.files.run.plan import Item, Plan


def print_plan(plan: Plan, as_json: bool) -> None:
    """Print what a run would do."""
    if as_json:
        print_json(
            (_item_as_json(item) for item in plan.items),
            peak_memory=plan.peak_memory,
            bytes_read=plan.bytes_read,
            bytes_written=plan.bytes_written,
            workers=plan.workers,
            resumable=plan.resumable,
            why_not_resumable=plan.why_not_resumable,
            warnings=list(plan.warnings),
            skipped=skipped_as_json(plan.skipped),
        )
        return
    by_constraint: dict[str, list[Item]] = {}
    for item in plan.items:
        by_constraint.setdefault(repr(item.constraint), []).append(item)
    for items in by_constraint.values():
        form = items[0].form
        print_line(f"{shown(items[0].constraint)}, {form}:")
        print_table(
            ("weight", "shape", "dtype", "passes", "chunks", "of at most"),
            map(_item_row, items),
        )
    why = plan.why_not_resumable
    most = "at most " if any(item.passes > 2 for item in plan.items) else ""
    print_line(
        f"{counted(len(plan.items), 'weight')}; {plan.workers} at a time, at most "
        f"{decimal(plan.peak_memory)} of memory; {most}{decimal(plan.bytes_read)} read, "
        f"{decimal(plan.bytes_written)} written; "
        f"{f'cannot be resumed: {why}' if why else 'can be resumed'}"
    )


def _item_row(item: Item) -> Row:
    t = item.tensor
    passes = str(item.passes) if item.passes <= 2 else f"up to {item.passes}"
    numbers = (passes, f"{item.regions:,}", decimal(item.bytes_of_region))
    return (t.name, str(t.shape), t.dtype, *numbers)


def _item_as_json(item: Item) -> dict[str, Any]:
    return {
        "name": item.tensor.name,
        "shape": item.tensor.shape,
        "dtype": item.tensor.dtype,
        "constraint": config_of(item.constraint),
        "form": item.form,
        "passes": item.passes,
        "chunks": item.regions,
        "chunk_bytes": item.bytes_of_region,
    }


def print_result(plan: Plan, target: Path) -> None:
    """Print where the result is, and what it has beside the weights that were constrained."""
    others = len(plan.source.tensors) - len(plan.items)
    copied = [counted(others, "other tensor")] if others else []
    copied += [printable(file.name) for file in plan.source.beside]
    more = f"; {', '.join(copied)} copied as they are" if copied else ""
    print_line(
        f"{printable(str(target))}: {counted(len(plan.items), 'weight')} constrained{more}"
    )
