"""The four files of a report."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path

from .html import to_html
from .junit import to_junit
from .markdown import to_markdown
from .summary import Record

SCHEMA_VERSION = 1


def write(record: Record, folder: str | PathLike[str]) -> list[Path]:
    """Write ``report.json``, ``report.md``, ``report.xml`` and ``report.html``.

    Parameters
    ----------
    record
        A record, as ``record.schema.json`` describes it.
    folder
        Where to write; it is made if it is missing.

    Returns
    -------
    list of Path
        The four files, in the order above.

    Raises
    ------
    ValueError
        If the record has another schema version, or holds a NaN or an infinity; then nothing
        is written.
    """
    version = record["schema_version"]
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema_version must be {SCHEMA_VERSION}, got {version!r}")
    contents = {
        "report.json": json.dumps(record, indent=2, allow_nan=False) + "\n",
        "report.md": to_markdown(record),
        "report.xml": to_junit(record),
        "report.html": to_html(record),
    }
    directory = Path(folder)
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        (directory / name).write_text(text, encoding="utf-8", newline="\n")
    return [directory / name for name in contents]
