"""Tables for terminals of any width, and for files: names are shortened, never broken."""

from __future__ import annotations

import itertools
import sys
import textwrap
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

_WIDTH_OF_FILES = 10_000
"""Columns of a table that no terminal shows: its lines are as long as they are."""
_ROWS_OF_PAGE = 1_000
"""Rows of a table that are laid out at a time; each page has its head."""
_LEAST_NAME = 12
"""Characters of a name at least, however narrow the terminal."""
_BETWEEN = 2
"""Blanks between two columns; one is at either end of a line."""
_INDENT = " " * 4
"""What stands in the place of a name that has a line of its own."""
_HEAD = 3
"""Lines above the rows of a table: an empty one, the heads, a rule."""

Row = Sequence[str]


def print_table(columns: Row, rows: Iterable[Row], marked: Iterable[bool] = ()) -> None:
    """Print rows below their columns, page by page: of many rows, one page is held.

    The first cell of each row is a name. Columns that are empty in a page are left out of it.

    Parameters
    ----------
    columns
        The heads.
    rows
        The cells.
    marked
        For each row, whether it is to catch the eye.
    """
    width = None if Console().is_terminal else _WIDTH_OF_FILES
    console = Console(width=width, markup=False, highlight=False, emoji=False)
    left = zip(rows, itertools.chain(marked, itertools.repeat(False)))  # noqa: B905
    pages = iter(lambda: list(itertools.islice(left, _ROWS_OF_PAGE)), [])
    for page in itertools.chain([next(pages, [])], pages):
        sys.stdout.write(_page(columns, page, console))


def _page(columns: Row, page: Sequence[tuple[Row, bool]], console: Console) -> str:
    names = [shown_name(row[0]) for row, _ in page]
    alone = [f" {_shortened(name, console.width - 2)}\n" for name in names]
    room = console.width - _width_of_others(columns, page)
    if room < len(_INDENT):  # no line has room for a row: it goes on in the next ones
        cells = [_in_lines(columns, row, console.width) for row, _ in page]
        return "\n" + "".join(map("".join, zip(alone, cells, strict=True))) + "\n"
    short = [_shortened(name, max(room, _LEAST_NAME)) for name in names]
    apart = room >= _LEAST_NAME and len(set(short)) == len(set(names))
    with console.capture() as text:
        console.print(_laid_out(columns, page, short if apart else [_INDENT] * len(page)))
    lines = text.get().splitlines(keepends=True)
    if not apart:  # each name in a line of its own, above the other cells of its row
        for i, name in enumerate(alone):
            lines.insert(_HEAD + 2 * i, name)
    return "".join(lines)


def _in_lines(columns: Row, row: Row, width: int) -> str:
    cells = [f"{head} {cell}" for head, cell in zip(columns[1:], row[1:], strict=True) if cell]
    text = textwrap.fill(", ".join(cells), width - len(_INDENT))
    return textwrap.indent(text, _INDENT) + "\n"


def _width_of_others(columns: Row, page: Sequence[tuple[Row, bool]]) -> int:
    """Return how wide a table is but for its names."""
    filled = _filled(columns, page)
    cells = [[columns[i], *(row[i] for row, _ in page)] for i in filled[1:]]
    widest: int = sum(max(map(cell_len, some)) for some in cells)
    return widest + _BETWEEN * len(filled) + 1


def _filled(columns: Row, page: Sequence[tuple[Row, bool]]) -> list[int]:
    return [i for i in range(len(columns)) if i == 0 or any(row[i] for row, _ in page)]


def _laid_out(columns: Row, page: Sequence[tuple[Row, bool]], names: Sequence[str]) -> Table:
    filled = _filled(columns, page)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, _BETWEEN - 1, 0, 0))
    for i in filled:
        right = all(_is_number(row[i]) for row, _ in page if row[i])
        table.add_column(columns[i], no_wrap=True, justify="right" if i and right else "left")
    for name, (row, mark) in zip(names, page, strict=True):
        table.add_row(name, *(row[i] for i in filled[1:]), style="red" if mark else None)
    return table


def _is_number(cell: str) -> bool:
    return cell[:1].isdigit() or cell in ("nan", "inf")


def shown_name(name: str) -> str:
    """Return a name as it is, or quoted: one of a file from elsewhere may hold anything."""
    return name if name and name.isprintable() and name == name.strip(" '\"") else repr(name)


def _shortened(name: str, room: int) -> str:
    """Return a name that fits, without its middle: the ends tell most names apart."""
    if cell_len(name) <= room:
        return name
    front = (room - 1) // 2
    back = room - 1 - front
    return f"{name[:front]}\N{HORIZONTAL ELLIPSIS}{name[len(name) - back :]}"
