"""What rules do: a table of all weights, printed by rich, or as HTML in a notebook."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from array_constraints import libraries
from array_constraints.layers import Weight
from array_constraints.rules.selection import Selection
from array_constraints.typing import name_of

COLUMNS = ("weight", "shape", "kind", "constraint", "axis", "slices", "entries", "violating")
_NARROW = 80  # columns: below, each weight has lines of its own
_NUMBERS = ("slices", "entries", "violating")
_NOTHING = "-"


@dataclass(frozen=True)
class Explanation:
    """Which weights rules select, with which constraint and axis, and what is violated now.

    ``rows`` has one row for each weight, by column: its name and its other names, its shape,
    the kind of its layer, the constraint, the axis that a slice runs along, the number of
    slices and of entries in one, and how many slices, or entries, violate the constraint now.
    ``print`` and rich show a table; a notebook shows it in HTML. Both need rich.
    """

    weights: tuple[Weight, ...]
    selections: tuple[Selection, ...]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The table: a dictionary for each weight, what no rule selects included."""
        chosen = {id(selection.weight): selection for selection in self.selections}
        return [_row(weight, chosen.get(id(weight))) for weight in self.weights]

    @property
    def unselected(self) -> list[str]:
        """The names of the weights that have no constraint."""
        chosen = {id(selection.weight) for selection in self.selections}
        return [weight.name for weight in self.weights if id(weight) not in chosen]

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        """Yield the table for rich, and below it the constraint of each rule."""
        from rich.text import Text

        rules = {id(selection.weight): selection.rule + 1 for selection in self.selections}
        rows = [
            list(_texts(row, rules.get(id(weight))))
            for weight, row in zip(self.weights, self.rows, strict=True)
        ]
        if options.max_width < _NARROW:
            for name, *rest in rows:
                yield Text(name)
                pairs = zip(COLUMNS[1:], rest, strict=True)
                yield Text("  " + ", ".join(f"{column} {text}" for column, text in pairs))
        else:
            yield _table(rows)
        yield from map(Text, self._legend())

    def __str__(self) -> str:
        from rich.console import Console

        written = io.StringIO()
        Console(file=written, width=120).print(self)
        return written.getvalue()

    def _repr_html_(self) -> str:
        from rich.console import Console

        console = Console(file=io.StringIO(), record=True, width=140)
        console.print(self)
        html: str = console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")
        return html

    def _legend(self) -> Iterator[str]:
        """Yield what each number of a rule stands for, and what the table counts."""
        stated = {
            s.rule: s.constraint if s.stated is None else s.stated for s in self.selections
        }
        if stated:
            yield "The rules that act, by their number:"
        for rule in sorted(stated):
            yield f"{rule + 1} {_shown(stated[rule])}"
        yield (
            f"{len(self.selections)} of {len(self.weights)} weights are constrained; "
            "violating: slices, or entries, that the constraint would move"
        )


def _table(rows: list[list[str]]) -> Any:
    """Return a table in which cells are folded, and none is cut."""
    from rich import box
    from rich.table import Column, Table
    from rich.text import Text

    columns = [
        Column(name, overflow="fold", justify="right" if name in _NUMBERS else "left")
        for name in COLUMNS
    ]
    columns[0].min_width = 12
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for row in rows:
        style = "dim" if row[COLUMNS.index("constraint")] == _NOTHING else ""
        table.add_row(*map(Text, row), style=style)
    return table


def _row(weight: Weight, selection: Selection | None) -> dict[str, Any]:
    names = ", ".join(name for name, _ in weight.places)
    row = dict.fromkeys(COLUMNS)
    row |= {"weight": names, "shape": weight.shape, "kind": weight.kind}
    if selection is None:
        return row
    return row | {
        "constraint": selection.constraint,
        "axis": selection.axes,
        "slices": selection.slices,
        "entries": selection.entries,
        "violating": _violating(selection),
    }


def _violating(selection: Selection) -> int | None:
    """Return how many slices, or entries, violate now; None without a shape."""
    if selection.weight.shape is None:
        return None
    found = selection.violation()
    return int(libraries.of(found).xp.count_nonzero(found))


def _name(constraint: Any) -> str:
    """Return the name of a class, or of a function."""
    return getattr(constraint, "__name__", "") or name_of(type(constraint))


def _shown(constraint: Any) -> str:
    return _name(constraint) if hasattr(constraint, "__name__") else str(constraint)


def _texts(row: dict[str, Any], rule: int | None) -> Iterator[str]:
    for name in COLUMNS:
        value = row[name]
        if value is None:
            yield _NOTHING
        elif name == "shape":
            yield "x".join(map(str, value)) or "()"
        elif name == "axis":
            yield ",".join(map(str, value))
        elif name == "constraint":
            yield f"{rule} {_name(value)}"
        else:
            yield str(value)
