"""The tables for people and the JSON for machines that the commands print."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from array_constraints.cli.tables import Row, print_table, shown_name
from array_constraints.cli.text import (
    config_of,
    counted,
    print_json,
    print_line,
    shown,
    skipped_as_json,
)
from array_constraints.executors.needs import needs_of
from array_constraints.files.formats.base import Tensor
from array_constraints.files.run.report import Report, Summary, TensorReport


def print_tensors(tensors: Sequence[Tensor], as_json: bool) -> None:
    """Print the names, shapes and dtypes of tensors."""
    if as_json:
        print_json(
            {"name": t.name, "shape": t.shape, "dtype": t.dtype}
            | ({"also": t.also} if t.also else {})
            for t in tensors
        )
        return
    print_table(
        ("tensor", "shape", "dtype", "chunks", "the same as"),
        ((t.name, str(t.shape), t.dtype, str(t.chunks or ""), _names(t.also)) for t in tensors),
    )
    entries = sum(t.entries for t in tensors)
    print_line(f"{counted(len(tensors), 'tensor')}, {counted(entries, 'entry')}")


def _names(some: Sequence[str]) -> str:
    """Return the first names of several."""
    shown = [*map(shown_name, some[:2])]
    more = [f"and {len(some) - 2} more"] if len(some) > 2 else []
    return ", ".join(shown + more)


def print_report(report: Report, as_json: bool) -> None:
    """Print how far tensors are from what is allowed, before and after."""
    if as_json:
        print_json(
            (_as_json(t) for t in report.tensors),
            satisfied=report.satisfied,
            warnings=list(report.warnings),
            skipped=skipped_as_json(report.skipped),
        )
        return
    for constraint, tensors in _by_constraint(report.tensors):
        unit = _unit(constraint)
        print_line(f"{shown(constraint)}:")
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
        print_line("The worst:")
        print_table(("weight", "slice", "off by"), rows)


def print_norms(report: Report, as_json: bool) -> None:
    """Print how the norms of slices are distributed."""
    if as_json:
        print_json(
            (
                {"name": t.name, "axis": t.constraint.axis, **_distribution_as_json(t.before)}
                for t in report.tensors
            ),
            warnings=list(report.warnings),
            skipped=skipped_as_json(report.skipped),
        )
        return
    columns = ("least", "25 %", "median", "75 %", "largest")
    for constraint, tensors in _by_constraint(report.tensors):
        print_line(f"Norms of slices along axis {constraint.axis}:")
        print_table(
            ("weight", "slices", *columns, "histogram", "NaN", "infinite"),
            (_norms_row(t.name, t.before) for t in tensors),
        )
    every = sum((t.before for t in report.tensors), Summary())
    numbers = every.distribution.quantiles(_QUARTERS) if every.distribution.count else []
    said = [f"{name} {x:.3g}" for name, x in zip(columns, numbers, strict=False)]
    weights = f"{counted(len(report.tensors), 'weight')}, {counted(every.slices, 'slice')}"
    print_line("; ".join([weights, ", ".join(said)]) if said else weights)


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
    print_line(said)


def _total(summary: Summary) -> str:
    """Say in words how many violate, and how far."""
    if not summary.violating:
        return "none violates"
    said = f"{summary.violating:,} {'violates' if summary.violating == 1 else 'violate'}"
    said += f", by at most {summary.largest:.3g}" if summary.largest else ""
    said += f", {summary.nan:,} with NaN" if summary.nan else ""
    return said + (f", {summary.infinite:,} infinite" if summary.infinite else "")


def _as_json(t: TensorReport) -> dict[str, Any]:
    row = {"name": t.name, "constraint": config_of(t.constraint), "before": _numbers(t.before)}
    return row if t.after is None else {**row, "after": _numbers(t.after)}


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
