"""Tables that are measured stand in pages between two comments, and are replaced there."""

from __future__ import annotations

import re
from pathlib import Path

END = "<!-- end of table -->"


def _between(name: str) -> re.Pattern[str]:
    start = rf"<!-- table: {re.escape(name)}(?:,[^>]*)?-->\n"
    return re.compile(f"({start}).*?({END})", flags=re.DOTALL)


def replace(page: Path, name: str, table: str) -> None:
    """Put a table into a page, in place of the one that has this name there."""
    text, found = _between(name).subn(
        lambda match: f"{match[1]}\n{table.strip()}\n\n{match[2]}", page.read_text("utf-8")
    )
    if found != 1:
        raise ValueError(f"{page} has {found} tables named {name!r}, and one is needed")
    page.write_text(text, "utf-8")


def read(page: Path, name: str) -> str:
    """Return the table of this name in a page."""
    found = _between(name).search(page.read_text("utf-8"))
    if found is None:
        raise ValueError(f"{page} has no table named {name!r}")
    return found[0].partition("-->\n")[2].removesuffix(END).strip()


def rows(page: Path, name: str) -> list[dict[str, str]]:
    """Return the rows below each header of the tables of this name, cells by column."""
    found: list[dict[str, str]] = []
    header: list[str] = []
    for line in read(page, name).splitlines():
        if not line.startswith("|"):
            header = []
        elif not header:
            header = _cells(line)
        elif not line.startswith("|---"):
            found.append(dict(zip(header, _cells(line), strict=True)))
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
