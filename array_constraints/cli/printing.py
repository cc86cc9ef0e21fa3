"""The tables for people and the JSON for machines that the commands print."""

from __future__ import annotations

import json
import math
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from array_constraints.cli.streams import printable
from array_constraints.cli.tables import Row, print_table
from array_constraints.executors.needs import needs_of
from array_constraints.files.formats.base import Tensor
from array_constraints.files.run.plan import Item, Plan
from array_constraints.files.run.report import Report, Skipped, Summary, TensorReport
from array_constraints.typing import name_of

_LONGEST = 200
"""Characters of a constraint above a table."""


def counted(count: int, noun: str) -> str:
    """Return a number and its noun, as ``1 weight`` or ``2,000 weights``."""
    if count != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {noun}"


def print_tensors(tensors: Sequence[Tensor], as_json: bool) -> None:
    """Print the names, shapes and dtypes of tensors."""
    if as_json:
        _print_json(
            {"name": t.name, "shape": t.shape, "dtype": t.dtype}
            | ({"also": t.also} if t.also else {})
            for t in tensors
        )
        return
    print_table(
        ("tensor", "shape", "dtype", "chunks", "the same as"),
        (
            (t.name, str(t.shape), t.dtype, str(t.chunks or ""), ", ".join(t.also))
            for t in tensors
        ),
    )
    entries = sum(t.entries for t in tensors)
    _print(f"{counted(len(tensors), 'tensor')}, {counted(entries, 'entry')}")


def print_report(report: Report, as_json: bool) -> None:
    """Print how far tensors are from what is allowed, before and after."""
    if as_json:
        _print_json(
            (_as_json(t) for t in report.tensors),
            satisfied=report.satisfied,
            warnings=list(report.warnings),
            skipped=_skipped(report.skipped),
        )
        return
    for constraint, tensors in _by_constraint(report.tensors):
        unit = _unit(constraint)
        _print(f"{_shown(constraint)}:")
        print_table(
            ("weight", f"{unit[:-1]}ies" if unit == "entry" else "slices", "violating",
             "by at most", "NaN", "infinite", "left", "left by at most"),
            map(_row, tensors),
            [_last(t).violating > 0 for t in tensors],
        )  # fmt: skip
        _print_worst(tensors)
    _print_total(report)


def _print_worst(tensors: Sequence[TensorReport]) -> None:
    """Print the worst slices, tensor by tensor."""
    rows = [
        (t.name, worst.shown, f"{worst.violation:.3g}")
        for t in tensors
        for worst in t.before.worst
    ]
    if rows:
        _print("The worst:")
        print_table(("weight", "slice", "off by"), rows)


def print_norms(report: Report, as_json: bool) -> None:
    """Print how the norms of slices are distributed."""
    if as_json:
        _print_json(
            (
                {"name": t.name, "axis": t.constraint.axis, **_distribution_as_json(t.before)}
                for t in report.tensors
            ),
            warnings=list(report.warnings),
            skipped=_skipped(report.skipped),
        )
        return
    columns = ("least", "25 %", "median", "75 %", "largest")
    for constraint, tensors in _by_constraint(report.tensors):
        _print(f"Norms of slices along axis {constraint.axis}:")
        print_table(
            ("weight", "slices", *columns, "histogram", "NaN", "infinite"),
            (_norms_row(t.name, t.before) for t in tensors),
        )
    every = sum((t.before for t in report.tensors), Summary())
    numbers = every.distribution.quantiles(_QUARTERS) if every.distribution.count else []
    said = [f"{name} {x:.3g}" for name, x in zip(columns, numbers, strict=False)]
    weights = f"{counted(len(report.tensors), 'weight')}, {counted(every.slices, 'slice')}"
    _print("; ".join([weights, ", ".join(said)]) if said else weights)


_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
_BARS = 9
"""The parts of the range from the least norm to the largest, in a table."""


def _norms_row(name: str, summary: Summary) -> Row:
    found = summary.distribution
    numbers = [f"{x:.3g}" for x in found.quantiles(_QUARTERS)] if found.count else [""] * 5
    cells = (f"{summary.slices:,}", *numbers, found.sparkline(_BARS), *_not_finite(summary))
    return (name, *cells)


def _distribution_as_json(summary: Summary) -> dict[str, Any]:
    found = summary.distribution
    numbers = found.quantiles(_QUARTERS) if found.count else []
    names = ("least", "quarter", "median", "three_quarters", "largest")
    rest = {"slices": summary.slices, "nan": summary.nan, "infinite": summary.infinite}
    return dict(zip(names, numbers, strict=False)) | rest


def _by_constraint(
    tensors: Sequence[TensorReport],
) -> Iterable[tuple[Any, list[TensorReport]]]:
    """Return tensors by their constraint, in the order of the first of each."""
    found: dict[str, list[TensorReport]] = {}
    for tensor in tensors:
        found.setdefault(repr(tensor.constraint), []).append(tensor)
    return [(some[0].constraint, some) for some in found.values()]


def _unit(constraint: Any) -> str:
    return "entry" if needs_of(constraint) == "entries" else "slice"


def _row(t: TensorReport) -> Row:
    before, after = t.before, t.after
    counts = (str(before.violating or ""), _number(before), *_not_finite(before))
    left = ("", "") if after is None else (str(after.violating or ""), _number(after))
    return (t.name, f"{before.slices:,}", *counts, *left)


def _number(summary: Summary) -> str:
    return f"{summary.largest:.3g}" if summary.largest else ""


def _not_finite(summary: Summary) -> tuple[str, str]:
    return str(summary.nan or ""), str(summary.infinite or "")


def _last(t: TensorReport) -> Summary:
    return t.before if t.after is None else t.after


def _print_total(report: Report) -> None:
    units = {_unit(t.constraint) for t in report.tensors}
    unit = units.pop() if len(units) == 1 else "slice or entry"
    before = sum((t.before for t in report.tensors), Summary())
    said = f"{counted(len(report.tensors), 'weight')}, {counted(before.slices, unit)}: "
    said += _total(before)
    if any(t.after is not None for t in report.tensors):
        after = sum((t.after or Summary() for t in report.tensors), Summary())
        said += f"; in the result {_total(after)}"
    _print(said)


def _skipped(some: Iterable[Skipped]) -> list[dict[str, str]]:
    return [{"name": one.name, "reason": one.reason} for one in some]


def print_result(plan: Plan, target: Path) -> None:
    """Print where the result is, and what it has beside the weights that were constrained."""
    others = len(plan.source.tensors) - len(plan.items)
    copied = [counted(others, "other tensor")] if others else []
    copied += [printable(file.name) for file in plan.source.beside]
    more = f"; {', '.join(copied)} copied as they are" if copied else ""
    _print(f"{printable(str(target))}: {counted(len(plan.items), 'weight')} constrained{more}")


def _total(summary: Summary) -> str:
    """Say in words how many violate, and how far."""
    if not summary.violating:
        return "none violates"
    said = f"{summary.violating:,} {'violates' if summary.violating == 1 else 'violate'}"
    said += f", by at most {summary.largest:.3g}" if summary.largest else ""
    said += f", {summary.nan:,} with NaN" if summary.nan else ""
    return said + (f", {summary.infinite:,} infinite" if summary.infinite else "")


def print_plan(plan: Plan, as_json: bool) -> None:
    """Print what a run would do."""
    if as_json:
        _print_json(
            (_item_as_json(item) for item in plan.items),
            peak_memory=plan.peak_memory,
            bytes_read=plan.bytes_read,
            bytes_written=plan.bytes_written,
            workers=plan.workers,
            resumable=plan.resumable,
            why_not_resumable=plan.why_not_resumable,
            warnings=list(plan.warnings),
            skipped=_skipped(plan.skipped),
        )
        return
    by_constraint: dict[str, list[Item]] = {}
    for item in plan.items:
        by_constraint.setdefault(repr(item.constraint), []).append(item)
    for items in by_constraint.values():
        form = items[0].form
        _print(f"{_shown(items[0].constraint)}, {form}:")
        print_table(
            ("weight", "shape", "dtype", "passes", "chunks", "of at most"),
            map(_item_row, items),
        )
    why = plan.why_not_resumable
    _print(
        f"{counted(len(plan.items), 'weight')}; {plan.workers} at a time, at most "
        f"{decimal(plan.peak_memory)} of memory; {decimal(plan.bytes_read)} read, "
        f"{decimal(plan.bytes_written)} written; "
        f"{f'cannot be resumed: {why}' if why else 'can be resumed'}"
    )


def _item_row(item: Item) -> Row:
    t = item.tensor
    numbers = (str(item.passes), f"{item.regions:,}", decimal(item.bytes_of_region))
    return (t.name, str(t.shape), t.dtype, *numbers)


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
    names = ("slices", "violating", "largest", "nan", "infinite")
    found: dict[str, Any] = {name: getattr(summary, name) for name in names}
    if summary.most:
        found["worst"] = [
            {"index": worst.at, "violation": _finite_or_text(worst.violation)}
            for worst in summary.worst
        ]
    return found


def _finite_or_text(x: float) -> float | str:
    return x if math.isfinite(x) else str(x)


def _shown(constraint: Any) -> str:
    text = printable(repr(constraint))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


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
