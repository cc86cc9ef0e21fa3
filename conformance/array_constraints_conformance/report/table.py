"""The matrix in plain text: a row for each requirement, a column for each library.

A line is a list of pieces: text, and the outcome in whose colour it may be shown, or "".
"""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase
from typing import NamedTuple

from .outcomes import ORDER, SYMBOLS
from .summary import FINDINGS, Cell, Record, cell, visible

Piece = tuple[str, str]
Line = list[Piece]
_GAP = 2  # spaces between two columns
_LEAST_TITLE = 36  # characters of a title, below which columns become narrower instead


class Table(NamedTuple):
    """Lines that name the columns, a line for each requirement, lines that explain both."""

    heads: list[Line]
    rows: list[Line]
    legend: list[Line]


def table(record: Record, requirements: Sequence[Record], width: int) -> Table:
    """Return the matrix of some requirements.

    Columns have the names of the libraries where they fit into the width; else letters.
    Cells have the outcomes in words where they fit; else their symbols.
    """
    names = [visible(library["name"]) for library in record["libraries"]]
    letters = [_letter(i) for i in range(len(names))]
    ids = max((len(each["id"]) for each in requirements), default=0)
    titles = max((len(each["title"]) for each in requirements), default=0)
    cells = _cells(record, requirements)
    for heads, words in ((names, True), (names, False), (letters, False)):
        shown = [[_shown(found, words) for found in row] for row in cells]
        widths = [
            max(len(head), *(len(row[i][0]) for row in shown), 0)
            for i, head in enumerate(heads)
        ]
        room = width - ids - 2 * _GAP - sum(w + _GAP for w in widths)
        if room >= min(titles, _LEAST_TITLE):
            break
    title = max(8, min(titles, room))
    rows = [
        [(f"  {each['id']:<{ids}}  {_cropped(each['title'], title):<{title}}", "")]
        + [(f"  {text:<{w}}", found) for (text, found), w in zip(row, widths, strict=True)]
        for each, row in zip(requirements, shown, strict=True)
    ]
    return Table(
        _heads(heads, widths, ids + title + 2 * _GAP) if len(names) > 1 else [],
        [_stripped(row) for row in rows],
        _legend(names if heads is letters else [], [] if words else cells, width),
    )


def _cells(record: Record, requirements: Sequence[Record]) -> list[list[Cell | None]]:
    of_each: dict[tuple[str, str], list[Record]] = {}
    for result in record["results"]:
        of_each.setdefault((result["requirement"], result["library"]), []).append(result)
    libraries = [library["name"] for library in record["libraries"]]
    keys = [[(each["id"], name) for name in libraries] for each in requirements]
    return [[cell(of_each[key]) if key in of_each else None for key in row] for row in keys]


def _shown(found: Cell | None, words: bool) -> Piece:
    if found is None:
        return "", ""
    outcome, times, judged = found
    text = f"{SYMBOLS[outcome]} {outcome}" if words else SYMBOLS[outcome]
    counted = outcome in FINDINGS and times < judged
    return f"{text} {times}/{judged}" if counted else text, outcome


def _heads(heads: Sequence[str], widths: Sequence[int], indent: int) -> list[Line]:
    columns = "".join(f"  {head:<{w}}" for head, w in zip(heads, widths, strict=True))
    return [[(" " * indent + columns.rstrip(), "")]]


def _legend(
    names: Sequence[str], cells: Sequence[Sequence[Cell | None]], width: int
) -> list[Line]:
    """Return what the letters and the symbols stand for."""
    found = {each.outcome for row in cells for each in row if each is not None}
    outcomes = [f"{SYMBOLS[outcome]} {outcome}" for outcome in ORDER if outcome in found]
    libraries = [f"{_letter(i)} {name}" for i, name in enumerate(names)]
    return [line for words in (libraries, outcomes) for line in _flowing(words, width)]


def _flowing(words: Sequence[str], width: int) -> list[Line]:
    """Return lines of whole words, such as ``A numpy``, three spaces between them."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 3 + len(word) <= width:
            lines[-1] += f"   {word}"
        else:
            lines.append(f"  {word}")
    return [[(line, "")] for line in lines]


def _letter(number: int) -> str:
    """Return A to Z, then A1 to Z1, and so on."""
    round_, place = divmod(number, len(ascii_uppercase))
    return ascii_uppercase[place] + (str(round_) if round_ else "")


def _cropped(text: str, width: int) -> str:
    text = visible(text)
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _stripped(line: Line) -> Line:
    *others, (text, outcome) = line
    return [*others, (text.rstrip(), outcome)]
