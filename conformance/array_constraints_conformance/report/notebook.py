"""The report as a small table for a notebook: the verdict, and what is not met."""

from __future__ import annotations

from html import escape

from .outcomes import FAILURES, SYMBOLS
from .summary import Record, cell, judged, named, verdict_line, visible

_MOST_ROWS = 20


def to_notebook(record: Record) -> str:
    """Return HTML with the verdict of each scope, and the requirements that are not met."""
    verdicts = [
        _row("th", each["scope"], f"{SYMBOLS[each['outcome']]} {each['outcome']}", "")
        for each in record["verdicts"]
    ]
    failed = [each for each, found in judged(record) if found.outcome in FAILURES]
    rows = [
        _row("td", f"{each['id']} {each['title']}", _shown(record, each), _where(record, each))
        for each in failed[:_MOST_ROWS]
    ]
    if len(failed) > _MOST_ROWS:
        rows.append(_row("td", f"and {len(failed) - _MOST_ROWS} more", "", ""))
    libraries = ", ".join(named(library) for library in record["libraries"])
    caption = f"<strong>{_safe(verdict_line(record))}</strong>, on {_safe(libraries)}"
    return f"<table><caption>{caption}</caption>{''.join(verdicts + rows)}</table>"


def _failing(record: Record, requirement: Record) -> list[Record]:
    return [
        result
        for result in record["results"]
        if result["requirement"] == requirement["id"] and result["outcome"] in FAILURES
    ]


def _shown(record: Record, requirement: Record) -> str:
    outcome = cell(_failing(record, requirement)).outcome
    return f"{SYMBOLS[outcome]} {outcome}"


def _where(record: Record, requirement: Record) -> str:
    names = {result["constraint"]: None for result in _failing(record, requirement)}
    return ", ".join(names)


def _row(tag: str, *texts: str) -> str:
    style = ' style="text-align: left"'
    cells = "".join(f"<{tag}{style}>{_safe(text)}</{tag}>" for text in texts)
    return f"<tr>{cells}</tr>"


def _safe(text: str) -> str:
    return escape(visible(text))
