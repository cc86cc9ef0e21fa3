"""What is printed: by rich, or as plain lines where that is not installed."""

from __future__ import annotations

import sys

from array_constraints.rules import Explanation


def say(what: Explanation | str) -> None:
    """Print a table, or a line."""
    try:
        from rich.console import Console
    except ImportError:
        sys.stdout.write("\n".join(_lines(what)) + "\n")
    else:
        Console(soft_wrap=isinstance(what, str)).print(what, markup=False)


def _lines(what: Explanation | str) -> list[str]:
    if isinstance(what, str):
        return [what]
    return [f"{row['weight']}: {row['constraint'] or 'no constraint'}" for row in what.rows]
